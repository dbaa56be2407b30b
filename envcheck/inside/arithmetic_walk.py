"""The arithmetic of one framework against float64 references; runs inside the interpreter under test.

`walk` takes a module that knows one framework (arithmetic_torch.py, arithmetic_tensorflow.py, arithmetic_keras.py)
through the operations of arithmetic_cases.py on each device and in each number format, and writes what it sees as JSON,
one object a line. What such a module offers:

    PACKAGE, BASE               what is imported; the file that trains the reference network in it
    CONVENTION                  of Adam's epsilon, see the reference `adam`
    CONSTANT_UNIT               unit roundoff of the constants in its formulas
    load(settings, base)        get ready, after it was imported; return {"version", "build": {...}}
    devices(asked)              names of the devices on which to compute; raise RefusalError where there is none
    formats(device)             {number format: why it is not available, or nothing}
    wide_sums(device, direction)
                                whether sums of 16-bit numbers are promised to be float32's, in a `forward` computation
                                or in a `gradient`
    choose_format(device, dtype)
    compute(device, dtype, case)
                                return (result as a float64 array, device it lies on, its format, function that returns
                                {input: gradient as a float64 array})
"""

import faulthandler
import hashlib
import math
import os
import re
import sys
import time
import traceback  # noqa: F401 - the training module needs it, and would find a ./traceback.py of the user's later on

FORMATS = {
    "quick": ("float64", "float32"),
    "standard": ("float64", "float32", "tf32", "bfloat16", "float16", "int8"),
    "full": ("float64", "float32", "tf32", "bfloat16", "float16", "int8"),
}

# Optimizers keep their weights and moments in float32 in mixed precision, too.
ONLY_WIDE = ("gradient-descent", "adam")

# What a framework says where it has no kernel for something.
REFUSALS = (
    "not (yet )?(been )?(implement|support|available)",
    "NotImplemented|Unimplemented|NOT_SUPPORTED|unsupported",
    "no kernel|Could not find device for node|not in the list of allowed values",
    # It is called otherwise in this version.
    "^(TypeError|AttributeError)",
)
NOT_AVAILABLE = re.compile("|".join(REFUSALS), re.IGNORECASE)

REPEATS = 3
"""How often a computation that gave a wrong result is repeated, to see whether it always does."""


def walk(framework, settings, descriptor, load_sibling):
    """Take one framework through the operations.

    Args:
        framework: module of the framework, see the top of this file.
        settings: package, operations (names that are still to be tried), size, device, seed, threads (0: as they are),
            switches ({"mkldnn": False, "cudnn": False}: what is to be switched off), trains (`no`, `too`: before the
            operations, where the processor alone computes, or `only`), operation_seconds (after which a single
            operation counts as hung), stack_after (seconds until the deadline is near).
        descriptor: where events are written.
        load_sibling: function that loads another file of this folder by its name.
    """
    faulthandler.enable()
    training = load_sibling("smoke_training")
    reporter = training.introduced(descriptor)
    settings["stack_at"] = time.monotonic() + settings["stack_after"]
    _show_stack_at(settings["stack_at"])
    try:
        _walk(framework, settings, reporter, training, load_sibling)
        reporter.send("end")
    except (Exception, SystemExit) as error:
        training.report_failure(reporter, error)
    sys.stderr.flush()
    # Not the ordinary way out: what a framework does when the interpreter ends says nothing about its arithmetic.
    os._exit(0)


def _walk(framework, settings, reporter, training, load_sibling):
    base = load_sibling(framework.BASE)
    package = base.PACKAGE = framework.PACKAGE
    base.state.update(refusal=training.RefusalError, evaluation_batch=training.EVALUATION_BATCH)
    settings["load_sibling"] = load_sibling
    reporter.begin("import")
    path = training.find(package)
    reporter.send("found", package=package, file=path)
    reporter.shadow = training.in_working_directory(path, package)
    began = time.perf_counter()
    __import__(package)
    training.refuse_impostor(path, package)
    loaded = framework.load(settings, base)
    reporter.send("framework", import_seconds=time.perf_counter() - began, **loaded)
    reporter.begin("device")
    devices = framework.devices(settings["device"])
    reporter.send("devices", devices=devices)
    numpy = training.import_numpy()
    reporter.send("numpy", version=numpy.__version__)
    tools = Tools(framework, settings, reporter, training, load_sibling)
    if settings["trains"] == "only" or (settings["trains"] == "too" and devices == ["cpu"]):
        reporter.begin("train")
        try:
            _watched(settings, lambda: _train_twice_alike(tools, base, devices[-1]))
        except Exception:
            # The operations say more about it, and are tried all the same.
            if settings["trains"] == "only":
                raise
    if settings["trains"] == "only":
        return
    reporter.begin("yardstick")
    _measure_yardstick(tools)
    for name in settings["operations"]:
        reporter.begin(name)
        reporter.send("operation", name=name)
        began = time.perf_counter()
        _watched(settings, lambda name=name: _try_operation(tools, name, devices))
        reporter.send("operation-end", name=name, seconds=time.perf_counter() - began)
    reporter.send("memory", peak_bytes=training.peak_memory())


