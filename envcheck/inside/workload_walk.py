"""The smoke suite's workloads, one after another in one framework; runs inside the interpreter under test.

`walk` takes an engine (workload_torch.py, workload_keras.py) and each workload that is asked for through six steps:
preprocess, build, initialise, train, validate, test; after them the network is saved and loaded. What happens is
written as JSON, one object a line; each event carries the name of its workload. A workload is three files in
`workloads/`, its name with underscores in front:

    NAME_data.py    TITLE, PROVES       what it is, and what it proves that the others do not
                    METRIC, HIGHER_IS_BETTER
                    SIZES = {"quick": {...}, "standard": {...}, "full": {...}}, each with samples, test_samples, epochs,
                        batch_size, learning_rate, bar (of the metric; None: the loss must fall, no more), calls_often
                        (optional: `predict` and `examine` call the network dozens of times) and what the workload
                        needs beside; such a dict is the `size` of all functions
                    prepare(path, size, seed) -> {"train": part, "validation": part, "test": part}, a part is
                        {"inputs": {name: array}, "target": array, ...}, first axis: the sample; where real data (a
                        path) changes the network, "size": {...} holds what is to be put into `size`
                    recognises(path) -> whether real data is of its kind (optional: without it none is)
                    parameters(size) -> [(name, shape, kind)] of all that is trained, in Keras's layout, named as there
                        (LAYER/kernel), or else in the order of Keras's trainable_weights; kind: glorot,
                        orthogonal, uniform, normal, zeros, ones, forget, or a number: uniform up to it
                    score(outputs, part) -> {name: value}, METRIC among them
                    show(outputs, part, inner) -> {"curves": [...], "matrices": [...], "pictures": [...],
                        "measures": [...]}, each optional, with the fields of envcheck/smoke/proof.py
                    predict(call, part, size) -> outputs (optional): for decoding and generation; call({name: array})
                        runs the network on a batch and returns an array
                    loss(outputs, target) -> one loss a sample, in double precision (optional): what theirs must be
                    load_sibling is put into it: it loads another file of the folder above by its name
                    examine(call, part, size, seed) -> as `show`, and "conditions": [{"name", "holds", "seen"}]
                        (optional): what must hold of the trained network beside the bar
    NAME_torch.py   build(torch, size) -> nn.Module with forward(**inputs)
                    parameters(network) -> tensors in the order of NAME_data.parameters; views of some, or a tuple of
                        those that are the rows of one parameter in Keras
                    loss(torch, outputs, target) -> one loss a sample
                    arrange(name, array) -> the array in torch's layout; without it the engine's own
                    inner(torch, network, inputs) -> {name: tensor} (optional): what `show` gets as `inner`
                    data is put into it, and into the next: the module NAME_data
    NAME_keras.py   build(keras, size) -> keras.Model with named inputs
                    loss(keras, target, outputs) -> one loss a sample
                    parameters(network) -> variables in the order of NAME_data.parameters (optional)
                    inner(keras, network) -> keras.Model with a dict of outputs (optional)
                    custom_objects(keras) -> {name: class} (optional): what a saved model needs to be loaded

Every framework gets the same numbers: data, split, initial parameters and batches are drawn by NumPy. Batches are
always full; what is left of an epoch is dropped, so that shapes stay the same and compilers compile once.
"""

import contextlib
import faulthandler
import gc
import math
import os
import shutil
import sys
import tempfile
import threading
import time

REFERENCE = "reference-cnn"
SHOWN_SAMPLES = 8
# Of two runs of the same mathematics in float32, relative to the largest output. Loaded anew nothing but the order of
# sums may differ; a compiler also fuses and contracts operations, some hundred of them in a row.
SAME_AFTER_LOADING = 1e-5
SAME_AFTER_COMPILING = 1e-3
# In mixed precision what is compiled keeps numbers in float32 that are rounded to 16 bits without it: some steps of
# bfloat16's 2**-8, as in `same-start` (measured: up to 6.5e-3).
SAME_AFTER_COMPILING_MIXED = 2e-2
# A loss in float32 against the same in float64: some hundred logarithms are added up in it.
SAME_LOSS = 1e-3
# Between the message of the watchdog and the harder end, which needs no interpreter lock.
WATCHDOG_SECONDS = 1.0
STUCK_EXIT_CODE = 124


