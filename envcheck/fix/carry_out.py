"""Carrying out a plan: one step, a look at the environment, the next step; and undoing all of it.

A step that fails, is broken off, or brings an error that was not there before is taken back at once, so that the
environment is either mended or as it was.
"""

from __future__ import annotations

import contextlib
import pathlib
import re
import signal
from collections.abc import Callable, Iterator
from types import FrameType

import msgspec

from envcheck import cures
from envcheck.facts import Python
from envcheck.fix import environment, record
from envcheck.fix.environment import NotPossibleError
from envcheck.fix.plan import Installation, Left, Step, Wanted, every, mendable, plan, runnable
from envcheck.fix.record import Record
from envcheck.report import Finding, Report, Severity, Verdict

Examine = Callable[[], Report]
Hear = Callable[[str], None]


AREAS = frozenset({"cuda", "imports", "keras", "packages", "python", "tensorflow", "torch"})
"""Families of checks that judge what an installer changes."""


class Mended(msgspec.Struct, frozen=True, kw_only=True):
    """What became of an environment.

    Attributes:
        report: the examination after the last step.
        steps: what was carried out, in order.
        left: findings that remain.
        record: path of the undo record; empty where nothing was changed.
        interrupted: whether the user broke it off.
    """

    report: Report
    steps: list[Step]
    left: list[Left]
    record: str = ""
    interrupted: bool = False


class Undone(msgspec.Struct, frozen=True, kw_only=True):
    """What undoing did.

    Attributes:
        record: path of the undo record.
        restored: versions that were brought back, as `pip freeze` prints them.
        removed: distributions that had been added and were removed.
        problem: why something could not be brought back; empty where all was.
    """

    record: str
    restored: list[str]
    removed: list[str]
    problem: str = ""


def carry_out(report: Report, examine: Examine, hear: Hear, wanted: Wanted = every) -> Mended:
    """Carry out what can be, until nothing is left or a step fails.

    Args:
        report: of the environment as it is now.
        examine: examines it again.
        hear: told what happens, line by line.
        wanted: which checks' findings are to be mended.

    Raises:
        NotPossibleError: nothing can be changed here.
    """
    python = report.facts.python
    first = plan(report, wanted)
    if python is None or not first.steps:
        return Mended(report=report, steps=[], left=first.left)
    refuse_where_a_run_has_not_ended(python)
    path, written = record.new(python, environment.installed(python))
    tried: set[str] = set()
    steps: list[Step] = []
    states = [written.before]
    interrupted = False
    while (coming := plan(report, wanted, tried).steps) and not interrupted:
        step = coming[0]
        tried |= set(step.commands)
        hear(f"{step.title}: {step.action}")
        # An interrupt takes its ordinary way, for as long as it takes to bring back what was there.
        with on_interrupt(raise_interrupt):
            ended, report, written = _one(step, report, examine, hear, python, path, written)
        steps.append(ended)
        interrupted = ended.state == "interrupted"
        if ended.state == "failed":
            break
        if ended.state == "done" and written.after in states:
            # What one package asks for, another refuses: the last step undid an earlier one.
            first_of_them = states.index(written.after)
            steps = _in_vain(steps, first_of_them)
            written = msgspec.structs.replace(written, steps=_in_vain(written.steps, first_of_them))
            record.write(path, written)
            break
        states.append(written.after if ended.state == "done" else ["taken back"])
    if not record.changed(written):
        path.unlink(missing_ok=True)
    left = plan(report, wanted, tried)
    waiting = [_left_of(step, report, "it was not its turn yet") for step in left.steps]
    return Mended(
        report=report,
        steps=steps,
        left=[*waiting, *left.left],
        record=str(path) if path.exists() else "",
        interrupted=interrupted,
    )


def refuse_where_a_run_has_not_ended(python: Python) -> None:
    """Refuse to change an environment that a run is changing, or that one left in the middle of a step.

    Raises:
        NotPossibleError: so it is.
    """
    found = record.latest(python)
    if found is None or not found[1].copy:
        return
    if record.under_way(found[1]):
        raise NotPossibleError("another run of `envcheck fix --apply` is under way in this environment")
    raise NotPossibleError(
        f"a run of `envcheck fix --apply` was broken off ({found[1].started}): `envcheck fix --undo` brings back first "
        "what was there before"
    )


