"""The operations of the arithmetic in PyTorch; see arithmetic_walk.py for what each function is for."""

PACKAGE = "torch"
BASE = "smoke_torch"

state = {}


def load(settings, base):
    """Get ready, after it was imported; `base` is the module that trains the reference network."""
    loaded = base.load(settings)
    torch = base.state["torch"]
    state.update(torch=torch, base=base)
    switch_off(torch, settings["switches"])
    return loaded


def switch_off(torch, switches):
    """Do without oneDNN or cuDNN where that is asked for."""
    if not switches.get("mkldnn", True):
        torch.backends.mkldnn.enabled = False
    if not switches.get("cudnn", True):
        torch.backends.cudnn.enabled = False


def devices(asked):
    """Return the devices on which to compute."""
    torch, base = state["torch"], state["base"]
    if asked != "auto":
        return [base.choose_device(asked)["used"]]
    found = ["cpu"]
    if torch.cuda.is_available():
        found += ["cuda:%d" % index for index in range(torch.cuda.device_count())]
    elif base.choose_device("auto")["used"] == "mps":
        found.append("mps")
    return found


def formats(device):
    """Return the number formats, and for each why it is not available here, or nothing."""
    found = dict.fromkeys(("float64", "float32", "tf32", "bfloat16", "float16", "int8"), "")
    if device == "mps":
        found["float64"] = "Metal has no float64"
    if not device.startswith("cuda"):
        found["tf32"] = "the %s has no TF32" % ("Metal backend" if device == "mps" else "processor")
    elif _capability(device) < (8, 0):
        found["tf32"] = "TF32 needs compute capability 8.0, this GPU has %d.%d" % _capability(device)
        if _capability(device) < (5, 3):
            found["float16"] = "arithmetic in float16 needs compute capability 5.3"
    if not hasattr(state["torch"], "_int_mm"):
        found["int8"] = "torch %s has no product of int8 matrices" % state["torch"].__version__
    return found


def wide_sums(device, direction):
    """Return whether sums of 16-bit numbers are promised to be float32's.

    Torch documents it for products of matrices (its `allow_..._reduced_precision_reduction` switches allow less); on
    the processor the gradients of an embedding's table, of scales and of grouped kernels are added up in 16 bits.
    """
    return direction == "forward"


def _capability(device):
    return state["torch"].cuda.get_device_capability(device)


def choose_format(device, dtype):
    """Let products of matrices be computed in this format and in no lower one."""
    torch = state["torch"]
    allowed = dtype == "tf32"
    if device.startswith("cuda"):
        torch.backends.cuda.matmul.allow_tf32 = allowed
        torch.backends.cudnn.allow_tf32 = allowed
        # The sums of 16-bit products are to be float32's, which is what the tolerance is made from.
        for name in ("allow_fp16_reduced_precision_reduction", "allow_bf16_reduced_precision_reduction"):
            if hasattr(torch.backends.cuda.matmul, name):
                setattr(torch.backends.cuda.matmul, name, False)


CONVENTION = "inside"
"""Of Adam's epsilon; torch.optim.Adam's documentation shows it added to the root of the corrected second moment."""


CONSTANT_UNIT = 0.0
"""Of a formula's constants: torch keeps a Python number in float64 until it meets a tensor."""


def compute(device, dtype, case):
    """Compute one case; return the result, where it lies, its format, and a function that gives the gradients."""
    torch = state["torch"]
    reference, parameters = case["reference"], case["parameters"]
    to_framework, from_framework = LAYOUTS.get(reference, (dict, dict))
    arrays = to_framework(case["inputs"])
    number_type = getattr(torch, "float32" if dtype == "tf32" else dtype)
    tensors = {}
    for name, array in arrays.items():
        tensor = torch.from_numpy(array.copy()).to(device)
        if array.dtype.kind == "f":
            tensor = tensor.to(number_type)
            if name not in ("upstream", "gradients"):
                tensor = torch.nn.Parameter(tensor)
        tensors[name] = tensor
    result = FORWARD[reference](torch, tensors, parameters)
    back = from_framework({"result": _to_numpy(result)})

    def pull_back():
        leaves = [name for name, tensor in tensors.items() if isinstance(tensor, torch.nn.Parameter)]
        gradients = torch.autograd.grad(
            result, [tensors[name] for name in leaves], tensors.get("upstream"), allow_unused=True
        )
        found = {name: _to_numpy(tensor) for name, tensor in zip(leaves, gradients) if tensor is not None}  # noqa: B905 - Python 3.6
        return from_framework(found)

    return back["result"], str(result.device), str(result.dtype).rpartition(".")[2], pull_back


def _to_numpy(tensor):
    tensor = tensor.detach().cpu()
    return tensor.numpy() if tensor.dtype == state["torch"].int32 else tensor.to(state["torch"].float64).numpy()


def _exchange(orders, back=False):
    """Return a function that exchanges the axes of the arrays that are named."""

    def change(arrays):
        found = dict(arrays)
        for name, order in orders.items():
            if name in found:
                axes = sorted(range(len(order)), key=order.__getitem__) if back else order
                found[name] = found[name].transpose(axes).copy()
        return found

    return change


