"""How fast this machine computes: products, convolution, memory, copies, data loader, disk, and the number of threads.

Children of the interpreter under test measure (`inside/pace*.py`); what follows from it is in `pace_proofs.py`.
"""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Sequence
from typing import Any

from msgspec.structs import replace

from envcheck.facts import Nvml
from envcheck.smoke import child, gpu_checks, hung, judge, pace_proofs
from envcheck.smoke.backends import Target, targets
from envcheck.smoke.child import Ending
from envcheck.smoke.choice import Choice, Listener
from envcheck.smoke.pace_proofs import Gathered
from envcheck.smoke.proof import Proof
from envcheck.smoke.result import Failure
from envcheck.system import Live, System

Events = list[dict[str, Any]]

DRIVER = "pace"

SCRIPTS = {"tensorflow": "pace_tensorflow", "torch": "pace_torch", "keras": "pace_keras"}
"""Package → its script in `envcheck/inside/`."""

MACHINE = Target(name="", package="numpy")
"""What stands for the framework of what needs none."""

ARRAY_LIMIT = {"quick": 64 << 20, "standard": 256 << 20, "full": 1 << 30}
"""Most bytes of one array of the memory test; there are three of them."""

CACHE_MULTIPLE = 4
"""An array of the memory test is so many times as large as the last-level cache.
Source: McCalpin, STREAM, "How are the arrays sized?"."""

MEMORY_SHARE = 16
"""At most this part of the free memory goes into one array."""

TASK_SECONDS = {"quick": 60.0, "standard": 120.0, "full": 400.0}
"""What takes longer hangs: a task is meant to take a twentieth of it, and on a crowded machine takes ten times that."""

LOAD_SECONDS = {"quick": 3.0, "standard": 6.0, "full": 20.0}
"""How long a GPU is kept busy while its clocks are read."""

WORKERS = {"quick": (0, 1), "standard": (0, 1, 2, 4), "full": (0, 1, 2, 4, 8, 16)}
"""Workers of a data loader that are tried, as far as there are cores."""

GPU_ANSWER_SECONDS = 15.0

THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "TF_NUM_INTRAOP_THREADS")
"""What PyTorch (OpenMP, MKL) and TensorFlow read when they start."""


def prove(choice: Choice, listen: Listener) -> list[Proof]:
    """Measure the machine, then each framework, and return what was measured.

    Raises:
        KeyboardInterrupt: Ctrl-C, SIGTERM or SIGHUP; nothing is left running.
    """
    system = Live()
    try:
        machine = _gather(MACHINE, choice, listen, system, time.monotonic() + choice.timeout_seconds)
        found = targets(choice.frameworks, choice.interpreter)
        measured = [_measured(target, choice, listen, system) for target in found]
    finally:
        system.close()
    return pace_proofs.proofs(machine, measured, choice)


def _measured(target: Target, choice: Choice, listen: Listener, system: System) -> Gathered:
    """Measure in one framework; where threads seem too many, look once more with the setting that seems to be best."""
    until = time.monotonic() + choice.timeout_seconds
    gathered = _gather(target, choice, listen, system, until)
    if gathered.failure is not None or gathered.device != "cpu":
        return gathered
    if not gathered.swept:
        gathered = _swept(gathered, target, choice, listen, system, until)
    suspicion = pace_proofs.suspicion(gathered)
    if suspicion is None:
        return gathered
    # Two further processes: does the cure, typed as it would be printed, do what the sweep promised?
    listen(target.name, {"event": "step", "step": "threads"})
    again = [_step_with(count, target, choice, listen, system, until) for count in (None, suspicion.best)]
    return replace(gathered, confirmed=pace_proofs.confirmed(suspicion, *again))


def _swept(
    gathered: Gathered, target: Target, choice: Choice, listen: Listener, system: System, until: float
) -> Gathered:
    """Return what was gathered, with a process for each further number of threads: it could not be changed in one."""
    events = list(gathered.events)
    for count in gathered.thread_counts:
        if count != gathered.threads:
            events += _step_with(count, target, choice, listen, system, until)
    return replace(gathered, events=events, swept=True)


def _step_with(
    count: int | None, target: Target, choice: Choice, listen: Listener, system: System, until: float
) -> list[dict[str, Any]]:
    """Return what the sweep's kernels measured in a process of their own with so many threads; None: as it is set."""
    if time.monotonic() >= until:
        return []
    variables = {} if count is None else dict.fromkeys(THREAD_VARIABLES, str(count))
    more = {"tasks": ["threads"], "sweep": False}
    found = _gather(target, choice, listen, system, until, variables=variables, more=more)
    return [event for event in found.events if event["event"] == "measured"]


