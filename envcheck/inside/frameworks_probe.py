"""Import one framework as the user's program would, and compute with it on each device that it sees.

Called with `torch`, `tensorflow` or `keras`.  Runs on Python 3.6 or later.  Before each step that can crash, hang or
leave, it says an object of kind `stage`, so that what came last names the step.  Kinds: `absent`, `stage`, `found`,
`imported`, `build`, `devices`, `device` (one a device), `failed`, `keras`, `end`.
"""

import os
import sys
import time

import envcheck_channel as channel

BEGAN = time.time()

SIDE = 16
"""Rows and columns of the matrices: every product and sum is a small integer, exact in float32, TF32 and bfloat16 sums
kept in float32, so that a right device gives the very numbers."""

ERROR_LIMIT = 4000
TRACEBACK_LIMIT = 8000


class ShadowedError(Exception):
    """What an import would find first is a file of the user's, not the framework."""


def matrices():
    """Return two matrices and their product, as lists of lists."""
    left = [[float((3 * row + column) % 7) for column in range(SIDE)] for row in range(SIDE)]
    right = [[float((row + 5 * column) % 5) for column in range(SIDE)] for row in range(SIDE)]
    product = [
        [sum(left[row][index] * right[index][column] for index in range(SIDE)) for column in range(SIDE)]
        for row in range(SIDE)
    ]
    return left, right, product


def words(error):
    """Return an exception's text, shortened."""
    try:
        text = str(error)
    except Exception:
        text = "(its text could not be read)"
    return text[:ERROR_LIMIT]


def stage(name, **values):
    """Say which step begins now."""
    channel.say("stage", name=name, **values)


def holds_packages(folder):
    """Tell whether an installer put packages into a folder: site-packages, or one that `pip --target` filled."""
    if os.path.basename(folder) in ("site-packages", "dist-packages"):
        return True
    try:
        return any(name.endswith(".dist-info") for name in os.listdir(folder))
    except OSError:
        return False


def find(name):
    """Return the file or folder that `import name` would run, without running it; None where there is none."""
    import importlib.util

    found = importlib.util.find_spec(name)
    if found is None:
        return None
    if found.origin and found.origin not in ("namespace", "built-in"):
        return found.origin
    places = list(found.submodule_search_locations or [])
    # A folder without __init__.py in the working directory is no installation; one in site-packages is a broken one.
    kept = [place for place in places if holds_packages(os.path.dirname(place))]
    return kept[0] if kept else None


def hidden_installation(name, origin):
    """Return the installed copy that a user's file hides; None where it hides none, or is the installation."""
    folder = os.path.dirname(os.path.abspath(origin))
    if os.path.basename(folder) == name:
        folder = os.path.dirname(folder)
    if holds_packages(folder):
        return None
    for place in sys.path:
        if place and holds_packages(place):
            whole = os.path.join(place, name, "__init__.py")
            if os.path.isfile(whole) and os.path.realpath(whole) != os.path.realpath(origin):
                return whole
    return None


def only_the_users_own(name, origin):
    """Tell whether a file of the framework's name lies in the working directory and no framework is installed."""
    folder = os.path.dirname(os.path.abspath(origin))
    if os.path.basename(folder) == name:
        folder = os.path.dirname(folder)
    here = os.path.realpath(os.getcwd())
    # An installation in place (`pip install -e`) puts the folder on the path by its name, not as "".
    named = [place for place in sys.path if place and os.path.realpath(place) == here]
    return os.path.realpath(folder) == here and not named


def without_own_frames(lines):
    """Return the lines of a traceback without the frames of this script."""
    kept, own = [], False
    for line in "".join(lines).splitlines(keepends=True):
        if line.startswith('  File "'):
            own = __file__ in line
        elif not line.startswith("    "):
            own = False
        if not own:
            kept.append(line)
    return "".join(kept)


def first_paragraph(text):
    """Return the text up to an empty line, on one line."""
    return " ".join(text.strip().partition("\n\n")[0].split())