def _in_vain(steps: list[Step], first: int) -> list[Step]:
    """Return steps of which those from a number on led back to where the first of them began."""
    why = "what one package asks for, another refuses: the versions are as they were before"
    vain = [msgspec.structs.replace(step, state="did-not-help", detail=why) for step in steps[first:]]
    return [*steps[:first], *vain]


def _left_of(step: Step, report: Report, why: str) -> Left:
    remedies = next(
        (one.remedies for one in report.findings if one.check == step.check and one.title == step.title), []
    )
    return Left(
        check=step.check, cause=step.cause, severity=step.severity, title=step.title, why=why, remedies=remedies
    )


def _one(
    step: Step, report: Report, examine: Examine, hear: Hear, python: Python, path: pathlib.Path, written: Record
) -> tuple[Step, Report, Record]:
    """Carry out one step; return how it ended, the report that holds now, and the record."""
    place = environment.copy(python)
    written = msgspec.structs.replace(written, copy=str(place or ""))
    record.write(path, written)
    state, detail, seen = "done", "", report
    try:
        detail = _commands(step, python, hear)
        state = "failed" if detail else "done"
        if not detail:
            hear("examining again")
            seen = examine()
            state, detail = _judged(step, report, seen)
    except KeyboardInterrupt:
        state, detail = "interrupted", "broken off by you"
    except NotPossibleError as problem:
        state, detail = "failed", str(problem)
    with on_interrupt(signal.SIG_IGN):
        if state in {"failed", "interrupted", "made-worse", "did-not-help"}:
            detail = _take_back(python, place, written.after, detail, hear)
            seen = report
        else:
            environment.forget(place)
        ended = msgspec.structs.replace(step, state=state, detail=detail)
        written = msgspec.structs.replace(
            written, copy="", steps=[*written.steps, ended], after=_installed_or(python, written.after)
        )
        record.write(path, written)
    return ended, seen, written


def _commands(step: Step, python: Python, hear: Hear) -> str:
    for command in step.commands:
        installation = runnable(command, python)
        if installation is None:
            return f"not carried out: {command}"
        hear(f"$ {command}")
        failed = environment.run(installation, python, hear)
        if failed:
            return failed
    return ""


def _judged(step: Step, before: Report, after: Report) -> tuple[str, str]:
    """Return the state of a step by what was found before and after it."""
    worse = [found for check, found in _errors(after).items() if check not in _errors(before)]
    if worse:
        seen = f" ({worse[0].evidence[0].text.splitlines()[0][:200]})" if worse[0].evidence else ""
        return "made-worse", f"it was taken back, because of: {worse[0].title}{seen}"
    if after.verdict is Verdict.UNKNOWN and before.verdict is not Verdict.UNKNOWN:
        return "made-worse", f"it was taken back, because of: {after.summary}"
    if any(finding.check == step.check and finding.title == step.title for finding in _all(after)):
        return "did-not-help", "the finding is still there; what was done was taken back"
    return "done", ""


def _all(report: Report) -> Iterator[Finding]:
    for finding in mendable(report):
        yield finding
        yield from finding.consequences


def _errors(report: Report) -> dict[str, Finding]:
    """Return the errors that packages can be to blame for: memory or a GPU may fail beside a step, not through it."""
    areas = {result.check: result.area for result in report.checks}
    return {
        finding.check: finding
        for finding in _all(report)
        if finding.severity is Severity.ERROR and areas.get(finding.check) in AREAS
    }


def _take_back(python: Python, place: pathlib.Path | None, lines: list[str], detail: str, hear: Hear) -> str:
    """Bring the environment back to before a step; return the detail, with what could not be done."""
    try:
        if place is not None:
            environment.bring_back(python, place)
        else:
            _to_versions(python, lines, hear)
    except NotPossibleError as problem:
        return f"{detail}; it could not be taken back: {problem}"
    return detail


def _installed_or(python: Python, otherwise: list[str]) -> list[str]:
    try:
        return environment.installed(python)
    except NotPossibleError:
        return otherwise


