"""The smoke training, step by step, whatever the framework; runs inside the interpreter under test.

`walk` takes a module that knows one framework (smoke_torch.py, smoke_keras.py) through the steps that a person would
take, and writes what happens as JSON, one object a line, to a private copy of standard output. Whatever a framework
prints goes to standard error. Every Python from 3.6 on runs this; NumPy is imported in the step that needs it.

What a module of a framework offers (images and weights are NumPy arrays, in Keras's layout):

    PACKAGE                         the name that is imported; set from the settings
    state                           a dict; `refusal` and `evaluation_batch` are put into it
    load(settings)                  get ready, after it was imported; return {"version", "build": {...}}
    choose_device(asked)            return {"used", "name", "why"}; raise RefusalError where it cannot be used
    threads()                       threads that one operation may use, or None
    build(settings)                 make the network; return its number of parameters
    initialise(weights)             put eight arrays into it
    weights()                       the eight arrays as they are now
    train(data, orders, settings, watch)
    evaluate(images, labels)        return (loss, accuracy)
    train_batch(images, labels), evaluate_batch(images, labels)   the loss of one batch; for a load that lasts
    predict(images)                 return the class of each image
    where()                         the devices on which weights and results lie, read back from them
    device_memory()                 peak bytes on the device, or None
"""

import faulthandler
import json
import math
import os
import sys
import time
import traceback

# Keras's layout: a convolution's kernel is (height, width, channels in, channels out), a dense one (in, out).
LAYERS = (
    ("conv1", (3, 3, 1, 32)),
    ("conv2", (3, 3, 32, 64)),
    ("dense1", (1600, 128)),
    ("dense2", (128, 10)),
)
PARAMETERS = 225034
LEARNING_RATE = 1e-3
# Keras's default; torch's own is 1e-8. The same number in both, so that both walk the same way.
ADAM_EPSILON = 1e-7
EVALUATION_BATCH = 256
MISTAKES_SHOWN = 12  # images of the test set that were taken for another digit, told with their pixels
# Batches at the very start that are left out where there is one epoch only: they trace, compile and warm up.
WARM_UP_BATCHES = 3
SECONDS_BETWEEN_REPORTS = 0.2


class RefusalError(Exception):
    """What was asked cannot be done here, and why is known.

    `kind` is `device`, `not-installed`, `shadowed` or `broken`; `cause` is a slug of the vocabulary of causes, or
    empty.
    """

    def __init__(self, kind, message, cause=""):
        """Keep why."""
        super().__init__(message)
        self.kind = kind
        self.cause = cause


class Reporter:
    """Writes events, one JSON object a line."""

    def __init__(self, descriptor):
        """Write to an open file descriptor."""
        self.descriptor = descriptor
        self.step = "start"
        self.shadow = False

    def send(self, event, **values):
        """Write one event."""
        values["event"] = event
        line = (json.dumps(_plain(values)) + "\n").encode("ascii")
        while line:
            line = line[os.write(self.descriptor, line) :]

    def begin(self, step):
        """Write that a step begins; a failure from here on is this step's."""
        self.step = step
        self.send("step", step=step)


