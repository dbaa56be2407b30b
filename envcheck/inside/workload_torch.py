"""Workloads in PyTorch; see workload_walk.py for what a workload's files give, smoke_torch.py for device and threads.

What the walk asks of an engine (arrays are NumPy's):

    FAMILY                              ending of the workloads' files for it
    prepare(load_sibling, settings, refusal)    before anything is imported
    load, choose_device, device_memory  as smoke_torch.py's
    build(module, size)                 make the network; return how many numbers it trains
    restart()                           the same anew: no memory of any training
    initialise(names, arrays)           put in parameters that are in Keras's layout
    arranged(names, arrays)             the same in the framework's layout
    weights(names), put_back(names, arrays)     in the framework's layout
    compile(inputs, target)             put the compiler to work; return the outputs without and with it
    do_without_compiler()
    train(part, validation, orders, watch, place), train_batch(inputs, target) -> loss
    evaluate(part) -> mean loss, predict(inputs) -> outputs
    layer_outputs(inputs)               yields (layer, output), in the order of computation
    inner(inputs), where(inputs)
    save_and_load(folder, inputs, size_name)    yields a dict for each format
"""

import os

FAMILY = "torch"
SAME_AFTER_LOADING = 1e-5
SAME_AFTER_EXPORT = 1e-4

state = {}


def prepare(load_sibling, settings, refusal):
    """Get ready, before anything is imported."""
    base = load_sibling("smoke_torch")
    base.PACKAGE = settings["package"]
    base.state["refusal"] = refusal
    state.update(base=base, settings=settings)


def load(settings):
    """Get ready, after it was imported."""
    return state["base"].load(settings)


def choose_device(asked):
    """Choose where to work."""
    chosen = state["base"].choose_device(asked)
    state.update(torch=state["base"].state["torch"], device=state["base"].state["device"])
    return chosen


def reference():
    """Return the module that trains the reference network in this framework."""
    return state["base"]


def device_memory():
    """Return the peak of the device's memory, bytes."""
    return state["base"].device_memory()


class _WithoutAutocast:
    def __enter__(self):
        return self

    def __exit__(self, *_):
        return False


def _autocast():
    """Return the context in which the forward pass runs: the framework's own mixed precision, or none."""
    return state["autocast"]() if state["autocast"] else _WithoutAutocast()


def _precision():
    """Choose the half precision that this device has, and a scaler of the loss where its numbers are small."""
    torch, kind = state["torch"], state["device"].type
    state.update(autocast=None, scaler=None, half="")
    if state["settings"]["precision"] != "mixed":
        return
    wide = torch.cuda.is_bf16_supported() if kind == "cuda" else kind == "cpu"
    half = torch.bfloat16 if wide else torch.float16
    state["half"] = str(half).replace("torch.", "")
    state["autocast"] = lambda: torch.autocast(kind, dtype=half)
    if half == torch.float16 and kind == "cuda":
        state["scaler"] = torch.cuda.amp.GradScaler()


def half():
    """Return the name of the shorter numbers that it computes with; empty where all are float32."""
    return state["half"]


def build(module, size):
    """Make the network and its optimizer."""
    torch = state["torch"]
    state.update(module=module, size=size)
    _precision()
    network = module.build(torch, size).to(state["device"])
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    state.update(
        network=network,
        run=network,
        optimizer=torch.optim.Adam(trained, lr=size["learning_rate"], eps=state["settings"]["adam_epsilon"]),
    )
    return sum(parameter.numel() for parameter in trained)


def restart():
    """Make the same network anew."""
    build(state["module"], state["size"])


def arranged(names, arrays):
    """Return parameters in torch's layout."""
    arrange = getattr(state["module"], "arrange", arrange_kernel)
    return [arrange(name, array) for name, array in zip(names, arrays)]  # noqa: B905 - Python 3.6


def arrange_kernel(name, array):
    """Return a kernel with its axes in torch's order; all else as it is."""
    if not name.endswith("kernel") or array.ndim < 2:
        return array
    return array.transpose({2: (1, 0), 3: (2, 1, 0), 4: (3, 2, 0, 1)}[array.ndim])


def initialise(names, arrays):
    """Put the initial parameters into it."""
    put_back(names, arranged(names, arrays))


def put_back(_, arrays):
    """Put in parameters that are in torch's layout already."""
    torch = state["torch"]
    with torch.no_grad():
        for array, tensor in zip(arrays, state["module"].parameters(state["network"])):  # noqa: B905
            # A tuple has the rows of what is one parameter in Keras, such as both biases of a GRU.
            rows = zip(tensor, array) if isinstance(tensor, tuple) else [(tensor, array)]  # noqa: B905
            for row, values in rows:
                row.copy_(torch.from_numpy(values.copy()))