class Tools:
    """What all of the steps need."""

    def __init__(self, framework, settings, reporter, training, load_sibling):
        """Load the files beside this one."""
        import numpy  # noqa: ICN001 - under its full name, as all else here

        self.numpy = numpy
        self.framework = framework
        self.settings = settings
        self.reporter = reporter
        self.training = training
        self.bounds = load_sibling("arithmetic_bounds")
        self.cases = load_sibling("arithmetic_cases")
        self.reference = load_sibling("arithmetic_reference")

    def expected(self, case, unit, rounding):
        """Return what a case must give where its inputs are off by this much, relative to their size."""
        numpy, bounds = self.numpy, self.bounds
        given = {}
        for name, array in case["inputs"].items():
            given[name] = array
            if array.dtype.kind == "f":
                size = numpy.where(numpy.isfinite(array), numpy.abs(array), 0.0)
                given[name] = bounds.Bounded(array, unit * size, rounding)
        with numpy.errstate(all="ignore"):
            return getattr(self.reference, case["reference"])(bounds, given, case["parameters"])


def _watched(settings, function):
    """Call a function; where it takes too long the process ends, its stack on standard error, whatever hangs."""
    left = settings["stack_at"] - time.monotonic()
    if settings["operation_seconds"] < left:
        faulthandler.dump_traceback_later(settings["operation_seconds"], exit=True)
    try:
        function()
    finally:
        _show_stack_at(settings["stack_at"])


def _show_stack_at(moment):
    """Print, should the deadline come, what hung as the last thing on standard error."""
    faulthandler.dump_traceback_later(max(moment - time.monotonic(), 0.1))


def _try_operation(tools, name, devices):
    settings, reporter = tools.settings, tools.reporter
    for device in devices:
        formats = tools.framework.formats(device)
        for dtype in FORMATS[settings["size"]]:
            if dtype == "int8" and name != "linear":
                continue
            if name in ONLY_WIDE and dtype in ("bfloat16", "float16", "tf32"):
                continue
            if formats[dtype]:
                reporter.send("unavailable", operation=name, device=device, dtype=dtype, case="", reason=formats[dtype])
                continue
            # Should it crash, this says where.
            reporter.send("trying", operation=name, device=device, dtype=dtype)
            tools.framework.choose_format(device, dtype)
            if dtype == "int8":
                random = tools.numpy.random.RandomState(settings["seed"])
                cases = list(tools.cases.integer_products(settings["size"], random))
            else:
                cases = tools.cases.cases_of(name, settings["size"], settings["seed"])
            tally = {}
            for case in cases:
                _try_case(tools, name, device, dtype, case, tally)
            for direction, worst in sorted(tally.items()):
                reporter.send("checked", operation=name, device=device, dtype=dtype, direction=direction, **worst)


def chops(device, dtype):
    """Return whether sums are cut off instead of rounded: in tensor cores they are."""
    return device.startswith("cuda") and dtype in ("tf32", "bfloat16", "float16")


CUDNN_CELLS = ("lstm", "gru")
"""References of what every framework leaves to cuDNN on a GPU, with cuDNN's own tanh."""


def prepared(tools, device, dtype, case):
    """Return a case with its numbers rounded to a format, and what its results must be."""
    bounds, framework = tools.bounds, tools.framework
    inputs, parameters = dict(case["inputs"]), dict(case["parameters"])
    if parameters.get("denormal"):
        inputs["x"] = inputs["x"] * bounds.rounding_of(dtype).smallest / 4
    for name, array in inputs.items():
        if array.dtype.kind == "f":
            inputs[name] = bounds.rounded(array, dtype)
    if "convention" in parameters:
        parameters["convention"] = framework.CONVENTION
    case = dict(case, inputs=inputs, parameters=parameters)
    if dtype == "int8":
        return case, tools.expected(case, 0.0, None)

    def expected(direction):
        rounding = bounds.rounding_of(
            dtype,
            framework.wide_sums(device, direction),
            framework.CONSTANT_UNIT,
            chops(device, dtype),
            tanh_unit=bounds.CUDNN_TANH if device.startswith("cuda") and case["reference"] in CUDNN_CELLS else 0.0,
        )
        return tools.expected(case, 0.0, rounding)

    found = expected("forward")
    if dtype in ("bfloat16", "float16") and len(found) > 1:
        found = dict(expected("gradient"), result=found["result"])
    return case, found


