"""The undo record: what `envcheck fix --apply` changed, one JSON file a run.

It lies in the user's state folder (`XDG_STATE_HOME`, `~/.local/state`, or what the system has instead); where that may
not be written, in the environment itself.  It is written before a command runs, so that a run which was killed can be
undone too.
"""

from __future__ import annotations

import json
import os
import pathlib
import time

import msgspec

from envcheck import __version__
from envcheck.facts import Python
from envcheck.fix.environment import NotPossibleError
from envcheck.fix.plan import Step

FORMAT = 1
"""Raised when an older envcheck could no longer undo what a record tells."""

FOLDER_IN_ENVIRONMENT = ".envcheck-fix"


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """One run of `envcheck fix --apply`.

    Attributes:
        format: version of this form.
        envcheck: version of the program that wrote it.
        python: the interpreter of the environment, as it was called.
        prefix: folder of the environment.
        started: UTC time, such as `2026-01-31T09:30:00Z`.
        before: what was installed before the first step, as `pip freeze` prints it.
        after: what was installed after the last one.
        steps: what was carried out, in order.
        copy: folder with the copy made before a step that has not ended; empty where every step has.
        process: id of the process that carries it out.
        undone: UTC time at which it was undone; empty while it was not.
    """

    format: int = FORMAT
    envcheck: str = __version__
    python: str
    prefix: str
    started: str
    before: list[str]
    after: list[str]
    steps: list[Step] = []
    copy: str = ""
    process: int = 0
    undone: str = ""


def now() -> str:
    """Return the time as a record has it."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def folders(python: Python) -> list[pathlib.Path]:
    """Return where records lie, the usual place first."""
    import platformdirs  # noqa: PLC0415 - only here

    return [
        platformdirs.user_state_path("envcheck", appauthor=False) / "fix",
        pathlib.Path(python.prefix or ".") / FOLDER_IN_ENVIRONMENT,
    ]


def new(python: Python, before: list[str]) -> tuple[pathlib.Path, Record]:
    """Write the record of a run that begins and return where it lies.

    Raises:
        NotPossibleError: there is no place to write it.
    """
    record = Record(
        python=python.path or "",
        prefix=python.prefix or "",
        started=now(),
        before=before,
        after=list(before),
        process=os.getpid(),
    )
    name = f"{record.started.replace(':', '')}-{os.getpid()}.json"
    reasons = []
    for folder in folders(python):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            write(folder / name, record)
        except OSError as error:
            reasons.append(f"{folder}: {error.strerror or error}")
            continue
        return folder / name, record
    raise NotPossibleError("there is no place for the undo record, so nothing is changed: " + "; ".join(reasons))


def write(path: pathlib.Path, record: Record) -> None:
    """Write a record whole or not at all; it may name the user's folders, so nobody else may read it."""
    draft = path.with_suffix(".draft")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        # The standard library's JSON keeps a folder's name that is no UTF-8, half characters and all.
        file.write(json.dumps(msgspec.to_builtins(record), indent=1).encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)


def latest(python: Python) -> tuple[pathlib.Path, Record] | None:
    """Return the newest record of an environment that changed something and was not undone; None where there is none.

    A file that cannot be read, or is of a later form, is passed over.
    """
    found = []
    for folder in folders(python):
        for path in folder.glob("*.json") if folder.is_dir() else []:
            try:
                record = msgspec.convert(json.loads(path.read_bytes()), Record)
            except (OSError, ValueError, msgspec.ValidationError):
                continue
            same = os.path.realpath(record.prefix) == os.path.realpath(python.prefix or "")
            if same and record.format <= FORMAT and not record.undone and (record.copy or changed(record)):
                found.append((path, record))
    return max(found, key=lambda one: (one[1].started, one[0].name), default=None)


def under_way(record: Record) -> bool:
    """Tell whether a step of a run has not ended and its process is there."""
    import psutil  # noqa: PLC0415 - only here

    return bool(record.copy) and record.process != os.getpid() and psutil.pid_exists(record.process)


def changed(record: Record) -> bool:
    """Tell whether a run left something changed: other versions, or files that were installed again."""
    return record.before != record.after or any(step.state == "done" for step in record.steps)
