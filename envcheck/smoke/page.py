"""The smoke suite as text for people: one line an epoch, and a page at the end.  Plain text; ASCII unless told."""

from __future__ import annotations

from typing import Any

from envcheck.report import Finding
from envcheck.smoke.child import without_escapes
from envcheck.smoke.proof import Measure, Proof, SmokeReport
from envcheck.smoke.result import Failure, SmokeResult, Status, Threshold
from envcheck.smoke.suite import PARTS, STATES
from envcheck.smoke.training import NAMES, summary_of

WORDS = {
    Status.PASSED: "PASS",
    Status.FAILED: "FAIL",
    Status.ABSENT: "SKIP",
    Status.UNEXAMINED: "UNKNOWN",
    Status.UNUSABLE_DATA: "USAGE",
}
VERDICTS = {
    "ok": "OK       this environment trains",
    "warning": "WARNING  this environment trains, with something to mend",
    "error": "ERROR    this environment does not train as it must",
    "unknown": "UNKNOWN  this environment could not be examined",
    "usage": "USAGE    the data cannot be used",
}
STACK_LINES = 12
STDERR_LINES = 8


def epoch_line(framework: str, event: dict[str, Any]) -> str:
    """Return one epoch as a line."""
    return (
        f"{NAMES[framework]} epoch {event['epoch']}/{event['epochs']}  loss {_number(event['loss'])}  "
        f"accuracy {_number(event['accuracy'], 3)}  validation {_number(event['validation_accuracy'], 3)}  "
        f"{_rate(event['samples_per_second'])}"
    )


def page(report: SmokeReport, *, quiet: bool = False, verbose: bool = False, blocks: bool = False) -> str:
    """Return the page: the verdict first.

    Args:
        report: what to show.
        quiet: the verdict alone.
        verbose: each condition, each step's time and all of the evidence.
        blocks: whether the terminal can show block characters; courses are drawn in ASCII where it cannot.
    """
    lines = [verdict_line(report)]
    if not quiet:
        for result in report.results:
            lines += ["", f"{WORDS[result.status]:<8} {summary_of(result)}"]
            lines += [] if result.status is Status.ABSENT else _details(result, verbose=verbose, blocks=blocks)
        lines += _proofs(report.proofs, verbose=verbose, blocks=blocks)
        lines += _thresholds(report.thresholds)
        lines += ["", _row("python", f"{report.interpreter} ({report.interpreter_reason})")]
    return without_escapes("\n".join(lines))


def verdict_line(report: SmokeReport) -> str:
    """Return the verdict as a word and a sentence."""
    statuses = {result.status for result in report.results} | {proof.status for proof in report.proofs}
    if report.verdict == "unknown" and statuses <= {Status.PASSED, Status.ABSENT}:
        return "UNKNOWN  this environment trains; what was required of it could not be judged"
    if report.verdict == "error" and Status.FAILED not in statuses and Status.PASSED in statuses:
        return "ERROR    this environment trains, but not as was required of it"
    return VERDICTS[report.verdict]


def _proofs(proofs: list[Proof], *, verbose: bool, blocks: bool) -> list[str]:
    """Return one block a part: its head, then a line for each proof that says more than that it holds."""
    lines: list[str] = []
    said: set[tuple[str, str]] = set()
    for part, title in PARTS.items():
        found = [proof for proof in proofs if proof.part == part]
        if not found:
            continue
        tried = [proof for proof in found if proof.status is not Status.ABSENT]
        held = sum(proof.status is Status.PASSED for proof in tried)
        lines += ["", f"{_worst(found):<8} {part}: {held} of {len(tried)} hold ({title})"]
        for proof in found:
            if verbose or proof.measures or proof.findings or proof.status is not Status.PASSED:
                lines += _proof(proof, verbose=verbose, blocks=blocks)
            for finding in proof.findings:
                # One cause may stop many: it is told once.
                if (finding.cause, finding.title) not in said:
                    lines += finding_lines(finding)
                said.add((finding.cause, finding.title))
    return lines


def _worst(proofs: list[Proof]) -> str:
    statuses = {proof.status for proof in proofs}
    order = (Status.FAILED, Status.UNUSABLE_DATA, Status.UNEXAMINED, Status.PASSED, Status.ABSENT)
    return next(WORDS[status] for status in order if status in statuses)


