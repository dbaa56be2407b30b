"""The reference network in PyTorch, for the smoke training; see smoke_training.py for what each function is for."""

import os

PACKAGE = "torch"

state = {}


def load(settings):
    """Get ready, after it was imported."""
    import torch

    if settings["threads"]:
        torch.set_num_threads(settings["threads"])
    torch.manual_seed(settings["seed"])
    state["torch"] = torch
    return {
        "version": str(torch.__version__),
        "build": {"cuda": torch.version.cuda, "hip": getattr(torch.version, "hip", None)},
    }


def _has_mps(torch):
    mps = getattr(torch.backends, "mps", None)
    return mps is not None and mps.is_available()


def _why_no_cuda(torch, refusal):
    """Return a refusal that says why this build of torch sees no GPU, as torch itself says it."""
    version = "torch %s" % torch.__version__
    if torch.version.cuda is None and getattr(torch.version, "hip", None) is None:
        return refusal("device", "%s is a build for the CPU alone" % version, "cpu-only-build")
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    try:
        torch.zeros(1, device="cuda")
    except Exception as error:
        reason = str(error).strip()
    else:
        reason = "torch.cuda.is_available() is False"
    if visible is not None and visible.strip() in ("", "-1"):
        return refusal("device", "CUDA_VISIBLE_DEVICES=%r hides every GPU" % visible, "visible-devices-masked")
    return refusal("device", "%s sees no GPU: %s" % (version, reason))


def choose_device(asked):
    """Choose where to work, or say why it cannot be there."""
    torch, refusal = state["torch"], state["refusal"]
    why = ""
    if asked == "auto":
        if torch.cuda.is_available():
            used = "cuda:0"
        elif _has_mps(torch):
            used = "mps"
        else:
            used = "cpu"
            why = str(_why_no_cuda(torch, refusal))
    elif asked == "cpu":
        used = "cpu"
    elif asked == "mps":
        if not _has_mps(torch):
            raise refusal("device", "torch %s has no Metal device here" % torch.__version__, "mps-unsupported")
        used = "mps"
    else:
        if not torch.cuda.is_available():
            raise _why_no_cuda(torch, refusal)
        index = int(asked.partition(":")[2] or 0)
        if index >= torch.cuda.device_count():
            raise refusal("device", "there is no GPU %d: torch sees %d" % (index, torch.cuda.device_count()))
        used = "cuda:%d" % index
    state["device"] = torch.device(used)
    name = torch.cuda.get_device_name(state["device"]) if used.startswith("cuda") else used
    return {"used": used, "name": name, "why": why}


def threads():
    """Return how many threads one operation may use."""
    return state["torch"].get_num_threads()


def build(settings):
    """Make the network."""
    torch = state["torch"]
    nn = torch.nn
    # The last layer's softmax is in the loss, as is usual in torch; the mathematics is the same.
    network = nn.Sequential(
        nn.Conv2d(1, 32, 3),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(1600, 128),
        nn.ReLU(),
        nn.Linear(128, 10),
    ).to(state["device"])
    state["network"] = network
    state["layers"] = [layer for layer in network if hasattr(layer, "weight")]
    state["loss"] = nn.CrossEntropyLoss()
    state["optimizer"] = torch.optim.Adam(
        network.parameters(), lr=settings["learning_rate"], eps=settings["adam_epsilon"]
    )
    return sum(parameter.numel() for parameter in network.parameters())


# Keras flattens (height, width, channels), torch (channels, height, width): the first dense kernel is put in order.
_POOLED = (5, 5, 64)


def _to_torch(index, kernel):
    if kernel.ndim == 4:
        return kernel.transpose(3, 2, 0, 1)
    if index == 2:
        kernel = kernel.reshape(*_POOLED, -1).transpose(2, 0, 1, 3).reshape(kernel.shape)
    return kernel.transpose()


def _from_torch(index, kernel):
    if kernel.ndim == 4:
        return kernel.transpose(2, 3, 1, 0)
    kernel = kernel.transpose()
    if index == 2:
        height, width, channels = _POOLED
        kernel = kernel.reshape(channels, height, width, -1).transpose(1, 2, 0, 3).reshape(kernel.shape)
    return kernel


