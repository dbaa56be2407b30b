"""From what the child reported to a result: conditions, causes and cures.  Pure: reads events, never the machine."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from msgspec.structs import replace

from envcheck.report import Confidence, Evidence, Finding, Remedy, Severity
from envcheck.smoke.child import Ending
from envcheck.smoke.result import Condition, Epoch, Failure, Mistake, Settings, SmokeResult, Status

EXPECTED_PARAMETERS = 225_034

BARS = ((1000, 300, 0.90), (400, 100, 0.75), (160, 30, 0.40))
"""Images that train, updates of the weights, and the test accuracy that so much training must reach.

Measured with the generated digits, see docs/smoke.md: the default settings (1,200 images, 380 updates) reach 0.94 to
0.97, a linear model 0.80 to 0.84, chance is 0.10.  With less training than the last row no accuracy is asked for; the
loss must fall all the same.
"""

SUSPICIOUS_WAIT = 0.10
"""Cores' worth of waiting from which threads seem to be in each other's way (or in that of other programs)."""

OVERSUBSCRIBED_GAIN = 1.5
"""How many times faster one thread must be for the threads to be called too many."""

PACKAGES = {"tensorflow": "tensorflow", "torch": "torch", "keras": "keras"}


def accuracy_bar(training_samples: int, updates: int) -> float | None:
    """Return the test accuracy that so much training must reach; None where it is too little to ask for one."""
    for samples, needed_updates, bar in BARS:
        if training_samples >= samples and updates >= needed_updates:
            return bar
    return None


def result_of(
    framework: str, settings: Settings, interpreter: str, events: Sequence[dict[str, Any]], ending: Ending
) -> SmokeResult:
    """Return the result of one child: everything that it reported, and what follows from how it ended."""
    last = {event["event"]: event for event in events}
    data, test, trained, threads = (last.get(name, {}) for name in ("data", "test", "trained", "threads"))
    device, where = last.get("device", {}), last.get("where", {})
    result = SmokeResult(
        framework=framework,
        status=Status.FAILED,
        settings=settings,
        interpreter=interpreter,
        python_version=last.get("python", {}).get("version", ""),
        framework_version=last.get("framework", {}).get("version", ""),
        framework_file=last.get("found", {}).get("file", ""),
        build=last.get("framework", {}).get("build", {}),
        numpy_version=data.get("numpy", ""),
        step_seconds=_step_seconds(events, ending),
        device_used=" and ".join(where.get("devices", [])) or device.get("used", ""),
        device_name=device.get("name", ""),
        device_reason=device.get("why", ""),
        parameters=last.get("network", {}).get("parameters"),
        training_samples=data.get("train"),
        validation_samples=data.get("validation"),
        test_samples=data.get("test"),
        untrained_loss=last.get("untrained", {}).get("loss"),
        epochs=[_epoch(event) for event in events if event["event"] == "epoch"],
        test_loss=test.get("loss"),
        test_accuracy=test.get("accuracy"),
        accuracy_bar=_bar(settings, data.get("train")),
        samples_per_second=trained.get("samples_per_second", last.get("progress", {}).get("samples_per_second")),
        threads=threads.get("threads"),
        allowed_cores=threads.get("allowed_cores"),
        cores_used=trained.get("cores_used"),
        cores_waited_for=trained.get("cores_waited_for"),
        peak_memory_bytes=last.get("memory", {}).get("peak_bytes"),
        device_peak_bytes=last.get("memory", {}).get("device_peak_bytes"),
        moved=last.get("moved", {}).get("layers", {}),
        confusion=last.get("mistakes", {}).get("confusion", []),
        mistakes=[
            Mistake(label=seen["label"], taken_for=seen["taken_for"], pixels=bytes(seen["pixels"]))
            for seen in last.get("mistakes", {}).get("wrong", [])
        ],
    )
    failure = failure_of(interpreter, last, ending)
    if failure is not None:
        finding = finding_of(failure, framework, interpreter)
        return _replace(result, status=status_of(failure), failure=failure, findings=[finding] if finding else [])
    conditions = _conditions(result, last)
    passed = all(condition.holds for condition in conditions)
    return _replace(result, status=Status.PASSED if passed else Status.FAILED, conditions=conditions)


def with_one_thread(result: SmokeResult, samples_per_second: float | None) -> SmokeResult:
    """Return a result with what one thread achieved, and the finding that follows where it is much more."""
    result = _replace(result, samples_per_second_one_thread=samples_per_second)
    if not samples_per_second or not result.samples_per_second:
        return result
    gain = samples_per_second / result.samples_per_second
    if gain < OVERSUBSCRIBED_GAIN:
        return result
    return _replace(result, findings=[*result.findings, _oversubscription(result, gain)])


def wants_diagnosis(result: SmokeResult) -> bool:
    """Tell whether the checks of `doctor` are to say why it failed: it did, and the training itself does not know."""
    return result.status is Status.FAILED and result.failure is not None and not result.findings


def with_findings(result: SmokeResult, findings: Sequence[Finding]) -> SmokeResult:
    """Return a result with what the checks of `doctor` found."""
    return _replace(result, findings=[*result.findings, *findings])


def without_findings(result: SmokeResult, status: Status) -> SmokeResult:
    """Return a result with another status, of which nothing is to be mended."""
    return _replace(result, status=status, findings=[])


def threads_seem_to_hurt(result: SmokeResult) -> bool:
    """Tell whether it is worth measuring with one thread.

    It is where threads were ready and had no core, where there are more threads than cores allowed, or where the
    training did not end in time; threads that are only of no use, on a large idle machine, harm nobody.
    """
    if result.threads == 1 or result.samples_per_second is None or result.device_used not in {"cpu", ""}:
        return False
    slow = result.failure is not None and result.failure.kind == "timeout" and result.failure.step == "train"
    waited = (result.cores_waited_for or 0.0) >= SUSPICIOUS_WAIT
    return slow or waited or _too_many(result)


def _too_many(result: SmokeResult) -> bool:
    return bool(result.threads and result.allowed_cores and result.threads > math.ceil(result.allowed_cores))


def _bar(settings: Settings, training_samples: int | None) -> float | None:
    if training_samples is None:
        return None
    return accuracy_bar(training_samples, settings.epochs * -(-training_samples // settings.batch_size))


def _replace(result: SmokeResult, **changes: Any) -> SmokeResult:  # noqa: ANN401 - fields of all types
    return replace(result, **changes)


def _epoch(event: dict[str, Any]) -> Epoch:
    return Epoch(**{name: event[name] for name in Epoch.__struct_fields__ if name in event})


def _step_seconds(events: Sequence[dict[str, Any]], ending: Ending) -> dict[str, float]:
    begun = [(event["step"], event["at"]) for event in events if event["event"] == "step"]
    ends = ([at for _, at in begun] + [ending.seconds])[1:]
    return {step: round(max(end - at, 0.0), 3) for (step, at), end in zip(begun, ends, strict=False)}


def _conditions(result: SmokeResult, last: dict[str, dict[str, Any]]) -> list[Condition]:
    losses = [epoch.loss for epoch in result.epochs]
    finite = (
        all(epoch.finite for epoch in result.epochs)
        and last.get("untrained", {}).get("finite") is not False
        and last.get("test", {}).get("finite") is True
        and last.get("moved", {}).get("finite") is True
    )
    first = losses[0] if len(losses) > 1 else result.untrained_loss
    falls = bool(losses) and first is not None and losses[-1] is not None and losses[-1] < first
    # A distance that is not finite is None: such weights did move, and the first condition speaks of them.
    still = [name for name, distance in result.moved.items() if distance == 0]
    used, asked = result.device_used, result.settings.device
    chosen = last.get("device", {}).get("used", "")
    conditions = [
        Condition(
            name="loss-finite",
            holds=finite,
            seen="loss and weights stayed finite" if finite else f"loss or weights are not finite: {_losses(result)}",
        ),
        Condition(
            name="loss-falls",
            holds=falls,
            seen=f"the training loss went from {_number(first)} to {_number(losses[-1] if losses else None)}",
        ),
        Condition(
            name="parameters-moved",
            holds=bool(result.moved) and not still,
            seen=f"these layers did not move: {', '.join(still)}" if still else "the weights of every layer moved",
        ),
        Condition(
            name="device",
            holds=same_device(used, chosen),
            seen=f"the work ran on {used or 'a device that the framework does not name'}, asked for was {asked}"
            + ("" if asked == chosen else f" ({chosen})"),
        ),
    ]
    if result.accuracy_bar is not None:
        reached = result.test_accuracy is not None and result.test_accuracy >= result.accuracy_bar
        conditions.append(
            Condition(
                name="test-accuracy",
                holds=reached,
                seen=f"test accuracy {_number(result.test_accuracy)}, at least {result.accuracy_bar:.2f} is needed",
            )
        )
    return conditions


def same_device(used: str, chosen: str) -> bool:
    """Tell whether the work ran where it was to run; `cuda` is `cuda:0`."""

    def full(device: str) -> str:
        return device if ":" in device or device == "cpu" else f"{device}:0"

    return bool(used) and full(used) == full(chosen)


def _losses(result: SmokeResult) -> str:
    return ", ".join(_number(epoch.loss) for epoch in result.epochs) or "none"


def _number(value: float | None) -> str:
    return "not finite" if value is None else f"{value:.4f}"


def status_of(failure: Failure) -> Status:
    """Return what a failure makes of the whole: unusable data and an interpreter that is none say nothing of it."""
    if failure.kind == "data":
        return Status.UNUSABLE_DATA
    return Status.UNEXAMINED if failure.kind == "start" else Status.FAILED


def is_absent(failure: Failure | None) -> bool:
    """Tell whether something failed because its framework is not installed, and for nothing else."""
    return failure is not None and failure.kind == "not-installed" and failure.step == "import"


def failure_of(interpreter: str, last: dict[str, dict[str, Any]], ending: Ending) -> Failure | None:
    """Return where and how it ended early; None where it came to its end."""
    python = last.get("python")
    step = last.get("step", {}).get("step", "start")
    ended_in = f"the step '{step}'"
    told = last.get("failure")
    if told is not None:
        return told_failure(told, ending)
    if "end" in last and ending.outcome == "ok":
        return None
    start = _start_failure(interpreter, python, ending)
    if start is not None:
        return start
    stack = _python_stack(ending.stderr)
    evidence: dict[str, Any] = {"stderr": _tail(ending.stderr), "python_stack": stack}
    if ending.outcome == "timeout":
        reason = f"{ended_in} was not done when the time was up, after {ending.seconds:.1f} s"
        return Failure(step=step, kind="timeout", reason=reason, **evidence)
    if ending.outcome == "signal":
        reason = f"{ended_in} ended in {ending.signal}"
        if ending.signal == "SIGKILL":
            reason += ": the kernel does that where memory runs out"
        # An instruction that the processor does not have is the one thing that SIGILL means here.
        cause = "cpu-instructions-missing" if ending.signal == "SIGILL" else ""
        return Failure(step=step, kind="signal", reason=reason, signal=ending.signal, cause=cause, **evidence)
    reason = f"{ended_in} ended the interpreter with exit code {ending.exit_code} and without a word"
    return Failure(step=step, kind="exit", reason=reason, exit_code=ending.exit_code, **evidence)


def told_failure(told: dict[str, Any], ending: Ending) -> Failure:
    """Return the failure that an event of the child tells of."""
    return Failure(
        step=told["step"],
        kind=told["kind"],
        reason=_told_reason(told),
        type=told["type"],
        message=told["message"],
        traceback=told["traceback"],
        stderr=_tail(ending.stderr),
        cause=told["cause"],
    )


def _told_reason(told: dict[str, Any]) -> str:
    message = " ".join(told["message"].split()) or "no message"
    if told["kind"] in {"exception", "shadowed"} and told["type"]:
        return f"the step '{told['step']}' ended in {told['type']}: {message}"
    return message


def _start_failure(interpreter: str, python: dict[str, Any] | None, ending: Ending) -> Failure | None:
    if ending.outcome == "unstartable":
        return Failure(
            step="start", kind="start", reason=f"{interpreter} cannot be started: {ending.reason}", stderr=ending.stderr
        )
    if python is not None and python.get("too_old"):
        return Failure(
            step="start",
            kind="start",
            reason=f"{interpreter} is Python {python['version']}: the smoke training needs Python 3.6 or later",
        )
    if python is None or ending.outcome == "garbled":
        ended = {
            "timeout": f"said nothing within {ending.seconds:.1f} s",
            "signal": f"ended in {ending.signal}",
        }.get(ending.outcome, "does not answer as Python does")
        return Failure(
            step="start",
            kind="start",
            reason=f"{interpreter} {ended}",
            signal=ending.signal,
            exit_code=ending.exit_code,
            stderr=_tail(ending.stderr),
        )
    return None


STACK_HEADS = ("Fatal Python error", "Timeout (", "Current thread ", "Thread 0x", "Windows fatal exception")


def _python_stack(stderr: str) -> str:
    """Return what faulthandler printed last: its heads and the lines that follow them."""
    lines = stderr.splitlines()
    heads = [index for index, line in enumerate(lines) if line.startswith(STACK_HEADS[:2] + STACK_HEADS[4:])]
    if not heads:
        return ""
    kept = []
    for line in lines[heads[-1] :]:
        if not (line.startswith(STACK_HEADS) or line.startswith("  File ") or not line.strip()):
            break
        kept.append(line)
    return "\n".join(kept).strip()


TAIL_CHARACTERS = 4000


def _tail(text: str) -> str:
    return text[-TAIL_CHARACTERS:]


def finding_of(failure: Failure, framework: str, interpreter: str) -> Finding | None:
    """Return a finding where the failure itself decides the cause; else the checks of `doctor` have to."""
    if not failure.cause:
        return None
    return Finding(
        check="smoke",
        cause=failure.cause,
        severity=Severity.ERROR,
        title=failure.reason,
        evidence=[Evidence(failure.reason, f"envcheck smoke, step {failure.step}")],
        remedies=_remedies(failure, framework, interpreter),
    )


def _remedies(failure: Failure, framework: str, interpreter: str) -> list[Remedy]:
    if failure.cause == "package-not-installed":
        package = "numpy" if "'numpy'" in failure.message else PACKAGES[framework]
        return [
            Remedy(
                action=f"Install {package} into this environment",
                commands=[f"{_quoted(interpreter)} -m pip install {package}"],
                safe=True,
                changes="this environment",
            )
        ]
    if failure.cause == "visible-devices-masked":
        return [Remedy(action="Do not hide the GPUs", commands=["unset CUDA_VISIBLE_DEVICES"], safe=True)]
    if failure.cause == "shadowed-module":
        return [Remedy(action="Rename the file (or the folder) that has the framework's name, or run elsewhere")]
    if failure.cause == "cpu-only-build":
        return [
            Remedy(action=f"Install a build of {framework} for this machine's accelerator; envcheck doctor names one"),
            Remedy(
                action="Train on the processor",
                commands=[f"envcheck smoke --framework {SHORT.get(framework, framework)} --device cpu"],
                safe=True,
                changes="nothing",
            ),
        ]
    return []


SHORT = {"tensorflow": "tf"}


def _quoted(path: str) -> str:
    import shlex  # noqa: PLC0415

    return shlex.quote(path)


def _oversubscription(result: SmokeResult, gain: float) -> Finding:
    rate, one = result.samples_per_second, result.samples_per_second_one_thread
    cores = result.allowed_cores
    evidence = [
        Evidence(f"{rate:.0f} samples/s with {result.threads or 'the default'} threads", "measured while training"),
        Evidence(f"{one:.0f} samples/s with one thread", "measured in a second, short training"),
    ]
    if cores is not None:
        evidence.append(Evidence(f"{cores:g} cores may be used", "affinity and control group"))
    if result.cores_waited_for is not None:
        waited = (
            f"threads were ready and had no core for {result.cores_waited_for:.2f} s of each second, taken together"
        )
        evidence.append(Evidence(waited, "/proc/self/task/*/schedstat"))
    too_many = _too_many(result)
    why = (
        f"there are more threads ({result.threads}) than cores that the process may use ({cores:g})"
        if too_many and cores is not None
        else "other work holds the cores that these threads wait for, and each step waits for its slowest thread"
    )
    return Finding(
        check="smoke",
        cause="thread-oversubscription",
        severity=Severity.WARNING,
        confidence=Confidence.CERTAIN if too_many else Confidence.LIKELY,
        title=f"One thread trains {gain:.1f} times as fast as {result.threads or 'the default number of'} threads",
        detail=why,
        evidence=evidence,
        remedies=[
            Remedy(
                action="Let the framework use no more threads than there are free cores",
                commands=["export OMP_NUM_THREADS=1 TF_NUM_INTRAOP_THREADS=1"],
                safe=True,
                changes="this shell",
            ),
            Remedy(action="End the other programs that use these cores, or ask the scheduler for more of them"),
        ],
    )