def _plain(value):
    """Return a value as JSON has it: what is not finite becomes None, NumPy's numbers become Python's."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, int):
        return int(value)
    try:
        number = float(value)
    except (TypeError, ValueError):
        return str(value)
    return number if math.isfinite(number) else None


class Watch:
    """What the training loop tells: progress at most five times a second, and one line an epoch."""

    def __init__(self, reporter, settings, train_samples):
        """Begin before the first epoch."""
        self.reporter = reporter
        self.epochs = settings["epochs"]
        self.batch_size = settings["batch_size"]
        self.samples = train_samples
        self.batches = -(-train_samples // self.batch_size)
        self.epoch = 0
        self.began = self.counted_from = self.due = 0.0
        self.counted_after = 0
        self.timed_samples = 0
        self.timed_seconds = 0.0
        self.history = []

    def epoch_begins(self):
        """Start the clock."""
        self.epoch += 1
        self.began = self.counted_from = time.perf_counter()
        self.counted_after = 0
        if self.due == 0.0:
            self.due = self.began + SECONDS_BETWEEN_REPORTS

    def warmed_up(self):
        """Count from here on in this epoch: call it after WARM_UP_BATCHES, when the device has finished them."""
        self.counted_from = time.perf_counter()
        self.counted_after = WARM_UP_BATCHES * self.batch_size

    def is_due(self):
        """Tell whether `progress` may be called: at most five times a second."""
        return time.perf_counter() >= self.due

    def progress(self, batch, loss, accuracy):
        """Tell how far this epoch is: its batches so far, and their mean loss and accuracy."""
        now = time.perf_counter()
        self.due = now + SECONDS_BETWEEN_REPORTS
        done = min(batch * self.batch_size, self.samples)
        seconds = now - self.began
        self.reporter.send(
            "progress",
            epoch=self.epoch,
            epochs=self.epochs,
            batch=batch,
            batches=self.batches,
            loss=loss,
            accuracy=accuracy,
            samples_per_second=done / seconds if seconds > 0 else None,
        )

    def trained_an_epoch(self):
        """Stop the clock: the epoch's training is done, its validation is not begun."""
        now = time.perf_counter()
        self.seconds = now - self.began
        samples, seconds = self.samples - self.counted_after, now - self.counted_from
        if self.epoch == 2:
            # The first epoch traces, compiles and warms caches: counted only where it is the only one.
            self.timed_samples, self.timed_seconds = 0, 0.0
        if samples > 0:
            self.timed_samples += samples
            self.timed_seconds += seconds

    def epoch_ends(self, loss, accuracy, validation_loss, validation_accuracy):
        """Tell how the epoch went; return False where it makes no sense to go on."""
        values = {
            "epoch": self.epoch,
            "loss": loss,
            "accuracy": accuracy,
            "validation_loss": validation_loss,
            "validation_accuracy": validation_accuracy,
            "seconds": self.seconds,
            "samples_per_second": self.samples / self.seconds if self.seconds > 0 else None,
            "finite": math.isfinite(loss) and math.isfinite(validation_loss),
        }
        self.history.append(values)
        self.reporter.send("epoch", epochs=self.epochs, **values)
        return values["finite"]

    def samples_per_second(self):
        """Return the throughput over the epochs that count."""
        return self.timed_samples / self.timed_seconds if self.timed_seconds > 0 else None


def initial_weights(numpy, seed):
    """Return kernels and biases in turn: kernels from Glorot and Bengio's uniform distribution (2010), biases 0."""
    random = numpy.random.RandomState(seed)
    arrays = []
    for _, shape in LAYERS:
        field = 1
        for size in shape[:-2]:
            field *= size
        limit = math.sqrt(6.0 / (field * shape[-2] + field * shape[-1]))
        arrays.append(random.uniform(-limit, limit, shape).astype(numpy.float32))
        arrays.append(numpy.zeros(shape[-1], numpy.float32))
    return arrays


def allowed_cores():
    """Return how many cores this process may use: its affinity and its control group's quota, whichever is less."""
    try:
        cores = float(len(os.sched_getaffinity(0)))
    except (AttributeError, OSError):
        cores = float(os.cpu_count() or 1)
    for quota in _quotas():
        cores = min(cores, quota)
    return cores


def _quotas():
    try:
        with open("/proc/self/cgroup") as file:
            lines = file.read().splitlines()
    except (OSError, ValueError):
        return
    for line in lines:
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        while True:
            if number == "0" and not controllers:
                found = _words("/sys/fs/cgroup" + path + "/cpu.max")
            elif "cpu" in controllers.split(","):
                folder = "/sys/fs/cgroup/cpu" + path
                found = _words(folder + "/cpu.cfs_quota_us") + _words(folder + "/cpu.cfs_period_us")
            else:
                break
            if len(found) == 2 and found[0].isdigit() and found[1].isdigit() and int(found[1]):
                yield int(found[0]) / float(found[1])
            if path in ("", "/"):
                break
            path = os.path.dirname(path)


def _words(path):
    try:
        with open(path) as file:
            return file.read().split()
    except (OSError, ValueError):
        return []


def waited_for_a_core():
    """Return the seconds that this process's threads were ready and had no core; None where the kernel does not say.

    Source: the second number of /proc/PID/task/TID/schedstat, nanoseconds (Linux, Documentation/scheduler/sched-stats).
    """
    total = 0
    try:
        threads = os.listdir("/proc/self/task")
    except OSError:
        return None
    for thread in threads:
        found = _words("/proc/self/task/%s/schedstat" % thread)
        if len(found) != 3:
            return None
        total += int(found[1])
    return total / 1e9


def peak_memory():
    """Return the highest resident memory of this process, bytes; None where the system does not say."""
    try:
        with open("/proc/self/status") as file:
            for line in file:
                if line.startswith("VmHWM:"):
                    return int(line.split()[1]) * 1024
    except (OSError, ValueError):
        pass
    try:
        import resource

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    except (ImportError, OSError):
        return None
    return peak if sys.platform == "darwin" else peak * 1024


