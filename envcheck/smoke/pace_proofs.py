"""What was measured of the pace, as proofs: rates with their spread, shares of a peak, the best number of threads.

Pure: reads what the children told, never the machine.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from statistics import median
from typing import Any

import msgspec

from envcheck.compat import gpus
from envcheck.facts import Facts, Nvml
from envcheck.report import Confidence, Evidence, Finding, Remedy, Severity
from envcheck.smoke import judge, roofline
from envcheck.smoke.choice import Choice
from envcheck.smoke.proof import Chart, Curve, Measure, Proof
from envcheck.smoke.result import Failure, Status
from envcheck.smoke.robust import quartiles, relative_spread

NAMES = {
    "": "this machine",
    "tensorflow": "TensorFlow",
    "torch": "PyTorch",
    "keras": "Keras",
    "keras-tensorflow": "Keras on TensorFlow",
    "keras-torch": "Keras on PyTorch",
    "keras-jax": "Keras on JAX",
}

TITLES = {
    "machine": "NumPy, memory and disk",
    "kernels": "products, convolution, memory",
    "threads": "the number of threads",
    "loader": "the data loader",
}

PROVES = {
    "machine": "how fast NumPy, the memory and the disk are, without any framework",
    "kernels": "how much of what this machine can do the framework's kernels reach",
    "threads": "whether the framework's number of threads suits the cores that it may use",
    "loader": "how many samples a second the loader can bring, and with how many workers",
}

TASKS = {
    "kernels": ("GEMM", "convolution", "memory", "copies", "load", "step"),
    "threads": ("threads",),
    "loader": ("loader",),
}
"""Proof → the tasks of a framework that it is made of."""

TASKS_OF_MACHINE = ("GEMM", "memory", "disk")

KERNELS = {"GEMM": "product", "convolution": "convolution", "step": "training step"}

DISTURBED_CORES = 0.1
"""Cores' worth of other programs' work, and of waiting for a core, from which a measurement counts as disturbed."""

AS_GOOD = 0.97
"""Share of the best rate from which a smaller number of threads counts as good as the best."""

FEWEST_REPEATS = 3
"""Repeats without which nothing is known of the noise, and nothing follows."""

TOO_MANY_GAIN = 1.05
"""How many times faster fewer threads must be, quartile against quartile, where more are set than cores are allowed."""

FEWER_GAIN = 1.25
"""Likewise where the cores would suffice; then both the large product and the training step must gain."""

UNCACHED_SHARE = 0.05
"""Part of a file that may have stayed in the page cache for its reading to count as the disk's."""

LANE_GIGABYTES = {1: 0.25, 2: 0.5, 3: 0.985, 4: 1.969, 5: 3.938}
"""GB/s of one PCIe lane in one direction: 2.5 and 5 GT/s with 8b/10b, 8, 16 and 32 GT/s with 128b/130b code.
Source: PCI-SIG, PCI Express Base Specification."""


class Sampled(msgspec.Struct, frozen=True, kw_only=True):
    """The rates of one measurement.

    Attributes:
        name: `GEMM`, `triad`, `loader, 1 worker` and the like.
        rates: one for each repeat, in the order in which they were measured.
        unit: of the rates: `GFLOP/s`, `GB/s` or `samples/s`.
        task: which task measured it.
        dtype: number format; empty where there is none.
        threads: of the sweep.
        intensity: floating-point operations for each byte that must be moved; None where that is not counted.
        cores_of_others: cores' worth of other programs' work meanwhile, on the cores that were allowed.
        cores_waited_for: cores' worth of time that threads were ready and had none.
        told: what else the child said of it.
    """

    name: str
    rates: list[float]
    unit: str
    task: str
    dtype: str = ""
    threads: int | None = None
    intensity: float | None = None
    cores_of_others: float | None = None
    cores_waited_for: float | None = None
    told: dict[str, Any] = {}

    @property
    def rate(self) -> float:
        """The median of the rates."""
        return median(self.rates)

    @property
    def label(self) -> str:
        """Its name with its number format."""
        return f"{self.name} {self.dtype}".strip() if self.name in {"GEMM", "convolution"} else self.name

    @property
    def disturbed(self) -> bool:
        """Whether other programs held cores for which its threads waited."""
        return min(self.cores_of_others or 0.0, self.cores_waited_for or 0.0) >= DISTURBED_CORES