def _try_case(tools, name, device, dtype, case, tally):
    """Compute one case and compare; what is wrong is told at once, what is right is kept in `tally`."""
    case, expected = prepared(tools, device, dtype, case)
    told = {"operation": name, "device": device, "dtype": dtype, "case": case["name"]}
    found, directions = {}, [("forward", ["result"])]
    gradients = sorted(output for output in expected if output != "result")
    if gradients:
        directions.append(("gradient", gradients))
    pull_back = None
    for direction, outputs in directions:
        try:
            if direction == "forward":
                found["result"], lies, kind, pull_back = tools.framework.compute(device, dtype, case)
            else:
                found.update(("gradient of " + key, array) for key, array in pull_back().items())
        except Exception as error:
            _tell_exception(tools, error, direction, told)
            if device != "cpu":
                # It may have left the device in a state that fails the next one too: a new process goes on.
                raise
            return
        if direction == "forward":
            wanted = {"tf32": "float32", "int8": "int32"}.get(dtype, dtype)
            if not _same_device(lies, device):
                _tell_wrong(tools, told, direction, "device", "the result lies on %s, not on %s" % (lies, device))
            if kind != wanted:
                _tell_wrong(tools, told, direction, "format", "the result is %s, not %s" % (kind, wanted))
        for output in outputs:
            if output not in found:
                _tell_wrong(tools, told, direction, "missing", "the framework gives no %s" % output)
                continue
            seen = compare(tools, found[output], expected[output], dtype)
            if "message" in seen:
                again = _repeated(tools, device, dtype, case, output, expected[output])
                like = _as_exact_as(tools, dtype, case, output, found[output])
                _tell_wrong(tools, told, direction, "numbers", output=output, right_again=again, like=like, **seen)
            worst = tally.setdefault(direction, {"cases": 0, "numbers": 0, "ratio": -1.0})
            worst["cases"] += 1
            worst["numbers"] += int(expected[output].value.size)
            if seen["ratio"] > worst["ratio"]:
                worst.update({key: seen[key] for key in NUMBERS if key in seen}, case=case["name"], output=output)
    if case["parameters"].get("denormal"):
        kept = bool(tools.numpy.any(found["result"] != 0))
        tools.reporter.send("denormal", kept=kept, **told)


NUMBERS = ("ratio", "error", "allowed", "index", "expected", "found")


OTHER_GROUPING = 2.0
"""How much more than the reference's own roundoffs is allowed: a framework may group the same formula in another way.

JAX, for one, has (g + g t) (1 - t) for the gradient of tanh where others have g (1 - t t), one roundoff more.
"""


def compare(tools, found, expected, dtype):
    """Compare an array with what it must be; `message` is there where it is wrong.

    The ratio is that of the largest error to what is allowed at that place.
    """
    numpy = tools.numpy
    value, allowed = expected.value, OTHER_GROUPING * expected.error
    if found.shape != value.shape:
        return {"ratio": math.inf, "message": "its shape is %s, not %s" % (found.shape, value.shape)}
    if dtype == "float64":
        # The reference is computed in the same format, and is off by as much itself.
        allowed = allowed + expected.error
    finite = numpy.isfinite(value)
    same = (found == value) | (numpy.isnan(found) & numpy.isnan(value))
    with numpy.errstate(all="ignore"):
        error = numpy.where(same, 0.0, numpy.abs(found - value))
        ratio = numpy.where(error == 0, 0.0, error / allowed)
    ratio = numpy.where(finite & numpy.isfinite(found), ratio, numpy.where(same, 0.0, math.inf))
    place = numpy.unravel_index(int(numpy.argmax(ratio)), ratio.shape) if ratio.size else ()
    seen = {
        "ratio": float(ratio[place]) if ratio.size else 0.0,
        "error": float(error[place]),
        "allowed": float(allowed[place]),
        "index": [int(part) for part in place],
        "expected": float(value[place]),
        "found": float(found[place]),
    }
    wrong = ratio > 1.0
    if wrong.any():
        seen.update(wrong=int(wrong.sum()), of=int(wrong.size), message=pattern(numpy, wrong, found, value))
    return seen


