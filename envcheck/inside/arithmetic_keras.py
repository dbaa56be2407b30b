"""The operations of the arithmetic in Keras 3 on its backend; see arithmetic_walk.py for what each function is for.

Each operation is a function of its float inputs, written with Keras's own operations and layers; the backend
differentiates it.
"""

PACKAGE = "keras"
BASE = "smoke_keras"

state = {}


def load(settings, base):
    """Get ready, after it was imported; `base` is the module that trains the reference network."""
    loaded = base.load(settings)
    state.update(keras=base.state["keras"], base=base, backend=base.state["backend"])
    if state["backend"] == "tensorflow":
        state["accelerator"] = settings["load_sibling"]("arithmetic_tensorflow")
    elif state["backend"] == "torch":
        state["accelerator"] = settings["load_sibling"]("arithmetic_torch")
    if "accelerator" in state:
        package = __import__(state["backend"])
        state["accelerator"].state.update({state["backend"]: package, "base": base})
        if state["backend"] == "torch":
            state["accelerator"].switch_off(package, settings["switches"])
    elif state["backend"] == "jax":
        import jax

        jax.config.update("jax_default_matmul_precision", "highest")
    return loaded


def devices(asked):
    """Return the devices on which to compute: Keras itself chooses one, and on TensorFlow any can be asked for."""
    if state["backend"] == "tensorflow":
        return state["accelerator"].devices(asked)
    return [state["base"].choose_device(asked)["used"]]


def formats(device):
    """Return the number formats, and for each why it is not available here, or nothing."""
    kind = state["keras"].backend.result_type("float64", "float64")
    promoted = "" if kind == "float64" else "on the backend %s Keras turns float64 into %s" % (state["backend"], kind)
    if "accelerator" in state:
        found = state["accelerator"].formats(device)
        return dict(found, float64=promoted or found["float64"])
    found = dict.fromkeys(("float64", "float32", "tf32", "bfloat16", "float16", "int8"), "")
    found["float64"] = promoted
    found["tf32"] = "Keras has no switch for TF32 on the backend %s" % state["backend"]
    return found


def wide_sums(device, direction):
    """Return whether sums of 16-bit numbers are promised to be float32's.

    Keras leaves that to its backend.
    """
    return "accelerator" in state and state["accelerator"].wide_sums(device, direction)


def choose_format(device, dtype):
    """Let products of matrices be computed in this format and in no lower one."""
    if "accelerator" in state:
        state["accelerator"].choose_format(device, dtype)


CONVENTION = "outside"
"""Of Adam's epsilon; keras.optimizers.Adam's documentation calls it the paper's `epsilon hat`."""


CONSTANT_UNIT = 2.0**-24
"""Of a formula's constants: TensorFlow makes a Python number a float32 first (`tf.cast(0.044715, tf.float64)`)."""


def compute(device, dtype, case):
    """Compute one case; return the result, where it lies, its format, and a function that gives the gradients."""
    keras = state["keras"]
    reference, parameters = case["reference"], case["parameters"]
    number_type = "float32" if dtype == "tf32" else dtype
    with _on(device):
        tensors = {}
        for name, array in case["inputs"].items():
            kind = number_type if array.dtype.kind == "f" else str(array.dtype)
            tensors[name] = keras.ops.convert_to_tensor(array.copy(), dtype=kind)
        leaves = [
            name
            for name, array in case["inputs"].items()
            if array.dtype.kind == "f" and name not in ("upstream", "gradients")
        ]
        forward = FORWARD[reference](keras, tensors, parameters, number_type)
        if reference in ("gradient_descent", "adam"):
            result, differentiate = forward(), None
        else:
            result, differentiate = _differentiable(
                lambda values: forward(dict(tensors, **values)), {name: tensors[name] for name in leaves}
            )
    lies = state["base"].lies_on(result)

    def pull_back():
        with _on(device):
            gradients = differentiate(tensors.get("upstream"))
        return {name: _to_numpy(gradient) for name, gradient in gradients.items() if gradient is not None}

    return _to_numpy(result), lies, keras.backend.standardize_dtype(result.dtype), pull_back