class Suspicion(msgspec.Struct, frozen=True, kw_only=True):
    """A number of threads that seems better than the one that is set.

    Attributes:
        default: threads that are set.
        best: threads that are better.
        allowed: cores that the process may use.
        gains: kernel → how many times faster `best` is: quartile against quartile, so that noise counts against it.
        rates: kernel → the median rates with `default` and with `best`, and their unit.
    """

    default: int
    best: int
    allowed: float
    gains: dict[str, float]
    rates: dict[str, tuple[float, float, str]]


class Gathered(msgspec.Struct, frozen=True, kw_only=True):
    """What the children of one framework told.

    Attributes:
        framework: its name; empty for the machine itself.
        events: everything, in order.
        failures: task → how it failed.
        failure: why nothing could be measured at all.
        seconds: wall time.
        nvml: what NVML said while a GPU was busy.
        swept: whether every number of threads was tried.
        confirmed: too many threads, and the cure tried in a process of its own.
    """

    framework: str
    events: list[dict[str, Any]]
    failures: dict[str, Failure] = {}
    failure: Failure | None = None
    seconds: float = 0.0
    nvml: Nvml | None = None
    swept: bool = False
    confirmed: Suspicion | None = None

    def last(self, name: str) -> dict[str, Any]:
        """Return the last event of a name; an empty one where there is none."""
        return next((event for event in reversed(self.events) if event["event"] == name), {})

    @property
    def device(self) -> str:
        """Where the work ran."""
        return str(self.last("device").get("used", ""))

    @property
    def threads(self) -> int | None:
        """Threads that are set."""
        threads = self.last("threads").get("threads")
        return None if threads is None else int(threads)

    @property
    def thread_counts(self) -> list[int]:
        """Numbers of threads to try."""
        return [int(count) for count in self.last("threads").get("counts", [])]

    def sampled(self, *tasks: str) -> list[Sampled]:
        """Return what was measured, of some tasks or of all."""
        found = [sampled_of(event) for event in self.events if event["event"] == "measured"]
        return [sampled for sampled in found if sampled.rates and (not tasks or sampled.task in tasks)]


BANDWIDTHS = ("triad", "disk read")


def sampled_of(event: dict[str, Any]) -> Sampled:
    """Return an event of a child as rates."""
    name, flops, moved = event["name"], event.get("flops"), event.get("bytes")
    if event.get("items"):
        work, unit = float(event["items"]), str(event.get("unit", "samples/s"))
    elif flops and name not in BANDWIDTHS:
        work, unit = flops / 1e9, "GFLOP/s"
    else:
        work, unit = (moved or 0.0) / 1e9, "GB/s"
    return Sampled(
        name=name,
        rates=[work / seconds for seconds in event["seconds"] if seconds and seconds > 0],
        unit=unit,
        task=event["task"],
        dtype=event.get("dtype") or "",
        threads=event.get("threads"),
        intensity=flops / moved if flops and moved else None,
        cores_of_others=event.get("cores_of_others"),
        cores_waited_for=event.get("cores_waited_for"),
        told=event,
    )


def proofs(machine: Gathered, measured: Sequence[Gathered], choice: Choice) -> list[Proof]:
    """Return the proofs of the machine and of every framework; one that was named and is not installed is an error.

    Args:
        machine: what was measured without a framework.
        measured: what was measured in each framework.
        choice: what was asked for.
    """
    absent_is_wrong = choice.by_name or all(map(_is_absent, measured))
    peaks = machine_peaks([machine, *(gathered for gathered in measured if gathered.device == "cpu")])
    found = [_machine_proof(machine, peaks, choice)]
    for gathered in measured:
        if gathered.failure is not None:
            found.append(_broken(gathered, choice, wanted=absent_is_wrong))
            continue
        tried = [name for name in TASKS if _was_tried(name, gathered)]
        found += [_proof(name, gathered, peaks, choice, first=name == tried[0]) for name in tried]
    return found