def find(package):
    """Return the file (or the folder) that importing a package will run, without running it."""
    import importlib.util

    try:
        specification = importlib.util.find_spec(package)
    except (ImportError, ValueError, AttributeError):
        return ""
    if specification is None:
        raise RefusalError(
            "not-installed", "No module named '%s' in %s" % (package, sys.executable), "package-not-installed"
        )
    if specification.origin and specification.origin != "namespace":
        return specification.origin
    return (list(specification.submodule_search_locations or []) or [""])[0]


def in_working_directory(path, package):
    """Return whether a package's file (or folder) lies in the directory that the user is in."""
    if not path:
        return False
    folder = os.path.dirname(os.path.abspath(path))
    if os.path.basename(folder) == package:
        folder = os.path.dirname(folder)
    return os.path.realpath(folder) == os.path.realpath(os.getcwd())


def refuse_impostor(path, package):
    """Say so where what was imported is not the framework: a user's own file, or what is left of an installation."""
    if hasattr(sys.modules.get(package), "__version__"):
        return
    if in_working_directory(path, package):
        raise RefusalError(
            "shadowed", "'%s' is %s, which is not %s itself" % (package, path, package), "shadowed-module"
        )
    raise RefusalError(
        "broken", "'%s' in %s has no version: it is not whole" % (package, path or "sys.path"), "broken-install"
    )


def die_with_the_parent():
    """Ask Linux to kill this process when envcheck dies, however that happens; keep no core file."""
    try:
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    except (ImportError, OSError, ValueError):
        pass
    if not sys.platform.startswith("linux"):
        return
    try:
        import ctypes
        import signal

        set_parent_death_signal = 1
        ctypes.CDLL(None).prctl(set_parent_death_signal, int(signal.SIGKILL), 0, 0, 0)
    except Exception:
        pass


def introduced(descriptor):
    """Return a reporter that has said which Python this is; from here on this process ends with its parent."""
    reporter = Reporter(descriptor)
    die_with_the_parent()
    reporter.send(
        "python",
        version=".".join(str(part) for part in sys.version_info[:3]),
        implementation=sys.implementation.name,
        executable=sys.executable,
    )
    return reporter


def report_failure(reporter, error, **more):
    """Write what an exception says of the step that it ended; `more` is told beside it."""
    frames = traceback.extract_tb(error.__traceback__)
    values = {
        "step": reporter.step,
        "kind": "exception",
        "type": type(error).__name__,
        "message": str(error),
        "traceback": ["%s:%s in %s: %s" % (frame[0], frame[1], frame[2], frame[3]) for frame in frames[-20:]],
        "cause": "",
    }
    if isinstance(error, RefusalError):
        values.update(kind=error.kind, type="", traceback=[], cause=error.cause)
    elif type(error).__name__ == "DataError":
        values.update(kind="data", type="", traceback=[])
    elif reporter.step == "import" and reporter.shadow:
        values.update(kind="shadowed", cause="shadowed-module")
    reporter.send("failure", **dict(values, **more))


def import_numpy():
    """Return NumPy, or say that this environment has none."""
    try:
        import numpy  # noqa: ICN001 - handed on under its full name
    except ImportError as error:
        if getattr(error, "name", None) == "numpy":
            message = "No module named 'numpy' in %s: the smoke training needs it" % sys.executable
            raise RefusalError("not-installed", message, "package-not-installed")
        raise
    return numpy


def _tell_mistakes(reporter, numpy, found, images, labels):
    """Tell how often each digit was taken for each, and show the first images that were taken for another."""
    classes = LAYERS[-1][1][-1]
    confusion = numpy.zeros((classes, classes), numpy.int64)
    numpy.add.at(confusion, (labels, found), 1)
    wrong = [
        {
            "label": int(labels[index]),
            "taken_for": int(found[index]),
            "pixels": (images[index].reshape(-1) * 255).round().astype(numpy.int64).tolist(),
        }
        for index in numpy.flatnonzero(labels != found)[:MISTAKES_SHOWN]
    ]
    reporter.send("mistakes", confusion=confusion.tolist(), wrong=wrong)


