"""What an endurance run saw, as a proof for each device: right, finite, as fast, as small, as cool as at its start?

Pure: reads what the loads and the machine told, never the machine.  GPUs and the kernel's log are judged by the checks
of `envcheck doctor`; here is what needs more than one look.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import median

import msgspec
from msgspec.structs import replace

from envcheck.causes import depth
from envcheck.facts import Facts, KernelLog, KernelMessage, Nvml, Pci
from envcheck.report import Confidence, Evidence, Finding, Remedy, Severity
from envcheck.smoke import judge
from envcheck.smoke.choice import Choice
from envcheck.smoke.endurance_record import Machine, Round
from envcheck.smoke.proof import Curve, Measure, Proof
from envcheck.smoke.result import Condition, Failure, Status
from envcheck.smoke.robust import noise_about_line, quartiles, rising_share, slope, trend

NAMES = {
    "tensorflow": "TensorFlow",
    "torch": "PyTorch",
    "keras": "Keras",
    "keras-tensorflow": "Keras on TensorFlow",
    "keras-torch": "Keras on PyTorch",
    "keras-jax": "Keras on JAX",
}

WARM_UP_SHARE = 0.2
"""Part of a session's rounds that is left out at its start: caches fill, clocks and temperatures rise."""

FEWEST_POINTS = 8
"""Points after the warm-up below which no course is judged: fewer cannot be told from chance."""

SURE = 3.1
"""Standard deviations of chance beyond which a course rises or falls: once in a thousand times by chance."""

LEAK_BYTES, LEAK_SHARE = 32 << 20, 0.05
"""Growth of memory from which it counts as a leak: both so many bytes and this part of what there was."""

STEADY = 0.8
"""Share of pairs of points that must rise for memory to leak: 0.5 by chance."""

STILL_GROWING = 0.3
"""Slope of the second half over that of the whole below which memory levels off: a cache that has filled."""

SLOWER = 0.10
"""Fall of a rate, over its median, from which it counts, where its rounds are sure of it."""

DISTURBED_CORES = 0.1
"""As of the pace: cores' worth of others' work, and of waiting, from which a round is disturbed."""

DISTURBED_SHARE = 0.2
"""Part of the rounds that may be disturbed for a fall of the rate to be held against this machine."""

LOSS_DEVIATION = 1e-4
"""Of the loss of the same weights on the same images: a mean of 64 float32 numbers, whose order of sums may change."""

PRODUCT_DEVIATION = 1e-3
"""Of the same product in float32, relative to its largest number.  Summing 8,192 terms in another order moves a sum by
less than 8192 · 2⁻²⁴ = 4.9e-4 of the sum of their magnitudes (Higham, "Accuracy and Stability of Numerical Algorithms",
2002, section 4.2); real reorderings stay far below."""

LASTING_SHARE, LASTING_LOOKS = 0.05, 2
"""Part of the looks at a busy GPU, and number of them, in which its clocks must be held down: one may be a change of
state."""

FLEETING = ("gpu-clocks-are-not-held-down", "gpu-power-limit-is-as-delivered", "gpu-pcie-link-is-full-under-load")
"""Checks of GPUs whose findings count when they last."""

CLOCK_FALL = 0.05
"""Fall of the processor's clock, over its median, that explains a fall of the rate."""

MOST_POINTS = 200
"""Points of a curve."""


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """How the load of one device ended.

    Attributes:
        device: such as `cpu` or `cuda:0`.
        failure: where and how it ended early; None where its time was over or it was stopped.
        worked: whether the load ever began.
        peak_bytes: highest resident memory of the child.
        device_peak_bytes: highest memory that the framework took on the GPU.
    """

    device: str
    failure: Failure | None = None
    worked: bool = False
    peak_bytes: int | None = None
    device_peak_bytes: int | None = None