def torch_build(torch):
    """Say what this build of PyTorch was made for."""
    version = getattr(torch, "version", None)
    cuda, hip = getattr(version, "cuda", None), getattr(version, "hip", None)
    xpu = getattr(version, "xpu", None)
    values = {"cuda": cuda or "", "rocm": hip or "", "architectures": [], "cudnn": "", "nccl": ""}
    values["accelerator"] = "cuda" if cuda else "rocm" if hip else "xpu" if xpu else "cpu"
    mps = getattr(getattr(torch, "backends", None), "mps", None)
    if values["accelerator"] == "cpu" and mps is not None and mps.is_built():
        values["accelerator"] = "mps"
    if cuda or hip:
        # Without a device `torch.cuda.get_arch_list()` is empty; the flags that the build was made with are not.
        try:
            flags = torch._C._cuda_getArchFlags()  # noqa: SLF001 - the only place that says it without a device
            values["architectures"] = flags.split() if flags else []
        except Exception:
            pass
        try:
            nccl = torch.cuda.nccl.version()
            values["nccl"] = ".".join(str(part) for part in nccl) if isinstance(nccl, tuple) else str(nccl)
        except Exception:
            pass
    threads = getattr(torch, "get_num_threads", None)
    values["threads"] = threads() if threads else None
    channel.say("build", **values)
    if cuda:
        # It compares the library that was loaded with the one that the build was made with.
        stage("build", library="cudnn")
        try:
            number = torch.backends.cudnn.version()
            channel.say("build", cudnn=cudnn_words(number))
        except Exception as error:
            channel.say("build", cudnn_error=words(error))