def pattern(numpy, wrong, found, value):
    """Return in words where an array is wrong, and how where that is plain to see."""
    count = int(wrong.sum())
    where = "%d of %d numbers are wrong" % (count, wrong.size)
    if count == wrong.size and count > 1:
        where = "all %d numbers are wrong" % count
    for axis in range(wrong.ndim):
        places = numpy.unique(numpy.nonzero(wrong)[axis])
        length = wrong.shape[axis]
        if length > 1 and len(places) < length and places[-1] - places[0] + 1 == len(places):
            where += ", %s along axis %d" % (_span(places, length), axis)
    usable = wrong & numpy.isfinite(found) & numpy.isfinite(value) & (numpy.abs(value) > 0)
    if int(usable.sum()) > 2:
        factors = found[usable] / value[usable]
        middle = float(numpy.median(factors))
        if abs(middle - 1.0) > 1e-2 and float(numpy.max(numpy.abs(factors - middle))) <= 1e-3 * abs(middle):
            where += "; each is %.4g times what it must be" % middle if middle else "; each is 0"

    if not numpy.all(numpy.isfinite(found[wrong])):
        where += "; some are not finite"
    return where


def _span(places, length):
    first, last = int(places[0]), int(places[-1])
    if first == last:
        text = "all at index %d of %d" % (first, length)
        return text + " (the last)" if last == length - 1 else text
    return "all at indices %d to %d of %d" % (first, last, length)


def _repeated(tools, device, dtype, case, output, expected):
    """Return how many of some repetitions of the same computation are right."""
    right = 0
    for _ in range(REPEATS):
        try:
            found, _, _, pull_back = tools.framework.compute(device, dtype, case)
            if output != "result":
                found = pull_back()[output[len("gradient of ") :]]
            right += "message" not in compare(tools, found, expected, dtype)
        except Exception:
            # It did not fail before: this run is no right one.
            right += 0
    return right


# Formats that a promised one may have been exchanged for, the most exact first; float16 is as exact as tf32.
LOWER = {"float64": ("float32", "tf32", "bfloat16"), "float32": ("tf32", "bfloat16"), "tf32": ("bfloat16",)}


def _as_exact_as(tools, dtype, case, output, found):
    """Return the format whose roundoff explains how far off a result is; empty where none does."""
    bounds = tools.bounds
    for lower in LOWER.get(dtype, ()):
        rounding = bounds.rounding_of(lower, constant_unit=tools.framework.CONSTANT_UNIT)
        unit = bounds.TF32_UNIT if lower == "tf32" else rounding.unit
        expected = tools.expected(case, unit, rounding)
        if "message" not in compare(tools, found, expected[output], lower):
            return lower
    return ""


def _same_device(one, other):
    return one == other or (one and one.partition(":")[0] == other.partition(":")[0] and ":" not in other)


def _tell_wrong(tools, told, direction, kind, message, **values):
    tools.reporter.send("wrong", direction=direction, kind=kind, message=message, **dict(told, **values))


def _tell_exception(tools, error, direction, told):
    message = "%s: %s" % (type(error).__name__, " ".join(str(error).split())[:400])
    if NOT_AVAILABLE.search(message):
        tools.reporter.send("unavailable", direction=direction, reason=message, **told)
    else:
        _tell_wrong(tools, told, direction, "exception", message)


def _measure_yardstick(tools):
    """Compare NumPy's product of matrices, which a BLAS computes, with sums that round once, at their end."""
    numpy, bounds = tools.numpy, tools.bounds
    random = numpy.random.RandomState(tools.settings["seed"])
    left, right = random.randn(5, 4099), random.randn(4099, 3)
    exact = numpy.array([[math.fsum(row * column) for column in right.T] for row in left])
    rounding = bounds.rounding_of("float64")
    error = rounding.growth(4099) * numpy.dot(numpy.abs(left), numpy.abs(right)) + rounding.unit * numpy.abs(exact)
    seen = compare(tools, numpy.dot(left, right), bounds.Bounded(exact, error, rounding), "float32")
    seen.setdefault("message", "")
    tools.reporter.send("yardstick", **seen)


TRAINED_IMAGES = 64
"""Of the training that is done twice: two epochs of four batches."""

EVALUATED_IMAGES = 9
"""Of the evaluation that is done in several ways; its reference is a whole network in NumPy's own loops."""


