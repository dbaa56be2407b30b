"""The pace of TensorFlow: products, convolution, memory, copies and the input pipeline; see pace.py.

Threads cannot be changed once TensorFlow has started: a sweep takes a process for each number of them.
"""

import time

PACKAGE = "tensorflow"
REFERENCE = "smoke_keras"

state = {}

IMAGE_SIDE, LOADER_BATCH = 64, 32
LOADER_ITEMS = {"quick": 256, "standard": 1024, "full": 4096}
SLOW_SECONDS = 0.1  # a product that takes longer is tried with a smaller one
COPY_BYTES = {"quick": 64 << 20, "standard": 256 << 20, "full": 1 << 30}


def prepare(reference, _settings):
    """Get ready."""
    state.update(tensorflow=reference.state["tensorflow"], device=reference.state["device"], reference=reference)


def is_gpu():
    """Tell whether the device is a GPU."""
    return "GPU" in state["device"]


def wait():
    """Return when the device has finished: reading one number of the last result waits for all before it."""
    if is_gpu() and "last" in state:
        tensorflow = state["tensorflow"]
        tensorflow.reshape(state["last"], [-1])[0].numpy()


def tasks():
    """Return the names of the tasks."""
    names = ["GEMM", "convolution", "memory"]
    return names + (["copies", "load", "step"] if is_gpu() else ["threads"]) + ["loader"]


def perform(name, bench):
    """Do one task."""
    {"GEMM": _products, "convolution": _convolution, "memory": _memory, "copies": _copies, "load": _load}.get(
        name, _loader
    )(bench)


def _kept(function):
    """Return a call that runs on the device and keeps its result for `wait`."""
    tensorflow, device = state["tensorflow"], state["device"]

    def call():
        with tensorflow.device(device):
            state["last"] = function()

    return call


def _normal(*shape):
    tensorflow = state["tensorflow"]
    with tensorflow.device(state["device"]):
        return tensorflow.random.normal(shape)


def multiply(dtype, side):
    """Return a call that multiplies two square matrices, its floating-point operations and the bytes it must move."""
    tensorflow = state["tensorflow"]
    flops = 2.0 * side**3
    one, other = _normal(side, side), _normal(side, side)
    if dtype == "int8":
        one, other = (tensorflow.cast(matrix * 40.0, tensorflow.int8) for matrix in (one, other))
        # The product is of 32-bit integers.
        multiplied = _kept(lambda: tensorflow.matmul(one, other, output_type=tensorflow.int32))
        return multiplied, flops, 6.0 * side * side
    if dtype != "tf32":
        one, other = (tensorflow.cast(matrix, getattr(tensorflow, dtype)) for matrix in (one, other))
    return _kept(lambda: tensorflow.matmul(one, other)), flops, 3.0 * side * side * one.dtype.size


def keep_product():
    """Keep the last product, for others to be compared with it."""
    state["kept"] = state["last"]


def product_deviation():
    """Return whether the last product is finite, and its largest difference from the one that was kept, over that."""
    tensorflow, product, kept = state["tensorflow"], state["last"], state["kept"]
    with tensorflow.device(state["device"]):
        finite = bool(tensorflow.reduce_all(tensorflow.math.is_finite(product)).numpy())
        largest = max(float(tensorflow.reduce_max(tensorflow.abs(kept)).numpy()), 1e-30)
        difference = float(tensorflow.reduce_max(tensorflow.abs(product - kept)).numpy())
    return finite, difference / largest if finite else None


def device_bytes():
    """Return the bytes that tensors hold on a GPU; None on other devices, and where TensorFlow does not tell."""
    if not is_gpu():
        return None
    try:
        return state["tensorflow"].config.experimental.get_memory_info(state["device"].lstrip("/"))["current"]
    except Exception:
        return None


def _use_tensor_float_32(wanted):
    """Let products on a GPU be computed in TF32, or in float32; TensorFlow before 2.4 has no such switch."""
    switch = getattr(state["tensorflow"].config.experimental, "enable_tensor_float_32_execution", None)
    if is_gpu() and switch is not None:
        switch(wanted)


def _products(bench):
    tensorflow = state["tensorflow"]
    for dtype in bench.dtypes():
        side = bench.side()
        _use_tensor_float_32(dtype == "tf32")
        try:
            call, flops, moved = multiply(dtype, side)
            began = time.perf_counter()
            call()
            wait()
            if dtype != "float32" and time.perf_counter() - began > SLOW_SECONDS:
                # A type for which this processor has no fast code: a smaller product tells as much.
                side //= 4
                call, flops, moved = multiply(dtype, side)
                call()
                wait()
        except (tensorflow.errors.OpError, TypeError, ValueError, AttributeError) as error:
            if dtype == "float32":
                raise
            bench.unavailable("GEMM", error, dtype=dtype)
            continue
        bench.measure("GEMM", call, wait, flops=flops, bytes=moved, dtype=dtype, side=side)
    side = 4096
    matrix, vector = _normal(side, side), _normal(side, 1)
    bench.measure(
        "matrix times vector",
        _kept(lambda: tensorflow.matmul(matrix, vector)),
        wait,
        flops=2.0 * side * side,
        bytes=4.0 * side * (side + 2),
        dtype="float32",
        side=side,
    )


