"""Keep the load on for minutes and watch: does it stay right, as fast, as small, as cool?

The load is a child of the interpreter under test, one for each device (`inside/endurance.py`); the watcher imports no
framework.  What follows from what was seen is in `endurance_proofs.py`, the live page in `endurance_page.py`.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from pathlib import Path
from typing import Any

import msgspec
import psutil
from msgspec.structs import replace

from envcheck.facts import Gpu, KernelLog, KernelMessage, Nvml, Pci
from envcheck.probe import Ended
from envcheck.smoke import child, endurance_proofs, gpu_checks, hung, judge
from envcheck.smoke.backends import Target, targets
from envcheck.smoke.choice import Choice, Listener
from envcheck.smoke.endurance_proofs import Outcome, Watched
from envcheck.smoke.endurance_record import Kept, Machine, RecordError, Round, Session, Writer, read
from envcheck.smoke.proof import Proof
from envcheck.smoke.result import Failure
from envcheck.system import Live, System

SCRIPTS = {"tensorflow": "pace_tensorflow", "torch": "pace_torch", "keras": "pace_keras"}
"""Package → the script of `envcheck/inside/` that knows its kernels."""

DRIVER = "endurance"

DEFAULT_MINUTES = {"quick": 0.1, "standard": 1.0, "full": 5.0}
"""How long the load is kept on where `--minutes` does not say."""

SAMPLES = 400
"""About how many rounds a run has, however long it is: enough for a curve, and little to keep."""

SHORTEST_ROUND, LONGEST_ROUND = 0.5, 30.0
"""Seconds of one round, at least and at most."""

START_SECONDS = 120.0
"""What importing the framework and building the network may take, beside the load itself."""

GPU_SECONDS = 16.0
"""What NVML gets for an answer."""

JOIN_SECONDS = 5.0

LONGEST_WAIT = 1.0
"""Seconds after which it is seen at the latest that the last load has ended."""

LOOKS_FOR_A_VERDICT = 10
"""After so many looks at the machine the live page says anew what was found so far."""

THROTTLE_FOLDER = "/sys/devices/system/cpu"

PROCESSOR_SENSORS = ("coretemp", "k10temp", "zenpower", "cpu", "soc", "acpitz")
"""What drivers call the sensors of a processor.  Source: Linux kernel, Documentation/hwmon, coretemp and k10temp."""


def prove(choice: Choice, listen: Listener) -> list[Proof]:
    """Keep the load on, in one framework (in each where several were named), and return what was seen.

    Ctrl-C, SIGTERM and SIGHUP end the load, and the verdict is about what was seen so far; nothing is left running.
    """
    found = targets(choice.frameworks, choice.interpreter)
    if not choice.by_name:
        # The order in which it is least of a burden to import.
        found.sort(key=lambda target: target.name != "torch")
    proofs: list[Proof] = []
    for target in found:
        watched = _endured(target, choice, listen)
        proofs += endurance_proofs.proofs(watched, choice)
        if watched.stopped or not (choice.by_name or watched.absent):
            break
    return proofs


def round_seconds(seconds: float) -> float:
    """Return how long a round of a run of so many seconds is."""
    return min(max(seconds / SAMPLES, SHORTEST_ROUND), LONGEST_ROUND)


def _endured(target: Target, choice: Choice, listen: Listener) -> Watched:
    seconds = 60.0 * (choice.minutes or DEFAULT_MINUTES[choice.size])
    path = Path(choice.record) if choice.record else None
    try:
        kept = read(path) if path else Kept()
        writer = Writer(path, kept)
    except RecordError as error:
        failure = Failure(step="record", kind="data", reason=str(error), message=str(error))
        return Watched(framework=target.name, seconds=seconds, outcomes=[Outcome(device="", failure=failure)])
    watch = _Watch(target, choice, listen, seconds, kept, writer)
    try:
        return watch.run()
    finally:
        writer.close()


class _Load(msgspec.Struct, frozen=True):
    """A child that works on one device.

    Attributes:
        device: what the device is called until the child says it.
        variables: environment variables that show the child this device alone.
        spare: whether there is nothing to do where the framework uses no GPU.
    """

    device: str
    variables: dict[str, str] = {}
    spare: bool = False


class _Watch:
    """One run: its loads, what they tell, and what is seen of the machine meanwhile."""

    def __init__(
        self, target: Target, choice: Choice, listen: Listener, seconds: float, kept: Kept, writer: Writer
    ) -> None:
        mine = [line for line in kept.lines if line.framework == target.name]
        self.target = target
        self.choice = choice
        self.listen = listen
        self.seconds = seconds
        self.kept = kept
        self.writer = writer
        self.session = 1 + max((line.session for line in mine), default=0)
        self.rounds = [line for line in mine if isinstance(line, Round)]
        self.machines = [line for line in mine if isinstance(line, Machine)]
        self.before = endurance_proofs.seconds_of(self.rounds, self.machines)
        self.round_seconds = round_seconds(seconds)
        self.system = Live()
        self.stop = threading.Event()
        self.lock = threading.Lock()
        self.outcomes: dict[str, Outcome] = {}
        self.processes: dict[str, int] = {}
        self.began: float | None = None
        self.version = ""
        self.nvml: Nvml | None = None
        self.log: list[KernelMessage] | None = None
        self.pci: Pci | None = None
        self.looks = 0
        self.titles: list[str] = []

    def run(self) -> Watched:
        """Keep the loads on until the time is over, they end, or someone stops them."""
        left = self.seconds - self.before
        stopped = False
        self.log = kernel_log(self.system)
        self.pci = pci_of(self.system)
        if left > 0:
            threads: list[threading.Thread] = []
            with child.signals_interrupt():
                try:
                    self._keep_watch(left, threads)
                except KeyboardInterrupt:
                    stopped = True
                finally:
                    self._end(threads)
        messages = None
        with contextlib.suppress(KeyboardInterrupt):
            # Whoever is in a hurry now gets the verdict without the kernel's log.
            messages = added(self.log, kernel_log(self.system))
        self.system.close()
        return self._so_far(messages, stopped=stopped)

    def _so_far(self, messages: list[KernelMessage] | None = None, *, stopped: bool = False) -> Watched:
        return Watched(
            framework=self.target.name,
            framework_version=self.version,
            seconds=self.seconds,
            seconds_before=self.before,
            session=self.session,
            stopped=stopped,
            rounds=self.rounds,
            machines=self.machines,
            kernel_messages=messages,
            pci=self.pci,
            outcomes=list(self.outcomes.values()),
            record=str(self.writer.path or ""),
            record_trouble=self.writer.trouble,
            unreadable_lines=self.kept.unreadable,
        )

    def _keep_watch(self, left: float, threads: list[threading.Thread]) -> None:
        """Start the loads and look at the machine now and then, until the last of them has ended."""
        self.nvml = gpu_checks.ask_nvml(self.system, self.choice.interpreter, GPU_SECONDS)
        loads = loads_of(self.nvml, self.choice.device, os.environ.get("CUDA_VISIBLE_DEVICES"))
        threads += [threading.Thread(target=self._keep_on, args=(load, left), daemon=True) for load in loads]
        for thread in threads:
            thread.start()
        if self.nvml is not None:
            threading.Thread(target=self._watch_gpus, daemon=True).start()
        due = 0.0
        while any(thread.is_alive() for thread in threads):
            self.stop.wait(min(self.round_seconds, LONGEST_WAIT))
            if time.monotonic() >= due:
                self._look()
                due = time.monotonic() + self.round_seconds

    def _end(self, threads: list[threading.Thread]) -> None:
        """Have the loads ended; a second Ctrl-C meanwhile changes nothing."""
        self.stop.set()
        deadline = time.monotonic() + JOIN_SECONDS
        for thread in threads:
            while thread.is_alive() and time.monotonic() < deadline:
                with contextlib.suppress(KeyboardInterrupt):
                    thread.join(0.1)

    def _keep_on(self, load: _Load, left: float) -> None:
        """Run the child of one device; should envcheck itself fail at it, that is no success of the load."""
        try:
            self._run(load, left)
        except Exception as error:  # noqa: BLE001 - whatever it is
            reason = f"the load could not be watched: {type(error).__name__}: {error}"
            failure = Failure(step="load", kind="exception", reason=reason)
            with self.lock:
                self.outcomes[load.device] = Outcome(device=load.device, failure=failure, worked=True)

    def _run(self, load: _Load, left: float) -> None:
        events: list[dict[str, Any]] = []
        device = load.device

        def receive(event: dict[str, Any]) -> None:
            nonlocal device
            if event["event"] == "device" and (not load.variables or event["used"] == "cpu"):
                # A child that is shown one GPU alone calls it the first.
                device = str(event["used"])
            if event["event"] == "round":
                self._tell_round(device, event)
            else:
                events.append(event)
                self._tell_step(device, event)

        start = min(START_SECONDS, self.choice.timeout_seconds)
        told = {
            "package": self.target.package,
            "size": self.choice.size,
            "device": self.choice.device,
            "seed": self.choice.seed,
            "threads": 0,
            "seconds": left,
            "round_seconds": self.round_seconds,
            "import_seconds": start,
            "spare": load.spare,
        }
        ending = child.run(
            self.choice.interpreter,
            SCRIPTS[self.target.package],
            told,
            # The load ends itself; a round that hangs ends its child after a minute or more.
            start + left + 2 * START_SECONDS + 20 * self.round_seconds,
            receive,
            {**self.target.variables, **load.variables},
            driver=DRIVER,
            stop=self.stop.is_set,
        )
        last = {event["event"]: event for event in events}
        failure = None
        if ending.outcome != "stopped":
            failure = hung.as_timeout(judge.failure_of(self.choice.interpreter, last, ending), ending)
        with self.lock:
            self.outcomes[device] = Outcome(
                device=device,
                failure=failure,
                worked="load" in last,
                peak_bytes=last.get("memory", {}).get("peak_bytes"),
                device_peak_bytes=last.get("memory", {}).get("device_peak_bytes"),
            )

    def _at(self) -> float:
        """Return the seconds of load so far, those of earlier sessions included."""
        return self.before + (time.monotonic() - self.began if self.began is not None else 0.0)

    def _tell_step(self, device: str, event: dict[str, Any]) -> None:
        with self.lock:
            if event["event"] == "framework":
                self.version = str(event.get("version", ""))
            if event["event"] == "load":
                self.processes[device] = int(event["process"])
                if self.began is None:
                    self.began = time.monotonic()
                session = Session(
                    session=self.session,
                    framework=self.target.name,
                    device=device,
                    began=time.time(),
                    framework_version=self.version,
                )
                self.writer.add([session])
            self.listen(self.target.name, event)

    def _tell_round(self, device: str, event: dict[str, Any]) -> None:
        told = {name: event[name] for name in Round.__struct_fields__ if name in event and name != "at"}
        with self.lock:
            found = Round(
                session=self.session, framework=self.target.name, device=device, at=round(self._at(), 3), **told
            )
            self.rounds.append(found)
            self.writer.add([found])

    def _watch_gpus(self) -> None:
        """Ask NVML again and again: an answer may take seconds, and none may come at all."""
        while not self.stop.wait(max(self.round_seconds, 1.0)):
            answer = gpu_checks.ask_nvml(self.system, self.choice.interpreter, GPU_SECONDS)
            with self.lock:
                self.nvml = answer

    def _look(self) -> None:
        """Look at the machine once, keep it, and show it."""
        if self.began is None or self.stop.is_set():
            return
        seen = machine_now(self.system)
        with self.lock:
            nvml, self.nvml = self.nvml, None
            found = Machine(
                session=self.session,
                framework=self.target.name,
                at=round(self._at(), 3),
                resident_bytes={
                    device: size for device, number in self.processes.items() if (size := resident(number))
                },
                gpus=None if nvml is None else [without_strangers(gpu) for gpu in nvml.gpus or []],
                gpu_state="" if nvml is None else nvml.state or "",
                **seen,
            )
            self.machines.append(found)
            self.writer.add([found])
            recent = {line.device: line for line in self.rounds if line.session == self.session}
            self.looks += 1
            if self.looks % LOOKS_FOR_A_VERDICT == 0:
                so_far = self._so_far()
                findings = [endurance_proofs.findings_of(so_far, device) for device in recent]
                self.titles = list(dict.fromkeys(finding.title for found in findings for finding in found))
            self.listen(self.target.name, page_event(found, list(recent.values()), self.seconds, self.titles))


def page_event(machine: Machine, rounds: list[Round], seconds: float, findings: list[str]) -> dict[str, Any]:
    """Return what the live page shows: the newest of everything, and what was found so far, as plain data."""
    return {
        "event": "endurance",
        "seconds": seconds,
        "machine": msgspec.to_builtins(machine),
        "rounds": [msgspec.to_builtins(line) for line in rounds],
        "findings": findings,
    }


def loads_of(nvml: Nvml | None, device: str, visible: str | None) -> list[_Load]:
    """Return what to keep busy: each GPU that a program may see where no device was named, else the one device.

    Args:
        nvml: what NVML says; None where there is no NVIDIA GPU.
        device: what was asked for.
        visible: CUDA_VISIBLE_DEVICES; None where it is not set.
    """
    answering = [gpu for gpu in (nvml.gpus or [] if nvml else []) if gpu.state == "ok"]
    names = [str(gpu.index) for gpu in answering]
    if visible is not None:
        names = [name.strip() for name in visible.split(",") if name.strip()][: len(names)]
    if device not in {"auto", "cuda"} or len(names) < 2:  # noqa: PLR2004 - one is the framework's own choice
        return [_Load(device)]
    order = {} if visible is not None else {"CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
    return [
        _Load(f"cuda:{number}", {**order, "CUDA_VISIBLE_DEVICES": name}, spare=number > 0)
        for number, name in enumerate(names)
    ]


def without_strangers(gpu: Gpu) -> Gpu:
    """Return a GPU without what a record need not hold: who else works on it, and its serial number."""
    return replace(gpu, processes=None, uuid=None)


def kernel_log(system: System) -> list[KernelMessage] | None:
    """Return the lines of the kernel's log that matter; None where it may not be read."""
    from envcheck.probes.kernel_log import kernel_log as probe  # noqa: PLC0415

    try:
        found = probe(system, 4.0, False)  # noqa: FBT003 - a probe's parameters have an order
    except Ended:
        return None
    return found.messages if isinstance(found, KernelLog) else None