class DataError(Exception):
    """The data cannot be used; the message names the file and what is wrong with it."""


class Place:
    """How far a workload is: what the watchdog tells when it hangs."""

    def __init__(self, step=""):
        """Begin before the first batch."""
        self.step = step
        self.batches = 0  # of one epoch
        self.given = 0  # batches that the loader gave, of all epochs; it may work ahead
        self.count_given = None  # returns `given`, where the loader itself counts
        self.trained = 0  # batches that were trained with
        self.validates = False  # between two epochs

    def told(self):
        """Return where it is, the epoch and the batch counted from one."""
        epoch, batch = divmod(self.trained - self.validates, self.batches) if self.batches else (-1, -1)
        if self.count_given is not None:
            self.given = self.count_given()
        return {
            "step": self.step,
            "epoch": epoch + 1,
            "batch": batch + 1,
            # A loader that works ahead has given more than was trained with, unless it is what all wait for.
            "waits_for_loader": (
                self.step == "train" and self.batches > 0 and self.given == self.trained and not self.validates
            ),
            "validates": self.validates,
        }


class Watchdog:
    """Ends the process, with a word about where it hung, when a workload's time is up."""

    def __init__(self, reporter, place, seconds):
        """Start the clock."""
        self.done = threading.Event()
        self.thread = threading.Thread(target=self._wait, args=(reporter, place, seconds))
        self.thread.daemon = True
        self.thread.start()
        # Native code that holds the interpreter's lock silences the thread; this ends it all the same.
        faulthandler.dump_traceback_later(seconds + WATCHDOG_SECONDS, exit=True)

    def _wait(self, reporter, place, seconds):
        if self.done.wait(seconds):
            return
        reporter.send("stuck", seconds=seconds, **place.told())
        sys.stderr.write("Timeout (%.1f s)!\n" % seconds)
        sys.stderr.flush()
        faulthandler.dump_traceback()
        sys.stderr.flush()
        os._exit(STUCK_EXIT_CODE)

    def stop(self):
        """Stop the clock."""
        self.done.set()
        faulthandler.cancel_dump_traceback_later()


class Labelled:
    """A reporter whose events carry the workload's name."""

    def __init__(self, reporter, workload, place):
        """Name all that is sent from here on."""
        self.reporter = reporter
        self.workload = workload
        self.place = place

    def send(self, event, **values):
        """Write one event."""
        self.reporter.send(event, workload=self.workload, **values)

    def begin(self, step):
        """Write that a step begins; a failure from here on is this step's."""
        self.reporter.step = self.place.step = step
        self.send("step", step=step)


def walk(engine, settings, descriptor, load_sibling):
    """Take one framework through the workloads.

    Args:
        engine: workload_torch.py or workload_keras.py.
        settings: package, workloads (names), size, device, seed, data, precision (`float32` or `mixed`), compiled,
            alone (whether one workload was asked for, which must then take the data), threads (0: as they are),
            seconds (wall time of the import, and of each workload), reference (samples, epochs and batch_size of the
            reference network).
        descriptor: where events are written.
        load_sibling: function that loads another file of this folder by its name.
    """
    faulthandler.enable()
    training = load_sibling("smoke_training")
    settings.update(
        adam_epsilon=training.ADAM_EPSILON,
        warm_up_batches=training.WARM_UP_BATCHES,
        evaluation_batch=training.EVALUATION_BATCH,
    )
    reporter = training.introduced(descriptor)
    place = Place("import")
    watchdog = Watchdog(reporter, place, settings["seconds"])
    try:
        numpy = _start(engine, settings, reporter, place, training, load_sibling)
    except (Exception, SystemExit) as error:
        training.report_failure(reporter, error)
        sys.stderr.flush()
        os._exit(0)
    watchdog.stop()
    for name in settings["workloads"]:
        place = Place()
        labelled = Labelled(reporter, name, place)
        labelled.send("workload")
        watchdog = Watchdog(labelled, place, settings["seconds"])
        try:
            if name == REFERENCE:
                _walk_reference(engine, settings, labelled, training, load_sibling)
            else:
                _walk_one(engine, name, settings, labelled, training, load_sibling, numpy)
        except (Exception, SystemExit) as error:
            watchdog.stop()
            training.report_failure(labelled.reporter, error, workload=name)
            if type(error).__name__ == "DataError":
                continue
            # What failed may have left the device in a state that fails the next one too: a new process goes on.
            sys.stderr.flush()
            os._exit(0)
        watchdog.stop()
        labelled.send("workload-end")
    reporter.send("end")
    sys.stderr.flush()
    # Not the ordinary way out: what a framework does when the interpreter ends says nothing about training.
    os._exit(0)