def _was_tried(name: str, gathered: Gathered) -> bool:
    return bool(set(TASKS[name]) & set(gathered.last("plan").get("tasks", [])))


def _is_absent(gathered: Gathered) -> bool:
    return gathered.failure is not None and gathered.failure.kind == "not-installed"


def machine_peaks(gathered: Iterable[Gathered]) -> dict[str, tuple[float, str]]:
    """Return the best rate that anything reached on the processor, and what reached it: by number format, and `memory`.

    A data sheet's figure is no measure of a shared or virtual machine; what it has reached once, it can.
    """
    best: dict[str, tuple[float, str]] = {}
    for source in gathered:
        for sampled in source.sampled():
            key = sampled.dtype if sampled.name == "GEMM" else "memory" if sampled.name == "triad" else ""
            if key and sampled.rate > best.get(key, (0.0, ""))[0]:
                threads = "" if sampled.threads is None else f", {_count(sampled.threads, 'thread')}"
                by = "NumPy" if not source.framework else NAMES[source.framework]
                best[key] = (sampled.rate, f"{by}{threads}")
    return best


def _machine_proof(machine: Gathered, peaks: dict[str, tuple[float, str]], choice: Choice) -> Proof:
    if machine.failure is not None:
        return _broken(machine, choice, wanted=True)
    sampled = machine.sampled()
    measures = [_measure(found) for found in sampled] + _unavailable(machine, TASKS_OF_MACHINE)
    said = [f"{found.label} {_rate(found)}" for found in sampled]
    return Proof(
        part="pace",
        name="machine",
        framework="",
        title=TITLES["machine"],
        proves=PROVES["machine"],
        status=Status.FAILED if machine.failures else Status.PASSED,
        summary=_sentence([*said, *_failed(machine.failures), noise(sampled)]),
        settings=_settings(choice),
        framework_version=f"NumPy {machine.last('framework').get('version', '')}".strip(),
        device="cpu",
        seconds=round(machine.seconds, 3),
        step_seconds=_task_seconds(machine, TASKS_OF_MACHINE, imported=True),
        peak_memory_bytes=machine.last("memory").get("peak_bytes"),
        measures=[*measures, *_shares(sampled, peaks), *noise_measures(sampled)],
        failure=next(iter(machine.failures.values()), None),
    )


def _broken(gathered: Gathered, choice: Choice, *, wanted: bool) -> Proof:
    """Return the proof of a framework in which nothing could be measured."""
    failure = gathered.failure
    assert failure is not None  # noqa: S101 - the caller has looked
    absent = _is_absent(gathered) and not wanted
    package = gathered.framework.partition("-")[0]
    finding = None if absent else judge.finding_of(failure, package, choice.interpreter)
    summary = f"{NAMES[gathered.framework]} is not installed: left out." if absent else f"{failure.reason}."
    return Proof(
        part="pace",
        name="kernels" if gathered.framework else "machine",
        framework=gathered.framework,
        title=TITLES["kernels" if gathered.framework else "machine"],
        proves=PROVES["kernels" if gathered.framework else "machine"],
        status=Status.ABSENT if absent else judge.status_of(failure),
        summary=summary,
        settings=_settings(choice),
        framework_version=str(gathered.last("framework").get("version", "")),
        failure=None if absent else failure,
        findings=[finding] if finding else [],
    )