def _proof(proof: Proof, *, verbose: bool, blocks: bool) -> list[str]:
    of = f"{proof.name}, {proof.framework}" if proof.framework else proof.name
    if proof.part == "arithmetic" and not verbose and proof.status is Status.PASSED and not proof.findings:
        return []
    parts = [proof.summary.rstrip(".")]
    losses = [curve.y for curve in proof.curves if curve.name == "training loss"]
    if losses:
        parts.append(f"loss {sparkline(losses[0], blocks=blocks)}")
    if proof.seconds is not None:
        parts.append(f"{proof.seconds:.1f} s")
    if proof.peak_memory_bytes is not None:
        parts.append(_mebibytes(proof.peak_memory_bytes))
    lines = [f"  {WORDS[proof.status]:<8}{of}: {', '.join(parts)}"]
    if verbose and proof.proves:
        lines.append(_row("proves", proof.proves))
    if verbose and proof.step_seconds:
        lines.append(_row("seconds", _steps(proof.step_seconds)))
    if verbose or proof.part in {"pace", "distributed"}:
        lines += [_row("measured", measure_text(measure)) for measure in proof.measures]
    lines += [
        _row("holds" if condition.holds else "BROKEN", f"{condition.name}: {condition.seen}")
        for condition in proof.conditions
        if verbose or not condition.holds
    ]
    if proof.failure is not None:
        lines += _evidence_of(proof.failure, verbose=verbose)
    return lines


def measure_text(measure: Measure) -> str:
    """Return a measure as text: its median, its spread and how often it was taken."""
    unit = f" {measure.unit}" if measure.unit else ""
    value = "unknown" if measure.value is None else f"{_significant(measure.value)}{unit}"
    spread = (
        ""
        if measure.low is None or measure.high is None
        else f" ({_significant(measure.low)} to {_significant(measure.high)}, {measure.repeats} repeats)"
    )
    note = f"; {measure.note}" if measure.note else ""
    return f"{measure.name} {value}{spread}{note}"