def convolve(batch, channels, side):
    """Return a call that convolves images with 3x3 kernels, its operations and the bytes it must move."""
    tensorflow = state["tensorflow"]
    images, kernels = _normal(batch, side, side, channels), _normal(3, 3, channels, channels)
    flops = 2.0 * batch * side * side * channels * channels * 9
    moved = 4.0 * (2 * batch * channels * side * side + channels * channels * 9)
    return _kept(lambda: tensorflow.nn.conv2d(images, kernels, strides=1, padding="SAME")), flops, moved


def _convolution(bench):
    _use_tensor_float_32(wanted=False)
    call, flops, moved = convolve(bench.batch(), 64, 28)
    bench.measure("convolution", call, wait, flops=flops, bytes=moved, dtype="float32", batch=bench.batch())


def _memory(bench):
    tensorflow = state["tensorflow"]
    count = bench.settings["array_bytes"] // 4
    with tensorflow.device(state["device"]):
        result, other = tensorflow.Variable(tensorflow.ones([count])), tensorflow.ones([count])
    # TensorFlow has no operation that is the whole triad and writes into memory that is there: the sum in place moves
    # as many bytes, two arrays read and one written.
    bench.measure(
        "triad",
        _kept(lambda: _first(result.assign_add(other, read_value=False), result)),
        wait,
        flops=1.0 * count,
        bytes=12.0 * count,
        dtype="float32",
        array_bytes=4 * count,
        note="a sum in place, as many bytes as the triad",
    )


def _first(_, variable):
    """Return what `wait` can read after an assignment: on a GPU a small part of the variable."""
    return variable[:1] if is_gpu() else ()


def _copies(bench):
    tensorflow = state["tensorflow"]
    size = COPY_BYTES[bench.size]
    with tensorflow.device("/CPU:0"):
        here = tensorflow.zeros([size], tensorflow.uint8)
    with tensorflow.device(state["device"]):
        there = tensorflow.zeros([size], tensorflow.uint8)
    reason = "TensorFlow hands out no pinned memory"
    for name in ("host to device, pinned", "device to host, pinned"):
        bench.unavailable(name, reason)
    bench.measure("host to device, pageable", _kept(lambda: tensorflow.identity(here)), wait, bytes=float(size))

    def back():
        with tensorflow.device("/CPU:0"):
            tensorflow.identity(there)

    bench.measure("device to host, pageable", back, wait, bytes=float(size))


def _load(bench):
    call, flops, _ = multiply("float16", bench.side())
    bench.keep_busy(call, wait, flops=flops, dtype="float16")


def _loader(bench):
    import numpy as np

    tensorflow = state["tensorflow"]
    plain = tensorflow.autograph.experimental.do_not_convert
    count = LOADER_ITEMS[bench.size]
    with tensorflow.device("/CPU:0"):
        shades = np.random.RandomState(bench.settings["seed"]).randint(0, 16, (16, IMAGE_SIDE, IMAGE_SIDE, 3))
        packed = tensorflow.stack([tensorflow.io.encode_png(shade) for shade in shades.astype(np.uint8)])

        def unpacked(index):
            image = tensorflow.io.decode_png(tensorflow.gather(packed, index % 16), channels=3)
            return tensorflow.cast(image, tensorflow.float32) / 255.0

        for workers in bench.settings["workers"]:
            name = "loader, %d parallel calls" % workers if workers else "loader, one after another"
            bench.reporter.begin(name)
            items = tensorflow.data.Dataset.range(count).map(
                plain(unpacked), num_parallel_calls=workers if workers else None
            )
            share, seconds = bench.share(), []
            for epoch in range(3 if bench.size == "quick" else 4):
                began = time.perf_counter()
                for number, _ in enumerate(items.batch(LOADER_BATCH).prefetch(2)):
                    if number == 0:
                        first, began = time.perf_counter() - began, time.perf_counter()
                if epoch:
                    seconds.append((time.perf_counter() - began) / max(count - LOADER_BATCH, 1))
            bench.tell(name, seconds, share, items=1, unit="samples/s", workers=workers, first_batch_seconds=first)
