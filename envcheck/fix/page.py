"""A plan, what became of it, and what was undone, as plain text; what came from the machine is text, never markup."""

from __future__ import annotations

from envcheck.fix.carry_out import Mended, Undone
from envcheck.fix.plan import Left, Plan, Step
from envcheck.render.terminal import clean
from envcheck.report import Remedy, Report

STATES = {
    "planned": "planned",
    "done": "done",
    "did-not-help": "did not help",
    "made-worse": "made something else worse",
    "failed": "failed",
    "interrupted": "broken off",
}

REMEDIES = 2
"""Remedies of a finding that are shown; `envcheck doctor` shows all of them."""


def of_plan(report: Report, planned: Plan, *, foreign: bool) -> str:
    """Return the page of a plan.

    Args:
        report: what the plan is made from.
        planned: the plan.
        foreign: whether the report is of another machine, on which nothing can be carried out.
    """
    lines = [_environment(report)]
    if not planned.steps and not planned.left:
        return "\n".join([*lines, f"Nothing to mend: {clean(report.summary)}", ""])
    if planned.steps:
        lines += ["", "What envcheck can mend:" if not foreign else "What would mend it there:"]
        for number, step in enumerate(planned.steps, 1):
            lines += _step(number, step)
    lines += _left(planned.left)
    if planned.steps and not foreign:
        lines += [
            "",
            "Nothing was changed. `envcheck fix --apply` carries this out; `envcheck fix --undo` takes it back.",
        ]
    return "\n".join([*lines, ""])


def of_result(mended: Mended) -> str:
    """Return the page of what was carried out."""
    lines = [_environment(mended.report)]
    for number, step in enumerate(mended.steps, 1):
        lines += ["", *_step(number, step)]
        lines[-1] += ""
    lines += _left(mended.left)
    if not mended.left:
        lines += ["", f"Nothing is left to mend: {clean(mended.report.summary)}"]
    if mended.record:
        lines += ["", f"Undo with `envcheck fix --undo`; the record is {clean(mended.record)}"]
    elif mended.steps:
        lines += ["", "The environment is as it was before."]
    return "\n".join([*lines, ""])


def of_undone(undone: Undone) -> str:
    """Return the page of what was undone."""
    lines = [f"Undone: {clean(undone.record)}"]
    lines += [f"  brought back  {clean(line)}" for line in undone.restored]
    lines += [f"  removed       {clean(line)}" for line in undone.removed]
    if not undone.restored and not undone.removed and not undone.problem:
        lines.append("  every version was as before already")
    if undone.problem:
        lines.append(f"Not all of it could be undone: {clean(undone.problem)}")
    return "\n".join([*lines, ""])


def _environment(report: Report) -> str:
    python = report.facts.python
    if python is None:
        return "Environment: not known"
    version = f", Python {python.version}" if python.version else ""
    return clean(f"Environment: {python.prefix or python.path}{version}")


def _step(number: int, step: Step) -> list[str]:
    state = f" [{STATES[step.state]}]" if step.state != "planned" else ""
    lines = [f"{number}. {clean(step.title)}{state}", f"   {clean(step.action)}"]
    lines += [f"     {line}" for command in step.commands for line in clean(command).splitlines()]
    return [*lines, *([f"   {clean(step.detail)}"] if step.detail else [])]


def _left(left: list[Left]) -> list[str]:
    lines = ["", "Left to you:"] if left else []
    for finding in left:
        lines += [f"- {finding.severity.value}: {clean(finding.title)}", f"  not carried out: {clean(finding.why)}"]
        for remedy in finding.remedies[:REMEDIES]:
            lines += _remedy(remedy)
    return lines


def _remedy(remedy: Remedy) -> list[str]:
    commands = [line for command in remedy.commands for line in clean(command).splitlines()]
    return [f"  {clean(remedy.action)}", *(f"    {line}" for line in commands)]
