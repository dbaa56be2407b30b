"""The distributed training in PyTorch: DistributedDataParallel over gloo or NCCL; see distributed_rank.py."""

import datetime as dt
import os

state = {}
GROUP_SECONDS = 1800  # that a collective operation may wait: whoever watches the ranks is quicker


def load(settings, teller, training):
    """Import PyTorch, choose backend and device, and join the others."""
    import torch
    import torch.distributed as dist

    if not dist.is_available():
        raise training.RefusalError("broken", "torch %s was built without torch.distributed" % torch.__version__)
    local, world, asked = int(os.environ["LOCAL_RANK"]), int(os.environ["WORLD_SIZE"]), settings["device"]
    cards = torch.cuda.device_count() if torch.cuda.is_available() else 0
    on_cards = asked != "cpu" and cards >= world and dist.is_nccl_available()
    if asked.startswith("cuda") and not on_cards:
        reason = "torch %s sees %d GPUs, %d ranks need one each" % (torch.__version__, cards, world)
        raise training.RefusalError("device", reason)
    backend = "nccl" if on_cards else "gloo"
    device = torch.device("cuda", local) if on_cards else torch.device("cpu")
    if on_cards:
        torch.cuda.set_device(device)
    state.update(torch=torch, dist=dist, device=device, world=world, training=training)
    teller.collective(
        "init_process_group",
        lambda: dist.init_process_group(backend, timeout=dt.timedelta(seconds=GROUP_SECONDS)),
    )
    return {
        "version": str(torch.__version__),
        "backend": backend,
        "device": str(device),
        "name": torch.cuda.get_device_name(device) if on_cards else "",
    }


def meet(teller):
    """Wait for all, and count them."""
    teller.collective("barrier", state["dist"].barrier)
    return {"world": state["dist"].get_world_size(), "found_rank": state["dist"].get_rank()}


def dtypes():
    """Return the number formats in which sums are checked."""
    return ["float64", "float32", "int64"] + (["bfloat16"] if state["device"].type == "cuda" else [])


def all_reduce(teller, values, dtype):
    """Return the sum over all ranks, NumPy float64."""
    torch = state["torch"]
    tensor = torch.from_numpy(values).to(state["device"], getattr(torch, dtype))
    teller.collective("all-reduce", state["dist"].all_reduce, tensor)
    return tensor.to(torch.float64).cpu().numpy()


def all_gather(teller, values):
    """Return all ranks' values, one after the other."""
    torch = state["torch"]
    tensor = torch.from_numpy(values).to(state["device"])
    parts = [torch.zeros_like(tensor) for _ in range(state["world"])]
    teller.collective("all-gather", state["dist"].all_gather, parts, tensor)
    return torch.cat(parts).cpu().numpy()


def message(count):
    """Return a function that sums `count` float32 over all ranks."""
    torch, dist, device = state["torch"], state["dist"], state["device"]
    tensor = torch.zeros(count, device=device)

    def send():
        dist.all_reduce(tensor)
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    return send


def _network(weights):
    sibling = _smoke_torch()
    sibling.build({"learning_rate": 1e-3, "adam_epsilon": 1e-7})
    sibling.initialise(weights)
    return sibling.state["network"]


def _smoke_torch():
    if "sibling" not in state:
        import importlib.util

        path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "smoke_torch.py")
        specification = importlib.util.spec_from_file_location("smoke_torch", path)
        sibling = importlib.util.module_from_spec(specification)
        specification.loader.exec_module(sibling)
        sibling.state.update(torch=state["torch"], device=state["device"])
        state["sibling"] = sibling
    return state["sibling"]


def _batch(images, labels, chosen):
    torch, device = state["torch"], state["device"]
    return (
        torch.from_numpy(images[chosen]).permute(0, 3, 1, 2).to(device),
        torch.from_numpy(labels[chosen]).to(device),
    )


def train_alone(teller, images, labels, weights, batches, learning_rate):
    """Return the losses of one process that sees every image."""
    torch = state["torch"]
    network, loss_of = _network(weights), torch.nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(network.parameters(), lr=learning_rate)
    losses = []
    for chosen in batches:
        found, wanted = _batch(images, labels, chosen)
        loss = loss_of(network(found), wanted)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        teller.send("beat")
    return losses


def train(teller, images, labels, weights, shares, learning_rate, batch_size):
    """Return the losses of all ranks together, and the largest difference between their weights at the end."""
    torch, dist, device, world = state["torch"], state["dist"], state["device"], state["world"]
    network = _network(weights)
    parallel = teller.collective(
        "DistributedDataParallel",
        lambda: torch.nn.parallel.DistributedDataParallel(
            network, device_ids=[device.index] if device.type == "cuda" else None
        ),
    )
    optimizer = torch.optim.SGD(parallel.parameters(), lr=learning_rate)
    losses = []
    for step, chosen in enumerate(shares):
        found, wanted = _batch(images, labels, chosen)
        # The gradients' mean over the ranks must be that of the whole batch, whatever the shares.
        loss = torch.nn.functional.cross_entropy(parallel(found), wanted, reduction="sum") * (world / float(batch_size))
        optimizer.zero_grad()
        teller.collective("gradients of step %d" % (step + 1), loss.backward)
        optimizer.step()
        total = loss.detach() / world
        teller.collective("loss of step %d" % (step + 1), dist.all_reduce, total)
        losses.append(total.item())
    flat = torch.cat([parameter.detach().reshape(-1) for parameter in network.parameters()])
    low, high = flat.clone(), flat.clone()
    teller.collective("smallest weights", lambda: dist.all_reduce(low, op=dist.ReduceOp.MIN))
    teller.collective("largest weights", lambda: dist.all_reduce(high, op=dist.ReduceOp.MAX))
    return losses, (high - low).max().item()


def device_memory():
    """Return the peak of the device's memory, bytes."""
    torch, device = state["torch"], state["device"]
    return torch.cuda.max_memory_reserved(device) if device.type == "cuda" else None


def part():
    """Leave the group."""
    state["dist"].destroy_process_group()
