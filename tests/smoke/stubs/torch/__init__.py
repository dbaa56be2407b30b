# Names and signatures are those of torch.
# ruff: noqa: ARG001, ARG002, ARG005, N801, ICN001
"""A torch for tests: made of NumPy, there in a moment, and as faulty as STUB_TORCH says (words, with blanks between).

cuda            it plays an NVIDIA H100 whose products take as long as they would there
leak            each training step keeps 2 MiB more
device-leak     what it says it holds on the GPU grows
nan             from a second after the first work on, losses are no numbers
wrong           from a second after the first work on, one number of each product is another
slow            each step takes longer than the one before
many-threads    everything takes as many milliseconds as there are threads; 8 are set
crash           a matrix product ends the process with SIGSEGV
stuck-loader    a loader with workers never gives a batch
lost            from a second after the first work on, nothing on the GPU works any more
"""

import math
import os
import signal
import time
import types

import numpy

__version__ = "2.0.0+stub"

FAULTS = os.environ.get("STUB_TORCH", "").split()
began = []
TERAFLOPS = 400.0
GIGABYTES = 2000.0
kept = []
steps = [0]
threads = [int(os.environ.get("OMP_NUM_THREADS", "8" if "many-threads" in FAULTS else "1"))]

float16, float32, float64, uint8, int8, int64 = (
    numpy.dtype(name) for name in ("float16", "float32", "float64", "uint8", "int8", "int64")
)
bfloat16 = float16
version = types.SimpleNamespace(cuda="13.0" if "cuda" in FAULTS else None, hip=None)


def later():
    """Tell whether faults that come in the middle have come: a second after the first that could be."""
    if not began:
        began.append(time.monotonic())
    return time.monotonic() - began[0] > 1.0


class device:
    def __init__(self, name):
        self.type, _, number = str(name).partition(":")
        self.index = int(number or 0)

    def __str__(self):
        return self.type if self.type == "cpu" else f"{self.type}:{self.index}"


CPU = device("cpu")


class Tensor(numpy.ndarray):
    device = CPU

    def __array_finalize__(self, other):
        self.device = getattr(other, "device", CPU)

    def to(self, what):
        if isinstance(what, device):
            moved = self.view()
            moved.device = what
            return moved
        return self.astype(what)

    def permute(self, *axes):
        return self.transpose(*axes)

    def element_size(self):
        return self.itemsize

    def numel(self):
        return self.size

    def detach(self):
        return self

    cpu = pin_memory = detach

    def numpy(self):
        return numpy.asarray(self)

    def copy_(self, source, non_blocking=False):
        if self.nbytes > 1 << 20:
            time.sleep(self.nbytes / 50e9)
        else:
            self[...] = source
        return self

    def clone(self):
        return self.copy()

    def abs(self):
        return numpy.abs(self)

    def backward(self):
        pass


def _tensor(array, where=None):
    tensor = numpy.asarray(array).view(Tensor)
    tensor.device = where or CPU
    return tensor


def from_numpy(array):
    return _tensor(array)


def _shape(shape):
    return shape[0] if len(shape) == 1 and isinstance(shape[0], tuple) else shape


def zeros(*shape, dtype=float32, device=None):
    return _tensor(numpy.zeros(_shape(shape), dtype), device)


def empty(*shape, dtype=float32, device=None):
    # A product is looked at all over after each round: a corner of it is enough.
    return zeros(*(min(side, 8) for side in shape) if len(shape) > 1 else shape, dtype=dtype, device=device)


randn = ones = zeros


def randint(low, high, shape, dtype=int64, device=None):
    return zeros(*shape, dtype=dtype, device=device)


def _work(flops, moved=0.0):
    if "lost" in FAULTS and later():
        raise RuntimeError("CUDA error: unspecified launch failure")
    if "many-threads" in FAULTS:
        time.sleep(0.001 * threads[0])
    elif "cuda" in FAULTS:
        time.sleep(flops / TERAFLOPS / 1e12 + moved / GIGABYTES / 1e9)
    else:
        time.sleep(0.0005)