def weights(_):
    """Return the parameters."""
    torch = state["torch"]
    found = state["module"].parameters(state["network"])
    whole = [torch.stack(tensor) if isinstance(tensor, tuple) else tensor for tensor in found]
    return [tensor.detach().cpu().numpy().copy() for tensor in whole]


def _tensor(array):
    torch = state["torch"]
    if array.dtype.kind in "iub":
        array = array.astype("int64")
    return torch.from_numpy(array).to(state["device"])


def _tensors(inputs):
    return {name: _tensor(array) for name, array in inputs.items()}


def _losses(inputs, target):
    """Return one loss a sample."""
    with _autocast():
        outputs = state["run"](**inputs)
    if state["autocast"]:
        outputs = outputs.float()
    return state["module"].loss(state["torch"], outputs, target)


def _step(inputs, target):
    """Train with one batch; return its mean loss, still on the device."""
    optimizer, scaler = state["optimizer"], state["scaler"]
    loss = _losses(inputs, target).mean()
    optimizer.zero_grad()
    if scaler is None:
        loss.backward()
        optimizer.step()
    else:
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
    return loss.detach()


def compile(inputs, target):  # noqa: A001 - what it is called in both frameworks
    """Compile the network and try it, forward and backward; return the outputs without and with it."""
    torch, network = state["torch"], state["network"]
    if not hasattr(torch, "compile"):
        raise state["base"].state["refusal"](
            "compile", "torch %s has no compiler: torch.compile came with 2.0" % torch.__version__
        )
    kept = {name: value.clone() for name, value in network.state_dict().items()}
    eager = predict(inputs)
    state["run"] = torch.compile(network)
    compiled = predict(inputs)
    network.train()
    _losses(_tensors(inputs), _tensor(target)).mean().backward()
    state["optimizer"].zero_grad()
    network.load_state_dict(kept)
    return eager, compiled


def do_without_compiler():
    """Go on without the compiler."""
    state["run"] = state["network"]
    state["optimizer"].zero_grad()


def _as_it_is(batch):
    return batch


def _loaders(part, orders):
    """Yield a loader of the batches of each epoch."""
    torch = state["torch"]
    inputs, target = _tensors(part["inputs"]), _tensor(part["target"])

    class Samples(torch.utils.data.Dataset):
        def __len__(self):
            return len(target)

        def __getitem__(self, chosen):
            return {name: tensor[chosen] for name, tensor in inputs.items()}, target[chosen]

    batch = state["size"]["batch_size"]
    for order in orders:
        batches = torch.from_numpy(order).to(state["device"]).split(batch)
        # Whole batches are taken at once; the sampler says which samples each of them has. They are tensors already:
        # what would make tensors of them costs as much as a small layer.
        yield torch.utils.data.DataLoader(Samples(), sampler=batches, batch_size=None, collate_fn=_as_it_is)


def train(part, validation, orders, watch, place):
    """Train, batch by batch in the given orders."""
    torch, network = state["torch"], state["network"]
    warm_up = state["settings"]["warm_up_batches"]
    for loader in _loaders(part, orders):
        # The sum stays on the device: reading one number each batch would make a GPU wait for it.
        total = torch.zeros((), device=state["device"])
        network.train()
        watch.epoch_begins()
        for batch, (inputs, target) in enumerate(loader, 1):
            place.given += 1
            total += _step(inputs, target)
            place.trained += 1
            if place.trained == warm_up:
                total.item()
                watch.warmed_up()
            if watch.is_due():
                watch.progress(batch, total.item() / batch, None)
        mean = total.item() / watch.batches
        watch.trained_an_epoch()
        place.validates = True
        if not watch.epoch_ends(mean, None, evaluate(validation), None):
            return
        place.validates = False


def train_batch(inputs, target):
    """Train with one batch; return its mean loss."""
    state["network"].train()
    return _step(_tensors(inputs), _tensor(target)).item()


def _evaluated(inputs):
    """Return the outputs of a batch of tensors in evaluation mode, as float32."""
    torch = state["torch"]
    state["network"].eval()
    with torch.no_grad(), _autocast():
        outputs = state["run"](**inputs)
    state["result_device"] = outputs.device
    return outputs.float()


def evaluate(part):
    """Return the mean loss."""
    torch, total, count = state["torch"], 0.0, len(part["target"])
    batch = state["size"].get("evaluation_batch", state["settings"]["evaluation_batch"])
    for start in range(0, count, batch):
        inputs = {name: array[start : start + batch] for name, array in part["inputs"].items()}
        outputs = _evaluated(_tensors(inputs))
        with torch.no_grad():
            losses = state["module"].loss(torch, outputs, _tensor(part["target"][start : start + batch]))
        total += losses.double().sum().item() if state["device"].type != "mps" else losses.sum().item()
    return total / max(count, 1)