def walk(framework, settings, descriptor, load_sibling):
    """Take one framework through the steps.

    Args:
        framework: module of the framework, see the top of this file.
        settings: package, epochs, batch_size, samples, device, seed, data, threads (0: as they are), speed_only,
            stack_after (seconds; 0: never).
        descriptor: where events are written.
        load_sibling: function that loads another file of this folder by its name.
    """
    faulthandler.enable()
    if settings["stack_after"] > 0:
        # Should the deadline come, what hung is the last thing on standard error.
        faulthandler.dump_traceback_later(settings["stack_after"])
    reporter = introduced(descriptor)
    try:
        walk_steps(framework, settings, reporter, load_sibling)
    except (Exception, SystemExit) as error:
        report_failure(reporter, error)
    sys.stderr.flush()
    # Not the ordinary way out: what a framework does when the interpreter ends says nothing about training.
    os._exit(0)


def walk_steps(framework, settings, reporter, load_sibling):
    """Take the reference network through its steps; for drivers that have started the process in their own way."""
    settings.update(learning_rate=LEARNING_RATE, adam_epsilon=ADAM_EPSILON, warm_up_batches=WARM_UP_BATCHES)
    framework.PACKAGE = settings["package"]
    framework.state.update(refusal=RefusalError, evaluation_batch=EVALUATION_BATCH)
    reporter.begin("import")
    path = find(framework.PACKAGE)
    reporter.send("found", package=framework.PACKAGE, file=path)
    reporter.shadow = in_working_directory(path, framework.PACKAGE)
    began = time.perf_counter()
    __import__(framework.PACKAGE)
    refuse_impostor(path, framework.PACKAGE)
    loaded = framework.load(settings)
    reporter.send("framework", import_seconds=time.perf_counter() - began, **loaded)

    reporter.begin("device")
    reporter.send("device", asked=settings["device"], **framework.choose_device(settings["device"]))

    reporter.begin("preprocess")
    numpy = import_numpy()
    data = load_sibling("smoke_data").prepare(settings["data"], settings["samples"], settings["seed"])
    reporter.send("data", numpy=numpy.__version__, **{name: len(labels) for name, (_, labels) in data.items()})

    reporter.begin("build")
    parameters = framework.build(settings)
    reporter.send("network", parameters=parameters)
    if parameters != PARAMETERS:
        raise AssertionError("the network has %s parameters, %d were expected" % (parameters, PARAMETERS))

    reporter.begin("initialise")
    before = initial_weights(numpy, settings["seed"])
    framework.initialise(before)
    for wanted, found in zip(before, framework.weights()):  # noqa: B905 - Python 3.6
        if not numpy.array_equal(wanted, found):
            raise AssertionError("the network does not hold the weights that were put into it")
    validation_images, validation_labels = data["validation"]
    loss, accuracy = framework.evaluate(validation_images, validation_labels)
    reporter.send("untrained", loss=loss, accuracy=accuracy, finite=math.isfinite(loss))

    reporter.begin("train")
    train_labels = data["train"][1]
    random = numpy.random.RandomState(settings["seed"])
    orders = [random.permutation(len(train_labels)) for _ in range(settings["epochs"])]
    watch = Watch(reporter, settings, len(train_labels))
    waited, used, began = waited_for_a_core(), time.process_time(), time.perf_counter()
    reporter.send("threads", threads=framework.threads(), allowed_cores=allowed_cores())
    framework.train(data, orders, settings, watch)
    seconds = time.perf_counter() - began
    waited_now = waited_for_a_core()
    reporter.send(
        "trained",
        seconds=seconds,
        samples_per_second=watch.samples_per_second(),
        cores_used=(time.process_time() - used) / seconds if seconds > 0 else None,
        cores_waited_for=(waited_now - waited) / seconds if None not in (waited, waited_now) and seconds > 0 else None,
    )
    after = framework.weights()
    moved = {}
    for index, (name, _) in enumerate(LAYERS):
        start, end = before[2 * index].astype(numpy.float64), after[2 * index].astype(numpy.float64)
        moved[name] = float(numpy.linalg.norm(end - start) / numpy.linalg.norm(start))
    reporter.send("moved", layers=moved, finite=all(bool(numpy.isfinite(array).all()) for array in after))
    if settings["speed_only"]:
        reporter.send("end")
        return

    reporter.begin("evaluate")
    loss, accuracy = framework.evaluate(*data["test"])
    reporter.send("test", loss=loss, accuracy=accuracy, finite=math.isfinite(loss), samples=len(data["test"][1]))
    _tell_mistakes(reporter, numpy, framework.predict(data["test"][0]), *data["test"])
    reporter.send("where", devices=sorted(set(framework.where())))
    reporter.send("memory", peak_bytes=peak_memory(), device_peak_bytes=framework.device_memory())
    reporter.send("end")
