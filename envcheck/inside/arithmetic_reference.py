"""What each operation must give: the result and its gradients, written out in NumPy alone.

A reference takes the inputs of a case and its parameters and returns results by name: `result`, and `gradient of NAME`
for the derivative of the sum of `upstream * result` with respect to an input. Inputs come as `Bounded` numbers, so that
every result has a bound on how far a healthy framework may be off; see arithmetic_bounds.py. Layouts: images are
(batch, height, width, channels), sequences (batch, time, features), kernels (height, width, channels in, channels out),
matrices (in, out); the gates of an LSTM stand in the order input, forget, candidate, output, those of a GRU in the
order reset, update, candidate.
"""

import math

import numpy as np


def linear(bounds, inputs, parameters):
    """X W + b."""
    x, weight, bias, upstream = (inputs[name] for name in ("x", "weight", "bias", "upstream"))
    batch, width = x.shape
    return {
        "result": bounds.contract("bi,io->bo", x, weight, width) + bias,
        "gradient of x": bounds.contract("bo,io->bi", upstream, weight, weight.shape[1]),
        "gradient of weight": bounds.contract("bi,bo->io", x, upstream, batch),
        "gradient of bias": upstream.sum(0),
    }


def activation(bounds, inputs, parameters):
    """Apply a function one by one; its name is a parameter."""
    result, slope = ACTIVATIONS[parameters["function"]](inputs["x"])
    if "upstream" not in inputs:
        return {"result": result}
    return {"result": result, "gradient of x": inputs["upstream"] * slope}


def _relu(x):
    positive = x.value > 0
    ones = 1.0 + x.zeros()
    # What is no number stays none.
    return x.where(positive | np.isnan(x.value)), ones.where(positive)


def _gelu(x):
    scaled = x * (1.0 / math.sqrt(2.0))
    cumulative = 0.5 * (1.0 + scaled.erf())
    density = (-(scaled * scaled)).exp() * (1.0 / math.sqrt(2.0 * math.pi))
    return x * cumulative, cumulative + x * density


def _gelu_tanh(x):
    scale, cubic = math.sqrt(2.0 / math.pi), 0.044715
    bent = (scale * (x + cubic * (x * x * x))).tanh()
    slope = scale * (1.0 + 3.0 * cubic * (x * x))
    return 0.5 * x * (1.0 + bent), 0.5 * (1.0 + bent) + 0.5 * x * (1.0 - bent * bent) * slope


def _sigmoid(x):
    result = x.sigmoid()
    return result, result * (1.0 - result)


def _tanh(x):
    result = x.tanh()
    # Or 1 less the square, which is no further off.
    return result, (1.0 + result) * (1.0 - result)


def _silu(x):
    gate = x.sigmoid()
    return x * gate, gate * (1.0 + x * (1.0 - gate))


def _softplus(x):
    return x.softplus(), x.sigmoid()


ACTIVATIONS = {
    "relu": _relu,
    "gelu": _gelu,
    "gelu (tanh)": _gelu_tanh,
    "sigmoid": _sigmoid,
    "tanh": _tanh,
    "silu": _silu,
    "softplus": _softplus,
}

# Winograd's and Fourier's algorithms for kernels at stride 1 trade exactness of the single number for speed; the
# factor covers F(4x4, 3x3), whose transforms enlarge errors about tenfold (B. Barabasz, A. Anderson, K. M. Soodhalter,
# D. Gregg, Error Analysis and Improving the Accuracy of Winograd Convolution for Deep Neural Networks, ACM TOMS 46,
# 2020).
FAST_CONVOLUTION = 16.0


def _windows(kernel_shape, rows, columns, parameters):
    """Yield, for each number of a kernel, its place, its group's output channels and the part of the image it meets.

    The part is an index into the padded image: batch, rows, columns, the group's input channels.
    """
    stride, dilation, groups = (parameters[name] for name in ("stride", "dilation", "groups"))
    height, width, inner, outer = kernel_shape
    group_outer = outer // groups
    for group in range(groups):
        outputs = slice(group * group_outer, (group + 1) * group_outer)
        inputs = slice(group * inner, (group + 1) * inner)
        for i in range(height):
            for j in range(width):
                top, left = i * dilation, j * dilation
                down = slice(top, top + (rows - 1) * stride + 1, stride)
                across = slice(left, left + (columns - 1) * stride + 1, stride)
                yield i, j, outputs, (slice(None), down, across, inputs)