def _gather(
    target: Target,
    choice: Choice,
    listen: Listener,
    system: System,
    until: float,
    variables: dict[str, str] | None = None,
    more: dict[str, Any] | None = None,
) -> Gathered:
    """Run children until every task was tried: one that ends a child is named, and a new child does the rest.

    Args:
        target: the framework, or `MACHINE`.
        choice: what was asked for.
        listen: called with each event.
        system: the machine.
        until: when the time is up, on the monotonic clock.
        variables: environment variables to set beside the present ones.
        more: settings of the child that differ from the usual ones.
    """
    script = SCRIPTS.get(target.package, "pace_machine")
    told = {**_told(choice, system), "package": target.package, **(more or {})}
    variables = {**target.variables, **(variables or {})}
    began = time.monotonic()
    events: Events = []
    failures: dict[str, Failure] = {}
    watch = _GpuWatch(system, choice.interpreter)
    skip: list[str] = []
    while True:
        fresh: Events = []

        def receive(event: dict[str, Any], fresh: Events = fresh) -> None:
            fresh.append(event)
            if event["event"] == "under-load":
                watch.look()
            if target is not MACHINE:
                listen(target.name, event)

        left = until - time.monotonic()
        ending = child.run(
            choice.interpreter, script, {**told, "skip": skip}, max(left, 0.1), receive, variables, driver=DRIVER
        )
        events += fresh
        failures.update(_told_failures(fresh, ending))
        task, failure = _end_of(fresh, ending, choice.interpreter)
        if failure is None:
            break
        if not task:
            return Gathered(framework=target.name, events=events, failures=failures, failure=failure, nvml=watch.seen())
        failures[task] = failure
        done = [event["task"] for event in fresh if event["event"] == "task-end"]
        skip = [*skip, *done, task]
        planned = next(event["tasks"] for event in fresh if event["event"] == "plan")
        if set(planned) <= set(skip) or ending.outcome == "timeout":
            break
    return Gathered(
        framework=target.name,
        events=events,
        failures=failures,
        seconds=time.monotonic() - began,
        nvml=watch.seen(),
        swept="set_threads" in _last(events, "plan").get("can", []),
    )


def _told(choice: Choice, system: System) -> dict[str, Any]:
    cores = os.cpu_count() or 1
    workers = [count for count in WORKERS[choice.size] if count <= max(cores, 1)]
    return {
        "size": choice.size,
        "device": choice.device,
        "seed": choice.seed,
        "data": choice.data and os.path.abspath(choice.data),  # noqa: PTH100 - a text goes to the child
        "tasks": [],
        "threads": 0,
        "sweep": True,
        "workers": workers,
        "array_bytes": array_bytes(
            choice.size, last_level_cache(system), (system.ask("memory") or {}).get("available")
        ),
        "import_seconds": max(choice.timeout_seconds - 2, 1.0),
        "task_seconds": min(TASK_SECONDS[choice.size], max(choice.timeout_seconds / 2, 1.0)),
        "load_seconds": LOAD_SECONDS[choice.size],
    }


def array_bytes(size: str, cache: int | None, available: int | None) -> int:
    """Return how large an array of the memory test is: well above the cache, well below the free memory."""
    wanted = max(CACHE_MULTIPLE * (cache or 0), ARRAY_LIMIT["quick"])
    room = available // MEMORY_SHARE if available else wanted
    return max(min(wanted, ARRAY_LIMIT[size], room), 1 << 20)


CACHES = "/sys/devices/system/cpu"


def last_level_cache(system: System) -> int | None:
    """Return the bytes of all last-level caches together; None where the kernel does not tell.

    Source: Linux kernel, Documentation/ABI/testing/sysfs-devices-system-cpu, cache/index*/size and shared_cpu_list.
    """
    found: dict[tuple[int, str], int] = {}
    for name in system.entries(CACHES) or []:
        if not re.fullmatch(r"cpu\d+", name):
            continue
        for index in system.entries(f"{CACHES}/{name}/cache") or []:
            folder = f"{CACHES}/{name}/cache/{index}"
            size = re.fullmatch(r"(\d+)K", system.read(f"{folder}/size").text.strip())
            level = system.read(f"{folder}/level").text.strip()
            if size and level.isdigit():
                found[int(level), system.read(f"{folder}/shared_cpu_list").text.strip()] = int(size[1]) * 1024
    deepest = max((level for level, _ in found), default=0)
    return sum(size for (level, _), size in found.items() if level == deepest) or None


def _told_failures(events: Events, ending: Ending) -> dict[str, Failure]:
    """Return the tasks that failed and were told of, by name."""
    return {
        event["task"]: judge.told_failure(event, ending)
        for event in events
        if event["event"] == "failure" and "task" in event
    }


def _end_of(events: Events, ending: Ending, interpreter: str) -> tuple[str, Failure | None]:
    """Return the task that ended the child and how; no task where the framework did not get that far."""
    last = {event["event"]: event for event in events if "task" not in event}
    failure = hung.as_timeout(judge.failure_of(interpreter, last, ending), ending)
    if failure is None:
        return "", None
    planned = last.get("plan")
    if planned is None:
        return "", failure
    done = {event["task"] for event in events if event["event"] == "task-end"}
    begun = [event["step"] for event in events if event["event"] == "step" and event["step"] in planned["tasks"]]
    return next((task for task in reversed(begun) if task not in done), ""), failure


def _last(events: Sequence[dict[str, Any]], name: str) -> dict[str, Any]:
    return next((event for event in reversed(events) if event["event"] == name), {})


class _GpuWatch:
    """Asks NVML about the GPUs while they are under load, beside the child that keeps them busy."""

    def __init__(self, system: System, interpreter: str) -> None:
        self.system = system
        self.interpreter = interpreter
        self.answer: Nvml | None = None
        self.thread: threading.Thread | None = None

    def look(self) -> None:
        """Begin to ask; the answer is there when the load has ended."""
        self.thread = threading.Thread(target=self._ask, daemon=True)
        self.thread.start()

    def _ask(self) -> None:
        # The load has just begun: clocks rise within a moment, and what flashes up meanwhile counts for nothing.
        time.sleep(1.0)
        self.answer = gpu_checks.ask_nvml(self.system, self.interpreter, GPU_ANSWER_SECONDS)

    def seen(self) -> Nvml | None:
        """Return what NVML said; None where it was not asked, or did not answer."""
        if self.thread is not None:
            self.thread.join(GPU_ANSWER_SECONDS)
        return self.answer
