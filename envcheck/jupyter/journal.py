"""The undo record of `envcheck jupyter --fix`: one JSON file a run, with the kernels' folders before and after.

It lies in the user's state folder (`XDG_STATE_HOME`, `~/.local/state`, or what the system has instead), and is written
before anything changes, so that a run which was killed can be undone too.
"""

from __future__ import annotations

import base64
import contextlib
import os
import shutil
import time
from pathlib import Path

import msgspec

from envcheck import __version__

FORMAT = 1
"""Raised when an older envcheck could no longer undo what a record tells."""

LARGEST_FOLDER = 8 << 20
"""Bytes of a kernel's folder that a record holds; one holds a description, two or three pictures and a script."""


class TooLargeError(Exception):
    """A kernel's folder holds more than a record may; the text is a sentence for the user."""


class Content(msgspec.Struct, frozen=True, kw_only=True):
    """What is in a kernel's folder.

    Attributes:
        there: whether it is there.
        link: target, where it is a symbolic link.
        files: path within it → bytes, in base64.
        programs: those of them that may be run.
    """

    there: bool = False
    link: str = ""
    files: dict[str, str] = {}
    programs: list[str] = []


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """A kernel's folder before and after a step; `after` is None while the step is under way."""

    folder: str
    before: Content
    after: Content | None = None


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """One run.

    Attributes:
        format: version of this form.
        envcheck: version of the program that wrote it.
        started: UTC time, such as `2026-01-31T09:30:00Z`.
        changes: kernels' folders, in the order in which they were changed.
        installation: path of the record of `envcheck fix` that tells what was installed; empty where nothing was.
        python: interpreter that was installed into; empty where nothing was.
        undone: UTC time at which it was undone; empty while it was not.
    """

    format: int = FORMAT
    envcheck: str = __version__
    started: str
    changes: list[Change] = []
    installation: str = ""
    python: str = ""
    undone: str = ""


def now() -> str:
    """Return the time as a record has it."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def folder() -> Path:
    """Return where records lie."""
    import platformdirs  # noqa: PLC0415 - only here

    return Path(platformdirs.user_state_path("envcheck", appauthor=False)) / "jupyter"


def new() -> tuple[Path, Record]:
    """Return a record of a run that begins, and where it lies.

    Raises:
        OSError: there is no place to write it.
    """
    record = Record(started=now())
    path = folder() / f"{record.started.replace(':', '')}-{os.getpid()}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    write(path, record)
    return path, record


def write(path: Path, record: Record) -> None:
    """Write a record whole or not at all; it may hold the user's settings, so nobody else may read it."""
    draft = path.with_suffix(".draft")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(msgspec.json.encode(record))
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)


def latest() -> tuple[Path, Record] | None:
    """Return the newest record that changed something and was not undone; None where there is none.

    A file that cannot be read, or is of a later form, is passed over.
    """
    found = []
    for path in folder().glob("*.json"):
        try:
            record = msgspec.json.decode(path.read_bytes(), type=Record)
        except (OSError, ValueError, msgspec.ValidationError):
            continue
        if record.format <= FORMAT and not record.undone and (record.changes or record.installation):
            found.append((path, record))
    return max(found, key=lambda one: (one[1].started, one[0].name), default=None)


def content(place: str) -> Content:
    """Return what is in a kernel's folder.

    Raises:
        TooLargeError: it holds more than `LARGEST_FOLDER`.
        OSError: it may not be read.
    """
    path = Path(place)
    if path.is_symlink():
        return Content(there=True, link=str(path.readlink()))
    if not path.is_dir():
        return Content()
    files, programs, room = {}, [], LARGEST_FOLDER
    for file in sorted(path.rglob("*")):
        if not file.is_file():
            continue
        room -= file.stat().st_size
        if room < 0:
            raise TooLargeError(f"{place} holds more than {LARGEST_FOLDER >> 20} MiB, which is no kernel's folder")
        name = file.relative_to(path).as_posix()
        files[name] = base64.b64encode(file.read_bytes()).decode()
        programs += [name] if os.access(file, os.X_OK) and os.name == "posix" else []
    return Content(there=True, files=files, programs=programs)


def bring(place: str, wanted: Content) -> None:
    """Make a kernel's folder what it was: written beside, then put in its place.

    Raises:
        OSError: it may not be written.
    """
    path = Path(place)
    for rest in path.parent.glob(f".{path.name}.envcheck-*"):
        # Of a run that was killed.
        _remove(rest)
    beside = path.with_name(f".{path.name}.envcheck-{os.getpid()}")
    if wanted.link:
        path.parent.mkdir(parents=True, exist_ok=True)
        beside.symlink_to(wanted.link)
    elif wanted.there:
        beside.mkdir(parents=True)
        for name, data in wanted.files.items():
            file = beside / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(base64.b64decode(data))
            if name in wanted.programs:
                file.chmod(file.stat().st_mode | 0o111)
    aside = path.with_name(f".{path.name}.envcheck-{os.getpid()}-old")
    if path.is_symlink() or path.exists():
        path.rename(aside)
    try:
        if wanted.there:
            beside.rename(path)
    except OSError:
        if aside.is_symlink() or aside.exists():
            aside.rename(path)
        raise
    _remove(aside)


def _remove(path: Path) -> None:
    if path.is_symlink():
        path.unlink()
        return
    with contextlib.suppress(FileNotFoundError):
        shutil.rmtree(path)
