"""A lint report for people: one line a fault, in the form `path:line: severity: title [rule]` that editors know."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import click

from envcheck.imagelint.faults import Fault, LintReport
from envcheck.render.terminal import clean
from envcheck.report import Severity, Verdict

COLOURS = {Severity.ERROR: "red", Severity.WARNING: "yellow", Severity.NOTE: "cyan"}
EVIDENCE_LINES = 3
REMEDIES = 2


def page(report: LintReport, *, colour: bool, quiet: bool = False) -> str:
    """Return the page.

    Args:
        report: what to show.
        colour: whether the terminal shows colours.
        quiet: the lines alone, without evidence, cures and what images need.
    """
    lines: list[str] = []
    for fault in report.faults:
        lines += _fault(fault, colour=colour, quiet=quiet)
    lines += [f"{clean(file.path)}: not examined: {clean(file.problem)}" for file in report.files if file.problem]
    lines += [clean(sentence) for sentence in report.crashed]
    if not quiet:
        lines += [f"{clean(file.path)}: {clean(need)}" for file in report.files for need in file.images]
    word = report.verdict.value.upper()
    tint = {Verdict.OK: "green", Verdict.WARNING: "yellow", Verdict.ERROR: "red"}.get(report.verdict, "magenta")
    lines.append(f"{click.style(word, fg=tint, bold=True) if colour else word}  {summary(report)}")
    return "\n".join(lines)


def _fault(fault: Fault, *, colour: bool, quiet: bool) -> Iterator[str]:
    severity = fault.severity.value
    shown = click.style(severity, fg=COLOURS[fault.severity], bold=True) if colour else severity
    yield f"{clean(fault.place.path)}:{fault.place.line}: {shown}: {_line(fault.title)} [{fault.rule}]"
    if quiet:
        return
    if fault.detail:
        yield f"    why   {_line(fault.detail)}"
    for item in fault.evidence[:EVIDENCE_LINES]:
        if item.text:
            yield f"    seen  {_line(item.text)}{f'  ({clean(item.source)})' if item.source else ''}"
    for remedy in fault.remedies[:REMEDIES]:
        yield f"    cure  {_line(remedy.action)}"
        for command in remedy.commands:
            yield f"            {clean(command)}"


def _line(text: str) -> str:
    return " ".join(clean(text).split())


def summary(report: LintReport) -> str:
    """Return the answer as a sentence."""
    counts = Counter(fault.severity for fault in report.faults)
    parts = [
        f"{counts[severity]} {severity.value}{'s' if counts[severity] != 1 else ''}"
        for severity in Severity
        if counts[severity]
    ]
    examined = sum(1 for file in report.files if not file.problem)
    unexamined = len(report.files) - examined
    text = f"{', '.join(parts) or 'nothing wrong'} in {examined} file{'s' if examined != 1 else ''}"
    if unexamined:
        text += f"; {unexamined} could not be examined"
    if report.ignored:
        text += f"; {report.ignored} ignored by comments"
    return text