def _padded(array, padding, value=0.0):
    around = ((0, 0), (padding, padding), (padding, padding), (0, 0))
    return np.pad(array, around, mode="constant", constant_values=value)


def _unpadded(array, padding):
    return array[:, padding : array.shape[1] - padding, padding : array.shape[2] - padding]


def _spread(kernel_shape, parameters):
    fast = parameters["stride"] == 1 and parameters["dilation"] == 1 and kernel_shape[0] > 1
    return FAST_CONVOLUTION if fast else 1.0


def convolved(bounds, x, kernel, bias, parameters):
    """Return a two-dimensional convolution (without turning the kernel) plus a bias."""
    height, width, inner, outer = kernel.shape
    rows, columns = (
        (side + 2 * parameters["padding"] - parameters["dilation"] * (extent - 1) - 1) // parameters["stride"] + 1
        for side, extent in zip(x.shape[1:3], (height, width))  # noqa: B905 - Python 3.6
    )

    def forward(images, kernels):
        padded, found = _padded(images, parameters["padding"]), np.zeros((x.shape[0], rows, columns, outer))
        for i, j, outputs, part in _windows(kernel.shape, rows, columns, parameters):
            found[..., outputs] += np.einsum("nhwc,co->nhwo", padded[part], kernels[i, j, :, outputs])
        return found

    return bounds.bilinear(forward, x, kernel, height * width * inner, _spread(kernel.shape, parameters)) + bias