def raise_interrupt(_number: int, _frame: FrameType | None) -> None:
    """Answer an interrupt as Python does."""
    raise KeyboardInterrupt


@contextlib.contextmanager
def on_interrupt(handler: Callable[[int, FrameType | None], object] | signal.Handlers) -> Iterator[None]:
    """Answer interrupts in one way for a while; not in other threads than the main one, which alone is interrupted."""
    try:
        former = {number: signal.signal(number, handler) for number in (signal.SIGINT, signal.SIGTERM)}
    except ValueError:
        yield
        return
    try:
        yield
    finally:
        for number, before in former.items():
            signal.signal(number, before)


def undo(python: Python, hear: Hear) -> Undone:
    """Bring back the versions from before the latest run that was not undone.

    Raises:
        NotPossibleError: there is no such run, or what is installed cannot be listed.
    """
    found = record.latest(python)
    if found is None:
        raise NotPossibleError(f"envcheck has changed nothing in {python.prefix} that could be undone")
    path, written = found
    if record.under_way(written):
        raise NotPossibleError("a run of `envcheck fix --apply` is under way in this environment")
    before = _installed_or(python, [])
    problem = ""
    wanted: list[str] = []
    place = pathlib.Path(written.copy) if written.copy else None
    try:
        if place is not None and place.is_dir():
            hear(f"bringing back the copy in {place}")
            environment.bring_back(python, place)
        wanted = as_before(environment.installed(python), written)
        _to_versions(python, wanted, hear)
    except NotPossibleError as error:
        problem = str(error)
    after = environment.installed(python)
    if not problem and after != wanted:
        problem = f"still different: {', '.join(sorted(set(after) ^ set(wanted))[:5])}"
    record.write(path, msgspec.structs.replace(written, copy="", undone="" if problem else record.now()))
    names = {name_of(line) for line in after}
    return Undone(
        record=str(path),
        restored=[line for line in after if line not in before],
        removed=[line for line in before if name_of(line) not in names],
        problem=problem,
    )


def as_before(present: list[str], written: Record) -> list[str]:
    """Return the lines of `pip freeze` that undo a run: what it changed as it was, and all else as it is now."""
    changed = {name_of(line) for line in set(written.before) ^ set(written.after)}
    kept = [line for line in present if name_of(line) not in changed]
    return sorted([*kept, *(line for line in written.before if name_of(line) in changed)])


def name_of(line: str) -> str:
    """Return the normalised name of the distribution that a line of `pip freeze` stands for."""
    words = line.removeprefix("-e ").strip()
    named = re.search(r"#egg=([\w.-]+)", words) or re.match(r"([\w.-]+)", words)
    return re.sub(r"[-_.]+", "-", named[1]).lower() if named else words


def _to_versions(python: Python, lines: list[str], hear: Hear) -> None:
    """Install and remove until exactly these lines are what is installed.

    Raises:
        NotPossibleError: an installer refuses.
    """
    present = environment.installed(python)
    wanted = {name_of(line) for line in lines}
    program = "pip" if python.pip_version else "uv"
    extra = sorted({name_of(line) for line in present} - wanted)
    commands = [Installation(program, "uninstall", extra)] if extra else []
    by_index: dict[str | None, list[str]] = {}
    for line in lines:
        if line not in present:
            by_index.setdefault(cures.torch_index(line.partition("==")[2]), []).append(line)
    again = "--force-reinstall" if program == "pip" else "--reinstall"
    for index, requirements in by_index.items():
        words = [word for line in requirements for word in _requirement(line)]
        options = ["--no-deps", again, *(["--index-url", index] if index else [])]
        commands.append(Installation(program, "install", [*options, *words]))
    for command in commands:
        hear(f"$ {command.program} {command.verb} {' '.join(command.arguments)}")
        failed = environment.run(command, python, hear)
        if failed:
            raise NotPossibleError(failed)


def _requirement(line: str) -> list[str]:
    """Return the words with which an installer takes a line of `pip freeze`."""
    return ["-e", line.removeprefix("-e ").strip()] if line.startswith("-e ") else [line]