def _proof(name: str, gathered: Gathered, peaks: dict[str, tuple[float, str]], choice: Choice, *, first: bool) -> Proof:
    tasks = TASKS[name]
    failures = {task: failure for task, failure in gathered.failures.items() if task in tasks}
    sampled = gathered.sampled(*tasks)
    done = {event["task"] for event in gathered.events if event["event"] == "task-end"}
    missing = [task for task in gathered.last("plan").get("tasks", []) if task in tasks and task not in done]
    described = {"kernels": _kernels, "threads": _threads, "loader": _loader}[name](gathered, sampled, peaks)
    measures, curves, charts, findings, said = described
    untried = [f"{task} was not tried: the time was up" for task in missing if task not in failures]
    seconds = _task_seconds(gathered, tasks, imported=first)
    failing = [finding for task in failures for finding in _failure_findings(task, failures[task], gathered)]
    broken = bool(failures) or (bool(missing) and not sampled)
    return Proof(
        part="pace",
        name=name,
        framework=gathered.framework,
        title=TITLES[name],
        proves=PROVES[name],
        status=Status.FAILED if broken else Status.PASSED,
        summary=_sentence([*said, *_failed(failures), *untried, noise(sampled)]),
        settings=_settings(choice),
        framework_version=str(gathered.last("framework").get("version", "")),
        device=gathered.device,
        seconds=round(sum(seconds.values()), 3),
        step_seconds=seconds,
        peak_memory_bytes=gathered.last("memory").get("peak_bytes"),
        device_peak_bytes=gathered.last("memory").get("device_peak_bytes"),
        measures=[*measures, *_unavailable(gathered, tasks), *noise_measures(sampled)],
        curves=curves,
        charts=charts,
        failure=next(iter(failures.values()), None),
        findings=[*findings, *failing],
    )


Described = tuple[list[Measure], list[Curve], list[Chart], list[Finding], list[str]]


def _kernels(gathered: Gathered, sampled: list[Sampled], peaks: dict[str, tuple[float, str]]) -> Described:
    measures = [_measure(found) for found in sampled]
    if gathered.device == "cpu":
        shares = _shares(sampled, peaks)
        roofs = _machine_roofs(peaks)
    else:
        shares = _gpu_shares(sampled, gathered)
        roofs = _gpu_roofs(sampled, gathered)
    findings = _gpu_findings(gathered.nvml)
    points = [
        roofline.Point(label=found.label, intensity=found.intensity, gigaflops=_gigaflops(found))
        for found in sampled
        if found.intensity and found.name != "sustained GEMM"
    ]
    charts = []
    if points and roofs:
        device = gathered.last("device").get("name") or gathered.device
        title = f"Roofline of {NAMES[gathered.framework]} on {device}"
        charts = [Chart(name="roofline", svg=roofline.svg(title, roofs, points))]
    said = [f"{found.label} {_rate(found)}" for found in sampled if found.name in {"GEMM", "convolution", "triad"}]
    return [*measures, *shares], [], charts, findings, said


def _gigaflops(found: Sampled) -> float:
    """Return GFLOP/s, also of what is told in bytes."""
    return found.rate if found.unit == "GFLOP/s" else found.rate * (found.intensity or 0.0)


def _machine_roofs(peaks: dict[str, tuple[float, str]]) -> list[roofline.Roof]:
    roofs = []
    if "memory" in peaks:
        roofs.append(roofline.Roof(label="memory", gigabytes=peaks["memory"][0]))
    roofs += [
        roofline.Roof(label=dtype, gigaflops=peaks[dtype][0]) for dtype in ("float32", "float64") if dtype in peaks
    ]
    return roofs


GPU_TYPES = {"float32": "fp32_tflops", "float16": "tensor_fp16_tflops", "bfloat16": "tensor_fp16_tflops"}
"""Number format → the field of the model table that holds its peak; of other formats the table has none."""


def _model(gathered: Gathered) -> gpus.Gpu | None:
    return gpus.by_name(gathered.last("device").get("name"))


def _gpu_peak(row: gpus.Gpu | None, found: Sampled) -> tuple[float, str] | None:
    """Return the data sheet's figure for what was measured, in its unit, and what it is called."""
    if row is None:
        return None
    if found.name == "triad":
        figure = row.memory_bandwidth_gbs
        return (figure, f"{figure:,.0f} GB/s, the memory bandwidth of {row.name}") if figure else None
    field = GPU_TYPES.get(found.dtype) if found.name in {"GEMM", "sustained GEMM", "convolution"} else None
    teraflops = getattr(row, field) if field else None
    return (teraflops * 1e3, f"{teraflops:g} TFLOP/s, the {found.dtype} peak of {row.name}") if teraflops else None


def _gpu_shares(sampled: list[Sampled], gathered: Gathered) -> list[Measure]:
    row = _model(gathered)
    shares = []
    for found in sampled:
        peak = _gpu_peak(row, found)
        if peak is not None:
            shares.append(_share(found, peak[0], f"of {peak[1]} (data sheet)"))
    link = _link(gathered, row)
    if link is not None:
        shares += [_share(found, link[0], f"of {link[1]}") for found in sampled if found.name.endswith(", pinned")]
    return shares