def convolution(bounds, inputs, parameters):
    """Two-dimensional convolution and its gradients."""
    x, kernel, bias, upstream = (inputs[name] for name in ("x", "kernel", "bias", "upstream"))
    padding, groups = parameters["padding"], parameters["groups"]
    height, width, _, outer = kernel.shape
    rows, columns = upstream.shape[1:3]
    windows = list(_windows(kernel.shape, rows, columns, parameters))
    spread = _spread(kernel.shape, parameters)

    def to_images(gradient, kernels):
        padded = _padded(np.zeros(x.shape), padding)
        for i, j, outputs, part in windows:
            padded[part] += np.einsum("nhwo,co->nhwc", gradient[..., outputs], kernels[i, j, :, outputs])
        return _unpadded(padded, padding)

    def to_kernel(images, gradient):
        padded, found = _padded(images, padding), np.zeros(kernel.shape)
        for i, j, outputs, part in windows:
            found[i, j, :, outputs] = np.einsum("nhwc,nhwo->co", padded[part], gradient[..., outputs])
        return found

    return {
        "result": convolved(bounds, x, kernel, bias, parameters),
        "gradient of x": bounds.bilinear(to_images, upstream, kernel, height * width * outer // groups, spread),
        "gradient of kernel": bounds.bilinear(to_kernel, x, upstream, upstream.shape[0] * rows * columns, spread),
        "gradient of bias": upstream.reshape(-1, outer).sum(0),
    }


def max_pooling(bounds, inputs, parameters):
    """The largest number of each window; the borders are padded with minus infinity."""
    x, upstream = inputs["x"], inputs["upstream"]
    size, stride, padding = (parameters[name] for name in ("size", "stride", "padding"))
    rows, columns = upstream.shape[1:3]
    padded = _padded(x.value, padding, -np.inf)
    windows = np.stack(
        [
            padded[:, i : i + (rows - 1) * stride + 1 : stride, j : j + (columns - 1) * stride + 1 : stride]
            for i in range(size)
            for j in range(size)
        ]
    )
    chosen = windows.argmax(axis=0)

    def spread(values):
        found = np.zeros(padded.shape)
        n, row, column, channel = np.indices(chosen.shape)
        np.add.at(found, (n, row * stride + chosen // size, column * stride + chosen % size, channel), values)
        return _unpadded(found, padding)

    # A number may be the largest of several windows; then their gradients are added up.
    ways = (-(-size // stride)) ** 2
    magnitude = spread(np.abs(upstream.value))
    return {
        "result": bounds.exact(windows.max(axis=0), x.rounding),
        "gradient of x": bounds.Bounded(spread(upstream.value), x.rounding.unit * magnitude * (ways - 1), x.rounding),
    }


def pooled(bounds, x, size):
    """Return the largest of each window of inexact numbers; the windows stand side by side, without a border."""
    batch, rows, columns, channels = x.shape
    rows, columns = rows // size, columns // size
    parts = x[:, : rows * size, : columns * size].reshape(batch, rows, size, columns, size, channels)
    return bounds.Bounded(parts.value.max(axis=(2, 4)), parts.error.max(axis=(2, 4)), x.rounding)


def gradient_descent(bounds, inputs, parameters):
    """Steps of gradient descent with momentum: v <- m v + g, p <- p - r v."""
    position, speed = inputs["parameter"], inputs["parameter"].zeros()
    for gradient in _each(inputs["gradients"]):
        speed = parameters["momentum"] * speed + gradient if parameters["momentum"] else gradient
        position = position - parameters["rate"] * speed
    return {"result": position}


def adam(bounds, inputs, parameters):
    """Steps of Adam (D. P. Kingma, J. Ba, 2015), in either of the paper's two forms.

    `inside` is Algorithm 1, in which epsilon is added to the square root of the *corrected* second moment; `outside` is
    the faster form at the end of section 2, in which it is added to the root of the raw one.
    """
    first_decay, second_decay = parameters["decays"]
    position = inputs["parameter"]
    first = second = position.zeros()
    for step, gradient in enumerate(_each(inputs["gradients"]), 1):
        first = first_decay * first + (1.0 - first_decay) * gradient
        second = second_decay * second + (1.0 - second_decay) * (gradient * gradient)
        first_weight, second_weight = 1.0 - first_decay**step, 1.0 - second_decay**step
        if parameters["convention"] == "inside":
            change = (first / first_weight) / ((second / second_weight).sqrt() + parameters["epsilon"])
        else:
            # Here the powers of the decays are computed in the format, too, and 1 - 0.999 keeps few of its digits.
            first_weight, second_weight = (1.0 - _power(position, decay, step) for decay in parameters["decays"])
            change = (second_weight.sqrt() / first_weight) * (first / (second.sqrt() + parameters["epsilon"]))
        position = position - parameters["rate"] * change
    return {"result": position}


def _power(like, base, exponent):
    constant = found = like.constant(base)
    for _ in range(exponent - 1):
        found = found * constant
    return found


def _each(array):
    return [array[step] for step in range(array.shape[0])]


def _softmax(x):
    """Return the softmax along the last axis, and its logarithm."""
    distance = x - x.maximum(-1)
    weights = distance.exp()
    total = weights.sum(-1, keepdims=True)
    return weights / total, distance - total.log()


def _softmax_gradient(probabilities, upstream):
    return probabilities * (upstream - (upstream * probabilities).sum(-1, keepdims=True))


def softmax(bounds, inputs, parameters):
    """Softmax along the last axis."""
    probabilities, _ = _softmax(inputs["x"])
    return {"result": probabilities, "gradient of x": _softmax_gradient(probabilities, inputs["upstream"])}


def log_softmax(bounds, inputs, parameters):
    """Logarithm of the softmax along the last axis."""
    probabilities, logarithms = _softmax(inputs["x"])
    upstream = inputs["upstream"]
    return {
        "result": logarithms,
        "gradient of x": upstream - probabilities * upstream.sum(-1, keepdims=True),
    }


def cross_entropy(bounds, inputs, parameters):
    """Mean over the batch of the negative logarithm of the softmax at the label."""
    x, labels = inputs["x"], inputs["labels"]
    probabilities, logarithms = _softmax(x)
    batch, classes = x.shape
    wanted = np.zeros((batch, classes))
    wanted[np.arange(batch), labels] = 1.0
    losses = -logarithms.where(wanted == 1).sum(-1)
    return {
        "result": losses.sum(0) / float(batch),
        "gradient of x": (probabilities - bounds.exact(wanted, x.rounding)) / float(batch),
    }


def additive_attention(bounds, inputs, parameters):
    """softmax(v^T tanh(W_q q + W_k k + b)) times the values (D. Bahdanau, K. Cho, Y. Bengio, 2015)."""
    query, key, value, query_weight, key_weight, bias, score_weight, upstream = (
        inputs[name]
        for name in ("query", "key", "value", "query_weight", "key_weight", "bias", "score_weight", "upstream")
    )
    batch, queries, width = query.shape
    keys, key_width, value_width = key.shape[1], key.shape[2], value.shape[2]
    units = bias.shape[0]
    projected_query = bounds.contract("bqi,iu->bqu", query, query_weight, width)
    projected_key = bounds.contract("bki,iu->bku", key, key_weight, key_width)
    bent = (
        projected_query.reshape(batch, queries, 1, units) + projected_key.reshape(batch, 1, keys, units) + bias
    ).tanh()
    weights, _ = _softmax(bounds.contract("bqku,u->bqk", bent, score_weight, units))
    to_weights = bounds.contract("bqd,bkd->bqk", upstream, value, value_width)
    to_scores = _softmax_gradient(weights, to_weights)
    to_bent = to_scores.reshape(batch, queries, keys, 1) * score_weight
    to_sum = to_bent * (1.0 - bent * bent)
    to_query, to_key = to_sum.sum(2), to_sum.sum(1)
    return {
        "result": bounds.contract("bqk,bkd->bqd", weights, value, keys),
        "gradient of query": bounds.contract("bqu,iu->bqi", to_query, query_weight, units),
        "gradient of key": bounds.contract("bku,iu->bki", to_key, key_weight, units),
        "gradient of value": bounds.contract("bqk,bqd->bkd", weights, upstream, queries),
        "gradient of query_weight": bounds.contract("bqi,bqu->iu", query, to_query, batch * queries),
        "gradient of key_weight": bounds.contract("bki,bku->iu", key, to_key, batch * keys),
        "gradient of bias": to_sum.reshape(-1, units).sum(0),
        "gradient of score_weight": bounds.contract("bqk,bqku->u", to_scores, bent, batch * queries * keys),
    }


def dot_product_attention(bounds, inputs, parameters):
    """softmax(Q K^T / sqrt(width)) V, each query seeing all keys or, where it is causal, those up to its own place."""
    query, key, value, upstream = (inputs[name] for name in ("query", "key", "value", "upstream"))
    queries, width = query.shape[2:]
    keys = key.shape[2]
    scale = 1.0 / math.sqrt(width)
    scores = scale * bounds.contract("bhqd,bhkd->bhqk", query, key, width)
    if parameters["causal"]:
        scores = scores.where(np.tri(queries, keys, dtype=bool), -np.inf)
    weights, _ = _softmax(scores)
    to_weights = bounds.contract("bhqd,bhkd->bhqk", upstream, value, width)
    to_scores = scale * _softmax_gradient(weights, to_weights)
    return {
        "result": bounds.contract("bhqk,bhkd->bhqd", weights, value, keys),
        "gradient of query": bounds.contract("bhqk,bhkd->bhqd", to_scores, key, keys),
        "gradient of key": bounds.contract("bhqk,bhqd->bhkd", to_scores, query, queries),
        "gradient of value": bounds.contract("bhqk,bhqd->bhkd", weights, upstream, queries),
    }


def _projected(bounds, x, weight):
    return bounds.contract("bi,io->bo", x, weight, x.shape[1])


def _gates(array, count):
    width = array.shape[-1] // count
    return [array[..., gate * width : (gate + 1) * width] for gate in range(count)]


def _joined(bounds, parts):
    return bounds.Bounded(
        np.concatenate([part.value for part in parts], -1),
        np.concatenate([part.error for part in parts], -1),
        parts[0].rounding,
    )


def _in_time(bounds, steps):
    return bounds.Bounded(
        np.stack([step.value for step in steps], 1), np.stack([step.error for step in steps], 1), steps[0].rounding
    )


def _added(terms):
    total = terms[0]
    for term in terms[1:]:
        total = total + term
    return total


def lstm(bounds, inputs, parameters):
    """All hidden states of an LSTM that starts at zero (S. Hochreiter, J. Schmidhuber, 1997; with forget gates)."""
    x, weight, recurrent, bias, upstream = (inputs[name] for name in ("x", "weight", "recurrent", "bias", "upstream"))
    batch, times = x.shape[:2]
    units = recurrent.shape[0]
    hidden = cell = bounds.exact(np.zeros((batch, units)), x.rounding)
    past = []
    for time in range(times):
        raw = _projected(bounds, x[:, time], weight) + _projected(bounds, hidden, recurrent) + bias
        enter, forget, candidate, leave = _gates(raw, 4)
        enter, forget, candidate, leave = enter.sigmoid(), forget.sigmoid(), candidate.tanh(), leave.sigmoid()
        before, cell = (hidden, cell), forget * cell + enter * candidate
        bent = cell.tanh()
        hidden = leave * bent
        past.append((before, (enter, forget, candidate, leave), bent, hidden))
    to_hidden = to_cell = bounds.exact(np.zeros((batch, units)), x.rounding)
    to_x, to_raw = [], []
    for time in reversed(range(times)):
        (_, cell_before), (enter, forget, candidate, leave), bent, _ = past[time]
        to_hidden = to_hidden + upstream[:, time]
        to_cell = to_cell + to_hidden * leave * (1.0 - bent * bent)
        raw = _joined(
            bounds,
            [
                to_cell * candidate * (enter * (1.0 - enter)),
                to_cell * cell_before * (forget * (1.0 - forget)),
                to_cell * enter * (1.0 - candidate * candidate),
                to_hidden * bent * (leave * (1.0 - leave)),
            ],
        )
        to_x.insert(0, bounds.contract("bo,io->bi", raw, weight, 4 * units))
        to_hidden = bounds.contract("bo,io->bi", raw, recurrent, 4 * units)
        to_cell = to_cell * forget
        to_raw.insert(0, raw)
    return {
        "result": _in_time(bounds, [step[3] for step in past]),
        "gradient of x": _in_time(bounds, to_x),
        "gradient of weight": _added(
            [bounds.contract("bi,bo->io", x[:, time], raw, batch) for time, raw in enumerate(to_raw)]
        ),
        "gradient of recurrent": _added(
            [bounds.contract("bi,bo->io", past[time][0][0], raw, batch) for time, raw in enumerate(to_raw)]
        ),
        "gradient of bias": _added([raw.sum(0) for raw in to_raw]),
    }


def gru(bounds, inputs, parameters):
    """All hidden states of a GRU that starts at zero, its reset gate after the product of matrices.

    That is the form of cuDNN, of torch and of Keras's `reset_after`; `bias` belongs to the input, `recurrent_bias` to
    the hidden state.
    """
    x, weight, recurrent, bias, recurrent_bias, upstream = (
        inputs[name] for name in ("x", "weight", "recurrent", "bias", "recurrent_bias", "upstream")
    )
    batch, times = x.shape[:2]
    units = recurrent.shape[0]
    hidden = bounds.exact(np.zeros((batch, units)), x.rounding)
    past = []
    for time in range(times):
        from_x = _gates(_projected(bounds, x[:, time], weight) + bias, 3)
        from_hidden = _gates(_projected(bounds, hidden, recurrent) + recurrent_bias, 3)
        reset, update = (from_x[0] + from_hidden[0]).sigmoid(), (from_x[1] + from_hidden[1]).sigmoid()
        candidate = (from_x[2] + reset * from_hidden[2]).tanh()
        before, hidden = hidden, (1.0 - update) * candidate + update * hidden
        past.append((before, reset, update, candidate, from_hidden[2], hidden))
    to_hidden = bounds.exact(np.zeros((batch, units)), x.rounding)
    to_x, to_weight, to_recurrent, to_bias, to_recurrent_bias = [], [], [], [], []
    for time in reversed(range(times)):
        before, reset, update, candidate, recurrent_part, _ = past[time]
        to_hidden = to_hidden + upstream[:, time]
        to_candidate = to_hidden * (1.0 - update) * (1.0 - candidate * candidate)
        to_reset = to_candidate * recurrent_part * (reset * (1.0 - reset))
        to_update = to_hidden * (before - candidate) * (update * (1.0 - update))
        raw = _joined(bounds, [to_reset, to_update, to_candidate])
        recurrent_raw = _joined(bounds, [to_reset, to_update, to_candidate * reset])
        to_x.insert(0, bounds.contract("bo,io->bi", raw, weight, 3 * units))
        to_weight.append(bounds.contract("bi,bo->io", x[:, time], raw, batch))
        to_recurrent.append(bounds.contract("bi,bo->io", before, recurrent_raw, batch))
        to_bias.append(raw.sum(0))
        to_recurrent_bias.append(recurrent_raw.sum(0))
        to_hidden = to_hidden * update + bounds.contract("bo,io->bi", recurrent_raw, recurrent, 3 * units)
    return {
        "result": _in_time(bounds, [step[5] for step in past]),
        "gradient of x": _in_time(bounds, to_x),
        "gradient of weight": _added(to_weight),
        "gradient of recurrent": _added(to_recurrent),
        "gradient of bias": _added(to_bias),
        "gradient of recurrent_bias": _added(to_recurrent_bias),
    }


def layer_norm(bounds, inputs, parameters):
    """Layer normalisation along the last axis (J. L. Ba, J. R. Kiros, G. E. Hinton, 2016)."""
    x, scale, shift, upstream = (inputs[name] for name in ("x", "scale", "shift", "upstream"))
    width = x.shape[-1]
    mean = x.sum(-1, keepdims=True) / float(width)
    centred = x - mean
    variance = (centred * centred).sum(-1, keepdims=True) / float(width)
    # An implementation may as well take the mean of the squares less the square of the mean, and is off as both are.
    squares = np.mean(x.value**2, axis=-1, keepdims=True) + mean.value**2
    variance = bounds.Bounded(
        variance.value, variance.error + (x.rounding.growth(width) + 2 * x.rounding.unit) * squares, x.rounding
    )
    inverse = 1.0 / (variance + parameters["epsilon"]).sqrt()
    normal = centred * inverse
    scaled = upstream * scale
    to_mean = scaled.sum(-1, keepdims=True) / float(width)
    to_normal = (scaled * normal).sum(-1, keepdims=True) / float(width)
    return {
        "result": normal * scale + shift,
        "gradient of x": inverse * (scaled - to_mean - normal * to_normal),
        "gradient of scale": (upstream * normal).sum(0),
        "gradient of shift": upstream.sum(0),
    }


def embedding(bounds, inputs, parameters):
    """Rows of a table; a row that was taken several times gets all their gradients."""
    table, rows, upstream = inputs["table"], inputs["rows"], inputs["upstream"]
    count = int(np.bincount(rows).max())

    def scatter(gradient, _):
        found = np.zeros(table.shape)
        np.add.at(found, rows, gradient)
        return found

    ones = bounds.exact(np.ones(1), table.rounding)
    return {"result": table[rows], "gradient of table": bounds.bilinear(scatter, upstream, ones, count)}


def largest(bounds, inputs, parameters):
    """The largest number of each row; one that is no number makes its row none."""
    return {"result": bounds.exact(np.max(inputs["x"].value, axis=-1), inputs["x"].rounding)}


def product(bounds, inputs, parameters):
    """The product of two arrays, one by one."""
    return {"result": inputs["x"] * inputs["y"]}


def integer_product(bounds, inputs, parameters):
    """The product of two matrices of 8-bit integers, summed up in 32 bits: exact."""
    found = np.einsum("bi,io->bo", inputs["x"].astype(np.int64), inputs["weight"].astype(np.int64))
    rounding = bounds.Rounding(0.0, 0.0, 0.0)
    return {"result": bounds.exact(found, rounding)}
