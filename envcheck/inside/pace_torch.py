"""The pace of PyTorch: products, convolution, memory, copies and the data loader; see pace.py."""

import multiprocessing
import time

PACKAGE = "torch"
REFERENCE = "smoke_torch"

state = {}

# Of the data loader: what one item is, and how many are taken in one go.
ITEM_SHAPE, LOADER_BATCH = (3, 64, 64), 32
LOADER_ITEMS = {"quick": 256, "standard": 1024, "full": 4096}
STUCK_SECONDS = 10.0  # after which a loader that gives nothing is called stuck
SLOW_SECONDS = 0.1  # a product that takes longer is tried with a smaller one
COPY_BYTES = {"quick": 64 << 20, "standard": 256 << 20, "full": 1 << 30}


def prepare(reference, settings):
    """Get ready."""
    state.update(
        torch=reference.state["torch"], device=reference.state["device"], reference=reference, settings=settings
    )


def is_gpu():
    """Tell whether the device is an NVIDIA or AMD GPU."""
    return state["device"].type == "cuda"


def wait():
    """Return when the device has finished."""
    if is_gpu():
        state["torch"].cuda.synchronize(state["device"])
    elif state["device"].type == "mps":
        state["torch"].mps.synchronize()


def set_threads(count):
    """Use so many threads from now on."""
    state["torch"].set_num_threads(count)


def tasks():
    """Return the names of the tasks."""
    names = ["GEMM", "convolution", "memory"]
    if is_gpu():
        names += ["copies", "load", "step"]
    elif state["device"].type == "cpu":
        names.append("threads")
    return [*names, "loader"]


def perform(name, bench):
    """Do one task."""
    {"GEMM": _products, "convolution": _convolution, "memory": _memory, "copies": _copies, "load": _load}.get(
        name, _loader
    )(bench)


def multiply(dtype, side):
    """Return a call that multiplies two square matrices, its floating-point operations and the bytes it must move."""
    torch, device = state["torch"], state["device"]
    flops = 2.0 * side**3
    if dtype == "int8":
        one = torch.randint(-128, 127, (side, side), dtype=torch.int8, device=device)
        # Column by column, as the tensor cores' instructions for 8 bits want the second matrix: on an H100 that is
        # seven times as fast.
        other = torch.randint(-128, 127, (side, side), dtype=torch.int8, device=device).t()
        # The product is of 32-bit integers.
        return (lambda: torch._int_mm(one, other)), flops, 6.0 * side * side  # noqa: SLF001 - has no other name
    kind = torch.float32 if dtype == "tf32" else getattr(torch, dtype)
    one = torch.randn(side, side, device=device).to(kind)
    other = torch.randn(side, side, device=device).to(kind)
    product = state["product"] = torch.empty(side, side, dtype=kind, device=device)
    return (lambda: torch.mm(one, other, out=product)), flops, 3.0 * side * side * one.element_size()


def keep_product():
    """Keep the last product, for others to be compared with it."""
    state["kept"] = state["product"].clone()


def product_deviation():
    """Return whether the last product is finite, and its largest difference from the one that was kept, over that."""
    torch, product, kept = state["torch"], state["product"], state["kept"]
    finite = bool(torch.isfinite(product).all().item())
    largest = max(kept.abs().max().item(), 1e-30)
    return finite, (product - kept).abs().max().item() / largest if finite else None


def device_bytes():
    """Return the bytes that tensors hold on a GPU; None on other devices."""
    return state["torch"].cuda.memory_allocated(state["device"]) if is_gpu() else None


def _products(bench):
    torch = state["torch"]
    for dtype in bench.dtypes():
        side = bench.side()
        try:
            if is_gpu():
                torch.backends.cuda.matmul.allow_tf32 = dtype == "tf32"
            call, flops, moved = multiply(dtype, side)
            # The first call loads the kernel.
            call()
            wait()
            began = time.perf_counter()
            call()
            wait()
            if dtype != "float32" and time.perf_counter() - began > SLOW_SECONDS:
                # A type for which this processor has no fast code: a smaller product tells as much.
                side //= 4
                call, flops, moved = multiply(dtype, side)
        except (RuntimeError, NotImplementedError, TypeError, AttributeError) as error:
            if dtype == "float32":
                raise
            bench.unavailable("GEMM", error, dtype=dtype)
            continue
        finally:
            if is_gpu():
                torch.backends.cuda.matmul.allow_tf32 = False
        if is_gpu():
            torch.backends.cuda.matmul.allow_tf32 = dtype == "tf32"
        bench.measure("GEMM", call, wait, flops=flops, bytes=moved, dtype=dtype, side=side)
        if is_gpu():
            torch.backends.cuda.matmul.allow_tf32 = False
    side = 4096
    matrix = torch.randn(side, side, device=state["device"])
    vector, result = torch.randn(side, device=state["device"]), torch.empty(side, device=state["device"])
    bench.measure(
        "matrix times vector",
        lambda: torch.mv(matrix, vector, out=result),
        wait,
        flops=2.0 * side * side,
        bytes=4.0 * side * (side + 2),
        dtype="float32",
        side=side,
    )


