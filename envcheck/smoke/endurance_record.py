"""What an endurance run saw, as lines of JSON in a file: it survives a crash of the machine, and a run can go on.

Each line is a `Session`, a `Round` or a `Machine`; times are seconds of load, counted over all sessions together.  A
line that was torn by a crash is left out and cut off before the next one is written.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path
from typing import IO, Any

import msgspec

from envcheck.facts import Gpu

VERSION = 1


class Session(msgspec.Struct, frozen=True, kw_only=True, tag="session", tag_field="kind", omit_defaults=True):
    """One run of the command.

    Attributes:
        session: its number, from 1.
        framework: as `Proof.framework` has it.
        framework_version: such as `2.13.0+cpu`.
        device: where the load runs, such as `cpu` or `cuda:0`.
        began: when, seconds since 1970.
        version: of this form.
    """

    session: int
    framework: str
    device: str
    began: float
    framework_version: str = ""
    version: int = VERSION


class Round(msgspec.Struct, frozen=True, kw_only=True, tag="round", tag_field="kind", omit_defaults=True):
    """One round of the load: the same work each time.

    Attributes:
        session: number of the run of the command.
        framework: as `Proof.framework` has it.
        device: where it ran.
        at: seconds of load until its end, all sessions together.
        samples_per_second: of the reference network's training.
        gigaflops: of the product, GFLOP/s; None where there is none.
        loss: of the first weights on the same images, in nats; None where it is not finite.
        finite: whether all losses and the product were finite.
        loss_deviation: how far the loss is from the first round's, relative to it.
        product_deviation: largest difference of the product from the first one's, relative to its largest number.
        device_bytes: what tensors held on a GPU.
        cores_used: cores' worth of work of the child.
        cores_of_others: of other programs, on the cores that the child may use.
        cores_waited_for: cores' worth of time that its threads were ready and had none.
    """

    session: int
    framework: str
    device: str
    at: float
    samples_per_second: float | None = None
    gigaflops: float | None = None
    loss: float | None = None
    finite: bool = True
    loss_deviation: float | None = None
    product_deviation: float | None = None
    device_bytes: int | None = None
    cores_used: float | None = None
    cores_of_others: float | None = None
    cores_waited_for: float | None = None


class Machine(msgspec.Struct, frozen=True, kw_only=True, tag="machine", tag_field="kind", omit_defaults=True):
    """The machine at one moment of the load.

    Attributes:
        session: number of the run of the command.
        framework: whose load it was.
        at: seconds of load, all sessions together.
        resident_bytes: device → resident memory of the child that works on it.
        megahertz: mean clock of the processor's cores.
        celsius: temperature of the processor, its hottest sensor.
        throttled: times that the processor was slowed down by heat since the machine was started.
        gpus: what NVML says of each GPU; None where it was not asked or did not answer.
        gpu_state: how NVML answered, such as `ok` or `NVML_ERROR_GPU_IS_LOST`; empty where it was not asked.
    """

    session: int
    framework: str
    at: float
    resident_bytes: dict[str, int] = {}
    megahertz: float | None = None
    celsius: float | None = None
    throttled: int | None = None
    gpus: list[Gpu] | None = None
    gpu_state: str = ""


Line = Session | Round | Machine

_DECODER: msgspec.json.Decoder[Line] = msgspec.json.Decoder(Line)


class Kept(msgspec.Struct, frozen=True):
    """What a record holds.

    Attributes:
        lines: in the order in which they were written.
        unreadable: how many lines could not be read.
        whole_bytes: length of the file up to its last whole line.
    """

    lines: list[Line] = []
    unreadable: int = 0
    whole_bytes: int = 0


class RecordError(Exception):
    """The file cannot serve as a record; the message names it and says why."""


def read(path: Path) -> Kept:
    """Return what a record holds; a file that is not there holds nothing.

    Raises:
        RecordError: it cannot be read, or no line of it is of a record.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return Kept()
    except OSError as error:
        raise RecordError(f"{path}: cannot be read: {error.strerror or error}") from error
    whole = content[: content.rfind(b"\n") + 1]
    lines: list[Line] = []
    unreadable = int(len(whole) != len(content))
    for line in whole.splitlines():
        found = _decoded(line)
        if found is None:
            unreadable += 1
        else:
            lines.append(found)
    if content and not lines and content != b"\n":
        # A record in which only a torn line is left holds nothing; any other file must not be written to.
        torn = not whole and content.startswith(b'{"kind":"')
        if not torn:
            raise RecordError(f"{path}: is no record of an endurance run")
    return Kept(lines, unreadable, len(whole))


def _decoded(line: bytes) -> Line | None:
    try:
        return _DECODER.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def encoded(line: Line) -> bytes:
    """Return a line of the file."""
    return msgspec.json.encode(_without_unknown(msgspec.to_builtins(line))) + b"\n"


def _without_unknown(value: Any) -> Any:  # noqa: ANN401 - JSON
    """Return JSON without what is not known: of a GPU most fields may be."""
    if isinstance(value, dict):
        return {key: _without_unknown(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [_without_unknown(item) for item in value]
    return value


class Writer:
    """Appends lines to a record, each of them on the disk before the next; without a path it keeps nothing."""

    def __init__(self, path: Path | None, kept: Kept) -> None:
        """Open the file and cut off what a crash tore.

        Raises:
            RecordError: it cannot be written.
        """
        self.path = path
        self.trouble = ""
        self.file: IO[bytes] | None = None
        if path is None:
            return
        try:
            self.file = path.open("ab")
            self.file.truncate(kept.whole_bytes)
        except OSError as error:
            raise RecordError(f"{path}: cannot be written: {error.strerror or error}") from error

    def add(self, lines: Iterable[Line]) -> None:
        """Append lines; what goes wrong is kept as `trouble`, for the load is worth more than its record."""
        if self.file is None or self.trouble:
            return
        try:
            self.file.write(b"".join(encoded(line) for line in lines))
            self.file.flush()
            os.fsync(self.file.fileno())
        except OSError as error:
            self.trouble = f"{self.path}: {error.strerror or error}"

    def close(self) -> None:
        """Close the file."""
        if self.file is not None:
            with contextlib.suppress(OSError):
                self.file.close()
            self.file = None