def mm(one, other, out):
    if "crash" in FAULTS:
        os.kill(os.getpid(), signal.SIGSEGV)
    _work(2.0 * len(one) ** 3)
    out[0, 0] = 2.0 if "wrong" in FAULTS and later() else 1.0
    return out


def mv(matrix, vector, out):
    _work(2.0 * matrix.size)
    return out


def _int_mm(one, other):
    raise NotImplementedError("this stub multiplies no integers")


def add(one, other, alpha, out):
    _work(0.0, 3.0 * one.nbytes)
    return out


def isfinite(tensor):
    return numpy.isfinite(tensor)


def set_num_threads(count):
    threads[0] = count


def get_num_threads():
    return threads[0]


def manual_seed(seed):
    pass


class no_grad:
    def __enter__(self):
        return self

    def __exit__(self, *_):
        return None


cuda = types.SimpleNamespace(
    is_available=lambda: "cuda" in FAULTS,
    device_count=lambda: 1,
    get_device_name=lambda where: "NVIDIA H100 80GB HBM3",
    get_device_properties=lambda where: types.SimpleNamespace(total_memory=1 << 30),
    synchronize=lambda where: None,
    memory_allocated=lambda where: (100 << 20) + ((10 << 20) * steps[0] if "device-leak" in FAULTS else 0),
    max_memory_reserved=lambda where: 200 << 20,
)
backends = types.SimpleNamespace(
    cuda=types.SimpleNamespace(matmul=types.SimpleNamespace(allow_tf32=False)),
    cudnn=types.SimpleNamespace(allow_tf32=True),
)


class Layer:
    def __init__(self, *shape):
        if shape:
            self.weight, self.bias = zeros(*shape), zeros(shape[0])


class Sequential:
    def __init__(self, *layers):
        self.layers = layers

    def __iter__(self):
        return iter(self.layers)

    def __call__(self, batch):
        mean = float(numpy.abs(self.layers[0].weight).mean())
        return _tensor(numpy.full((len(batch), 10), mean, numpy.float32), batch.device)

    def to(self, where):
        return self

    def parameters(self):
        return [part for layer in self.layers if hasattr(layer, "weight") for part in (layer.weight, layer.bias)]

    def train(self):
        pass

    eval = train


class CrossEntropyLoss:
    def __call__(self, found, wanted):
        loss = math.nan if "nan" in FAULTS and later() else math.log(10) + float(found.mean())
        return _tensor(numpy.float32(loss))


class Adam:
    def __init__(self, parameters, lr, eps):
        pass

    def zero_grad(self):
        pass

    def step(self):
        steps[0] += 1
        if "leak" in FAULTS:
            kept.append(b"x" * (2 << 20))
        if "many-threads" in FAULTS:
            time.sleep(0.001 * threads[0])
        time.sleep(0.004 + (0.0001 * steps[0] if "slow" in FAULTS else 0.0))


def conv2d(images, kernels, padding):
    _work(2.0 * images.size * len(kernels) * 9)


class DataLoader:
    def __init__(self, items, batch_size, num_workers, **options):
        self.items, self.size, self.workers = items, batch_size, num_workers

    def __iter__(self):
        if self.workers and "stuck-loader" in FAULTS:
            time.sleep(1000)
        for start in range(0, len(self.items), self.size):
            yield [self.items[index] for index in range(start, min(start + self.size, len(self.items)))]


nn = types.SimpleNamespace(
    Sequential=Sequential,
    Conv2d=lambda inputs, outputs, side: Layer(outputs, inputs, side, side),
    Linear=lambda inputs, outputs: Layer(outputs, inputs),
    ReLU=Layer,
    MaxPool2d=lambda side: Layer(),
    Flatten=Layer,
    CrossEntropyLoss=CrossEntropyLoss,
    functional=types.SimpleNamespace(conv2d=conv2d),
)
optim = types.SimpleNamespace(Adam=Adam)
utils = types.SimpleNamespace(data=types.SimpleNamespace(DataLoader=DataLoader))
