"""What `envcheck jupyter --fix` would do, and what is left to the user: pure, over what was seen.

A kernel that works is never touched, nor one that hides behind it.  Installed is into the environment under test alone;
written and removed is only where the user may write without further rights.
"""

from __future__ import annotations

import msgspec

from envcheck import cures
from envcheck.facts import Python
from envcheck.fix.plan import why_not
from envcheck.jupyter import names, repairs
from envcheck.jupyter.examine import Examined
from envcheck.jupyter.installation import installation
from envcheck.jupyter.judge import usable
from envcheck.jupyter.model import Kernel, frameworks_of, version_of

ORDER = ("install", "remove", "repair", "register")


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One thing to do.

    Attributes:
        kind: one of `ORDER`.
        title: what is wrong.
        action: what is done.
        commands: what carries it out, of an installation; of the others, what a person would type for it.
        folder: the kernel's folder that is written or removed; empty for an installation.
        name: the kernel's name.
        interpreter: what a registered or repaired kernel will run.
        display_name: what the notebook's menu will show.
        state: `planned`, `done`, `failed`, `interrupted`, `did-not-help`.
        detail: why, where the state does not say it all.
    """

    kind: str
    title: str
    action: str
    commands: list[str] = []
    folder: str = ""
    name: str = ""
    interpreter: str = ""
    display_name: str = ""
    state: str = "planned"
    detail: str = ""


class Left(msgspec.Struct, frozen=True, kw_only=True):
    """What is left to the user.

    Attributes:
        title: what is wrong.
        why: why it is not carried out.
        commands: what the user can type.
    """

    title: str
    why: str
    commands: list[str] = []


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What can be carried out, in order, and what is left."""

    steps: list[Step] = []
    left: list[Left] = []


def plan(seen: Examined) -> Plan:
    """Return what mends what was seen."""
    steps: list[Step] = []
    left: list[Left] = []
    for kernel in seen.kernels:
        if not kernel.specification.offered or kernel.works or kernel.specification.denied:
            continue
        if repairs.runs_nothing(kernel):
            _dead(kernel, steps, left)
        elif kernel.start.state in {"ended", "silent", "not-started"} or (kernel.is_python and kernel.ipykernel == ""):
            _elsewhere(kernel, left)
    if seen.environment.chosen and seen.environment.python.state == "ok":
        _under_test(seen, steps, left)
    # First what a repaired or registered kernel needs, then what may free its name.
    return Plan(steps=sorted(steps, key=lambda step: ORDER.index(step.kind)), left=left)


def _elsewhere(kernel: Kernel, left: list[Left]) -> None:
    """Leave to the user what is wrong with another environment."""
    if kernel.under_test:
        return
    where = f"envcheck jupyter --fix --python {cures.quoted(kernel.interpreter)}"
    left.append(
        Left(
            title=f"The kernel “{kernel.title}” does not start",
            why="it runs another environment than the one under test",
            commands=[where] if kernel.interpreter else [],
        )
    )


def _dead(kernel: Kernel, steps: list[Step], left: list[Left]) -> None:
    """Plan for a kernel that can never start."""
    one = kernel.specification
    title = f"The kernel “{kernel.title}” runs an interpreter that is gone: {one.argv[0] if one.argv else ''}"
    if one.problem:
        title = f"The kernel “{kernel.title}” has a damaged description: {one.problem}"
    if not one.writable:
        command = f"sudo rm -r {cures.quoted(one.folder)}"
        left.append(Left(title=title, why=f"{one.folder} is not yours to change", commands=[command]))
        return
    if kernel.repair and not one.problem:
        steps.append(
            Step(
                kind="repair",
                title=title,
                action=f"Let it run {kernel.repair}",
                folder=one.folder,
                name=one.name,
                interpreter=kernel.repair,
                display_name=one.display_name,
            )
        )
        return
    if kernel.kept:
        left.append(Left(title=title, why=kernel.kept, commands=[f"rm -r {cures.quoted(one.folder)}"]))
        return
    steps.append(
        Step(
            kind="remove",
            title=title,
            action="Remove it",
            commands=[f"rm -r {cures.quoted(one.folder)}"],
            folder=one.folder,
            name=one.name,
            display_name=one.display_name,
        )
    )


def _under_test(seen: Examined, steps: list[Step], left: list[Left]) -> None:
    """Plan so that a notebook can use the environment under test."""
    python = seen.environment.python
    if usable(seen) or not python.path or not python.prefix:
        return
    own = [kernel for kernel in seen.kernels if kernel.under_test and not kernel.specification.hidden_by]
    offered = [kernel for kernel in own if kernel.specification.offered]
    here = version_of(seen.environment.packages, "ipykernel")
    # What answered nothing although all of it is there is broken: ipykernel and what it needs are installed again.
    broken = bool(here) and any(kernel.start.state in {"ended", "silent"} for kernel in offered)
    if not here or broken:
        wanted = ["ipykernel", *(["pyzmq"] if broken else [])]
        action = "Install ipykernel again, with what it needs" if broken else "Install ipykernel"
        remedy = installation(python, seen.environment.packages, wanted, action, again=broken)
        refused = why_not(remedy, python)
        title = "ipykernel is not installed in this environment" if not here else "The kernel of this environment ends"
        if refused:
            left.append(Left(title=title, why=refused, commands=remedy.commands))
            return
        steps.append(Step(kind="install", title=title, action=remedy.action, commands=remedy.commands))
    # Where Jupyter itself runs in this environment, ipykernel brings the kernel `python3` along.
    if offered or (seen.server and seen.server.under_test):
        return
    if any(step.kind == "repair" and step.interpreter.startswith(f"{python.prefix}/") for step in steps):
        return
    steps.append(_registration(seen, python, {step.name for step in steps if step.kind == "remove"}))


def _registration(seen: Examined, python: Python, removed: set[str]) -> Step:
    taken = {kernel.specification.name for kernel in seen.kernels} - removed
    prefix = python.prefix or ""
    name = names.kernel_name(prefix, taken)
    menu = {kernel.title for kernel in seen.kernels if kernel.specification.name not in removed}
    shown = names.display_name(prefix, python.version, frameworks_of(seen.environment.packages), menu)
    word = cures.quoted(python.path or "python", python)
    return Step(
        kind="register",
        title="No Jupyter kernel runs this environment",
        action=f"Register it as “{shown}”",
        commands=[f"{word} -m ipykernel install --user --name {name} --display-name {cures.quoted(shown, python)}"],
        folder=f"{seen.user_folder}/kernels/{name}",
        name=name,
        interpreter=python.path or "",
        display_name=shown,
    )