def _link(gathered: Gathered, row: gpus.Gpu | None) -> tuple[float, str] | None:
    """Return the PCIe bandwidth in one direction: as the driver tells it of card and slot, else as the table does."""
    seen = next((gpu for gpu in (gathered.nvml.gpus or [] if gathered.nvml else []) if gpu.state == "ok"), None)
    generation = (seen.pcie_generation_max if seen else None) or (row.pcie_generation if row else None)
    width = (seen.pcie_width_max if seen else None) or (row.pcie_width if row else None)
    lane = LANE_GIGABYTES.get(generation or 0)
    if lane is None or not width:
        return None
    return lane * width, f"{lane * width:.1f} GB/s, PCIe {generation} x{width}"


def _gpu_roofs(sampled: list[Sampled], gathered: Gathered) -> list[roofline.Roof]:
    row = _model(gathered)
    best = max((found.rate for found in sampled if found.name == "triad"), default=None)
    roofs = [roofline.Roof(label="memory, measured", gigabytes=best)] if best else []
    if row is not None:
        if row.memory_bandwidth_gbs:
            roofs.append(roofline.Roof(label="memory", gigabytes=row.memory_bandwidth_gbs, nominal=True))
        figures = (("float32", row.fp32_tflops), ("float16", row.tensor_fp16_tflops))
        roofs += [roofline.Roof(label=dtype, gigaflops=peak * 1e3, nominal=True) for dtype, peak in figures if peak]
    if not any(roof.gigaflops for roof in roofs):
        products = [found for found in sampled if found.name == "GEMM"]
        roofs += [roofline.Roof(label=f"{found.dtype}, measured", gigaflops=found.rate) for found in products]
    return roofs


def _gpu_findings(nvml: Nvml | None) -> list[Finding]:
    """Return what the checks of `doctor` say of GPUs that were busy when they were looked at."""
    if nvml is None:
        return []
    from envcheck.smoke.gpu_checks import findings_of, health_checks  # noqa: PLC0415 - only where there is a GPU

    found = findings_of(health_checks(), Facts(nvml=nvml))
    return [finding for finding in found if finding.severity is not Severity.NOTE]


def _threads(gathered: Gathered, sampled: list[Sampled], peaks: dict[str, tuple[float, str]]) -> Described:
    del peaks
    by_kernel: dict[str, dict[int, Sampled]] = {}
    for found in sampled:
        if found.threads is not None:
            by_kernel.setdefault(found.name, {})[found.threads] = found
    # A backend that does not say how many threads it has is measured as it is.
    unknown = [found for found in sampled if found.threads is None]
    measures = [_measure(found, KERNELS[found.name]) for found in unknown]
    curves, said = [], [f"{KERNELS[found.name]} {_rate(found)}" for found in unknown]
    default = gathered.threads
    for name, points in by_kernel.items():
        counts = sorted(points)
        measures += [_measure(points[count], f"{KERNELS[name]}, {_count(count, 'thread')}") for count in counts]
        unit = points[counts[0]].unit
        if len(counts) > 1:
            curves.append(
                Curve(
                    name=f"{KERNELS[name]} by number of threads",
                    x_label="threads",
                    y_label=unit,
                    x=[float(count) for count in counts],
                    y=[points[count].rate for count in counts],
                )
            )
        best = best_count(points)
        measures.append(
            Measure(
                name=f"{KERNELS[name]}, best number of threads",
                value=float(best),
                unit="threads",
                note=f"the smallest that reaches {AS_GOOD:.0%} of the best rate; {default} are set",
            )
        )
        said.append(f"{KERNELS[name]} {_rate(points[best])} with {_count(best, 'thread')}")
    allowed = gathered.last("threads").get("allowed_cores")
    if default is not None and allowed is not None:
        said.append(f"{_count(default, 'thread')} set, {allowed:g} cores allowed")
    findings = [oversubscription(gathered.framework, gathered.confirmed)] if gathered.confirmed else []
    said += [finding.title for finding in findings]
    return measures, curves, [], findings, said


