"""How fast this machine computes in one framework; runs inside the interpreter under test.

`walk` takes a module (pace_torch.py, pace_tensorflow.py, pace_keras.py, pace_machine.py) through its tasks and writes
what it measured as JSON, one object a line. Nothing is judged here: `measured` carries the seconds of each repeat, what
one call works through, and how the processor was shared meanwhile. A task that fails is told (`unmeasured`) and the
next one follows; one that hangs ends the process, its stack on standard error.

What a module offers:

    PACKAGE                     the name that is imported
    REFERENCE                   the file that trains the reference network in it; empty where there is none
    prepare(reference, settings)   get ready, after the framework was imported
    tasks()                     the names of its tasks, in order; `threads` and `step` are done here
    perform(name, bench)        do one task: call `bench.measure(...)` or `bench.tell(...)`
    set_threads(count)          (optional) use so many threads from now on
    multiply(dtype, side), convolve(batch, channels, side) -> call, flops, bytes   what the sweep times
    wait()                      return when the device has finished what was asked of it
"""

import faulthandler
import math
import os
import sys
import time

SIZES = {
    # repeats, and seconds that one takes at least; side of the square matrices; images of the convolution; rounds of
    # the sweep, and seconds after which no further one begins; batches of a training step's measurement
    "quick": {
        "repeats": 7,
        "least": 0.02,
        "side": 512,
        "batch": 8,
        "sweep_rounds": 5,
        "sweep_seconds": 2.0,
        "step_batches": 2,
    },
    "standard": {
        "repeats": 15,
        "least": 0.04,
        "side": 1024,
        "batch": 16,
        "sweep_rounds": 9,
        "sweep_seconds": 10.0,
        "step_batches": 8,
    },
    "full": {
        "repeats": 31,
        "least": 0.1,
        "side": 2048,
        "batch": 32,
        "sweep_rounds": 15,
        "sweep_seconds": 60.0,
        "step_batches": 16,
    },
}
GPU_SIDE = {"quick": 4096, "standard": 8192, "full": 8192}
GPU_BATCH = {"quick": 64, "standard": 128, "full": 256}
LONGEST = {"quick": 1.0, "standard": 3.0, "full": 10.0}  # seconds that the repeats of one measurement may take
FEWEST_REPEATS = 3
PATIENCE = 4.0  # times its seconds a sweep may take for the sake of its fewest rounds
CHANNELS, FIELD = 64, 28  # of the convolution: 3x3 kernels on images of 28x28 with 64 channels in and out
STEP_BATCH = 32
CALLS_UNDER_LOAD = 10  # products between two looks at the clock
DTYPES = {
    "quick": ("float32", "bfloat16", "float16"),
    "standard": ("float32", "float64", "bfloat16", "float16", "int8"),
    "full": ("float32", "float64", "bfloat16", "float16", "int8"),
}
MOST_COUNTS = 6  # numbers of threads that a sweep of standard size tries


class Bench:
    """Times calls and tells what came out."""

    def __init__(self, reporter, settings, training):
        """Measure as thoroughly as the settings ask for."""
        self.reporter = reporter
        self.training = training
        self.size = settings["size"]
        self.settings = settings
        self.values = SIZES[settings["size"]]
        self.task = ""
        self.gpu = False

    def side(self):
        """Return the side of the matrices."""
        return GPU_SIDE[self.size] if self.gpu else self.values["side"]

    def batch(self):
        """Return the images of the convolution."""
        return GPU_BATCH[self.size] if self.gpu else self.values["batch"]

    def measure(self, name, call, wait, **told):
        """Time a call and tell it under a name.

        Args:
            name: what is measured.
            call: does the work once.
            wait: returns when the work is done.
            told: `flops`, `bytes` or `items` of one call, `dtype`, `threads`, `note`.
        """
        share = Share(self.training)
        self.tell(
            name, timed(call, wait, self.values["repeats"], self.values["least"], LONGEST[self.size]), share, **told
        )

    def dtypes(self):
        """Return the number formats whose products are tried."""
        names = DTYPES[self.size]
        return (names[0], "tf32", *names[1:]) if self.gpu else names

    def keep_busy(self, call, wait, **told):
        """Keep the device at work for as long as it takes to read its clocks from outside."""
        self.reporter.send("under-load", seconds=self.settings["load_seconds"])
        share, stop, seconds = Share(self.training), time.perf_counter() + self.settings["load_seconds"], []
        while time.perf_counter() < stop:
            seconds.append(_repeat(call, wait, CALLS_UNDER_LOAD))
        self.tell("sustained GEMM", seconds, share, **told)

    def tell(self, name, seconds, share, **told):
        """Tell the seconds of each repeat and how the processor was shared meanwhile."""
        self.reporter.send("measured", task=self.task, name=name, seconds=seconds, **dict(share.until_now(), **told))

    def share(self):
        """Start counting who has the processor."""
        return Share(self.training)

    def unavailable(self, name, error, **told):
        """Tell that something does not exist here, and in whose words."""
        words = " ".join(str(error).split())[:300] or type(error).__name__
        self.reporter.send("unavailable", task=self.task, name=name, reason=words, **told)