def _on(device):
    if state["backend"] == "tensorflow":
        return state["base"].state["tensorflow"].device(state["accelerator"].place_of(device))
    return state["keras"].device({"cuda": "gpu"}.get(device, device))


def _differentiable(function, leaves):
    """Apply a function to tensors by name; return its result, and what gives their gradients."""
    if state["backend"] == "tensorflow":
        import tensorflow  # noqa: ICN001 - under its full name, as all else here

        with tensorflow.GradientTape() as tape:
            tape.watch(list(leaves.values()))
            result = function(leaves)
        return result, lambda upstream: tape.gradient(result, leaves, output_gradients=upstream)
    if state["backend"] == "torch":
        import torch

        leaves = {name: tensor.detach().requires_grad_() for name, tensor in leaves.items()}
        result = function(leaves)

        def gradients(upstream):
            found = torch.autograd.grad(result, list(leaves.values()), upstream, allow_unused=True)
            return dict(zip(leaves, found))  # noqa: B905 - Python 3.6

        return result, gradients
    import jax

    result, back = jax.vjp(function, leaves)
    return result, lambda upstream: back(jax.numpy.ones_like(result) if upstream is None else upstream)[0]


def _to_numpy(tensor):
    keras = state["keras"]
    if keras.backend.standardize_dtype(tensor.dtype) == "int32":
        return keras.ops.convert_to_numpy(tensor)
    return keras.ops.convert_to_numpy(keras.ops.cast(tensor, "float64"))


def _applied(layer, shape, names, shaped=None):
    """Return a function of tensors that applies a layer with the tensors that are named as its weights."""
    layer.build(shape)

    def forward(t):
        weights = shaped(t) if shaped else [t[name] for name in names]
        fixed = [variable.value for variable in layer.non_trainable_variables]
        return layer.stateless_call(weights, fixed, t["x"])[0]

    return forward


def _linear(keras, t, parameters, dtype):
    layer = keras.layers.Dense(t["weight"].shape[1], dtype=dtype)
    return _applied(layer, t["x"].shape, ("weight", "bias"))


def _activation(keras, t, parameters, dtype):
    activations = keras.activations
    functions = {
        "relu": activations.relu,
        "gelu": lambda x: activations.gelu(x, approximate=False),
        "gelu (tanh)": lambda x: activations.gelu(x, approximate=True),
        "sigmoid": activations.sigmoid,
        "tanh": activations.tanh,
        "silu": activations.silu,
        "softplus": activations.softplus,
    }
    return lambda t: functions[parameters["function"]](t["x"])


def _padding(parameters):
    # The sizes are such that `same` pads both sides alike.
    return "same" if parameters["padding"] else "valid"


def _convolution(keras, t, parameters, dtype):
    layer = keras.layers.Conv2D(
        t["kernel"].shape[3],
        t["kernel"].shape[0],
        strides=parameters["stride"],
        padding=_padding(parameters),
        dilation_rate=parameters["dilation"],
        groups=parameters["groups"],
        data_format="channels_last",
        dtype=dtype,
    )
    return _applied(layer, t["x"].shape, ("kernel", "bias"))


def _max_pooling(keras, t, parameters, dtype):
    layer = keras.layers.MaxPooling2D(
        parameters["size"],
        strides=parameters["stride"],
        padding=_padding(parameters),
        data_format="channels_last",
        dtype=dtype,
    )
    return lambda t: layer(t["x"])


def _steps(keras, optimizer, t, dtype):
    def forward():
        variable = keras.Variable(t["parameter"], dtype=dtype)
        optimizer.build([variable])
        for step in range(t["gradients"].shape[0]):
            optimizer.apply([t["gradients"][step]], [variable])
        return variable.value

    return forward


def _gradient_descent(keras, t, parameters, dtype):
    return _steps(keras, keras.optimizers.SGD(parameters["rate"], parameters["momentum"]), t, dtype)


def _adam(keras, t, parameters, dtype):
    first, second = parameters["decays"]
    return _steps(keras, keras.optimizers.Adam(parameters["rate"], first, second, parameters["epsilon"]), t, dtype)


def _softmax(keras, t, parameters, dtype):
    return lambda t: keras.ops.softmax(t["x"], axis=-1)