def _loader(gathered: Gathered, sampled: list[Sampled], peaks: dict[str, tuple[float, str]]) -> Described:
    del gathered, peaks
    measures = []
    for found in sampled:
        first = found.told.get("first_batch_seconds")
        wait = "" if first is None else f"the first batch came after {first:.3f} s"
        measures.append(_measure(found, note=wait))
    points = sorted((found.told["workers"], found.rate) for found in sampled if found.told.get("workers") is not None)
    curves = []
    if len(points) > 1:
        curves = [
            Curve(
                name="loader by number of workers",
                x_label="workers",
                y_label="samples/s",
                x=[float(workers) for workers, _ in points],
                y=[rate for _, rate in points],
            )
        ]
    best = max(sampled, key=lambda found: found.rate, default=None)
    return measures, curves, [], [], [] if best is None else [f"at best {_rate(best)} ({best.name})"]


def _failure_findings(task: str, failure: Failure, gathered: Gathered) -> list[Finding]:
    """Return the finding for a loader that is stuck; of what else fails its step is named alone."""
    if task != "loader":
        return []
    words = f"{failure.message} {failure.stderr} {failure.reason}".lower()
    shared_memory = any(sign in words for sign in ("bus error", "shared memory", "shm"))
    stuck = failure.kind == "timeout" or "timed out" in words
    if not stuck and not shared_memory:
        return []
    which = failure.step if failure.step != "loader" else "loader"
    name = NAMES[gathered.framework]
    return [
        Finding(
            check="smoke",
            cause="shm-too-small" if shared_memory else "slow-data-path",
            severity=Severity.ERROR,
            confidence=Confidence.LIKELY,
            title=f"The data loader of {name} is stuck: {which} gave no batch",
            evidence=[Evidence(_line(failure.message or failure.reason), f"envcheck smoke, step {which}")],
            remedies=[
                Remedy(action="Give the container more shared memory", commands=["docker run --shm-size=8g …"])
                if shared_memory
                else Remedy(
                    action="Load without worker processes until it is found what they wait for: num_workers=0",
                    changes="the program",
                )
            ],
        )
    ]


def best_count(points: dict[int, Sampled]) -> int:
    """Return the smallest number of threads that is as good as the best."""
    best = max(found.rate for found in points.values())
    return min(count for count, found in points.items() if found.rate >= AS_GOOD * best)


def suspicion(gathered: Gathered) -> Suspicion | None:
    """Return fewer threads that seem to be better than those that are set, beyond what the noise explains.

    None where none are, where only one number was tried, and where other programs disturbed the measurement: no verdict
    is drawn from that.
    """
    default, allowed = gathered.threads, gathered.last("threads").get("allowed_cores")
    if default is None or allowed is None:
        return None
    by_count: dict[int, dict[str, Sampled]] = {}
    for found in gathered.sampled("threads"):
        if found.threads is not None:
            by_count.setdefault(found.threads, {})[found.name] = found
    fewer = [count for count in by_count if count < default]
    if default not in by_count or not fewer:
        return None
    best = max(fewer, key=lambda count: (_overall(by_count[count], by_count), -count))
    return _suspected(default, best, allowed, by_count[default], by_count[best])


def _overall(kernels: dict[str, Sampled], by_count: dict[int, dict[str, Sampled]]) -> float:
    """Return the mean logarithm of a setting's rates over the best of any setting; coarse, so that ties are ties."""
    logarithms = []
    for name, found in kernels.items():
        best = max(others[name].rate for others in by_count.values() if name in others)
        logarithms.append(math.log(found.rate / best))
    return round(sum(logarithms) / max(len(logarithms), 1), 1)


