"""A recorded machine as a file: everything that was seen, redacted, from which the same report is made anywhere.

    {"format": 1, "envcheck": "0.1.0", "note": "…", "interpreter": {…}, "options": {…}, "observations": {…}}

`observations` is what `envcheck.system.Recorder` kept: what was asked → what was answered.
"""

from __future__ import annotations

from typing import Any

import msgspec

from envcheck import __version__
from envcheck.intent import UsageError
from envcheck.interpreter import Interpreter
from envcheck.redact import this_machine
from envcheck.system import Recorder, Recording, System

FORMAT = 1
"""Raised when an older envcheck could no longer play a file back."""


class Recorded(msgspec.Struct, frozen=True, kw_only=True):
    """A machine that was recorded.

    Attributes:
        system: plays it back.
        interpreter: the interpreter that was under test.
        note: what is special about the machine, and whether it was composed by hand.
        options: how the examination was asked for, such as `{"quick": true}`.
        envcheck: version that recorded it.
    """

    system: Recording
    interpreter: Interpreter
    note: str = ""
    options: dict[str, Any] = {}
    envcheck: str = ""


class _File(msgspec.Struct, kw_only=True):
    format: int
    interpreter: Interpreter
    observations: dict[str, Any]
    envcheck: str = ""
    note: str = ""
    options: dict[str, Any] = {}


def recorder(system: System) -> Recorder:
    """Return a system that asks another one and keeps what it answers, without secrets, names and addresses."""
    return Recorder(system, this_machine())


def save(
    path: str, recorder: Recorder, interpreter: Interpreter, note: str = "", options: dict[str, Any] | None = None
) -> None:
    """Write what a recorder has kept; call it after the examination.

    Raises:
        UsageError: the file cannot be written.
    """
    file = _File(
        format=FORMAT,
        envcheck=__version__,
        note=note,
        interpreter=msgspec.convert(recorder.redact(msgspec.to_builtins(interpreter)), Interpreter),
        options=options or {},
        # Probes run side by side and one that hangs may still be asking: the copy is taken in one step.
        observations=dict(sorted(dict(recorder.observations).items())),
    )
    try:
        with open(path, "wb") as opened:  # noqa: PTH123 - as everywhere
            opened.write(msgspec.json.format(msgspec.json.encode(file), indent=1) + b"\n")
    except OSError as error:
        raise UsageError(f"{path}: the recording cannot be written: {error.strerror or error}") from error


def load(path: str) -> Recorded:
    """Read a recorded machine.

    Raises:
        UsageError: the file is not there, is damaged, is no recording, or is of a later form.
    """
    try:
        with open(path, "rb") as opened:  # noqa: PTH123 - as everywhere
            text = opened.read()
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror or error}") from error
    try:
        form = msgspec.json.decode(text, type=dict[str, Any]).get("format")
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: no recording of envcheck: {error}") from error
    if isinstance(form, int) and form > FORMAT:
        raise UsageError(
            f"{path}: recorded in form {form} by a later envcheck; this one plays form {FORMAT}: update it"
        )
    try:
        file = msgspec.json.decode(text, type=_File)
    except (msgspec.ValidationError, msgspec.DecodeError) as error:
        raise UsageError(f"{path}: no recording of envcheck: {error}") from error
    return Recorded(
        system=Recording(file.observations),
        interpreter=file.interpreter,
        note=file.note,
        options=file.options,
        envcheck=file.envcheck,
    )