def _train_twice_alike(tools, base, device):
    """Evaluate the reference network in several orders and batches, then train it; another process does the same."""
    numpy, training, settings = tools.numpy, tools.training, tools.settings
    base.choose_device(device)
    _be_deterministic(base, settings["seed"])
    tools.framework.choose_format(device, "float32")
    told = dict(
        settings,
        batch_size=16,
        epochs=2,
        learning_rate=training.LEARNING_RATE,
        adam_epsilon=training.ADAM_EPSILON,
        warm_up_batches=training.WARM_UP_BATCHES,
        evaluation_batch=training.EVALUATION_BATCH,
    )
    random = numpy.random.RandomState(settings["seed"])
    images = random.rand(TRAINED_IMAGES, 28, 28, 1).astype(numpy.float32)
    labels = random.randint(0, 10, TRAINED_IMAGES)
    base.build(told)
    weights = training.initial_weights(numpy, settings["seed"])
    base.initialise(weights)
    few, few_labels = images[:EVALUATED_IMAGES], labels[:EVALUATED_IMAGES]
    expected = _network_loss(tools, few, few_labels, weights)
    order = random.permutation(EVALUATED_IMAGES)
    for how, chosen, batch in (
        ("in one batch", slice(None), 256),
        ("in another order", order, 256),
        ("in batches of 2", slice(None), 2),
    ):
        base.state["evaluation_batch"] = batch
        loss, _ = base.evaluate(few[chosen], few_labels[chosen])
        seen = compare(tools, numpy.array(loss), expected, "float32")
        seen.setdefault("message", "")
        tools.reporter.send("evaluated", how=how, loss=loss, **{key: seen[key] for key in (*NUMBERS, "message")})
    base.state["evaluation_batch"] = training.EVALUATION_BATCH
    watch = training.Watch(_Deaf(), told, TRAINED_IMAGES)
    orders = [random.permutation(TRAINED_IMAGES) for _ in range(told["epochs"])]
    base.train({"train": (images, labels), "validation": (few, few_labels)}, orders, told, watch)
    digest = hashlib.sha256()
    for array in base.weights():
        digest.update(numpy.ascontiguousarray(array).tobytes())
    if "torch" in sys.modules:
        sys.modules["torch"].use_deterministic_algorithms(mode=False)
    tools.reporter.send(
        "trained",
        device=device,
        threads=base.threads(),
        losses=[epoch["loss"] for epoch in watch.history],
        bits=[float(epoch["loss"]).hex() for epoch in watch.history],
        weights=digest.hexdigest(),
    )


class _Deaf:
    """Takes the events of a training that nobody needs to see."""

    def send(self, event, **values):
        """Do nothing."""


def _network_loss(tools, images, labels, weights):
    """Return the mean loss of the reference network, with its bound, in float32."""
    bounds, reference = tools.bounds, tools.reference
    # In float32 a worst case through four layers would allow anything.
    rounding = bounds.rounding_of("float32", independent=True)
    held = [bounds.exact(array, rounding) for array in weights]
    found = bounds.exact(images, rounding)
    plain = {"stride": 1, "padding": 0, "dilation": 1, "groups": 1}
    for layer in (0, 1):
        found = reference.convolved(bounds, found, held[2 * layer], held[2 * layer + 1], plain)
        found = found.where(found.value > 0)
        found = reference.pooled(bounds, found, 2)
    found = found.reshape(len(images), -1)
    for layer in (2, 3):
        found = bounds.contract("bi,io->bo", found, held[2 * layer], found.shape[1]) + held[2 * layer + 1]
        found = found.where(found.value > 0) if layer == 2 else found
    return reference.cross_entropy(bounds, {"x": found, "labels": labels}, {})["result"]


def _be_deterministic(base, seed):
    """Ask the framework for the same bits each time."""
    if base.state.get("torch") is not None or base.state.get("backend") == "torch":
        import torch

        torch.manual_seed(seed)
        torch.use_deterministic_algorithms(mode=True)
        torch.backends.cudnn.benchmark = False
    elif base.state.get("backend") == "tensorflow":
        tensorflow = base.state["tensorflow"]
        tensorflow.random.set_seed(seed)
        if hasattr(tensorflow.config.experimental, "enable_op_determinism"):
            tensorflow.config.experimental.enable_op_determinism()
    if base.state.get("keras") is not None and hasattr(base.state["keras"].utils, "set_random_seed"):
        base.state["keras"].utils.set_random_seed(seed)