def pci_of(system: System) -> Pci | None:
    """Return the graphics devices on the bus; None where they cannot be listed."""
    from envcheck.probes.pci import pci  # noqa: PLC0415

    try:
        found = pci(system)
    except Ended:
        return None
    return found if isinstance(found, Pci) else None


def added(before: list[KernelMessage] | None, after: list[KernelMessage] | None) -> list[KernelMessage] | None:
    """Return the lines that were added to the kernel's log; None where it could not be read."""
    if before is None or after is None:
        return None
    known = {(message.time, message.text) for message in before}
    return [message for message in after if (message.time, message.text) not in known]


def resident(process: int) -> int | None:
    """Return the resident memory of a process; None where it has gone."""
    try:
        return int(psutil.Process(process).memory_info().rss)
    except (psutil.Error, OSError):
        return None


def machine_now(system: System) -> dict[str, Any]:
    """Return the processor's clock, its temperature and how often heat slowed it down, as far as they may be read."""
    sensors: dict[str, float] = system.ask("temperatures") or {}
    processor = {name: heat for name, heat in sensors.items() if name.lower().startswith(PROCESSOR_SENSORS)}
    return {
        "megahertz": system.ask("processor_megahertz"),
        "celsius": max((processor or sensors).values(), default=None),
        "throttled": throttled(system),
    }


def throttled(system: System) -> int | None:
    """Return how often heat slowed the processor's cores down since the start; None where nothing counts it.

    Source: Linux kernel, arch/x86/kernel/cpu/mce/therm_throt.c, thermal_throttle/core_throttle_count (Intel alone).
    """
    counts = [
        text
        for name in system.entries(THROTTLE_FOLDER) or []
        if name.startswith("cpu")
        and (text := system.read(f"{THROTTLE_FOLDER}/{name}/thermal_throttle/core_throttle_count").text.strip())
    ]
    known = [int(text) for text in counts if text.isdigit()]
    return sum(known) if known else None
