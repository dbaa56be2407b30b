"""Errors of the NVIDIA kernel driver and NVSwitch, and the other lines of the kernel log that matter.

Tables: xid, sxid, kernel_messages (NVIDIA's Xid catalog, open kernel modules, Fabric Manager guide, public logs).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from typing import Literal

import msgspec

from envcheck.compat import table

Severity = Literal["info", "warning", "error"]


class Xid(msgspec.Struct, frozen=True):
    """An error number of the NVIDIA kernel driver."""

    number: int
    name: str
    meaning: str
    severity: Severity
    action: str
    cause: str
    """Slug of the causes vocabulary; empty where the number alone points to none."""
    source: list[str]
    driver_name: str | None = None
    origin: list[str] = []
    """Where it can come from: user application, driver, hardware, memory, bus, thermal, ..."""
    used: bool | None = None
    """Whether GPUs from Ampere on use the number; None = not said."""
    nvidia_immediate: str | None = None
    """Code of the immediate action in NVIDIA's catalog."""


class Sxid(msgspec.Struct, frozen=True):
    """An error number of NVSwitch (Hopper and older)."""

    number: int
    name: str
    kind: Literal["nonfatal", "fatal", "always-fatal"] = msgspec.field(name="class")
    """fatal: to the jobs whose GPUs use the port; always-fatal: to the whole fabric."""
    severity: Severity
    meaning: str
    action: str
    cause: str
    source: str


class RecoveryAction(msgspec.Struct, frozen=True):
    """What the driver asks to be done for a GPU: Xid 154, NVML and nvidia-smi ("GPU Recovery Action")."""

    value: int
    name: str
    severity: Severity
    action: str
    source: str | list[str]
    cause: str = ""


class KernelMessage(msgspec.Struct, frozen=True):
    """A kind of kernel log line."""

    id: str
    pattern: str
    """For re.search on one line; named groups hold the device (pci) and the details."""
    contains: list[str]
    """Texts of which a matching line holds at least one."""
    example: str
    meaning: str
    severity: Severity
    cause: str
    """Slug of the causes vocabulary; empty where none follows."""
    source: list[str]
    causes: list[str] = []
    """Several, likeliest first, where the line does not decide."""
    note: str | None = None


class KernelLine(msgspec.Struct, frozen=True):
    """A line of a kernel log that was recognised."""

    message: KernelMessage
    line: str
    number: int
    """Counted from 1."""
    parts: dict[str, str]
    """The named groups that took part in the match."""


class _XidTable(msgspec.Struct, frozen=True):
    xid: list[Xid]
    recovery_action: list[RecoveryAction]


class _SxidTable(msgspec.Struct, frozen=True):
    sxid: list[Sxid]


class _MessageTable(msgspec.Struct, frozen=True):
    message: list[KernelMessage]


@cache
def _xids() -> dict[int, Xid]:
    return {row.number: row for row in table.read("xid", _XidTable).xid}


@cache
def _recovery_actions() -> list[RecoveryAction]:
    return table.read("xid", _XidTable).recovery_action


@cache
def _sxids() -> dict[int, Sxid]:
    return {row.number: row for row in table.read("sxid", _SxidTable).sxid}


@cache
def kernel_messages() -> list[KernelMessage]:
    """Return the kinds of kernel log lines that are known."""
    return table.read("kernel_messages", _MessageTable).message


@cache
def _pattern(message: str) -> re.Pattern[str]:
    return next(re.compile(row.pattern) for row in kernel_messages() if row.id == message)


def xids() -> list[Xid]:
    """Return every Xid of the table, by number."""
    return [row for _, row in sorted(_xids().items())]


def xid(number: int | None) -> Xid | None:
    """Return the row of an Xid, or None where the table does not have the number."""
    return None if number is None else _xids().get(number)


def sxids() -> list[Sxid]:
    """Return every SXid of the table, by number."""
    return [row for _, row in sorted(_sxids().items())]


def sxid(number: int | None) -> Sxid | None:
    """Return the row of an SXid, or None where the table does not have the number."""
    return None if number is None else _sxids().get(number)


def recovery_action(action: int | str | None) -> RecoveryAction | None:
    """Return a recovery action by NVML's number or by the name that is printed ("Drain and Reset"), in any case.

    The driver's own log calls some by longer names ("GPU Reset Required", "Node Reboot Required"); those are found
    as Reset and Reboot.
    """
    if action is None:
        return None
    if isinstance(action, int):
        return next((row for row in _recovery_actions() if row.value == action), None)
    words = re.sub(r"\b(?:gpu|node|required)\b|[^a-z0-9 ]", " ", action.casefold()).split()
    wanted = " ".join(words)
    return next((row for row in _recovery_actions() if row.name.casefold() == wanted), None)


def pci_address(text: str) -> str:
    """Return a PCI address in the kernel's form (`0000:01:00.0`) from the forms of the driver; empty for none."""
    found = re.search(r"([0-9a-fA-F]{4,8}):([0-9a-fA-F]{2}):([0-9a-fA-F]{2})(?:\.(\d))?", text)
    if not found:
        return ""
    return f"{int(found[1], 16):04x}:{found[2].lower()}:{found[3].lower()}.{found[4] or '0'}"


def recognise(line: str) -> list[KernelLine]:
    """Return every kind of message that one line of a kernel log is, in the order of the table."""
    return list(recognise_all(line))


def recognise_all(text: str) -> Iterator[KernelLine]:
    """Yield the recognised lines of a kernel log, in their order; a line of two kinds is yielded twice.

    Takes time linear in the text: each known wording is looked for once, and only lines that hold it are matched.
    """
    found: list[tuple[int, int, KernelMessage, str, re.Match[str]]] = []
    for order, message in enumerate(kernel_messages()):
        for start, end in _lines_with(text, message.contains):
            line = text[start:end].rstrip("\r")
            match = _pattern(message.id).search(line)
            if match is not None:
                found.append((start, order, message, line, match))
    found.sort(key=lambda entry: entry[:2])
    number, counted = 1, 0
    for start, _, message, line, match in found:
        number += text.count("\n", counted, start)
        counted = start
        parts = {name: part for name, part in match.groupdict().items() if part is not None}
        yield KernelLine(message, line, number, parts)


def _lines_with(text: str, wordings: list[str]) -> list[tuple[int, int]]:
    """Return where the lines begin and end that hold one of some wordings."""
    spans = set()
    for wording in wordings:
        at = text.find(wording)
        while at >= 0:
            start, end = text.rfind("\n", 0, at) + 1, text.find("\n", at)
            end = len(text) if end < 0 else end
            spans.add((start, end))
            at = text.find(wording, end)
    return sorted(spans)
