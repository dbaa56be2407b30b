"""What the arithmetic is tried on: for each operation its cases, small and of odd sizes.

The sizes are no multiples of a vector's or a tile's, and one reduction is 4,099 terms long (a prime), so that the tails
and the edges of blocked kernels are used. A case is a dict:

    name         for people
    reference    function of arithmetic_reference.py
    parameters   what the operation is told
    inputs       arrays by name; those of floating point are rounded to the format that is tried, `upstream` is the
                 gradient that comes from above
"""

import numpy as np

SIZES = ("quick", "standard", "full")


def _upto(size, *levels):
    """Return the cases of a size and of all smaller ones."""
    return [case for level in levels[: SIZES.index(size) + 1] for case in level]


def _case(name, reference, inputs, **parameters):
    return {"name": name, "reference": reference, "parameters": parameters, "inputs": inputs}


def _linear(size, random):
    shapes = _upto(
        size,
        [(7, 13, 129), (5, 4099, 3), (1, 1, 1)],
        [(33, 65, 17), (127, 63, 31)],
        [(257, 515, 129), (3, 16411, 5), (1, 4099, 1), (2, 3, 4099), (63, 64, 65), (9, 255, 257)],
    )
    for batch, inner, outer in shapes:
        yield _case(
            "%d × %d × %d" % (batch, inner, outer),
            "linear",
            {
                "x": random.randn(batch, inner),
                "weight": random.randn(inner, outer) / np.sqrt(inner),
                "bias": random.randn(outer),
                "upstream": random.randn(batch, outer),
            },
        )


def _activations(size, random):
    count = {"quick": 131, "standard": 1031, "full": 65537}[size]
    for function in ("relu", "gelu", "gelu (tanh)", "sigmoid", "tanh", "silu", "softplus"):
        x = 2.5 * random.randn(3, count)
        # The slope of relu at 0 is a convention; nothing is asked there.
        x[np.abs(x) < 1e-3] = 1.0
        # As far as the tails are told apart, and no further: softplus of torch is linear from 20 on, as documented.
        x[0, :8] = (-15.0, -9.0, -4.0, -1.0, 1.0, 4.0, 9.0, 15.0)
        yield _case(function, "activation", {"x": x, "upstream": random.randn(3, count)}, function=function)


