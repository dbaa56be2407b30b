"""The operations of the arithmetic in TensorFlow; see arithmetic_walk.py for what each function is for."""

PACKAGE = "tensorflow"
BASE = "smoke_keras"

state = {}


def load(settings, base):
    """Get ready, after it was imported; `base` is the module that trains the reference network."""
    loaded = base.load(settings)
    state.update(tensorflow=base.state["tensorflow"], base=base)
    return loaded


def devices(asked):
    """Return the devices on which to compute."""
    tensorflow, base = state["tensorflow"], state["base"]
    if asked != "auto":
        return [base.choose_device(asked)["used"]]
    kind = base.choose_device("auto")["used"].partition(":")[0]
    if kind == "cpu":
        return ["cpu"]
    return ["cpu"] + ["%s:%d" % (kind, index) for index in range(len(tensorflow.config.list_physical_devices("GPU")))]


def formats(device):
    """Return the number formats, and for each why it is not available here, or nothing."""
    found = dict.fromkeys(("float64", "float32", "tf32", "bfloat16", "float16", "int8"), "")
    if device.startswith("mps"):
        found["float64"] = "Metal has no float64"
    if not device.startswith("cuda"):
        found["tf32"] = "the %s has no TF32" % ("Metal backend" if device.startswith("mps") else "processor")
    elif _capability(device) < (8, 0):
        found["tf32"] = "TF32 needs compute capability 8.0"
    return found


def wide_sums(device, direction):
    """Return whether sums of 16-bit numbers are promised to be float32's.

    TensorFlow does not document it, and on the processor bfloat16's are 16 bits wide now and then.
    """
    return False


def _capability(device):
    tensorflow = state["tensorflow"]
    gpus = tensorflow.config.list_physical_devices("GPU")
    details = tensorflow.config.experimental.get_device_details(gpus[int(device.partition(":")[2])])
    return tuple(details.get("compute_capability", (0, 0)))


def choose_format(device, dtype):
    """Let products of matrices be computed in this format and in no lower one: the default on a GPU is tf32."""
    experimental = state["tensorflow"].config.experimental
    if hasattr(experimental, "enable_tensor_float_32_execution"):
        experimental.enable_tensor_float_32_execution(dtype == "tf32")


CONVENTION = "outside"
"""Of Adam's epsilon; tf.keras.optimizers.Adam's documentation calls it the paper's `epsilon hat`."""


CONSTANT_UNIT = 2.0**-24
"""Of a formula's constants: TensorFlow makes a Python number a float32 first (`tf.cast(0.044715, tf.float64)`)."""


def compute(device, dtype, case):
    """Compute one case; return the result, where it lies, its format, and a function that gives the gradients."""
    tensorflow = state["tensorflow"]
    reference, parameters = case["reference"], case["parameters"]
    number_type = tensorflow.as_dtype("float32" if dtype == "tf32" else dtype)
    place = place_of(device)
    with tensorflow.device(place):
        tensors = {}
        for name, array in case["inputs"].items():
            tensor = tensorflow.constant(array.copy())
            tensors[name] = tensorflow.cast(tensor, number_type) if array.dtype.kind == "f" else tensor
        tape = tensorflow.GradientTape()
        leaves = {
            name: tensor
            for name, tensor in tensors.items()
            if name not in ("upstream", "gradients") and case["inputs"][name].dtype.kind == "f"
        }
        with tape:
            tape.watch(list(leaves.values()))
            found = FORWARD[reference](tensorflow, tensors, parameters)
        # A layer has variables of its own in place of some of the inputs.
        result, variables = found if isinstance(found, tuple) else (found, {})
        leaves.update(variables)

    def pull_back():
        with tensorflow.device(place):
            gradients = tape.gradient(result, leaves, output_gradients=tensors.get("upstream"))
        arrays = {name: _to_numpy(gradient) for name, gradient in gradients.items() if gradient is not None}
        return FROM_LAYER.get(reference, dict)(arrays)

    return _to_numpy(result), state["base"].lies_on(result), result.dtype.name, pull_back


def place_of(device):
    """Return TensorFlow's own name of a device."""
    return "/" + device.upper().replace("CUDA", "GPU").replace("MPS", "GPU") + ("" if ":" in device else ":0")


def _to_numpy(tensor):
    tensorflow = state["tensorflow"]
    tensor = tensorflow.convert_to_tensor(tensor)  # the gradient of a table's rows is sparse
    return tensor.numpy() if tensor.dtype == tensorflow.int32 else tensorflow.cast(tensor, tensorflow.float64).numpy()


def _linear(tensorflow, t, parameters):
    return tensorflow.nn.bias_add(tensorflow.matmul(t["x"], t["weight"]), t["bias"])


def _activation(tensorflow, t, parameters):
    nn = tensorflow.nn
    functions = {
        "relu": nn.relu,
        "gelu": nn.gelu,
        "gelu (tanh)": lambda x: nn.gelu(x, approximate=True),
        "sigmoid": nn.sigmoid,
        "tanh": nn.tanh,
        "silu": nn.silu,
        "softplus": nn.softplus,
    }
    return functions[parameters["function"]](t["x"])


def padding_of(parameters):
    """Return a padding by its name: the sizes are such that `same` pads both sides alike."""
    return "SAME" if parameters["padding"] else "VALID"


def _convolution(tensorflow, t, parameters):
    found = tensorflow.nn.convolution(
        t["x"],
        t["kernel"],
        strides=parameters["stride"],
        padding=padding_of(parameters),
        dilations=parameters["dilation"],
    )
    return tensorflow.nn.bias_add(found, t["bias"])