def _layout(orders):
    return _exchange(orders), _exchange(orders, back=True)


_IMAGE = (0, 3, 1, 2)
_IMAGES = {"x": _IMAGE, "upstream": _IMAGE, "result": _IMAGE}

# In torch the channels come first, and a kernel's or a matrix's outputs.
LAYOUTS = {
    "linear": _layout({"weight": (1, 0)}),
    "convolution": _layout(dict(_IMAGES, kernel=(3, 2, 0, 1))),
    "max_pooling": _layout(_IMAGES),
    "lstm": _layout({"weight": (1, 0), "recurrent": (1, 0)}),
    "gru": _layout({"weight": (1, 0), "recurrent": (1, 0)}),
}


def _linear(torch, t, parameters):
    return torch.nn.functional.linear(t["x"], t["weight"], t["bias"])


def _activation(torch, t, parameters):
    functional = torch.nn.functional
    functions = {
        "relu": functional.relu,
        "gelu": functional.gelu,
        "gelu (tanh)": lambda x: functional.gelu(x, approximate="tanh"),
        "sigmoid": torch.sigmoid,
        "tanh": torch.tanh,
        "silu": functional.silu,
        "softplus": functional.softplus,
    }
    return functions[parameters["function"]](t["x"])


def _convolution(torch, t, parameters):
    return torch.nn.functional.conv2d(
        t["x"],
        t["kernel"],
        t["bias"],
        stride=parameters["stride"],
        padding=parameters["padding"],
        dilation=parameters["dilation"],
        groups=parameters["groups"],
    )


def _max_pooling(torch, t, parameters):
    return torch.nn.functional.max_pool2d(
        t["x"], parameters["size"], stride=parameters["stride"], padding=parameters["padding"]
    )


def _steps(torch, optimizer, t):
    for gradient in t["gradients"]:
        t["parameter"].grad = gradient.clone()
        optimizer.step()
    return t["parameter"]


def _gradient_descent(torch, t, parameters):
    return _steps(torch, torch.optim.SGD([t["parameter"]], lr=parameters["rate"], momentum=parameters["momentum"]), t)


def _adam(torch, t, parameters):
    return _steps(
        torch,
        torch.optim.Adam(
            [t["parameter"]], lr=parameters["rate"], betas=parameters["decays"], eps=parameters["epsilon"]
        ),
        t,
    )


def _softmax(torch, t, parameters):
    return torch.softmax(t["x"], -1)


def _log_softmax(torch, t, parameters):
    return torch.log_softmax(t["x"], -1)


def _cross_entropy(torch, t, parameters):
    return torch.nn.functional.cross_entropy(t["x"], t["labels"])


def _additive_attention(torch, t, parameters):
    query = torch.matmul(t["query"], t["query_weight"]).unsqueeze(2)
    key = torch.matmul(t["key"], t["key_weight"]).unsqueeze(1)
    scores = torch.matmul(torch.tanh(query + key + t["bias"]), t["score_weight"])
    return torch.matmul(torch.softmax(scores, -1), t["value"])


def _dot_product_attention(torch, t, parameters):
    return torch.nn.functional.scaled_dot_product_attention(
        t["query"], t["key"], t["value"], is_causal=parameters["causal"]
    )


def _recurrent(torch, layer, t, bias, recurrent_bias):
    layer.weight_ih_l0, layer.weight_hh_l0 = t["weight"], t["recurrent"]
    layer.bias_ih_l0, layer.bias_hh_l0 = bias, recurrent_bias
    return layer(t["x"])[0]


def _lstm(torch, t, parameters):
    units = t["recurrent"].shape[1]
    layer = torch.nn.LSTM(t["x"].shape[2], units, batch_first=True, device=t["x"].device, dtype=t["x"].dtype)
    # torch adds two biases, of which the second is 0 here.
    none = torch.nn.Parameter(torch.zeros_like(t["bias"]), requires_grad=False)
    return _recurrent(torch, layer, t, t["bias"], none)


def _gru(torch, t, parameters):
    units = t["recurrent"].shape[1]
    layer = torch.nn.GRU(t["x"].shape[2], units, batch_first=True, device=t["x"].device, dtype=t["x"].dtype)
    return _recurrent(torch, layer, t, t["bias"], t["recurrent_bias"])


def _layer_norm(torch, t, parameters):
    return torch.nn.functional.layer_norm(t["x"], t["scale"].shape, t["scale"], t["shift"], parameters["epsilon"])


def _embedding(torch, t, parameters):
    return torch.nn.functional.embedding(t["rows"], t["table"])


def _largest(torch, t, parameters):
    return torch.amax(t["x"], -1)


def _product(torch, t, parameters):
    return t["x"] * t["y"]


def _integer_product(torch, t, parameters):
    return torch._int_mm(t["x"], t["weight"])  # noqa: SLF001 - the one product of int8 matrices that torch has


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