def convolve(batch, channels, side):
    """Return a call that convolves images with 3x3 kernels, its operations and the bytes it must move."""
    torch, device = state["torch"], state["device"]
    images = torch.randn(batch, channels, side, side, device=device)
    kernels = torch.randn(channels, channels, 3, 3, device=device)
    flops = 2.0 * batch * side * side * channels * channels * 9
    moved = 4.0 * (2 * batch * channels * side * side + channels * channels * 9)

    def call():
        with torch.no_grad():
            torch.nn.functional.conv2d(images, kernels, padding=1)

    return call, flops, moved


def _convolution(bench):
    torch = state["torch"]
    if is_gpu():
        torch.backends.cudnn.allow_tf32 = False
    call, flops, moved = convolve(bench.batch(), 64, 28)
    bench.measure("convolution", call, wait, flops=flops, bytes=moved, dtype="float32", batch=bench.batch())


def _memory(bench):
    torch, device = state["torch"], state["device"]
    count = bench.settings["array_bytes"] // 4
    if is_gpu():
        count = min(1 << 28, torch.cuda.get_device_properties(device).total_memory // 64)
    one, other, result = (torch.ones(count, device=device) for _ in range(3))
    bench.measure(
        "triad",
        lambda: torch.add(one, other, alpha=3.0, out=result),
        wait,
        flops=2.0 * count,
        bytes=12.0 * count,
        dtype="float32",
        array_bytes=4 * count,
    )


def _copies(bench):
    torch, device = state["torch"], state["device"]
    size = COPY_BYTES[bench.size]
    there = torch.empty(size, dtype=torch.uint8, device=device)
    for kind, pinned in (("pinned", True), ("pageable", False)):
        here = torch.zeros(size, dtype=torch.uint8)
        if pinned:
            try:
                here = here.pin_memory()
            except RuntimeError as error:
                bench.unavailable("host to device, pinned", error)
                bench.unavailable("device to host, pinned", error)
                continue
        bench.measure("host to device, %s" % kind, _copy(there, here), wait, bytes=float(size))
        bench.measure("device to host, %s" % kind, _copy(here, there), wait, bytes=float(size))


def _copy(target, source):
    return lambda: target.copy_(source, non_blocking=True)


def _load(bench):
    call, flops, _ = multiply("float16", bench.side())
    bench.keep_busy(call, wait, flops=flops, dtype="float16")


def packed_images(numpy, count, seed):
    """Return images as a file format packs them: bytes that must be unpacked before they are numbers."""
    import zlib

    random = numpy.random.RandomState(seed)
    # Smooth images: those of a camera pack to about half of their size.
    shades = [random.randint(0, 16, ITEM_SHAPE).astype(numpy.uint8) for _ in range(16)]
    packed = [zlib.compress(shade.tobytes(), 1) for shade in shades]
    return [packed[index % len(packed)] for index in range(count)]


class PackedImages:
    """A data set in the form that torch's loader takes: unpacks an image and makes numbers from 0 to 1 of it."""

    def __init__(self, packed):
        """Hold packed images."""
        self.packed = packed

    def __len__(self):
        """Return how many there are."""
        return len(self.packed)

    def __getitem__(self, index):
        """Return one image."""
        import zlib

        import numpy as np

        values = np.frombuffer(zlib.decompress(self.packed[index]), np.uint8)
        return state["torch"].from_numpy(values.reshape(ITEM_SHAPE).astype(np.float32) / np.float32(255))


def _loader(bench):
    import numpy as np

    items = PackedImages(packed_images(np, LOADER_ITEMS[bench.size], bench.settings["seed"]))
    for workers in bench.settings["workers"]:
        name = "loader, %d workers" % workers if workers != 1 else "loader, 1 worker"
        if workers and "fork" not in multiprocessing.get_all_start_methods():
            bench.unavailable(name, "this system cannot fork: workers would have to import a program's own file")
            continue
        bench.reporter.begin(name)
        share = bench.share()
        seconds = []
        for epoch in range(3 if bench.size == "quick" else 4):
            began = time.perf_counter()
            for number, _ in enumerate(_batches(items, workers)):
                if number == 0:
                    # Workers start while the first batch is awaited; that is told apart.
                    first, began = time.perf_counter() - began, time.perf_counter()
            if epoch:
                seconds.append((time.perf_counter() - began) / max(len(items) - LOADER_BATCH, 1))
        bench.tell(name, seconds, share, items=1, unit="samples/s", workers=workers, first_batch_seconds=first)


def _batches(items, workers):
    options = {"batch_size": LOADER_BATCH, "num_workers": workers}
    if workers:
        options.update(timeout=STUCK_SECONDS, multiprocessing_context="fork")
    return state["torch"].utils.data.DataLoader(items, **options)