def _max_pooling(tensorflow, t, parameters):
    return tensorflow.nn.max_pool2d(t["x"], parameters["size"], parameters["stride"], padding_of(parameters))


def _steps(tensorflow, optimizer, t):
    variable = tensorflow.Variable(t["parameter"])
    for gradient in tensorflow.unstack(t["gradients"]):
        optimizer.apply_gradients([(gradient, variable)])
    return tensorflow.convert_to_tensor(variable)


def _gradient_descent(tensorflow, t, parameters):
    return _steps(tensorflow, tensorflow.keras.optimizers.SGD(parameters["rate"], parameters["momentum"]), t)


def _adam(tensorflow, t, parameters):
    first, second = parameters["decays"]
    return _steps(
        tensorflow, tensorflow.keras.optimizers.Adam(parameters["rate"], first, second, parameters["epsilon"]), t
    )


def _softmax(tensorflow, t, parameters):
    return tensorflow.nn.softmax(t["x"])


def _log_softmax(tensorflow, t, parameters):
    return tensorflow.nn.log_softmax(t["x"])


def _cross_entropy(tensorflow, t, parameters):
    losses = tensorflow.nn.sparse_softmax_cross_entropy_with_logits(labels=t["labels"], logits=t["x"])
    return tensorflow.reduce_mean(losses)


def _additive_attention(tensorflow, t, parameters):
    query = tensorflow.expand_dims(tensorflow.matmul(t["query"], t["query_weight"]), 2)
    key = tensorflow.expand_dims(tensorflow.matmul(t["key"], t["key_weight"]), 1)
    scores = tensorflow.linalg.matvec(tensorflow.tanh(query + key + t["bias"]), t["score_weight"])
    return tensorflow.matmul(tensorflow.nn.softmax(scores), t["value"])


def _dot_product_attention(tensorflow, t, parameters):
    query, key, value = t["query"], t["key"], t["value"]
    scores = tensorflow.matmul(query, key, transpose_b=True) * (1.0 / float(query.shape[-1]) ** 0.5)
    if parameters["causal"]:
        seen = tensorflow.linalg.band_part(tensorflow.ones(scores.shape[-2:], tensorflow.bool), -1, 0)
        scores = tensorflow.where(seen, scores, tensorflow.constant(-float("inf"), scores.dtype))
    return tensorflow.matmul(tensorflow.nn.softmax(scores), value)


def _layer(layer, x, weights):
    """Build a layer, give it weights, apply it; return the result and its variables by name."""
    layer.build(x.shape)
    variables = dict(zip(weights, layer.trainable_variables))  # noqa: B905 - Python 3.6
    for name, weight in weights.items():
        variables[name].assign(weight)
    # A variable of Keras 3 holds TensorFlow's own; one of Keras 2 is TensorFlow's own.
    own = {name: getattr(variable, "value", variable) for name, variable in variables.items()}
    return layer(x), {name: variables[name] if callable(value) else value for name, value in own.items()}


ZEROS = {"kernel_initializer": "zeros", "recurrent_initializer": "zeros"}
"""For layers that get their weights afterwards: the usual orthogonal matrices cannot be drawn in bfloat16."""


def _lstm(tensorflow, t, parameters):
    layer = tensorflow.keras.layers.LSTM(t["recurrent"].shape[0], return_sequences=True, dtype=t["x"].dtype, **ZEROS)
    return _layer(layer, t["x"], {name: t[name] for name in ("weight", "recurrent", "bias")})


def _gru(tensorflow, t, parameters):
    layer = tensorflow.keras.layers.GRU(t["recurrent"].shape[0], return_sequences=True, dtype=t["x"].dtype, **ZEROS)
    names = ("weight", "recurrent", "bias", "recurrent_bias")
    weight, recurrent, *biases = (_other_gate_first(tensorflow.concat, tensorflow.split, t[name]) for name in names)
    weights = {"weight": weight, "recurrent": recurrent, "bias": tensorflow.stack(biases)}
    return _layer(layer, t["x"], weights)


def _other_gate_first(concatenate, split, array):
    """Exchange the first two of three gates: Keras has the update gate first, the reference the reset gate."""
    first, second, third = split(array, 3, -1)
    return concatenate([second, first, third], -1)


def gru_from_keras(arrays):
    """Return a GRU's gradients as the reference has them."""
    import numpy as np

    found = dict(arrays)
    if "bias" in found:
        found["bias"], found["recurrent_bias"] = found["bias"]
    for name in ("weight", "recurrent", "bias", "recurrent_bias"):
        if name in found:
            found[name] = _other_gate_first(np.concatenate, np.split, found[name])
    return found


FROM_LAYER = {"gru": gru_from_keras}


def _layer_norm(tensorflow, t, parameters):
    layer = tensorflow.keras.layers.LayerNormalization(epsilon=parameters["epsilon"], dtype=t["x"].dtype)
    return _layer(layer, t["x"], {"scale": t["scale"], "shift": t["shift"]})


def _embedding(tensorflow, t, parameters):
    return tensorflow.nn.embedding_lookup(t["table"], t["rows"])


def _largest(tensorflow, t, parameters):
    return tensorflow.reduce_max(t["x"], -1)


def _product(tensorflow, t, parameters):
    return t["x"] * t["y"]


def _integer_product(tensorflow, t, parameters):
    return tensorflow.matmul(t["x"], t["weight"], output_type=tensorflow.int32)


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