def _suspected(
    default: int, best: int, allowed: float, before: dict[str, Sampled], after: dict[str, Sampled]
) -> Suspicion | None:
    common = [name for name in before if name in after]
    both = [found for name in common for found in (before[name], after[name])]
    if not both or any(found.disturbed or len(found.rates) < FEWEST_REPEATS for found in both):
        return None
    gains = {name: quartiles(after[name].rates)[0] / quartiles(before[name].rates)[2] for name in common}
    if default > math.ceil(allowed):
        suspected = max(gains.values()) >= TOO_MANY_GAIN and min(gains.values()) >= 1 / TOO_MANY_GAIN
    else:
        suspected = {"GEMM", "step"} <= set(gains) and min(gains["GEMM"], gains["step"]) >= FEWER_GAIN
    if not suspected:
        return None
    rates = {name: (before[name].rate, after[name].rate, before[name].unit) for name in common}
    return Suspicion(default=default, best=best, allowed=allowed, gains=gains, rates=rates)


def confirmed(
    suspected: Suspicion, as_set: Sequence[dict[str, Any]], cured: Sequence[dict[str, Any]]
) -> Suspicion | None:
    """Return the suspicion with the rates of a second look, in which the cure was set; None where it does not hold."""
    before = {found.name: found for found in map(sampled_of, as_set) if found.rates}
    after = {found.name: found for found in map(sampled_of, cured) if found.rates}
    return _suspected(suspected.default, suspected.best, suspected.allowed, before, after)


def oversubscription(framework: str, found: Suspicion) -> Finding:
    """Return the finding that fewer threads are faster, and how to have them."""
    too_many = found.default > math.ceil(found.allowed)
    kernel = max(found.gains, key=lambda name: found.gains[name])
    before, after, _ = found.rates[kernel]
    variables = ["OMP_NUM_THREADS"] + (["TF_NUM_INTRAOP_THREADS"] if "tensorflow" in framework else [])
    setting = " ".join(f"{variable}={found.best}" for variable in variables)
    return Finding(
        check="smoke",
        cause="thread-oversubscription",
        severity=Severity.WARNING,
        confidence=Confidence.CERTAIN if too_many else Confidence.LIKELY,
        title=f"{NAMES[framework]} takes {_count(found.default, 'thread')}, and {after / before:.1f} times as fast is "
        f"its {KERNELS[kernel]} with {found.best}",
        evidence=[
            *(
                Evidence(
                    f"{KERNELS[name]}: {_plain(one)} {unit} with {_count(found.default, 'thread')}, {_plain(other)} "
                    f"{unit} with {_count(found.best, 'thread')}",
                    f"measured in processes of their own, the second with {setting}",
                )
                for name, (one, other, unit) in found.rates.items()
            ),
            Evidence(f"{found.allowed:g} cores may be used", "affinity and control group"),
        ],
        remedies=[
            Remedy(
                action=f"Let the framework use {_count(found.best, 'thread')}",
                commands=[f"export {setting}"],
                safe=True,
                changes="this shell and what it starts",
            )
        ],
    )


def _measure(found: Sampled, name: str = "", note: str = "") -> Measure:
    low, middle, high = quartiles(found.rates)
    return Measure(
        name=name or found.label,
        value=middle,
        unit=found.unit,
        low=low,
        high=high,
        repeats=len(found.rates),
        note=_sentence([_about(found), note]),
    )


def _about(found: Sampled) -> str:
    """Return what a reader must know of a measurement."""
    told = found.told
    parts = [str(told.get("note") or "")]
    if told.get("side") and found.name == "GEMM":
        parts.append(f"{told['side']} x {told['side']}")
    if found.name == "triad" and told.get("array_bytes"):
        parts.append(f"arrays of {told['array_bytes'] >> 20} MiB")
    if found.name == "disk read":
        parts += _about_disk(told)
    if found.disturbed:
        parts.append(f"disturbed: other programs used {found.cores_of_others:.1f} cores")
    return "; ".join(part for part in parts if part)


def _about_disk(told: dict[str, Any]) -> list[str]:
    size = f"{told['bytes'] / 2**20:,.0f} MiB"
    parts = [f"{size} {'written to and read from' if told.get('written') else 'read from files in'} {told['folder']}"]
    share = told.get("cached_share")
    if not told.get("cache_dropped"):
        parts.append("this system cannot drop its page cache: it is the memory's rate rather than the disk's")
    elif share is None:
        parts.append("the page cache was dropped before; whether all of it went is unknown")
    elif share > UNCACHED_SHARE:
        parts.append(f"{share:.0%} of it stayed in the page cache: it is the memory's rate rather than the disk's")
    else:
        parts.append("the page cache was dropped before")
    return parts