def predict(inputs):
    """Return the network's outputs for a batch."""
    return _evaluated(_tensors(inputs)).cpu().numpy()


def layer_outputs(inputs):
    """Yield each layer's name and output, in the order in which they are computed."""
    torch, network, found = state["torch"], state["network"], []

    def listen(name):
        def keep(_, __, output):
            first = output[0] if isinstance(output, (tuple, list)) else output
            if torch.is_tensor(first):
                found.append((name, first.detach().float().cpu().numpy()))

        return keep

    handles = [layer.register_forward_hook(listen(name)) for name, layer in network.named_modules() if name]
    # In training mode, for that is where the bad number came.
    network.train()
    with torch.no_grad(), _autocast():
        outputs = network(**_tensors(inputs))
    for handle in handles:
        handle.remove()
    found.append(("the network's output", outputs.float().cpu().numpy()))
    return found


def inner(inputs):
    """Return what the workload shows of the network's inside."""
    torch = state["torch"]
    if not hasattr(state["module"], "inner"):
        return {}
    state["network"].eval()
    with torch.no_grad():
        found = state["module"].inner(torch, state["network"], _tensors(inputs))
    return {name: tensor.float().cpu().numpy() for name, tensor in found.items()}


def where(_):
    """Return the devices of the parameters and of a result."""
    return [str(parameter.device) for parameter in state["network"].parameters()] + [str(state["result_device"])]


def _fresh(kept):
    network = state["module"].build(state["torch"], state["size"]).to(state["device"])
    network.load_state_dict(kept)
    return network.eval()


def _outputs_of(network, inputs):
    # Without gradients torch takes an encoder layer's fast path, whose GELU on a GPU is the approximation by tanh (the
    # epilogue of cuBLASLt knows no other; measured: 2e-4 of the largest output); what was exported has no such path.
    return network(**_tensors(inputs)).detach().float().cpu().numpy()


def save_and_load(folder, inputs, size_name):
    """Save the network in each format that is there, load it into a new one and compare the outputs."""
    wanted = _outputs_of(state["network"].eval(), inputs)
    yield _tried("state_dict", _through_state_dict, folder, inputs, wanted, SAME_AFTER_LOADING)
    yield _tried("safetensors", _through_safetensors, folder, inputs, wanted, SAME_AFTER_LOADING)
    if size_name != "quick":
        yield _tried("torch.export", _through_export, folder, inputs, wanted, SAME_AFTER_EXPORT)


class _AbsentError(Exception):
    """A format whose library is not here."""


def _tried(name, through, folder, inputs, wanted, allowed):
    try:
        found = through(folder, inputs)
    except _AbsentError as error:
        return {"format": name, "absent": str(error)}
    except Exception as error:
        return {"format": name, "error": "%s: %s" % (type(error).__name__, str(error)[:2000])}
    scale = float(abs(wanted).max()) or 1.0
    return {"format": name, "difference": float(abs(found - wanted).max()) / scale, "allowed": allowed}


def _through_state_dict(folder, inputs):
    torch = state["torch"]
    path = os.path.join(folder, "network.pt")
    torch.save(state["network"].state_dict(), path)
    try:
        kept = torch.load(path, map_location=state["device"], weights_only=True)
    except TypeError:  # before torch 1.13
        kept = torch.load(path, map_location=state["device"])
    return _outputs_of(_fresh(kept), inputs)


def _through_safetensors(folder, inputs):
    try:
        import safetensors.torch
    except ImportError:
        raise _AbsentError("safetensors is not installed")
    path = os.path.join(folder, "network.safetensors")
    # One that shares memory with another is refused there, so each is a copy.
    kept = {name: tensor.detach().clone().contiguous() for name, tensor in state["network"].state_dict().items()}
    safetensors.torch.save_file(kept, path)
    return _outputs_of(_fresh(safetensors.torch.load_file(path)), inputs)


def _through_export(folder, inputs):
    torch = state["torch"]
    if not hasattr(torch, "export") or not hasattr(torch.export, "save"):
        raise _AbsentError("torch %s has no torch.export" % torch.__version__)
    path = os.path.join(folder, "network.pt2")
    with torch.no_grad():
        torch.export.save(torch.export.export(state["network"], (), kwargs=_tensors(inputs)), path)
    return _outputs_of(torch.export.load(path).module(), inputs)