def _significant(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"  # noqa: PLR2004 - four digits are enough


def _steps(step_seconds: dict[str, float]) -> str:
    return ", ".join(f"{step} {seconds:.1f}" for step, seconds in step_seconds.items())


BLOCKS = "\u2581\u2582\u2583\u2584\u2585\u2586\u2587\u2588"
LEVELS = "_.-=^"
SPARKS = 20
"""Characters of a course, at most."""


def sparkline(values: list[float | None], *, blocks: bool) -> str:
    """Return a course of numbers as a line of characters, lowest to highest; `!` where a number is not finite."""
    finite = [value for value in values if value is not None]
    if not finite:
        return "!" * min(len(values), SPARKS)
    low, high = min(finite), max(finite)
    levels = BLOCKS if blocks else LEVELS
    chosen = values if len(values) <= SPARKS else [values[index * len(values) // SPARKS] for index in range(SPARKS)]

    def level(value: float | None) -> str:
        if value is None:
            return "!"
        share = (value - low) / (high - low) if high > low else 0.5
        return levels[min(int(share * len(levels)), len(levels) - 1)]

    return "".join(level(value) for value in chosen)


def _thresholds(thresholds: list[Threshold]) -> list[str]:
    if not thresholds:
        return []
    words = {"holds": "PASS", "fails": "FAIL", "unknown": "UNKNOWN"}
    return [""] + [f"{words[one.state]:<8} required {one.text}: {STATES[one.state]}; {one.seen}" for one in thresholds]


def _details(result: SmokeResult, *, verbose: bool, blocks: bool) -> list[str]:
    lines = []
    if result.epochs:
        lines.append(_row("training", _training(result)))
        if len(result.epochs) > 1:
            loss = sparkline([epoch.loss for epoch in result.epochs], blocks=blocks)
            accuracy = sparkline([epoch.validation_accuracy for epoch in result.epochs], blocks=blocks)
            lines.append(_row("course", f"loss {loss}  validation accuracy {accuracy}"))
    if result.test_accuracy is not None:
        lines.append(_row("test", _test(result)))
    if result.device_used:
        device = (
            result.device_used
            if result.device_name in {"", result.device_used}
            else (f"{result.device_used} ({result.device_name})")
        )
        why = f"; {result.device_reason}" if result.device_reason and result.device_used == "cpu" else ""
        lines.append(_row("device", f"{device}{why}"))
    if result.samples_per_second is not None:
        lines.append(_row("speed", _speed(result)))
    if result.peak_memory_bytes is not None:
        gpu = "" if result.device_peak_bytes is None else f", {_mebibytes(result.device_peak_bytes)} on the GPU"
        lines.append(_row("peak memory", f"{_mebibytes(result.peak_memory_bytes)}{gpu}"))
    if verbose:
        lines += [_row("holds" if condition.holds else "BROKEN", condition.seen) for condition in result.conditions]
        lines += [_row("seconds", _steps(result.step_seconds))]
    lines += _failure(result, verbose=verbose)
    for finding in result.findings:
        lines += finding_lines(finding)
    return lines


def _training(result: SmokeResult) -> str:
    last = result.epochs[-1]
    return (
        f"{result.training_samples} images, epoch {last.epoch} of {result.settings.epochs}, loss "
        f"{_number(result.untrained_loss)} -> {_number(last.loss)}, validation accuracy "
        f"{_number(last.validation_accuracy, 3)}"
    )


def _test(result: SmokeResult) -> str:
    bar = (
        "too little training to ask for more than a falling loss"
        if result.accuracy_bar is None
        else f"at least {result.accuracy_bar:.2f} is needed"
    )
    return f"accuracy {_number(result.test_accuracy, 3)} on {result.test_samples} held-back images ({bar})"


def _speed(result: SmokeResult) -> str:
    parts = [_rate(result.samples_per_second)]
    if result.threads is not None and result.device_used == "cpu":
        cores = "" if result.allowed_cores is None else f" on {result.allowed_cores:g} cores"
        parts.append(f"{result.threads} threads{cores}")
    if result.samples_per_second_one_thread is not None:
        parts.append(f"one thread: {_rate(result.samples_per_second_one_thread)}")
    return ", ".join(parts)


def _failure(result: SmokeResult, *, verbose: bool) -> list[str]:
    failure = result.failure
    if failure is None:
        return []
    lines = [_row("step", failure.step)] if failure.step != "start" else []
    if result.framework_file and failure.step in {"import", "build"}:
        lines.append(_row("imported", result.framework_file))
    lines += _evidence_of(failure, verbose=verbose)
    if not result.findings and failure.kind != "data":
        lines.append(_row("next", "envcheck doctor looks for the cause"))
    return lines


def _evidence_of(failure: Failure, *, verbose: bool) -> list[str]:
    """Return the stack of a failure and what it wrote, no more than a person reads unless asked for all of it."""
    lines: list[str] = []
    wrote = failure.kind in {"signal", "exit", "timeout", "start"} and not failure.python_stack
    for label, text, limit in (
        ("stack", "\n".join(failure.traceback[-3:] if not verbose else failure.traceback), STACK_LINES),
        ("stack", failure.python_stack, STACK_LINES),
        ("stderr", failure.stderr if wrote else "", -STDERR_LINES),
    ):
        shown = [line for line in text.splitlines() if line.strip()]
        if not verbose:
            shown = shown[:limit] if limit > 0 else shown[limit:]
        lines += [_row(label if number == 0 else "", line) for number, line in enumerate(shown)]
    return lines


def finding_lines(finding: Finding) -> list[str]:
    """Return a finding as lines: what it is, its cause, what was seen, its cures."""
    lines = ["", f"  {finding.severity.value}: {finding.title}", _row("cause", finding.cause)]
    if finding.detail:
        lines.append(_row("why", finding.detail))
    for piece in finding.evidence:
        source = f" ({piece.source})" if piece.source else ""
        lines.append(_row("seen", f"{' '.join(piece.text.split())}{source}"))
    for number, remedy in enumerate(finding.remedies):
        label = "cure" if number == 0 else "" if remedy.action.startswith("Or ") else "or"
        lines.append(_row(label, remedy.action))
        lines += [f"{'':16}{command}" for command in remedy.commands]
    return lines


def _row(label: str, text: str) -> str:
    return f"  {label:<12}{text}"


def _number(value: float | None, digits: int = 4) -> str:
    return "not finite" if value is None else f"{value:.{digits}f}"


def _rate(value: float | None) -> str:
    return "samples/s unknown" if value is None else f"{value:,.0f} samples/s"


def _mebibytes(count: int) -> str:
    return f"{count / 2**20:,.0f} MiB"