def _convolution(size, random):
    # batch, height, width, channels in and out, kernel, stride, padding, dilation, groups. Odd heights and widths, so
    # that `same` pads both sides alike whatever the framework.
    shapes = _upto(
        size,
        [(2, 9, 11, 3, 5, 3, 1, 1, 1, 1), (1, 13, 7, 6, 4, 3, 2, 1, 1, 1), (2, 11, 9, 4, 6, 3, 1, 2, 2, 2)],
        [(3, 7, 9, 17, 33, 1, 1, 0, 1, 1), (2, 13, 11, 5, 7, 5, 1, 0, 1, 1), (2, 9, 9, 6, 6, 3, 1, 1, 1, 6)],
        [
            (2, 31, 29, 33, 17, 3, 1, 1, 1, 1),
            (2, 15, 17, 64, 65, 3, 1, 0, 1, 1),
            (1, 33, 31, 3, 13, 7, 2, 3, 1, 1),
            (2, 17, 15, 9, 12, 3, 2, 1, 1, 3),
            (2, 19, 21, 5, 8, 3, 1, 4, 4, 1),
        ],
    )
    for batch, height, width, inner, outer, kernel, stride, padding, dilation, groups in shapes:
        reach = dilation * (kernel - 1)
        rows, columns = [(side + 2 * padding - reach - 1) // stride + 1 for side in (height, width)]
        field = kernel * kernel * inner // groups
        name = "%d × %d × %d × %d, kernel %d × %d to %d" % (batch, height, width, inner, kernel, kernel, outer)
        for label, value, usual in (("stride", stride, 1), ("dilation", dilation, 1), ("groups", groups, 1)):
            name += ", %s %d" % (label, value) if value != usual else ""
        yield _case(
            name,
            "convolution",
            {
                "x": random.randn(batch, height, width, inner),
                "kernel": random.randn(kernel, kernel, inner // groups, outer) / np.sqrt(field),
                "bias": random.randn(outer),
                "upstream": random.randn(batch, rows, columns, outer),
            },
            stride=stride,
            padding=padding,
            dilation=dilation,
            groups=groups,
        )


def _max_pooling(size, random):
    shapes = _upto(
        size,
        [(2, 8, 10, 5, 2, 2, 0), (2, 9, 11, 17, 3, 2, 1)],
        [(1, 13, 7, 33, 3, 1, 1)],
        [(3, 15, 17, 65, 3, 2, 1), (2, 12, 12, 129, 2, 2, 0)],
    )
    for batch, height, width, channels, window, stride, padding in shapes:
        rows, columns = [(side + 2 * padding - window) // stride + 1 for side in (height, width)]
        values = height * width
        # No two numbers of an image are equal, nor are they in bfloat16, which tells 256 apart: which of two equal ones
        # gets the gradient is a matter of convention.
        order = np.argsort(random.rand(batch, values, channels), axis=1)
        yield _case(
            "%d × %d × %d × %d, window %d, stride %d" % (batch, height, width, channels, window, stride),
            "max_pooling",
            {
                "x": ((order - values // 2) / 64.0).reshape(batch, height, width, channels),
                "upstream": random.randn(batch, rows, columns, channels),
            },
            size=window,
            stride=stride,
            padding=padding,
        )


RATE = 2.0**-7
"""A rate that every format holds as it is: Keras keeps it in float32, whatever the weights are kept in."""


def _gradient_descent(size, random):
    for momentum in (0.0, 0.875):
        inputs = {"parameter": random.randn(7, 131), "gradients": random.randn(3, 7, 131)}
        yield _case("momentum %g" % momentum, "gradient_descent", inputs, rate=RATE, momentum=momentum)


def _adam(size, random):
    # Gradients about as large as epsilon, so that the two conventions for it differ by much more than a roundoff.
    for epsilon in _upto(size, [2.0**-10], [2.0**-20], [2.0**-5]):
        inputs = {"parameter": random.randn(7, 131), "gradients": epsilon * _away_from_zero(random.randn(3, 7, 131))}
        yield _case(
            "epsilon %.0e" % epsilon, "adam", inputs, rate=RATE, epsilon=epsilon, decays=(0.9, 0.999), convention=""
        )


def _away_from_zero(array):
    return np.sign(array) * (0.25 + np.abs(array))


def _softmax(size, random):
    for rows, classes in _upto(size, [(7, 13), (3, 4099)], [(33, 129)], [(1, 16411), (257, 65)]):
        for reference in ("softmax", "log_softmax"):
            yield _case(
                "%s, %d × %d" % (reference.replace("_", "-"), rows, classes),
                reference,
                {"x": 3.0 * random.randn(rows, classes), "upstream": random.randn(rows, classes)},
            )


def _cross_entropy(size, random):
    for batch, classes in _upto(size, [(7, 13), (5, 4099)], [(129, 33)], [(1, 16411), (257, 10)]):
        labels = random.randint(0, classes, batch)
        inputs = {"x": 3.0 * random.randn(batch, classes), "labels": labels}
        yield _case("%d × %d" % (batch, classes), "cross_entropy", inputs)


def _additive_attention(size, random):
    for batch, queries, keys, width, units in _upto(
        size, [(3, 5, 7, 13, 17)], [(2, 1, 33, 9, 65)], [(2, 17, 129, 33, 31)]
    ):
        yield _case(
            "%d × %d queries × %d keys, %d units" % (batch, queries, keys, units),
            "additive_attention",
            {
                "query": random.randn(batch, queries, width),
                "key": random.randn(batch, keys, width),
                "value": random.randn(batch, keys, width + 2),
                "query_weight": random.randn(width, units) / np.sqrt(width),
                "key_weight": random.randn(width, units) / np.sqrt(width),
                "bias": 0.5 * random.randn(units),
                "score_weight": random.randn(units) / np.sqrt(units) * 2.0,
                "upstream": random.randn(batch, queries, width + 2),
            },
        )


def _dot_product_attention(size, random):
    shapes = _upto(size, [(2, 3, 13, 13, 17)], [(1, 2, 65, 65, 33), (2, 2, 5, 67, 16)], [(1, 2, 259, 259, 64)])
    for batch, heads, queries, keys, width in shapes:
        for causal in (False, True):
            if causal and queries != keys:
                continue  # to which corner the mask is then tied is a matter of convention
            yield _case(
                "%d × %d heads × %d × %d, width %d%s" % (batch, heads, queries, keys, width, ", causal" * causal),
                "dot_product_attention",
                {
                    "query": random.randn(batch, heads, queries, width),
                    "key": random.randn(batch, heads, keys, width),
                    "value": random.randn(batch, heads, keys, width),
                    "upstream": random.randn(batch, heads, queries, width),
                },
                causal=causal,
            )


def _recurrent(reference, gates):
    def cases(size, random):
        for batch, times, width, units in _upto(
            size, [(5, 3, 7, 13)], [(3, 5, 17, 33)], [(2, 9, 65, 31), (1, 4, 3, 129)]
        ):
            inputs = {
                "x": random.randn(batch, times, width),
                "weight": random.randn(width, gates * units) / np.sqrt(width),
                "recurrent": random.randn(units, gates * units) / np.sqrt(units),
                "bias": 0.5 * random.randn(gates * units),
                "upstream": random.randn(batch, times, units),
            }
            if reference == "gru":
                inputs["recurrent_bias"] = 0.5 * random.randn(gates * units)
            yield _case("%d × %d steps × %d, %d units" % (batch, times, width, units), reference, inputs)

    return cases


def _layer_norm(size, random):
    for rows, width in _upto(size, [(7, 129), (3, 4099)], [(33, 13)], [(257, 65), (2, 16411)]):
        yield _case(
            "%d × %d" % (rows, width),
            "layer_norm",
            {
                "x": 0.5 + random.randn(rows, width),
                "scale": 1.0 + 0.25 * random.randn(width),
                "shift": random.randn(width),
                "upstream": random.randn(rows, width),
            },
            epsilon=2.0**-10,
        )


def _embedding(size, random):
    for words, width, count in _upto(size, [(31, 13, 101)], [(257, 65, 33)], [(1031, 129, 4099)]):
        # The first half of the table only, so that rows come several times and others never.
        rows = random.randint(0, words // 2, count)
        inputs = {"table": random.randn(words, width), "rows": rows, "upstream": random.randn(count, width)}
        yield _case("%d of %d rows × %d" % (count, words, width), "embedding", inputs)


def _special_values(size, random):
    logits = 1e4 * np.sign(random.randn(5, 33))
    logits[:, 0], logits[:, 1] = 1e4, -1e4
    for reference in ("softmax", "log_softmax"):
        yield _case(
            "%s of logits of ±10,000" % reference.replace("_", "-"),
            reference,
            {"x": logits, "upstream": random.randn(*logits.shape)},
        )
    # One label is the worst of all; were there more, the sum of the losses would exceed what float16 holds.
    labels = np.zeros(len(logits), np.int64)
    labels[2] = 1
    yield _case("cross-entropy of logits of ±10,000", "cross_entropy", {"x": logits, "labels": labels})
    masked = random.randn(5, 33)
    masked[random.rand(*masked.shape) < 0.5] = -np.inf
    masked[:, 0] = 1.0
    yield _case("softmax behind a mask of -inf", "softmax", {"x": masked, "upstream": random.randn(*masked.shape)})
    holes = _away_from_zero(random.randn(5, 33))
    holes[1, 7] = holes[3, 32] = np.nan
    yield _case("NaN passes through relu", "activation", {"x": holes}, function="relu")
    yield _case("NaN passes through the maximum of a row", "largest", {"x": holes})
    yield _case(
        "numbers below the smallest normal one",
        "product",
        {"x": 1.0 + random.rand(5, 33), "y": np.ones((5, 33))},
        denormal=True,
    )


def integer_products(size, random):
    """Yield the cases of the linear map of 8-bit integers.

    Of the 8 bits 7 are used: on processors without an instruction for it (VNNI) the sum of two products may saturate
    at 16 bits, which oneDNN and PyTorch document (`reduce_range`). The rows of the second matrix and its columns are
    multiples of 8, as `torch._int_mm` on CUDA asks for.
    """
    for batch, inner, outer in _upto(size, [(33, 136, 40)], [(19, 4104, 24)], [(129, 520, 264)]):
        inputs = {
            "x": random.randint(-64, 64, (batch, inner)).astype(np.int8),
            "weight": random.randint(-64, 64, (inner, outer)).astype(np.int8),
        }
        yield _case("%d × %d × %d" % (batch, inner, outer), "integer_product", inputs)


OPERATIONS = (
    ("linear", _linear),
    ("activations", _activations),
    ("convolution", _convolution),
    ("max-pooling", _max_pooling),
    ("gradient-descent", _gradient_descent),
    ("adam", _adam),
    ("softmax", _softmax),
    ("cross-entropy", _cross_entropy),
    ("additive-attention", _additive_attention),
    ("dot-product-attention", _dot_product_attention),
    ("lstm", _recurrent("lstm", 4)),
    ("gru", _recurrent("gru", 3)),
    ("layer-norm", _layer_norm),
    ("embedding", _embedding),
    ("special-values", _special_values),
)


def cases_of(operation, size, seed):
    """Return the cases of an operation; the same seed gives the same numbers, whatever else is tried."""
    names = [name for name, _ in OPERATIONS]
    random = np.random.RandomState([seed, names.index(operation)])
    return list(dict(OPERATIONS)[operation](size, random))