def _log_softmax(keras, t, parameters, dtype):
    return lambda t: keras.ops.log_softmax(t["x"], axis=-1)


def _cross_entropy(keras, t, parameters, dtype):
    return lambda t: keras.ops.mean(keras.ops.sparse_categorical_crossentropy(t["labels"], t["x"], from_logits=True))


def _additive_attention(keras, t, parameters, dtype):
    ops = keras.ops
    layer = keras.layers.AdditiveAttention(use_scale=True, dtype=dtype)
    units = t["bias"].shape[0]
    batch, queries, keys = t["query"].shape[0], t["query"].shape[1], t["key"].shape[1]
    layer.build([(batch, queries, units), (batch, keys, t["value"].shape[2]), (batch, keys, units)])

    def forward(t):
        # The layer adds up query and key, bends the sum and weighs it; projections and bias are its caller's.
        query = ops.matmul(t["query"], t["query_weight"]) + t["bias"]
        key = ops.matmul(t["key"], t["key_weight"])
        return layer.stateless_call([t["score_weight"]], [], [query, t["value"], key])[0]

    return forward


def _dot_product_attention(keras, t, parameters, dtype):
    ops = keras.ops

    def forward(t):
        query, key, value = (ops.transpose(t[name], (0, 2, 1, 3)) for name in ("query", "key", "value"))
        found = ops.dot_product_attention(query, key, value, is_causal=parameters["causal"])
        return ops.transpose(found, (0, 2, 1, 3))

    return forward


ZEROS = {"kernel_initializer": "zeros", "recurrent_initializer": "zeros"}
"""For layers that get their weights afterwards: the usual orthogonal matrices cannot be drawn in bfloat16."""


def _lstm(keras, t, parameters, dtype):
    layer = keras.layers.LSTM(t["recurrent"].shape[0], return_sequences=True, dtype=dtype, **ZEROS)
    return _applied(layer, t["x"].shape, ("weight", "recurrent", "bias"))


def _gru(keras, t, parameters, dtype):
    ops = keras.ops
    layer = keras.layers.GRU(t["recurrent"].shape[0], return_sequences=True, dtype=dtype, **ZEROS)

    def update_first(array):
        # Keras has the update gate first, the reference the reset gate.
        reset, update, candidate = ops.split(array, 3, -1)
        return ops.concatenate([update, reset, candidate], -1)

    def weights(t):
        biases = ops.stack([update_first(t["bias"]), update_first(t["recurrent_bias"])])
        return [update_first(t["weight"]), update_first(t["recurrent"]), biases]

    return _applied(layer, t["x"].shape, (), weights)


def _layer_norm(keras, t, parameters, dtype):
    layer = keras.layers.LayerNormalization(epsilon=parameters["epsilon"], dtype=dtype)
    return _applied(layer, t["x"].shape, ("scale", "shift"))


def _embedding(keras, t, parameters, dtype):
    layer = keras.layers.Embedding(*t["table"].shape, dtype=dtype)
    layer.build(t["rows"].shape)
    return lambda t: layer.stateless_call([t["table"]], [], t["rows"])[0]


def _largest(keras, t, parameters, dtype):
    return lambda t: keras.ops.max(t["x"], axis=-1)


def _product(keras, t, parameters, dtype):
    return lambda t: keras.ops.multiply(t["x"], t["y"])


def _integer_product(keras, t, parameters, dtype):
    return lambda t: keras.ops.matmul(t["x"], t["weight"])


FORWARD = {
    "linear": _linear,
    "activation": _activation,
    "convolution": _convolution,
    "max_pooling": _max_pooling,
    "gradient_descent": _gradient_descent,
    "adam": _adam,
    "softmax": _softmax,
    "log_softmax": _log_softmax,
    "cross_entropy": _cross_entropy,
    "additive_attention": _additive_attention,
    "dot_product_attention": _dot_product_attention,
    "lstm": _lstm,
    "gru": _gru,
    "layer_norm": _layer_norm,
    "embedding": _embedding,
    "largest": _largest,
    "product": _product,
    "integer_product": _integer_product,
}