class Share:
    """Who had the processor: this process, others, and how long its threads waited for it."""

    def __init__(self, training):
        """Start counting."""
        self.training = training
        self.before = self._now()

    def _now(self):
        return time.perf_counter(), own_seconds(), busy_seconds(), self.training.waited_for_a_core()

    def until_now(self):
        """Return `cores_used`, `cores_of_others` and `cores_waited_for` since the start; None where it is unknown."""
        now = self._now()
        wall = max(now[0] - self.before[0], 1e-9)

        def passed(index):
            known = now[index] is not None and self.before[index] is not None
            return (now[index] - self.before[index]) / wall if known else None

        own, busy, waited = passed(1), passed(2), passed(3)
        return {
            "cores_used": own,
            # The kernel counts in hundredths of a second, so that short measurements may come out below zero.
            "cores_of_others": None if busy is None else max(busy - own, 0.0),
            "cores_waited_for": None if waited is None else max(waited, 0.0),
            "wall": wall,
        }


def own_seconds():
    """Return the processor time of this process and of the children that it has waited for."""
    spent = os.times()
    return spent[0] + spent[1] + spent[2] + spent[3]


def busy_seconds():
    """Return for how long the cores that this process may use were busy, for anybody; None where that is not told.

    Source: proc(5), /proc/stat: user, nice, system, irq, softirq and steal of each core, in clock ticks.
    """
    try:
        mine = os.sched_getaffinity(0)
        ticks = float(os.sysconf("SC_CLK_TCK"))
        with open("/proc/stat") as file:
            lines = file.read().splitlines()
    except (AttributeError, OSError, ValueError):
        return None
    total, seen = 0, 0
    for line in lines:
        words = line.split()
        if words and words[0][:3] == "cpu" and words[0][3:].isdigit() and int(words[0][3:]) in mine:
            counts = [int(word) for word in words[1:9]] + [0] * 8
            total += counts[0] + counts[1] + counts[2] + counts[5] + counts[6] + counts[7]
            seen += 1
    return total / ticks if seen == len(mine) else None


def timed(call, wait, repeats, least, longest):
    """Return the seconds of one call, once for each repeat, after a warm-up.

    Args:
        call: does the work once.
        wait: returns when the work is done.
        repeats: how often.
        least: seconds that a repeat takes at least; calls that are shorter are made several times.
        longest: seconds that all repeats may take together; what is slow gets fewer of them.
    """
    call()
    wait()
    began = time.perf_counter()
    call()
    wait()
    once = max(time.perf_counter() - began, 1e-7)
    calls = max(1, math.ceil(least / once))
    if calls > 1:
        # The second call may still have been a slow one: caches, clocks and threads wake up.
        once = max(_repeat(call, wait, calls), 1e-7)
        calls = max(1, math.ceil(least / once))
    found = []
    stop = time.perf_counter() + longest
    while len(found) < repeats and (len(found) < min(FEWEST_REPEATS, repeats) or time.perf_counter() < stop):
        found.append(_repeat(call, wait, calls))
    return found


def _repeat(call, wait, calls):
    began = time.perf_counter()
    for _ in range(calls):
        call()
    wait()
    return (time.perf_counter() - began) / calls


