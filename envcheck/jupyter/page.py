"""Jupyter's kernels, a plan for them, what became of it and what was undone, as text for people."""

from __future__ import annotations

from envcheck.jupyter.carry_out import Mended, Undone
from envcheck.jupyter.model import JupyterReport, Kernel, Server
from envcheck.jupyter.names import TITLES
from envcheck.jupyter.plan import Plan, Step
from envcheck.render import terminal
from envcheck.render.plain import clean

INDENT = 15

STATES = {
    "done": "done",
    "failed": "failed",
    "did-not-help": "did not help",
    "interrupted": "broken off",
    "planned": "not reached",
}

WHERE = {
    "variable": "JUPYTER_PATH",
    "environment": "the server's environment",
    "user": "the user's folder",
    "system": "the system's folder",
    "ipython": "IPython's folder",
    "conda": "a conda environment (nb_conda_kernels)",
    "own": "the environment under test",
    "built-in": "ipykernel itself, unregistered",
}


def of_report(
    report: JupyterReport, *, mendable: bool, width: int = 100, colour: bool = False, verbose: bool = False
) -> str:
    """Return the page: verdict and findings, then server and kernels.

    Args:
        report: what to show.
        mendable: whether `--fix` would do something.
        width: columns.
        colour: whether the terminal shows colours.
        verbose: folders, commands and what kernels printed, too.
    """
    top = terminal.findings(
        report.verdict, report.summary, report.findings, width=width, colour=colour, verbose=verbose
    )
    lines = ["", _row("under test", f"{report.environment} ({report.chosen_because})")]
    lines.append(_row("server", _server(report.server)))
    for kernel in report.kernels:
        lines += _kernel(kernel, verbose=verbose)
    if not report.kernels:
        lines.append(_row("kernels", "none is registered"))
    if verbose:
        lines += [
            _row("looks in" if number == 0 else "", f"{folder.path} ({WHERE[folder.kind]})")
            for number, folder in enumerate(report.folders)
        ]
    if report.magic:
        lines.append(
            _row("in a notebook", f"{report.magic}, then %envcheck: this environment's report, in the notebook")
        )
    if mendable:
        lines += ["", "`envcheck jupyter --fix` mends this, and asks first; `--undo` takes it back."]
    # What `findings` returns is clean already, but for the colours that it was asked for.
    return top + clean("\n".join(lines)) + "\n"


def of_plan(planned: Plan, *, asked: bool) -> str:
    """Return a plan.

    Args:
        planned: what would be done.
        asked: whether the user is asked next.
    """
    lines = ["", "What envcheck can mend:"] if planned.steps else []
    for number, step in enumerate(planned.steps, 1):
        lines += _step(number, step)
    lines += _left(planned)
    if not planned.steps and not planned.left:
        lines += ["", "Nothing to mend."]
    elif planned.steps and not asked:
        lines += ["", "Nothing was changed. `envcheck jupyter --fix --yes` carries this out, `--undo` takes it back."]
    return clean("\n".join([*lines, ""]))


def of_result(mended: Mended, planned: Plan) -> str:
    """Return what was carried out, and what is left."""
    lines: list[str] = []
    for number, step in enumerate(mended.steps, 1):
        lines += ["", *_step(number, step)]
    lines += _left(planned)
    if mended.record:
        lines += ["", f"Undo with `envcheck jupyter --undo`; the record is {mended.record}"]
    elif mended.steps:
        lines += ["", "Everything is as it was before."]
    return clean("\n".join([*lines, ""]))


def of_undone(undone: Undone) -> str:
    """Return what was undone."""
    lines = [f"Undone: {undone.record}"]
    lines += [f"  as before     {folder}" for folder in undone.restored]
    lines += [f"  package       {line}" for line in undone.packages]
    lines += [f"  not undone    {problem}" for problem in undone.problems]
    return clean("\n".join([*lines, ""]))


def _row(label: str, text: str) -> str:
    return f"  {label:<{INDENT - 2}}{text}"


def _server(server: Server | None) -> str:
    if server is None:
        return "none: neither PATH nor the environment has a Jupyter"
    name = next((name for name in ("jupyterlab", "notebook", "jupyter-server") if name in server.versions), "")
    shown = f"{server.program}{f', {name} {server.versions[name]}' if name else ''}"
    place = "this environment" if server.under_test else server.prefix or server.interpreter or "unknown"
    return f"{shown}; runs in {place} ({server.reason})"


def _kernel(kernel: Kernel, *, verbose: bool) -> list[str]:
    one = kernel.specification
    mark = " (this environment)" if kernel.under_test else ""
    lines = [_row("kernel", f"{one.name}: “{kernel.title}” {_state(kernel)}{mark}")]
    parts = [kernel.interpreter or " ".join(one.argv[:3]) or "no command"]
    if kernel.wrapper:
        parts[0] = f"{kernel.wrapper} → {kernel.interpreter or '?'}"
    if kernel.python_version:
        parts.append(f"Python {kernel.python_version}")
    if kernel.ipykernel is not None and kernel.is_python:
        parts.append(f"ipykernel {kernel.ipykernel}" if kernel.ipykernel else "no ipykernel")
    if not kernel.is_python and kernel.start.language:
        parts.append(kernel.start.language)
    lines.append(_row("", ", ".join(parts)))
    if kernel.is_python and kernel.state == "ok":
        has = ", ".join(f"{TITLES[name]} {version}" for name, version in kernel.frameworks.items())
        lines.append(_row("", f"has {has}" if has else "has no framework"))
    if verbose or one.hidden_by or not one.offered:
        lines.append(_row("", f"in {one.folder} ({WHERE[one.found_in]})"))
    if verbose:
        lines.append(_row("", f"argv: {' '.join(one.argv)}"))
        lines += [_row("", f"sets {', '.join(one.variables)}")] if one.variables else []
        lines += [_row("", f"| {line.rstrip()}") for line in kernel.start.output.splitlines()[-8:]]
    return lines


def _state(kernel: Kernel) -> str:
    start = kernel.start
    if start.state == "answers":
        return f"starts ({start.seconds:.1f} s)"
    if start.state == "not-tried":
        return f"was not started: {start.detail}" if start.detail else "was not started"
    if start.state == "silent":
        return f"DOES NOT ANSWER within {start.seconds:.0f} s"
    if start.state == "unknown":
        return f"UNKNOWN: {start.detail}"
    return f"DOES NOT START ({kernel.ending})"


def _step(number: int, step: Step) -> list[str]:
    state = f" [{STATES[step.state]}]" if step.state != "planned" else ""
    lines = [f"{number}. {step.title}{state}", f"   {step.action}"]
    lines += [f"     {command}" for command in step.commands]
    if step.kind in {"repair", "register"}:
        lines.append(f"     writes {step.folder}/kernel.json")
    return [*lines, *([f"   {step.detail}"] if step.detail else [])]


def _left(planned: Plan) -> list[str]:
    lines = ["", "Left to you:"] if planned.left else []
    for one in planned.left:
        lines += [f"- {one.title}", f"  not carried out: {one.why}", *(f"    {command}" for command in one.commands)]
    return lines
