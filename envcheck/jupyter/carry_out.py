"""Carrying out a plan for Jupyter's kernels, step by step, and undoing all of it.

A kernel that was registered or repaired is started; one that does not answer is taken back, as is a step that fails or
is broken off.
"""

from __future__ import annotations

import base64
import json
import pathlib
import signal
from collections.abc import Callable

import msgspec

from envcheck.facts import Python
from envcheck.fix import carry_out as fix
from envcheck.fix import environment
from envcheck.fix import record as fix_record
from envcheck.fix.environment import NotPossibleError
from envcheck.fix.plan import Step as FixStep
from envcheck.fix.plan import runnable
from envcheck.jupyter import examine, journal, specifications
from envcheck.jupyter.examine import Examined
from envcheck.jupyter.journal import Change, Content, Record
from envcheck.jupyter.model import Folder
from envcheck.jupyter.plan import Plan, Step
from envcheck.report import Severity
from envcheck.system import System

Hear = Callable[[str], None]


class Mended(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a plan.

    Attributes:
        steps: how each ended, in order; those that were not reached stay `planned`.
        record: path of the undo record; empty where nothing was changed.
        interrupted: whether the user broke it off.
    """

    steps: list[Step]
    record: str = ""
    interrupted: bool = False


class Undone(msgspec.Struct, frozen=True, kw_only=True):
    """What undoing did.

    Attributes:
        record: path of the undo record.
        restored: kernels' folders that are as they were before.
        packages: distributions that were brought back or removed.
        problems: what could not be undone, one sentence each.
    """

    record: str
    restored: list[str]
    packages: list[str]
    problems: list[str]


def carry_out(planned: Plan, seen: Examined, system: System, hear: Hear, seconds: float) -> Mended:
    """Carry out a plan.

    Args:
        planned: what to do.
        seen: what it was made from.
        system: the machine.
        hear: told what happens, line by line.
        seconds: how long a kernel may take to answer.

    Raises:
        NotPossibleError: there is no place for the undo record, so that nothing was changed.
    """
    try:
        path, record = journal.new()
    except OSError as error:
        raise NotPossibleError(
            f"there is no place for the undo record, so nothing is changed: {error.filename}: {error.strerror}"
        ) from error
    steps = list(planned.steps)
    interrupted = False
    for number, step in enumerate(steps):
        hear(f"{step.title}: {step.action}")
        # An interrupt takes its ordinary way, for as long as it takes to bring back what was there.
        with fix.on_interrupt(fix.raise_interrupt):
            if step.kind == "install":
                ended, record = _install(step, seen.environment.python, record, hear)
            else:
                ended, record = _change(step, seen, system, path, record, seconds)
        journal.write(path, record)
        steps[number] = ended
        interrupted = ended.state == "interrupted"
        if interrupted or (ended.state != "done" and step.kind == "install"):
            # Without ipykernel, the kernel that would be registered next cannot start.
            break
    if not record.changes and not record.installation:
        path.unlink(missing_ok=True)
    return Mended(steps=steps, record=str(path) if path.exists() else "", interrupted=interrupted)


def _install(step: Step, python: Python, record: Record, hear: Hear) -> tuple[Step, Record]:
    """Install as `envcheck fix` does it, into a record of its own kind."""
    try:
        fix.refuse_where_a_run_has_not_ended(python)
        before = environment.installed(python)
        path, written = fix_record.new(python, before)
    except NotPossibleError as problem:
        return msgspec.structs.replace(step, state="failed", detail=str(problem)), record
    place = environment.copy(python)
    fix_record.write(path, msgspec.structs.replace(written, copy=str(place or "")))
    state, detail = "done", ""
    try:
        for command in step.commands:
            installation = runnable(command, python)
            detail = environment.run(installation, python, hear) if installation else f"not carried out: {command}"
            if detail:
                break
        state = "failed" if detail else "done"
    except KeyboardInterrupt:
        state, detail = "interrupted", "broken off by you"
    except NotPossibleError as problem:
        state, detail = "failed", str(problem)
    if state != "done":
        with fix.on_interrupt(signal.SIG_IGN):
            if place is not None:
                environment.bring_back(python, place)
            path.unlink(missing_ok=True)
        return msgspec.structs.replace(step, state=state, detail=detail), record
    environment.forget(place)
    done = FixStep(
        check="kernels-can-start",
        cause="jupyter-kernel-mismatch",
        severity=Severity.ERROR,
        title=step.title,
        action=step.action,
        commands=step.commands,
        state="done",
    )
    fix_record.write(path, msgspec.structs.replace(written, after=environment.installed(python), steps=[done]))
    record = msgspec.structs.replace(record, installation=str(path), python=python.path or "")
    return msgspec.structs.replace(step, state="done"), record


def _change(
    step: Step, seen: Examined, system: System, path: pathlib.Path, record: Record, seconds: float
) -> tuple[Step, Record]:
    """Write or remove a kernel's folder, and see whether it helped."""
    try:
        before = journal.content(step.folder)
        wanted = _wanted(step, before, seen)
    except (OSError, ValueError, journal.TooLargeError) as error:
        return msgspec.structs.replace(step, state="failed", detail=str(error)), record
    former = record
    record = msgspec.structs.replace(record, changes=[*record.changes, Change(folder=step.folder, before=before)])
    journal.write(path, record)
    state, detail = "done", ""
    try:
        journal.bring(step.folder, wanted)
        if step.kind != "remove":
            detail = _answer(step, seen, system, seconds)
            state = "did-not-help" if detail else "done"
    except KeyboardInterrupt:
        state, detail = "interrupted", "broken off by you"
    except OSError as error:
        state, detail = "failed", f"{error.filename or step.folder}: {error.strerror or error}"
    if state != "done":
        try:
            with fix.on_interrupt(signal.SIG_IGN):
                journal.bring(step.folder, before)
        except OSError as error:
            detail += f"; it could not be taken back: {error.strerror or error}"
            return msgspec.structs.replace(step, state=state, detail=detail), record
        return msgspec.structs.replace(step, state=state, detail=detail), former
    change = Change(folder=step.folder, before=before, after=journal.content(step.folder))
    record = msgspec.structs.replace(record, changes=[*record.changes[:-1], change])
    return msgspec.structs.replace(step, state="done"), record


def _wanted(step: Step, before: Content, seen: Examined) -> Content:
    """Return what a kernel's folder is to hold."""
    if step.kind == "remove":
        return Content()
    if step.kind == "repair":
        described = json.loads(pathlib.Path(step.folder, "kernel.json").read_bytes())
        described["argv"][0] = step.interpreter
        return msgspec.structs.replace(
            before, there=True, link="", files={**_files(step.folder, before), "kernel.json": _encoded(described)}
        )
    described = {
        "argv": [step.interpreter, "-m", "ipykernel_launcher", "-f", "{connection_file}"],
        "display_name": step.display_name,
        "language": "python",
        "metadata": {"debugger": True},
    }
    return Content(there=True, files={"kernel.json": _encoded(described), **_pictures(seen.environment.python)})


def _files(folder: str, before: Content) -> dict[str, str]:
    """Return the files of a kernel's folder, also where it is a link to another one."""
    return journal.content(str(pathlib.Path(folder).resolve())).files if before.link else before.files


def _encoded(described: object) -> str:
    return base64.b64encode((json.dumps(described, indent=1, ensure_ascii=False) + "\n").encode()).decode()


def _pictures(python: Python) -> dict[str, str]:
    """Return the logos that ipykernel's own registration copies."""
    place = pathlib.Path(python.site_packages or "", "ipykernel", "resources")
    return {file.name: base64.b64encode(file.read_bytes()).decode() for file in sorted(place.glob("logo-*"))}


def _answer(step: Step, seen: Examined, system: System, seconds: float) -> str:
    """Start a kernel and say why it does not answer; empty where it does."""
    parent = str(pathlib.PurePath(step.folder).parent)
    found = specifications.read_all(system, [Folder(path=parent, kind="user")])
    one = next((one for one in found if one.folder == f"{parent}/{pathlib.PurePath(step.folder).name}"), None)
    if one is None or one.problem:
        return one.problem if one else "it cannot be read"
    # In a thread: an interrupt is seen at once, and whoever closes `system` ends the kernel.
    (start,) = examine.side_by_side([lambda: examine.start_kernel(system, one, seen.host, seconds)])
    if start.state == "answers":
        return ""
    said = [line for line in start.output.splitlines() if line.strip()]
    return (
        f"it was started and did not answer, so it was taken back: {said[-1] if said else start.detail or start.state}"
    )


def undo(system: System, hear: Hear) -> Undone:
    """Bring back what was there before the latest run that was not undone.

    Raises:
        NotPossibleError: there is no such run.
    """
    found = journal.latest()
    if found is None:
        raise NotPossibleError("envcheck has changed no Jupyter kernel that could be undone")
    path, record = found
    restored, problems, again = [], [], False
    for change in reversed(record.changes):
        try:
            if change.after is not None and journal.content(change.folder) not in (change.after, change.before):
                problems.append(f"{change.folder} was changed since, and is left alone")
                continue
            hear(f"bringing back {change.folder}")
            journal.bring(change.folder, change.before)
        except (OSError, journal.TooLargeError) as error:
            problems.append(f"{change.folder}: {getattr(error, 'strerror', None) or error}")
            again = True
            continue
        restored.append(change.folder)
    packages = []
    if record.installation:
        try:
            packages = _uninstalled(system, record, hear)
        except NotPossibleError as problem:
            problems.append(str(problem))
    # What was refused may be tried again; what was changed since is the user's own.
    journal.write(path, msgspec.structs.replace(record, undone="" if again else journal.now()))
    return Undone(record=str(path), restored=restored, packages=packages, problems=problems)


def _uninstalled(system: System, record: Record, hear: Hear) -> list[str]:
    python, _ = examine.ask(system, record.python, "ipykernel was installed into it")
    last = fix_record.latest(python) if python.state == "ok" else None
    if last is None or str(last[0]) != record.installation:
        raise NotPossibleError(
            f"what was installed into {record.python} stays: it was undone, or a later `envcheck fix` changed it"
        )
    undone = fix.undo(python, hear)
    if undone.problem:
        raise NotPossibleError(undone.problem)
    return [*(f"{line} brought back" for line in undone.restored), *(f"{line} removed" for line in undone.removed)]