class EpochClock:
    """What the reference network's training loop tells: here the seconds of each epoch alone."""

    def __init__(self, batches):
        """Begin before the first epoch."""
        self.batches = batches
        self.epoch = 0
        self.seconds = []
        self.losses = []

    def epoch_begins(self):
        """Start the clock."""
        self.epoch += 1
        self.began = time.perf_counter()

    def warmed_up(self):
        """Pass over: the first epoch does not count."""

    def is_due(self):
        """Tell that no progress is wanted."""
        return False

    def progress(self, *_):
        """Pass over."""

    def trained_an_epoch(self):
        """Stop the clock."""
        self.seconds.append(time.perf_counter() - self.began)

    def epoch_ends(self, loss, *_):
        """Keep the training loss and go on."""
        self.losses.append(loss)
        return True


def open_framework(module, settings, reporter, training, load_sibling):
    """Import a framework, choose the device and get the module ready; return the file that trains in it, or None."""
    package = module.PACKAGE = settings["package"]
    reporter.begin("import")
    path = training.find(package)
    reporter.send("found", package=package, file=path)
    reporter.shadow = training.in_working_directory(path, package)
    began = time.perf_counter()
    __import__(package)
    training.refuse_impostor(path, package)
    reference = load_sibling(module.REFERENCE) if module.REFERENCE else None
    loaded = {"version": sys.modules[package].__version__, "build": {}}
    if reference is not None:
        settings.update(
            learning_rate=training.LEARNING_RATE,
            adam_epsilon=training.ADAM_EPSILON,
            warm_up_batches=training.WARM_UP_BATCHES,
        )
        reference.PACKAGE = package
        reference.state.update(refusal=training.RefusalError, evaluation_batch=training.EVALUATION_BATCH)
        loaded = reference.load(settings)
    reporter.send("framework", import_seconds=time.perf_counter() - began, **loaded)
    reporter.begin("device")
    chosen = {"used": "cpu", "name": "cpu", "why": ""}
    if reference is not None:
        chosen = reference.choose_device(settings["device"])
    reporter.send("device", asked=settings["device"], **chosen)
    settings["device_used"] = chosen["used"]
    module.prepare(reference, settings)
    return reference


def trainer(reference, settings, training, numpy, load_sibling, batches):
    """Build the reference network; return a function that trains some epochs and returns the clock that timed them."""
    count = batches * STEP_BATCH
    images, labels = load_sibling("smoke_data").generate(count + STEP_BATCH, settings["seed"])
    data = {"train": (images[:count], labels[:count]), "validation": (images[count:], labels[count:])}
    reference.build(settings)
    told = dict(settings, batch_size=STEP_BATCH)
    order = numpy.arange(count)

    def train(epochs):
        reference.initialise(training.initial_weights(numpy, settings["seed"]))
        clock = EpochClock(batches)
        reference.train(data, [order] * epochs, told, clock)
        return clock

    return train


