"""From a report to a plan: which remedies a program may carry out, and which are left to the user, and why.

Pure.  A command is carried out only where it is one of the few forms that `runnable` knows: an installer that is told
which interpreter it is for.  What a check calls safe is not enough: `export` is safe, yet no program can do it for the
shell that started it, and a third party's check may be wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

import msgspec

from envcheck import cures
from envcheck.facts import Facts, Python
from envcheck.possible import words_of
from envcheck.report import Confidence, Finding, Remedy, Report, Severity

PLAIN_OPTIONS = frozenset(
    {
        "-U",
        "--upgrade",
        "--force-reinstall",
        "--ignore-installed",
        "--no-cache-dir",
        "--no-deps",
        "--pre",
        "--reinstall",
    }
)
"""Options of `pip install` and `uv pip install` that keep to the environment."""

VALUE_OPTIONS = frozenset({"--index-url", "--extra-index-url", "--reinstall-package"})

REMOVE_OPTIONS = frozenset({"-y", "--yes"})

SHELL_WORDS = frozenset({"export", "unset", "ulimit", "source", ".", "cd", "$env:PATH"})
"""First words of commands that change the shell which they are typed into, and that alone."""


CONDA = frozenset({"conda", "mamba", "micromamba"})

Wanted = Callable[[str], bool]
"""Tells whether what a check finds is to be mended."""


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """A remedy that can be carried out.

    Attributes:
        check: id of the check whose finding it mends.
        cause: the finding's cause.
        severity: how grave that is.
        title: the finding's title.
        action: what is done.
        commands: as the user would type them.
        state: `planned`, `done`, `did-not-help`, `made-worse`, `failed`, `interrupted`.
        detail: why, where the state does not say it all.
    """

    check: str
    cause: str
    severity: Severity
    title: str
    action: str
    commands: list[str]
    state: str = "planned"
    detail: str = ""


class Left(msgspec.Struct, frozen=True, kw_only=True):
    """A finding that is left to the user.

    Attributes:
        check: id of the check that found it.
        cause: the finding's cause.
        severity: how grave.
        title: what is wrong.
        why: why it is not carried out.
        remedies: what the user can do, best first.
    """

    check: str
    cause: str
    severity: Severity
    title: str
    why: str
    remedies: list[Remedy]


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What can be carried out, in order, and what is left.

    Attributes:
        steps: the first remedy of each finding that a program may carry out.
        left: findings without one.
    """

    steps: list[Step] = []
    left: list[Left] = []


def every(_check: str) -> bool:
    """Want everything mended."""
    return True


def plan(report: Report, wanted: Wanted = every, tried: Collection[str] = ()) -> Plan:
    """Return what can be carried out of a report's remedies.

    Args:
        report: of the environment as it is now.
        wanted: which checks' findings are to be mended; of the others nothing is said.
        tried: commands that were carried out before and are not tried again.
    """
    steps: list[Step] = []
    left: list[Left] = []
    for finding in mendable(report):
        if not wanted(finding.check):
            continue
        remedy, why = _choose(finding, report.facts, tried)
        if remedy is None:
            left.append(
                Left(
                    check=finding.check,
                    cause=finding.cause,
                    severity=finding.severity,
                    title=finding.title,
                    why=why,
                    remedies=finding.remedies,
                )
            )
            continue
        step = Step(
            check=finding.check,
            cause=finding.cause,
            severity=finding.severity,
            title=finding.title,
            action=remedy.action,
            commands=remedy.commands,
        )
        if not any(step.commands == other.commands for other in steps):
            steps.append(step)
    return Plan(steps=steps, left=left)


def mendable(report: Report) -> list[Finding]:
    """Return the findings that ask for something to be done: neither notes nor what the user has muted."""
    return [finding for finding in report.findings if finding.severity is not Severity.NOTE and not finding.muted]


def _choose(finding: Finding, facts: Facts, tried: Collection[str]) -> tuple[Remedy | None, str]:
    """Return the first remedy that a program may carry out, else why there is none."""
    if not finding.remedies:
        return None, "envcheck knows no cure for it"
    if finding.confidence is Confidence.POSSIBLE:
        return None, "its cause is not sure enough to change anything for it"
    refused = ""
    for remedy in finding.remedies:
        why = why_not(remedy, facts.python)
        if not why and any(command in tried for command in remedy.commands):
            why = "it was tried and did not mend it"
        if not why:
            return remedy, ""
        refused = refused or why
    return None, refused


def why_not(remedy: Remedy, python: Python | None) -> str:
    """Say why a program may not carry out a remedy; empty where it may."""
    if not remedy.commands:
        return "no command can do it"
    if remedy.shell not in {"sh", "powershell"}:
        return "it is written into a file, not typed"
    words = [_words(command) for command in remedy.commands]
    if any(line and line[0] in SHELL_WORDS for line in words):
        return "it changes the shell that it is typed into; no program can do that for you"
    if any(line and line[0] == "sudo" for line in words):
        return "it changes the system, which only you may do"
    if any(line and line[0] in CONDA for line in words):
        return "conda does it itself, and `conda install --revision` undoes it: type it yourself"
    if not remedy.safe or python is None:
        changes = remedy.changes if remedy.changes not in {"", cures.CHANGES, "nothing"} else ""
        return f"it changes more than the environment: {changes}" if changes else "it wants a look of yours first"
    if python.environment_kind not in cures.OWN_ENVIRONMENTS:
        return "this interpreter is no environment of its own"
    if not all(runnable(command, python) for command in remedy.commands):
        return "it is no command that envcheck carries out: type it yourself"
    return ""


def _words(command: str) -> list[str]:
    """Return a command's words, without the `&` with which PowerShell calls a quoted program."""
    words = words_of(command)
    return words[1:] if words[:1] == ["&"] else words


class Installation(msgspec.Struct, frozen=True):
    """A command that an installer carries out in the environment under test.

    Attributes:
        program: `pip` or `uv`.
        verb: `install` or `uninstall`.
        arguments: options and requirements.
    """

    program: str
    verb: str
    arguments: list[str]


def runnable(command: str, python: Python) -> Installation | None:
    """Return what a command installs or removes; None where it is anything else.

    Known are `PYTHON -m pip install|uninstall …` and `uv pip install|uninstall --python PYTHON …` for the interpreter
    under test, with options that keep to its environment and requirements from an index.
    """
    words = _words(command)
    if python.path and words[:3] == [python.path, "-m", "pip"]:
        program, rest = "pip", words[3:]
    elif python.path and words[:2] == ["uv", "pip"] and words[3:5] == ["--python", python.path]:
        program, rest = "uv", [*words[2:3], *words[5:]]
    else:
        return None
    if not rest or rest[0] not in {"install", "uninstall"}:
        return None
    verb, arguments = rest[0], rest[1:]
    return Installation(program, verb, arguments) if _keeps_to_the_environment(verb, arguments) else None


def _keeps_to_the_environment(verb: str, arguments: list[str]) -> bool:
    from packaging.requirements import InvalidRequirement, Requirement  # noqa: PLC0415 - only where something is wrong

    waiting, requirements = list(arguments), 0
    while waiting:
        word = waiting.pop(0)
        if verb == "install" and word in VALUE_OPTIONS and waiting:
            waiting.pop(0)
        elif word in (PLAIN_OPTIONS if verb == "install" else REMOVE_OPTIONS):
            continue
        else:
            try:
                if Requirement(word).url:
                    return False
            except InvalidRequirement:
                return False
            requirements += 1
    return requirements > 0
