"""A smoke training as text for people: one line an epoch, and a page at the end.  ASCII alone, plain text."""

from __future__ import annotations

from typing import Any

from envcheck.report import Finding
from envcheck.smoke.child import without_escapes
from envcheck.smoke.result import SmokeReport, SmokeResult, Status
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


def page(report: SmokeReport, *, quiet: bool = False, verbose: bool = False) -> str:
    """Return the page: the verdict first.

    Args:
        report: what to show.
        quiet: the verdict alone.
        verbose: each condition, each step's time and all of the evidence.
    """
    lines = [VERDICTS[report.verdict]]
    if not quiet:
        for result in report.results:
            lines += ["", f"{WORDS[result.status]:<8} {summary_of(result)}"]
            lines += [] if result.status is Status.ABSENT else _details(result, verbose=verbose)
        lines += ["", _row("python", f"{report.interpreter} ({report.interpreter_reason})")]
    return without_escapes("\n".join(lines))


def _details(result: SmokeResult, *, verbose: bool) -> list[str]:
    lines = []
    if result.epochs:
        lines.append(_row("training", _training(result)))
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
        lines += [_row("seconds", ", ".join(f"{step} {seconds:.1f}" for step, seconds in result.step_seconds.items()))]
    lines += _failure(result, verbose=verbose)
    for finding in result.findings:
        lines += _finding(finding)
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
    if not result.findings and failure.kind != "data":
        lines.append(_row("next", "envcheck doctor looks for the cause"))
    return lines


def _finding(finding: Finding) -> list[str]:
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