def thread_counts(allowed, default, size):
    """Return how many threads a sweep tries: one, all that the cores allow, what is set, and steps between them."""
    most = max(1, math.ceil(allowed))
    counts = {1, most, default or most}
    if size != "quick":
        counts |= {most // 2 or 1}
        counts |= {2**power for power in range(most.bit_length())}
    counts = sorted(counts)
    if size == "standard" and len(counts) > MOST_COUNTS:
        kept = {1, most // 2, most, default or most} | set(counts[1 :: max(1, len(counts) // 2)])
        counts = [count for count in counts if count in kept]
    return counts


def sweep(module, reference, bench, numpy, load_sibling):
    """Time product, convolution and training step with each number of threads that is asked for.

    Thread counts take turns, so that what else the machine does falls on all of them alike.
    """
    settings, values = bench.settings, bench.values
    several = bench.task == "threads" and settings["sweep"] and hasattr(module, "set_threads")
    counts = settings["counts"] if several else [None]
    batches = values["step_batches"]
    train = trainer(reference, settings, bench.training, numpy, load_sibling, batches)
    work = {"step": (None, {"items": STEP_BATCH, "unit": "samples/s"})}
    if bench.task == "threads" and hasattr(module, "multiply"):
        product, flops, _ = module.multiply("float32", values["side"])
        convolution, more_flops, _ = module.convolve(values["batch"], CHANNELS, FIELD)
        work["GEMM"] = (product, {"flops": flops})
        work["convolution"] = (convolution, {"flops": more_flops})
    found = {(name, count): [] for name in work for count in counts}
    shares = {}
    began = time.perf_counter()
    for number in range(values["sweep_rounds"]):
        spent = (time.perf_counter() - began) / values["sweep_seconds"]
        # On a machine that others hold a single round may take as long as all of them should.
        if spent > 1 and (number >= FEWEST_REPEATS or spent > PATIENCE):
            break
        for count in counts:
            if count is not None:
                module.set_threads(count)
            share = Share(bench.training)
            for name, (call, _) in sorted(work.items()):
                if call is None:
                    # The first epoch warms up: threads are started, functions are traced.
                    seconds = [train(2).seconds[1] / batches]
                else:
                    seconds = timed(call, module.wait, 1, values["least"], 0.0)
                found[name, count].extend(seconds)
            shares.setdefault(count, []).append(share.until_now())
    for count in counts:
        for name, (_, told) in sorted(work.items()):
            total = _mean_share(shares[count])
            bench.reporter.send(
                "measured",
                task=bench.task,
                name=name,
                seconds=found[name, count],
                threads=count if count is not None else reference.threads(),
                dtype="float32",
                **dict(total, **told),
            )
    if hasattr(module, "set_threads") and settings["default_threads"]:
        module.set_threads(settings["default_threads"])


def _mean_share(shares):
    names = ("cores_used", "cores_of_others", "cores_waited_for")
    wall = sum(share["wall"] for share in shares)
    mean = {"wall": wall}
    for name in names:
        known = [share[name] * share["wall"] for share in shares if share[name] is not None]
        mean[name] = sum(known) / wall if len(known) == len(shares) and wall > 0 else None
    return mean


def walk(module, settings, descriptor, load_sibling):
    """Take one framework through its tasks.

    Args:
        module: one of the modules that the top of this file describes.
        settings: package, size, device, seed, data, tasks (names; empty: all), skip (names), threads (0: as they are),
            sweep (whether to try several numbers of threads), workers (what the data loader is tried with), array_bytes
            (of the memory test), import_seconds and task_seconds (what takes longer hangs), load_seconds (of a GPU).
        descriptor: where events are written.
        load_sibling: function that loads another file of this folder by its name.
    """
    faulthandler.enable()
    training = load_sibling("smoke_training")
    reporter = training.introduced(descriptor)
    try:
        _walk(module, settings, reporter, training, load_sibling)
    except (Exception, SystemExit) as error:
        training.report_failure(reporter, error)
    sys.stderr.flush()
    # Not the ordinary way out: what a framework does when the interpreter ends says nothing about its pace.
    os._exit(0)


def _walk(module, settings, reporter, training, load_sibling):
    faulthandler.dump_traceback_later(settings["import_seconds"], exit=True)
    bench = Bench(reporter, settings, training)
    reporter.begin("import")
    numpy = training.import_numpy()
    reference = open_framework(module, settings, reporter, training, load_sibling)
    threads = reference.threads() if reference is not None else None
    settings["default_threads"] = threads
    allowed = training.allowed_cores()
    settings["counts"] = thread_counts(allowed, threads, settings["size"])
    reporter.send("threads", threads=threads, allowed_cores=allowed, counts=settings["counts"])
    bench.gpu = settings["device_used"] not in ("cpu", "")
    names = settings["tasks"] or module.tasks()
    reporter.send("plan", tasks=names, can=["set_threads"] if hasattr(module, "set_threads") else [])
    for name in names:
        if name in settings["skip"]:
            continue
        bench.task = name
        reporter.begin(name)
        faulthandler.dump_traceback_later(settings["task_seconds"], exit=True)
        began = time.perf_counter()
        try:
            if name in ("threads", "step"):
                sweep(module, reference, bench, numpy, load_sibling)
            else:
                module.perform(name, bench)
        except Exception as error:
            training.report_failure(reporter, error, task=name)
        faulthandler.cancel_dump_traceback_later()
        reporter.send("task-end", task=name, seconds=time.perf_counter() - began)
    device_peak = reference.device_memory() if reference is not None else None
    reporter.send("memory", peak_bytes=training.peak_memory(), device_peak_bytes=device_peak)
    reporter.send("end")