def cudnn_words(number):
    """Return cuDNN's version number as people write it: 91002 is 9.10.2, 8907 is 8.9.7 (cudnn_version.h)."""
    if not number:
        return ""
    if number >= 90000:
        return "%d.%d.%d" % (number // 10000, number % 10000 // 100, number % 100)
    return "%d.%d.%d" % (number // 1000, number % 1000 // 100, number % 100)


def torch_devices(torch):
    """Return the devices that PyTorch sees, and what it says of a GPU that it does not."""
    import warnings

    devices = [{"name": "cpu", "kind": "cpu"}]
    problem = ""
    version = getattr(torch, "version", None)
    cuda = getattr(torch, "cuda", None)
    kind = "rocm" if getattr(version, "hip", None) else "cuda"
    if cuda is not None and (getattr(version, "cuda", None) or kind == "rocm"):
        with warnings.catch_warnings(record=True) as heard:
            warnings.simplefilter("always")
            available = cuda.is_available()
        problem = "; ".join(first_paragraph(str(one.message)) for one in heard)[:ERROR_LIMIT]
        if available:
            devices.extend(torch_gpu(cuda, index, kind) for index in range(cuda.device_count()))
        else:
            try:
                cuda.init()
            except Exception as error:
                problem = problem or first_paragraph(words(error))
    mps = getattr(getattr(torch, "backends", None), "mps", None)
    if mps is not None and mps.is_available():
        devices.append({"name": "mps", "kind": "mps"})
    xpu = getattr(torch, "xpu", None)
    if xpu is not None and xpu.is_available():
        devices.extend(
            {"name": "xpu:%d" % index, "kind": "xpu", "model": str(xpu.get_device_name(index))}
            for index in range(xpu.device_count())
        )
    return devices, problem


def torch_gpu(cuda, index, kind):
    """Return what PyTorch says of one GPU."""
    device = {"name": "cuda:%d" % index, "kind": kind}
    try:
        properties = cuda.get_device_properties(index)
        device["model"] = properties.name
        device["memory_total_bytes"] = int(properties.total_memory)
        if kind == "cuda":
            device["compute_capability"] = "%d.%d" % (properties.major, properties.minor)
    except Exception as error:
        device["error"] = "%s: %s" % (type(error).__name__, words(error))
    return device


def torch_compute(torch, device):
    """Multiply two matrices on a device, and on an NVIDIA GPU convolve one, which loads cuDNN."""
    left, right, product = matrices()
    got = torch.tensor(left, device=device["name"]).matmul(torch.tensor(right, device=device["name"])).tolist()
    if device["kind"] in ("cuda", "rocm") and got == product:
        image = torch.ones((1, 1, 4, 4), device=device["name"])
        convolved = torch.nn.functional.conv2d(image, torch.ones((1, 1, 2, 2), device=device["name"]))
        if float(convolved.sum()) != 36.0:
            raise ArithmeticError("a convolution on %s gave %s instead of 36.0" % (device["name"], convolved.sum()))
    return got, product


def tensorflow_build(tensorflow):
    """Say what this build of TensorFlow was made for."""
    values = {"accelerator": "cpu", "cuda": "", "rocm": "", "cudnn": "", "architectures": []}
    try:
        information = dict(tensorflow.sysconfig.get_build_info())
    except Exception:
        information = {}
    test = getattr(tensorflow, "test", None)
    is_cuda = information.get("is_cuda_build", bool(test) and test.is_built_with_cuda())
    is_rocm = information.get("is_rocm_build", bool(test) and getattr(test, "is_built_with_rocm", lambda: False)())
    if is_rocm:
        values["accelerator"] = "rocm"
    elif is_cuda:
        values["accelerator"] = "cuda"
        values["cuda"] = str(information.get("cuda_version") or "")
        values["cudnn"] = str(information.get("cudnn_version") or "")
        values["architectures"] = [str(one) for one in information.get("cuda_compute_capabilities") or []]
    channel.say("build", **values)


def tensorflow_devices(tensorflow):
    """Return the devices that TensorFlow sees; memory is taken as it is needed, not all at once."""
    config = getattr(tensorflow, "config", None)
    lister = getattr(config, "list_physical_devices", None)
    if lister is None:
        lister = getattr(getattr(config, "experimental", None), "list_physical_devices", None)
    devices = []
    if lister is None:
        # TensorFlow 1: this starts every device.
        from tensorflow.python.client import device_lib

        for found in device_lib.list_local_devices():
            kind = {"CPU": "cpu", "GPU": "cuda"}.get(found.device_type)
            if kind:
                devices.append({"name": found.name, "kind": kind, "model": found.physical_device_desc})
        return devices
    for found in lister():
        kind = {"CPU": "cpu", "GPU": "cuda"}.get(found.device_type)
        if not kind:
            continue
        device = {"name": found.name.replace("/physical_device:", ""), "kind": kind}
        try:
            details = config.experimental.get_device_details(found)
            device["model"] = str(details.get("device_name", ""))
            if "compute_capability" in details:
                device["compute_capability"] = "%d.%d" % tuple(details["compute_capability"])
        except Exception:
            pass
        devices.append(device)
    return devices


def tensorflow_kind(tensorflow, device):
    """Return a GPU's kind: TensorFlow calls each of them GPU."""
    if device["kind"] == "cpu":
        return "cpu"
    if sys.platform == "darwin":
        return "mps"
    return "rocm" if getattr(tensorflow.test, "is_built_with_rocm", lambda: False)() else "cuda"


def tensorflow_compute(tensorflow, device):
    """Multiply two matrices on a device."""
    left, right, product = matrices()
    place = "/" + device["name"].lstrip("/") if "device:" not in device["name"] else device["name"]
    with tensorflow.device(place):
        if not getattr(tensorflow, "executing_eagerly", lambda: False)():
            result = tensorflow.matmul(tensorflow.constant(left), tensorflow.constant(right))
            session = getattr(tensorflow, "Session", None) or tensorflow.compat.v1.Session
            with session() as running:
                return running.run(result).tolist(), product
        result = tensorflow.matmul(tensorflow.constant(left), tensorflow.constant(right))
    if device["kind"] != "cpu" and ":GPU:" not in result.device:
        raise RuntimeError("asked for %s, it ran on %s" % (place, result.device))
    return result.numpy().tolist(), product


def keras_facts(keras, tensorflow):
    """Say which Keras this is and what it computes with."""
    backend = ""
    try:
        backend = keras.backend.backend()
    except Exception:
        backend = "tensorflow" if tensorflow else ""
    channel.say(
        "keras",
        version=getattr(keras, "__version__", None),
        backend=backend,
        module_path=getattr(keras, "__file__", None),
    )


def keras_backend():
    """Return the backend that Keras 3 would load (KERAS_BACKEND, then keras.json), without importing it."""
    backend = os.environ.get("KERAS_BACKEND")
    if backend:
        return backend
    import json

    folder = os.environ.get("KERAS_HOME") or os.path.join(os.path.expanduser("~"), ".keras")
    try:
        with open(os.path.join(folder, "keras.json"), "rb") as file:
            return str(json.loads(file.read().decode("utf-8")).get("backend", "tensorflow"))
    except Exception:
        return "tensorflow"


def keras_compute(keras, device):
    """Multiply two matrices with the backend."""
    left, right, product = matrices()
    operations = getattr(keras, "ops", None)
    if operations is not None:
        got = operations.matmul(operations.convert_to_tensor(left), operations.convert_to_tensor(right))
        place = str(getattr(got, "device", "")).lower()
        device["kind"] = "cuda" if "cuda" in place or "gpu" in place else "cpu"
        return operations.convert_to_numpy(got).tolist(), product
    backend = keras.backend
    return backend.eval(backend.dot(backend.constant(left), backend.constant(right))).tolist(), product


def compute_on(devices, compute, framework):
    """Compute on each device; what one device does harms no other, and is said before the next begins."""
    for device in devices:
        stage("compute", device=device["name"])
        began = time.time()
        result = device
        try:
            got, expected = compute(framework, device)
            result["computed"] = got == expected
            if got != expected:
                result["error"] = "a product of two small matrices came out wrong"
        except Exception as error:
            result["computed"] = False
            result["error"] = "%s: %s" % (type(error).__name__, words(error))
        result["seconds"] = round(time.time() - began, 4)
        channel.say("device", device=result)


def numpy_version():
    """Return the version of the NumPy that was imported; an empty string where none was."""
    return str(getattr(sys.modules.get("numpy"), "__version__", ""))


def examine(name):
    """Import a framework and use it."""
    origin = find(name)
    installation = None if origin is None else hidden_installation(name, origin)
    if origin is None or (installation is None and only_the_users_own(name, origin)):
        channel.say("absent")
        return
    if name == "keras" and keras_backend() == "tensorflow" and find("tensorflow") is not None:
        # TensorFlow's own child says what Keras is: importing TensorFlow twice would cost twice.
        channel.say("with-tensorflow")
        return
    channel.say("found", module_path=origin)
    stage("import")
    if installation:
        # The user's own file may do anything, for any time; that it is found first is all that needs to be known.
        raise ShadowedError("`import %s` finds %s before the installed package in %s" % (name, origin, installation))
    began = time.time()
    framework = __import__(name)
    channel.say(
        "imported",
        version=getattr(framework, "__version__", None),
        module_path=getattr(framework, "__file__", None) or origin,
        import_seconds=round(time.time() - began, 4),
        numpy=numpy_version(),
    )
    if not hasattr(framework, "__version__"):
        raise ImportError("%s was imported from %s and has no __version__: it is not whole" % (name, origin))
    if name == "tensorflow":
        keras = sys.modules.get("keras")
        if keras is not None and hasattr(keras, "__version__"):
            keras_facts(keras, framework)
    if name == "keras":
        keras_facts(framework, None)
        compute_on([{"name": keras_backend(), "kind": "cpu"}], keras_compute, framework)
        return
    build, devices_of, compute = {
        "torch": (torch_build, torch_devices, torch_compute),
        "tensorflow": (tensorflow_build, tensorflow_devices, tensorflow_compute),
    }[name]
    stage("build")
    build(framework)
    stage("devices")
    if name == "torch":
        devices, problem = devices_of(framework)
    else:
        devices, problem = devices_of(framework), ""
        for device in devices:
            device["kind"] = tensorflow_kind(framework, device)
    channel.say("devices", sees_gpu=any(device["kind"] != "cpu" for device in devices), gpu_error=problem)
    compute_on(devices, compute, framework)
    if name == "tensorflow" and "keras" not in sys.modules and find("keras") is not None:
        keras_beside_tensorflow(framework)


def keras_beside_tensorflow(tensorflow):
    """Import Keras where TensorFlow has not done so by itself (2.13 to 2.15 wait until it is used)."""
    stage("keras")
    try:
        keras_facts(__import__("keras"), tensorflow)
    except Exception as error:
        channel.say("keras", error_type=type(error).__name__, error=words(error))


def main():
    """Say what came of it, whatever came of it."""
    if sys.version_info < (3, 6):
        channel.say("too-old", version="%d.%d" % sys.version_info[:2])
        return
    channel.users_path()
    # A look at TensorFlow must not take all of a GPU's memory from whoever trains there.
    os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
    name = sys.argv[1]
    try:
        examine(name)
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else 0 if error.code is None else 1
        channel.say("left", exit_code=code, message=words(error))
        return
    except BaseException as error:
        import traceback

        shown = without_own_frames(traceback.format_exception(type(error), error, error.__traceback__))
        channel.say(
            "failed",
            error_type=type(error).__name__,
            error=words(error),
            traceback=shown[-TRACEBACK_LIMIT:],
            numpy=numpy_version(),
        )
    channel.say("end", total_seconds=round(time.time() - BEGAN, 4))


main()
channel.end()