def _share(found: Sampled, peak: float, note: str) -> Measure:
    low, middle, high = (100 * rate / peak for rate in quartiles(found.rates))
    return Measure(
        name=f"{found.label}, share of peak",
        value=middle,
        unit="%",
        low=low,
        high=high,
        repeats=len(found.rates),
        note=note,
    )


def _shares(sampled: Sequence[Sampled], peaks: dict[str, tuple[float, str]]) -> list[Measure]:
    """Return rates as shares of the best that this machine reached."""
    shares = []
    for found in sampled:
        key = "memory" if found.name == "triad" else found.dtype if found.name in {"GEMM", "convolution"} else ""
        if key in {"memory", "float32", "float64"} and key in peaks:
            peak, by = peaks[key]
            shares.append(_share(found, peak, f"of {_plain(peak)} {found.unit}, this machine's best ({by})"))
    return shares


def _unavailable(gathered: Gathered, tasks: Sequence[str]) -> list[Measure]:
    return [
        Measure(
            name=f"{event['name']} {event.get('dtype', '')}".strip(),
            value=None,
            note=f"not available: {event['reason']}",
        )
        for event in gathered.events
        if event["event"] == "unavailable" and event["task"] in tasks
    ]


def noise(sampled: Sequence[Sampled]) -> str:
    """Return how far repeats lie apart and whether other programs disturbed them, as part of a sentence."""
    if not sampled:
        return ""
    spreads = [relative_spread(found.rates) for found in sampled if len(found.rates) > 1]
    words = f"repeats scatter by {median(spreads):.0%}" if spreads else "a single repeat each: the scatter is not known"
    disturbed = [found.cores_of_others or 0.0 for found in sampled if found.disturbed]
    if disturbed:
        words += f"; noisy: other programs used up to {max(disturbed):.1f} of the cores, no verdict is drawn from rates"
    return words


def noise_measures(sampled: Sequence[Sampled]) -> list[Measure]:
    """Return the noise as measures."""
    if not sampled:
        return []
    measures = []
    spreads = [100 * relative_spread(found.rates) for found in sampled if len(found.rates) > 1]
    if spreads:
        low, middle, high = quartiles(spreads)
        measures.append(
            Measure(
                name="scatter of repeats",
                value=middle,
                unit="%",
                low=low,
                high=high,
                repeats=len(spreads),
                note="distance of the quartiles over the median, over all measurements",
            )
        )
    for name, values in (
        ("cores used by other programs", [found.cores_of_others for found in sampled]),
        ("cores waited for", [found.cores_waited_for for found in sampled]),
    ):
        known = [value for value in values if value is not None]
        if known:
            low, middle, high = quartiles(known)
            note = f"from {DISTURBED_CORES:g} on in both, a measurement is called disturbed"
            measures.append(
                Measure(name=name, value=middle, unit="cores", low=low, high=high, repeats=len(known), note=note)
            )
    return measures


def _failed(failures: dict[str, Failure]) -> list[str]:
    return [failure.reason.rstrip(".") for failure in failures.values()]


def _task_seconds(gathered: Gathered, tasks: Sequence[str], *, imported: bool) -> dict[str, float]:
    """Return what some tasks took; the import of the framework, which they share, where it is asked for."""
    found = {event["task"]: round(event["seconds"], 3) for event in gathered.events if event["event"] == "task-end"}
    took = gathered.last("framework").get("import_seconds")
    begin = {"import": round(took, 3)} if imported and took is not None else {}
    return {**begin, **{task: seconds for task, seconds in found.items() if task in tasks}}


def _settings(choice: Choice) -> dict[str, str | int | float | bool]:
    return {"size": choice.size, "device": choice.device, "seed": choice.seed, "data": choice.data}


def _sentence(parts: Iterable[str]) -> str:
    return "; ".join(part for part in parts if part)


def _line(text: str) -> str:
    return " ".join(text.split())


def _rate(found: Sampled) -> str:
    return f"{_plain(found.rate)} {found.unit}"


def _plain(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"  # noqa: PLR2004 - three digits are enough


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"