def _start(engine, settings, reporter, place, training, load_sibling):
    engine.prepare(load_sibling, settings, training.RefusalError)
    reporter.begin("import")
    package = settings["package"]
    path = training.find(package)
    reporter.send("found", package=package, file=path)
    reporter.shadow = training.in_working_directory(path, package)
    began = time.perf_counter()
    __import__(package)
    training.refuse_impostor(path, package)
    reporter.send("framework", import_seconds=time.perf_counter() - began, **engine.load(settings))
    place.step = "device"
    reporter.begin("device")
    reporter.send("device", asked=settings["device"], **engine.choose_device(settings["device"]))
    return training.import_numpy()


def _walk_reference(engine, settings, reporter, training, load_sibling):
    """Take the reference network through its own steps; the framework is imported already."""
    gc.collect()
    _forget_peak_memory()
    told = dict(settings, speed_only=False, **settings["reference"])
    if not settings["alone"]:
        told["data"] = ""
    training.walk_steps(engine.reference(), told, reporter, load_sibling)


def _walk_one(engine, name, settings, reporter, training, load_sibling, numpy):
    place = reporter.place
    gc.collect()
    _forget_peak_memory()
    stem = "workloads/" + name.replace("-", "_")
    data = load_sibling(stem + "_data")
    network = load_sibling(stem + "_" + engine.FAMILY)
    data.load_sibling, network.data = load_sibling, data
    seed = settings["seed"]

    reporter.begin("preprocess")
    size = dict(data.SIZES[settings["size"]])
    path = own_data(data, settings)
    parts = data.prepare(path, size, seed)
    size.update(parts.pop("size", {}))
    reporter.send(
        "data",
        numpy=numpy.__version__,
        title=data.TITLE,
        proves=data.PROVES,
        metric=data.METRIC,
        higher_is_better=data.HIGHER_IS_BETTER,
        bar=size["bar"],
        epochs=size["epochs"],
        batch_size=size["batch_size"],
        learning_rate=size["learning_rate"],
        path=path,
        **{part: len(values["target"]) for part, values in parts.items()},
    )

    reporter.begin("build")
    listed = data.parameters(size)
    found, expected = engine.build(network, size), sum(int(numpy.prod(shape)) for _, shape, _ in listed)
    reporter.send("network", parameters=found, half=engine.half())
    if found != expected:
        raise AssertionError("the network has %d parameters, %d were expected" % (found, expected))

    first = {key: values[: size["batch_size"]] for key, values in parts["validation"]["inputs"].items()}
    if settings["compiled"]:
        reporter.begin("compile")
        reporter.send("compiled", **_compiled(engine, first, parts["validation"]["target"], size, numpy))

    reporter.begin("initialise")
    before = draw(numpy, listed, seed)
    _put(engine, numpy, listed, before)
    loss = engine.evaluate(parts["validation"])
    reporter.send("untrained", loss=loss, finite=math.isfinite(loss))

    reporter.begin("train")
    orders = _orders(numpy, len(parts["train"]["target"]), size, seed)
    watch = training.Watch(reporter, size, orders.shape[1])
    place.batches = watch.batches
    engine.train(parts["train"], parts["validation"], orders, watch, place)
    reporter.send("trained", samples_per_second=watch.samples_per_second(), steps=orders.size // size["batch_size"])
    names = [name for name, _, _ in listed]
    moved, finite = {}, True
    for parameter, start, end in zip(names, engine.arranged(names, before), engine.weights(names)):  # noqa: B905
        change, length = end.astype(numpy.float64) - start, numpy.linalg.norm(start.astype(numpy.float64))
        finite = finite and bool(numpy.isfinite(end).all())
        # What starts at zero has no length to compare with: the distance itself is told.
        moved[parameter] = float(numpy.linalg.norm(change) / (length or 1.0))
    reporter.send("moved", layers=moved, finite=finite)
    if not finite or (watch.history and not watch.history[-1]["finite"]):
        reporter.send("not-finite", **_first_not_finite(engine, numpy, parts["train"], orders, names, before, size))
        return

    reporter.begin("validate")
    scores = data.score(_predicted(engine, data, parts["validation"], size, settings), parts["validation"])
    reporter.send("validation", scores=scores)

    reporter.begin("test")
    outputs = _predicted(engine, data, parts["test"], size, settings)
    loss = engine.evaluate(parts["test"])
    reporter.send(
        "test",
        scores=data.score(outputs, parts["test"]),
        loss=loss,
        finite=bool(numpy.isfinite(outputs).all()) if outputs.dtype.kind == "f" else True,
        samples=len(parts["test"]["target"]),
    )
    if hasattr(data, "loss"):
        expected = float(
            data.loss(_call(engine, size, settings)(parts["test"]["inputs"]), parts["test"]["target"]).mean()
        )
        reporter.send("shown", conditions=[_right_loss(loss, expected)])
    if hasattr(data, "examine"):
        reporter.send("shown", **data.examine(_call(engine, size, settings), parts["test"], size, seed))
    few = {key: values[:SHOWN_SAMPLES] for key, values in parts["test"]["inputs"].items()}
    reporter.send("shown", **data.show(outputs, parts["test"], engine.inner(few)))
    reporter.send("where", devices=sorted(set(engine.where(first))))
    reporter.send("memory", peak_bytes=training.peak_memory(), device_peak_bytes=engine.device_memory())

    reporter.begin("save")
    folder = tempfile.mkdtemp(prefix="envcheck-")
    try:
        for saved in engine.save_and_load(folder, first, settings["size"]):
            reporter.send("saved", **saved)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _right_loss(loss, expected):
    seen = "the framework's loss on the test is %.6g, NumPy's in double precision is %.6g" % (loss, expected)
    holds = abs(loss - expected) <= SAME_LOSS * max(abs(expected), 1.0)
    return {"name": "loss-right", "holds": bool(holds), "seen": seen}


def own_data(data, settings):
    """Return the path of real data for this workload; empty where it draws its own."""
    path = settings["data"]
    if not path or (hasattr(data, "recognises") and (settings["alone"] or data.recognises(path))):
        return path
    if settings["alone"]:
        raise DataError("%s: this workload draws its own data and reads no other" % path)
    return ""


def _orders(numpy, samples, size, seed):
    """Return the samples of each epoch's batches, in order: an array of shape (epochs, samples in full batches)."""
    random = numpy.random.RandomState(seed)
    used = samples // size["batch_size"] * size["batch_size"]
    if not used:
        raise DataError("%d samples train, one batch needs %d" % (samples, size["batch_size"]))
    return numpy.stack([random.permutation(samples)[:used] for _ in range(size["epochs"])])


def draw(numpy, listed, seed):
    """Return the initial parameters, drawn in their order."""
    random = numpy.random.RandomState(seed)
    return [_drawn(numpy, random, tuple(shape), kind).astype(numpy.float32) for _, shape, kind in listed]


def _drawn(numpy, random, shape, kind):
    if kind == "zeros":
        return numpy.zeros(shape)
    if kind == "ones":
        return numpy.ones(shape)
    if kind == "forget":
        # Of an LSTM's bias: the forget gate's quarter starts at one, as is usual (Jozefowicz and others, 2015).
        bias = numpy.zeros(shape)
        bias[shape[-1] // 4 : shape[-1] // 2] = 1
        return bias
    if kind == "glorot":
        # Glorot and Bengio, 2010, with the receptive field of a convolution counted in.
        field = int(numpy.prod(shape[:-2]))
        kind = math.sqrt(6.0 / (field * shape[-2] + field * shape[-1]))
    elif kind == "uniform":
        kind = 0.05
    elif kind == "normal":
        return 0.02 * random.standard_normal(shape)
    elif kind == "orthogonal":
        # Saxe and others, 2014: the signs make the distribution uniform over all orthogonal matrices.
        rows, columns = int(numpy.prod(shape[:-1])), shape[-1]
        tall = random.standard_normal((max(rows, columns), min(rows, columns)))
        basis, triangle = numpy.linalg.qr(tall)
        basis = basis * numpy.sign(numpy.diag(triangle))
        return (basis if rows >= columns else basis.transpose()).reshape(shape)
    return random.uniform(-kind, kind, shape)


def _put(engine, numpy, listed, arrays):
    names = [name for name, _, _ in listed]
    engine.initialise(names, arrays)
    for name, wanted, found in zip(names, engine.arranged(names, arrays), engine.weights(names)):  # noqa: B905
        if not numpy.array_equal(wanted, found):
            raise AssertionError("the network does not hold the numbers that were put into its %s" % name)


def _call(engine, size, settings):
    """Return the function that runs the network on a batch, of whatever length."""
    import numpy as np

    batch = size.get("evaluation_batch", settings["evaluation_batch"])

    def call(inputs):
        count = len(next(iter(inputs.values())))
        return np.concatenate(
            [
                engine.predict({key: values[start : start + batch] for key, values in inputs.items()})
                for start in range(0, count, batch)
            ]
        )

    return call


def _predicted(engine, data, part, size, settings):
    call = _call(engine, size, settings)
    return data.predict(call, part, size) if hasattr(data, "predict") else call(part["inputs"])


def difference(numpy, one, other):
    """Return the largest difference of two arrays relative to the largest number of the first."""
    scale = float(numpy.abs(one).max()) or 1.0
    return float(numpy.abs(one.astype(numpy.float64) - other).max()) / scale


def _compiled(engine, inputs, target, size, numpy):
    """Return how the framework's compiler did; where it failed the training goes on without it."""
    began = time.perf_counter()
    try:
        eager, compiled = engine.compile(inputs, target[: size["batch_size"]])
    except Exception as error:
        engine.do_without_compiler()
        return {"works": False, "type": type(error).__name__, "message": str(error)[:4000]}
    return {
        "works": True,
        "seconds": time.perf_counter() - began,
        "difference": difference(numpy, eager, compiled),
        "allowed": SAME_AFTER_COMPILING_MIXED if engine.half() else SAME_AFTER_COMPILING,
    }


def _first_not_finite(engine, numpy, part, orders, names, before, size):
    """Train once more from the start, batch by batch, and say in which step and layer the first bad number came."""
    engine.restart()
    engine.initialise(names, before)
    batch = size["batch_size"]
    count = 0
    for epoch, order in enumerate(orders, 1):
        for start in range(0, len(order), batch):
            count += 1
            chosen = order[start : start + batch]
            inputs = {key: values[chosen] for key, values in part["inputs"].items()}
            found = {"step": count, "epoch": epoch, "batch": start // batch + 1, "layer": "", "kind": "loss"}
            earlier = engine.weights(names)
            loss = engine.train_batch(inputs, part["target"][chosen])
            after = engine.weights(names)
            bad = [name for name, array in zip(names, after) if not numpy.isfinite(array).all()]  # noqa: B905
            if math.isfinite(loss) and not bad:
                continue
            engine.put_back(names, earlier)
            for layer, output in engine.layer_outputs(inputs):
                if output.dtype.kind == "f" and not numpy.isfinite(output).all():
                    return dict(found, layer=layer, kind="output")
            if math.isfinite(loss) and bad:
                return dict(found, layer=bad[0], kind="update")
            return found
    return {"step": None, "epoch": None, "batch": None, "layer": "", "kind": "not seen again"}


def _forget_peak_memory():
    """Start the count of the highest resident memory anew, where Linux allows it (proc(5), clear_refs: 5)."""
    with contextlib.suppress(OSError), open("/proc/self/clear_refs", "w") as file:
        file.write("5")