def initialise(weights):
    """Put the initial weights into it."""
    torch = state["torch"]
    with torch.no_grad():
        for index, layer in enumerate(state["layers"]):
            layer.weight.copy_(torch.from_numpy(_to_torch(index, weights[2 * index]).copy()))
            layer.bias.copy_(torch.from_numpy(weights[2 * index + 1]))


def weights():
    """Return the weights, in Keras's layout."""
    arrays = []
    for index, layer in enumerate(state["layers"]):
        arrays.append(_from_torch(index, layer.weight.detach().cpu().numpy()).copy())
        arrays.append(layer.bias.detach().cpu().numpy().copy())
    return arrays


def _tensors(images, labels):
    torch = state["torch"]
    # The images stay where they are, channels last in memory: torch computes this network a good deal faster so on
    # many processors, and it is what a script gets that permutes the axes of arrays in Keras's layout.
    return (
        torch.from_numpy(images).permute(0, 3, 1, 2).to(state["device"]),
        torch.from_numpy(labels).to(state["device"]),
    )


def train(data, orders, settings, watch):
    """Train, batch by batch in the given orders."""
    torch, network, loss_of, optimizer = state["torch"], state["network"], state["loss"], state["optimizer"]
    images, labels = _tensors(*data["train"])
    count, size, warm_up = len(labels), settings["batch_size"], settings["warm_up_batches"]
    for shuffled in orders:
        # Sums stay on the device: reading one number each batch would make a GPU wait for it.
        total_loss = torch.zeros((), device=state["device"])
        total_right = torch.zeros((), device=state["device"], dtype=torch.int64)
        order = torch.from_numpy(shuffled).to(state["device"])
        network.train()
        watch.epoch_begins()
        for batch, start in enumerate(range(0, count, size), 1):
            chosen = order[start : start + size]
            wanted = labels[chosen]
            found = network(images[chosen])
            loss = loss_of(found, wanted)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            with torch.no_grad():
                total_loss += loss * len(wanted)
                total_right += (found.argmax(1) == wanted).sum()
            if watch.epoch == 1 and batch == warm_up:
                total_loss.item()
                watch.warmed_up()
            if watch.is_due():
                seen = min(start + size, count)
                watch.progress(batch, total_loss.item() / seen, total_right.item() / float(seen))
        mean_loss, accuracy = total_loss.item() / count, total_right.item() / float(count)
        watch.trained_an_epoch()
        if not watch.epoch_ends(mean_loss, accuracy, *evaluate(*data["validation"])):
            return


def train_batch(images, labels):
    """Train with one batch; return its loss."""
    network, optimizer = state["network"], state["optimizer"]
    network.train()
    images, labels = _tensors(images, labels)
    loss = state["loss"](network(images), labels)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.item()


def evaluate_batch(images, labels):
    """Return the loss of one batch."""
    return evaluate(images, labels)[0]


def evaluate(images, labels):
    """Return loss and accuracy."""
    torch, network = state["torch"], state["network"]
    network.eval()
    total_loss, total_right = 0.0, 0
    with torch.no_grad():
        for start in range(0, len(labels), state["evaluation_batch"]):
            batch, wanted = _tensors(
                images[start : start + state["evaluation_batch"]], labels[start : start + state["evaluation_batch"]]
            )
            found = network(batch)
            state["result_device"] = found.device
            total_loss += state["loss"](found, wanted).item() * len(wanted)
            total_right += (found.argmax(1) == wanted).sum().item()
    return total_loss / max(len(labels), 1), total_right / float(max(len(labels), 1))


def predict(images):
    """Return the class that the network takes each image for, a NumPy array."""
    torch, network = state["torch"], state["network"]
    network.eval()
    found = []
    with torch.no_grad():
        for start in range(0, len(images), state["evaluation_batch"]):
            batch = torch.from_numpy(images[start : start + state["evaluation_batch"]]).permute(0, 3, 1, 2)
            found.append(network(batch.to(state["device"])).argmax(1).cpu())
    return torch.cat(found).numpy()


def where():
    """Return the devices of the weights and of a result."""
    return [str(parameter.device) for parameter in state["network"].parameters()] + [str(state["result_device"])]


def device_memory():
    """Return the peak of the device's memory, bytes."""
    torch, device = state["torch"], state["device"]
    return torch.cuda.max_memory_reserved(device) if device.type == "cuda" else None