class Watched(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that was seen of one framework's load.

    Attributes:
        framework: as `Proof.framework` has it.
        framework_version: such as `2.13.0+cpu`.
        seconds: how long the load was to be kept on, all sessions together.
        seconds_before: of that, what earlier sessions did.
        session: number of this run of the command.
        stopped: whether someone stopped it.
        rounds: of the loads, all sessions.
        machines: looks at the machine, all sessions.
        kernel_messages: lines that were added to the kernel's log; None where it may not be read.
        pci: graphics devices on the bus, of which such lines may speak; None where unknown.
        outcomes: how the loads ended, one a device.
        record: path of the record; empty where none is kept.
        record_trouble: why it could not be written to its end.
        unreadable_lines: of the record.
    """

    framework: str
    seconds: float
    framework_version: str = ""
    seconds_before: float = 0.0
    session: int = 1
    stopped: bool = False
    rounds: list[Round] = []
    machines: list[Machine] = []
    kernel_messages: list[KernelMessage] | None = None
    pci: Pci | None = None
    outcomes: list[Outcome] = []
    record: str = ""
    record_trouble: str = ""
    unreadable_lines: int = 0

    @property
    def absent(self) -> bool:
        """Whether the framework is not installed."""
        failures = [outcome.failure for outcome in self.outcomes]
        return bool(failures) and all(failure and failure.kind == "not-installed" for failure in failures)

    @property
    def lasted(self) -> float:
        """Seconds of load, all sessions together."""
        return seconds_of(self.rounds, self.machines)


def seconds_of(rounds: Sequence[Round], machines: Sequence[Machine]) -> float:
    """Return the seconds of load that lines tell of."""
    return max([0.0, *(line.at for line in rounds), *(line.at for line in machines)])


def proofs(watched: Watched, choice: Choice) -> list[Proof]:
    """Return a proof for each device; what concerns the whole machine stands in the first one."""
    outcomes = [outcome for outcome in watched.outcomes if outcome.worked or outcome.failure is not None]
    known = {outcome.device for outcome in outcomes}
    # Devices of an earlier session, where this one had nothing left to do or was stopped at once.
    outcomes += [Outcome(device=device, worked=True) for device in _devices(watched) if device not in known]
    if not outcomes:
        return [_nothing_seen(watched, choice)]
    return [_proof(watched, outcome, choice, first=number == 0) for number, outcome in enumerate(outcomes)]


def _devices(watched: Watched) -> list[str]:
    return list(dict.fromkeys(line.device for line in watched.rounds))


def _nothing_seen(watched: Watched, choice: Choice) -> Proof:
    return replace(
        _frame(watched, choice),
        status=Status.UNEXAMINED,
        summary=f"{NAMES[watched.framework]} was stopped before the load began: nothing can be said.",
    )


def _frame(watched: Watched, choice: Choice) -> Proof:
    return Proof(
        part="endurance",
        name="endurance",
        framework=watched.framework,
        title="the load is kept on",
        proves="results, speed, memory and temperature stay as they are while the machine works for minutes or hours",
        status=Status.PASSED,
        summary="",
        settings={
            "minutes": round(watched.seconds / 60, 3),
            "device": choice.device,
            "seed": choice.seed,
            "record": watched.record,
        },
        framework_version=watched.framework_version,
    )


def _proof(watched: Watched, outcome: Outcome, choice: Choice, *, first: bool) -> Proof:
    rounds = [line for line in watched.rounds if line.device == outcome.device]
    frame = replace(_frame(watched, choice), device=outcome.device, dtype="float32")
    failure = outcome.failure
    if failure is not None and not outcome.worked:
        absent = failure.kind == "not-installed" and not choice.by_name
        finding = judge.finding_of(failure, watched.framework.partition("-")[0], choice.interpreter)
        name = NAMES[watched.framework]
        return replace(
            frame,
            status=Status.ABSENT if absent else judge.status_of(failure),
            summary=f"{name} is not installed: left out." if absent else f"{failure.reason}.",
            failure=None if absent else failure,
            findings=[finding] if finding and not absent else [],
        )
    findings = findings_of(watched, outcome.device, machine_too=first)
    errors = [finding for finding in findings if finding.severity is Severity.ERROR]
    return replace(
        frame,
        status=Status.FAILED if failure is not None or errors else Status.PASSED,
        summary=_summary(watched, rounds, failure, findings),
        seconds=round(watched.lasted, 3),
        peak_memory_bytes=outcome.peak_bytes,
        device_peak_bytes=outcome.device_peak_bytes,
        conditions=_conditions(rounds, failure),
        measures=_measures(watched, outcome.device, rounds),
        curves=_curves(watched, outcome.device, rounds),
        failure=failure,
        findings=findings,
    )


def findings_of(watched: Watched, device: str, *, machine_too: bool = True) -> list[Finding]:
    """Return what is to be mended, the gravest first.

    Args:
        watched: what was seen.
        device: whose load is judged.
        machine_too: whether GPUs and the kernel's log are judged too; they belong to no single load.
    """
    rounds = [line for line in watched.rounds if line.device == device]
    found = [*_wrong_results(rounds), *_leaks(watched, device)]
    if machine_too:
        found += [*_gpus(watched), *_kernel_log(watched)]
    throttled = any(finding.cause == "gpu-throttled" for finding in found)
    slower = _slower(watched, device)
    # A fall of the rate is what a GPU's lowered clocks come to: said once.
    found += [slower] if slower is not None and not (throttled and device != "cpu") else []
    order = list(Severity)
    return sorted(found, key=lambda finding: (order.index(finding.severity), depth(finding.cause)))


def _wrong_results(rounds: Sequence[Round]) -> list[Finding]:
    """Return the findings for results that are not finite, or not those of the first round."""
    found = []
    broken = [line for line in rounds if not line.finite]
    if broken:
        found.append(
            _wrong(
                f"Results are no longer finite numbers: {len(broken)} of {len(rounds)} rounds",
                f"first after {broken[0].at:.1f} s; in the rounds before, the same work gave finite numbers",
            )
        )
    for name, tolerance, deviation in (
        ("loss", LOSS_DEVIATION, _loss_deviation),
        ("product", PRODUCT_DEVIATION, _product_deviation),
    ):
        wrong = [line for line in rounds if line.finite and (deviation(line) or 0.0) > tolerance]
        if wrong:
            worst = max(deviation(line) or 0.0 for line in wrong)
            found.append(
                _wrong(
                    f"The same {name} comes out otherwise than at the start: {len(wrong)} of {len(rounds)} rounds",
                    f"first after {wrong[0].at:.1f} s; off by up to {worst:.2g}, {tolerance:g} is allowed",
                )
            )
    return found


def _loss_deviation(line: Round) -> float | None:
    return line.loss_deviation


def _product_deviation(line: Round) -> float | None:
    return line.product_deviation


def _wrong(title: str, seen: str) -> Finding:
    return Finding(
        check="smoke",
        cause="hardware-computes-wrongly",
        severity=Severity.ERROR,
        confidence=Confidence.LIKELY,
        title=title,
        evidence=[Evidence(seen, "each round compared with the first")],
        remedies=[
            Remedy(
                action="Test the memory with memtest86+, take back overclocking, and look for Xid and machine checks"
            ),
            Remedy(action="Prove each operation by itself", commands=["envcheck smoke --arithmetic"], safe=True),
        ],
    )


Course = list[tuple[float, float]]
"""Points of time, in seconds of load, and value."""


def _judged(course: Course) -> Course:
    """Return a course without its warm-up; empty where too little is left to be judged."""
    if not course:
        return []
    start, end = course[0][0], course[-1][0]
    kept = [point for point in course if point[0] >= start + WARM_UP_SHARE * (end - start)]
    return kept if len(kept) >= FEWEST_POINTS else []


def _of_last_session(watched: Watched, device: str) -> tuple[list[Round], list[Machine]]:
    """Return what is judged as one course: a new session has a new process, whose memory and caches begin anew."""
    sessions = [line.session for line in watched.rounds if line.device == device]
    enough = [session for session in sorted(set(sessions), reverse=True) if sessions.count(session) >= FEWEST_POINTS]
    session = enough[0] if enough else max(sessions, default=0)
    return (
        [line for line in watched.rounds if line.device == device and line.session == session],
        [line for line in watched.machines if line.session == session],
    )


def _leaks(watched: Watched, device: str) -> list[Finding]:
    """Return the findings for memory, of the process and on the device, that grows without end."""
    found = []
    last, machines = _of_last_session(watched, device)
    host = [(line.at, float(line.resident_bytes[device])) for line in machines if device in line.resident_bytes]
    card = [(line.at, float(line.device_bytes)) for line in last if line.device_bytes is not None]
    for where, course in (("Memory of the process", host), (f"Memory on {device}", card)):
        points = _judged(course)
        growth = grown(points)
        if not growth:
            continue
        minutes = (points[-1][0] - points[0][0]) / 60
        found.append(
            Finding(
                check="smoke",
                cause="memory-leak",
                severity=Severity.WARNING,
                confidence=Confidence.LIKELY,
                title=f"{where} grows by {growth / 2**20 / minutes:,.0f} MiB a minute under the same load",
                evidence=[
                    Evidence(
                        f"{points[0][1] / 2**20:,.0f} MiB after {points[0][0]:.0f} s, {points[-1][1] / 2**20:,.0f} MiB "
                        f"after {points[-1][0]:.0f} s, still growing at the end",
                        "resident memory of the load" if course is host else "the framework's allocator",
                    )
                ],
                remedies=[
                    Remedy(action=f"Update {NAMES[watched.framework]}, and look for its known leaks of this version"),
                    Remedy(action="Until then, end long trainings now and then and go on from a checkpoint"),
                ],
            )
        )
    return found


def grown(points: Course) -> float:
    """Return by how many bytes memory grew where that is a leak: steadily, much, and to the end; else 0."""
    if len(points) < FEWEST_POINTS:
        return 0.0
    x, y = [at for at, _ in points], [value for _, value in points]
    inclination = slope(x, y)
    growth = inclination * (x[-1] - x[0])
    half = len(points) // 2
    still = slope(x[half:], y[half:]) >= STILL_GROWING * inclination
    enough = growth >= max(LEAK_BYTES, LEAK_SHARE * median(y))
    steady = rising_share(y) >= STEADY and trend(y) >= SURE
    return growth if enough and still and steady else 0.0


def fallen(points: Course) -> float:
    """Return by which part a rate fell, from its first third to its last, where that is no chance; else 0."""
    if len(points) < FEWEST_POINTS:
        return 0.0
    x, y = [at for at, _ in points], [value for _, value in points]
    middle = median(y)
    third = len(points) // 3
    before, after = median(y[:third]), median(y[-third:])
    if middle <= 0 or before <= 0:
        return 0.0
    by_slope = -slope(x, y) * (x[-1] - x[0]) / middle
    by_ends = 1 - after / before
    return by_ends if min(by_slope, by_ends) >= SLOWER and trend(y) <= -SURE else 0.0


RATES: tuple[tuple[str, str, Callable[[Round], float | None]], ...] = (
    ("training rate", "samples/s", lambda line: line.samples_per_second),
    ("product", "GFLOP/s", lambda line: line.gigaflops),
)


def disturbed_share(rounds: Sequence[Round]) -> float:
    """Return in which part of the rounds other programs held cores for which the load waited."""
    disturbed = [min(line.cores_of_others or 0.0, line.cores_waited_for or 0.0) >= DISTURBED_CORES for line in rounds]
    return sum(disturbed) / len(disturbed) if disturbed else 0.0


def _slower(watched: Watched, device: str) -> Finding | None:
    """Return the finding that the same work takes longer and longer."""
    last, machines = _of_last_session(watched, device)
    if device == "cpu" and disturbed_share(last) >= DISTURBED_SHARE:
        return None
    falls = []
    for name, unit, rate_of in RATES:
        points = _judged([(line.at, rate) for line in last if (rate := rate_of(line)) is not None])
        fall = fallen(points)
        if fall:
            third = len(points) // 3
            before = median([value for _, value in points[:third]])
            after = median([value for _, value in points[-third:]])
            noise = noise_about_line([at for at, _ in points], [value for _, value in points]) / before
            text = f"{name}: {before:,.0f} {unit} at first, {after:,.0f} {unit} at last, rounds scatter by {noise:.0%}"
            falls.append((fall, text, points))
    if not falls:
        return None
    fall, _, points = max(falls, key=lambda item: item[0])
    why, sure = _why_slower(machines, watched.kernel_messages or [])
    minutes = (points[-1][0] - points[0][0]) / 60
    return Finding(
        check="smoke",
        cause="processor-throttled" if device == "cpu" else "gpu-throttled",
        severity=Severity.WARNING,
        confidence=Confidence.LIKELY if sure and device == "cpu" else Confidence.POSSIBLE,
        title=f"The same work became {fall:.0%} slower within {minutes:.1f} minutes",
        detail="" if why else "neither clocks nor temperatures say why: they cannot be read here, or did not change",
        evidence=[*(Evidence(text, "the load's own rounds") for _, text, _ in falls), *why],
        remedies=[
            Remedy(action="Improve the cooling (dust, fans, air flow), and look at power limits", changes="hardware"),
            Remedy(action="Look for what else was started meanwhile", commands=["top -b -n 1 | head -20"], safe=True),
        ],
    )


def _why_slower(machines: Sequence[Machine], messages: Sequence[KernelMessage]) -> tuple[list[Evidence], bool]:
    """Return what the machine told meanwhile of clocks, heat and throttling, and whether that explains a fall."""
    found, sure = [], False
    clocks = [(line.at, line.megahertz) for line in machines if line.megahertz]
    if len(clocks) >= FEWEST_POINTS:
        third = len(clocks) // 3
        before, after = median([one for _, one in clocks[:third]]), median([one for _, one in clocks[-third:]])
        if after < (1 - CLOCK_FALL) * before:
            found.append(Evidence(f"the cores' clock fell from {before:,.0f} to {after:,.0f} MHz", "cpufreq"))
            sure = True
    counts = [line.throttled for line in machines if line.throttled is not None]
    if counts and counts[-1] > counts[0]:
        text = f"heat slowed the cores down {counts[-1] - counts[0]} times"
        found.append(Evidence(text, "/sys/devices/system/cpu/*/thermal_throttle"))
        sure = True
    hot = [message for message in messages if message.kind == "processor-throttled"]
    if hot:
        found.append(Evidence(hot[-1].text, hot[-1].source))
        sure = True
    heat = [line.celsius for line in machines if line.celsius is not None]
    if heat:
        found.append(Evidence(f"the processor was up to {max(heat):.0f} °C hot, {heat[0]:.0f} at first", "hwmon"))
    return found, sure


def _gpus(watched: Watched) -> list[Finding]:
    """Return what the checks of `doctor` say of the GPUs, look by look; what is fleeting must last."""
    looks = [line for line in watched.machines if line.gpu_state]
    if not looks:
        return []
    from envcheck.smoke.gpu_checks import findings_of as checked  # noqa: PLC0415 - only where there is a GPU
    from envcheck.smoke.gpu_checks import health_checks  # noqa: PLC0415

    checks = health_checks()
    seen: dict[tuple[str, str], list[tuple[Machine, Finding]]] = {}
    for line in looks:
        facts = Facts(nvml=Nvml(state=line.gpu_state, gpus=line.gpus, sources={"gpus": "NVML"}))
        for finding in checked(checks, facts):
            if finding.severity is not Severity.NOTE:
                seen.setdefault((finding.check, _card(finding)), []).append((line, finding))
    found = []
    for (check, _), times in seen.items():
        if check in FLEETING and len(times) < max(LASTING_LOOKS, LASTING_SHARE * len(looks)):
            continue
        line, finding = times[-1]
        text = f"in {len(times)} of {len(looks)} looks, first after {times[0][0].at:.0f} s, last after {line.at:.0f} s"
        found.append(replace(finding, evidence=[*finding.evidence, Evidence(text, "while the load was on")]))
    return [*found, *_grown_counts(looks, {finding.cause for finding in found})]


def _card(finding: Finding) -> str:
    """Return which card a finding is about: all checks name it in their title, and its number is what comes first."""
    words = finding.title.partition("GPU ")[2]
    return words.partition(" ")[0]


def _grown_counts(looks: Sequence[Machine], known: set[str]) -> list[Finding]:
    """Return findings for counters of memory errors that grew although their number alone is not judged."""
    if "gpu-memory-fault" in known:
        return []
    found = []
    first = {gpu.index: gpu for gpu in looks[0].gpus or []}
    for gpu in looks[-1].gpus or []:
        before = first.get(gpu.index)
        if before is None or gpu.ecc_corrected is None or before.ecc_corrected is None:
            continue
        grown_by = gpu.ecc_corrected - before.ecc_corrected
        if grown_by <= 0:
            continue
        found.append(
            Finding(
                check="smoke",
                cause="gpu-memory-fault",
                severity=Severity.WARNING,
                confidence=Confidence.POSSIBLE,
                title=f"GPU {gpu.index} corrected {grown_by:,} memory errors under load",
                evidence=[Evidence(f"corrected ECC errors: {before.ecc_corrected} → {gpu.ecc_corrected}", "NVML")],
                remedies=[Remedy(action="Watch whether the number goes on growing, and ask the vendor then")],
            )
        )
    return found


def _kernel_log(watched: Watched) -> list[Finding]:
    """Return what the checks of `doctor` say of lines that the kernel added meanwhile."""
    if not watched.kernel_messages:
        return []
    from envcheck.smoke.gpu_checks import KERNEL_LOG, checks_of  # noqa: PLC0415 - only where there is one
    from envcheck.smoke.gpu_checks import findings_of as checked  # noqa: PLC0415

    log = KernelLog(readable=True, messages=watched.kernel_messages, sources={"messages": "kernel log"})
    last = next((line for line in reversed(watched.machines) if line.gpu_state), None)
    nvml = None if last is None else Nvml(state=last.gpu_state, gpus=last.gpus)
    found = checked(checks_of(KERNEL_LOG), Facts(kernel_log=log, pci=watched.pci, nvml=nvml))
    # A machine check that may have been corrected is a note at any time, and worth a warning under load.
    raised = [
        replace(finding, severity=Severity.WARNING)
        if finding.severity is Severity.NOTE and finding.cause == "hardware-computes-wrongly"
        else finding
        for finding in found
    ]
    return [
        replace(finding, evidence=[*finding.evidence, Evidence("written while the load was on", "")])
        for finding in raised
        if finding.severity is not Severity.NOTE
    ]


def _conditions(rounds: Sequence[Round], failure: Failure | None) -> list[Condition]:
    broken = [line for line in rounds if not line.finite]
    off_loss = max((line.loss_deviation or 0.0 for line in rounds), default=0.0)
    off_product = max((line.product_deviation or 0.0 for line in rounds), default=0.0)
    equal = off_loss <= LOSS_DEVIATION and off_product <= PRODUCT_DEVIATION
    return [
        Condition(
            name="load-kept-on",
            holds=failure is None and bool(rounds),
            seen=failure.reason if failure else f"{len(rounds)} rounds were done",
        ),
        Condition(
            name="results-finite",
            holds=not broken,
            seen=f"{len(broken)} of {len(rounds)} rounds gave numbers that are not finite",
        ),
        Condition(
            name="results-equal",
            holds=equal,
            seen=f"against the first round the loss is off by up to {off_loss:.2g} ({LOSS_DEVIATION:g} is allowed), "
            f"the product by up to {off_product:.2g} ({PRODUCT_DEVIATION:g} is allowed)",
        ),
    ]


def _summary(watched: Watched, rounds: Sequence[Round], failure: Failure | None, findings: Sequence[Finding]) -> str:
    lasted = f"{watched.lasted / 60:.1f} of {watched.seconds / 60:g} minutes"
    parts = [f"{NAMES[watched.framework]} kept the load on for {lasted}, {len(rounds)} rounds"]
    if watched.seconds_before:
        kept = f"{watched.seconds_before / 60:.1f} minutes were kept from {watched.record}"
        parts.append(kept + ("; nothing was left to do" if watched.seconds_before >= watched.seconds else ""))
    if watched.unreadable_lines:
        parts.append(f"{watched.unreadable_lines} lines of the record could not be read and were left out")
    if watched.record_trouble:
        parts.append(f"the record could not be kept: {watched.record_trouble}")
    if watched.stopped:
        parts.append("it was stopped by hand")
    if failure is not None:
        parts.append(failure.reason.rstrip("."))
    parts += [finding.title for finding in findings]
    share = disturbed_share(rounds)
    if not findings and failure is None:
        speed = "" if share >= DISTURBED_SHARE else ", speed"
        parts.append(f"results{speed} and memory stayed as they were" if _is_judgeable(rounds) else TOO_SHORT)
    if share >= DISTURBED_SHARE:
        parts.append(
            f"noisy: in {share:.0%} of the rounds other programs held cores, no verdict is drawn from the rate"
        )
    if watched.kernel_messages is None:
        parts.append("the kernel's log may not be read")
    return "; ".join(parts) + "."


TOO_SHORT = "results stayed as they were; it was too short to judge speed and memory"


def _is_judgeable(rounds: Sequence[Round]) -> bool:
    return len(_judged([(line.at, 0.0) for line in rounds])) >= FEWEST_POINTS


def _measures(watched: Watched, device: str, rounds: Sequence[Round]) -> list[Measure]:
    measures = []
    for name, unit, rate_of in RATES:
        rates = [rate for line in rounds if (rate := rate_of(line)) is not None]
        measures += _measure(name, unit, rates)
    mebibytes = [line.resident_bytes[device] / 2**20 for line in watched.machines if device in line.resident_bytes]
    measures += _measure("resident memory", "MiB", mebibytes)
    for name, unit, value_of in MACHINE:
        values = [value for line in watched.machines if (value := value_of(line)) is not None]
        measures += _measure(name, unit, values)
    others = [line.cores_of_others for line in rounds if line.cores_of_others is not None]
    measures += _measure("cores used by other programs", "cores", others)
    for index in _gpu_numbers(watched):
        for name, unit, field, size in GPU_FIELDS:
            values = [value for _, value in _gpu_course(watched, index, field, size)]
            measures += _measure(f"GPU {index} {name}", unit, values)
    return measures


MACHINE: tuple[tuple[str, str, Callable[[Machine], float | None]], ...] = (
    ("processor clock", "MHz", lambda line: line.megahertz),
    ("processor temperature", "°C", lambda line: line.celsius),
)

# Name, unit, field of NVML's answer and what it is divided by.
GPU_FIELDS = (
    ("temperature", "°C", "temperature_celsius", 1),
    ("clock", "MHz", "clock_megahertz", 1),
    ("power", "W", "power_watts", 1),
    ("memory in use", "MiB", "memory_used_bytes", 2**20),
)


def _measure(name: str, unit: str, values: Sequence[float]) -> list[Measure]:
    if not values:
        return []
    low, middle, high = quartiles(values)
    return [Measure(name=name, value=middle, unit=unit, low=low, high=high, repeats=len(values))]


def _gpu_numbers(watched: Watched) -> list[int]:
    return sorted({gpu.index for line in watched.machines for gpu in line.gpus or [] if gpu.index is not None})


def _gpu_course(watched: Watched, index: int, field: str, size: int) -> Course:
    return [
        (line.at, float(value) / size)
        for line in watched.machines
        for gpu in line.gpus or []
        if gpu.index == index and (value := getattr(gpu, field)) is not None
    ]


def _curves(watched: Watched, device: str, rounds: Sequence[Round]) -> list[Curve]:
    courses: list[tuple[str, str, Course]] = [
        (name, unit, [(line.at, rate) for line in rounds if (rate := rate_of(line)) is not None])
        for name, unit, rate_of in RATES
    ]
    resident = [
        (line.at, line.resident_bytes[device] / 2**20) for line in watched.machines if device in line.resident_bytes
    ]
    courses.append(("resident memory", "MiB", resident))
    courses.append(
        ("memory on the device", "MiB", [(line.at, line.device_bytes / 2**20) for line in rounds if line.device_bytes])
    )
    for name, unit, value_of in MACHINE:
        seen = [(line.at, value) for line in watched.machines if (value := value_of(line)) is not None]
        courses.append((name, unit, seen))
    for index in _gpu_numbers(watched):
        courses += [
            (f"GPU {index} {name}", unit, _gpu_course(watched, index, field, size))
            for name, unit, field, size in GPU_FIELDS
        ]
    return [_curve(name, unit, course) for name, unit, course in courses if len(course) > 1]


def _curve(name: str, unit: str, course: Course) -> Curve:
    step = -(-len(course) // MOST_POINTS)
    kept = course[::step]
    return Curve(
        name=name,
        x_label="seconds of load",
        y_label=unit,
        x=[at for at, _ in kept],
        y=[value for _, value in kept],
    )
