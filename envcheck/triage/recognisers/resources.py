"""Memory, disks, limits and processors: free, df, ulimit, lscpu, nproc."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from envcheck.facts import Place
from envcheck.triage.paste import Paste
from envcheck.triage.pieces import Piece
from envcheck.triage.rules import Rule, Values, apply
from envcheck.triage.shell import Command

UNITS = {"": 1, "B": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40, "P": 2**50}
SIZE = r"(?P<number>\d{1,15}(?:\.\d{1,3})?)(?P<unit>[KMGTPB]?)i?B?$"


def size(text: str, unit: int = 1) -> int | None:
    """Return bytes of a size such as `3.9G`; a number without a letter counts in `unit` bytes."""
    found = re.match(SIZE, text)
    if not found:
        return None
    return int(float(found["number"]) * (UNITS[found["unit"]] if found["unit"] else unit))


def recognise(paste: Paste) -> Iterator[Piece]:
    """Yield resources and limits."""
    yield from apply(RULES, paste)
    yield from _disks(paste)
    yield from _memory(paste)
    for command in paste.commands:
        yield from _limit(command)


DF_HEADER = r"^Filesystem\s+(?:Type\s+)?(?P<unit>Size|1K-blocks|1024-blocks|1M-blocks|1G-blocks|Inodes|512-blocks)\s+\S"
DF_ROW = (
    r"^(?P<name>\S+)\s+(?:(?P<type>[a-z][\w.]{1,15})\s+)?(?P<total>[\d.]+[KMGTP]?i?)\s+(?P<used>[\d.]+[KMGTP]?i?)\s+"
    r"(?P<free>[\d.]+[KMGTP]?i?)\s+(?P<share>\d{1,3}%|-)\s+(?P<path>/\S*)$"
)
DF_UNITS = {
    "Size": 1,
    "1K-blocks": 2**10,
    "1024-blocks": 2**10,
    "512-blocks": 512,
    "1M-blocks": 2**20,
    "1G-blocks": 2**30,
}
PURPOSES = {"/dev/shm": "shared memory", "/tmp": "temporary", "/home": "home", "/": "environment"}  # noqa: S108 - names


def _disks(paste: Paste) -> Iterator[Piece]:
    unit = ""
    for line in paste.lines:
        if line.text.startswith("Filesystem") and (header := re.match(DF_HEADER, line.text)):
            unit = header["unit"]
        elif unit and (row := re.match(DF_ROW, line.text)):
            path = row["path"]
            purpose = PURPOSES.get(path) or ("home" if re.match(r"/home/[^/]+$", path) else "")
            if not purpose:
                continue
            if unit == "Inodes":
                total, free = size(row["total"]), size(row["free"])
                place = Place(purpose=purpose, path=path, total_inodes=total, free_inodes=free)
            else:
                factor = DF_UNITS[unit]
                total, free = size(row["total"], factor), size(row["free"], factor)
                place = Place(purpose=purpose, path=path, total_bytes=total, free_bytes=free, filesystem=row["type"])
            yield Piece("storage", {"places": [place]}, line.source)
        elif not line.text.strip():
            unit = ""


FREE_HEADER = r"^\s+total\s+used\s+free\s+shared\s+buff/cache\s+available"
FREE_ROW = r"^(?P<kind>Mem|Swap):\s+(?P<sizes>\S.{3,120})$"
FREE_OPTIONS = {"-b": 1, "-k": 2**10, "-m": 2**20, "-g": 2**30}


def _memory(paste: Paste) -> Iterator[Piece]:
    """Read `free`: without an option it counts in KiB; what the option was is seen in the command alone."""
    if not any(re.match(FREE_HEADER, line.text) for line in paste.lines):
        return
    command = next((command.text for command in paste.commands if re.match(r"free\b", command.text)), "")
    unit = next((factor for option, factor in FREE_OPTIONS.items() if option in command), 2**10 if command else 0)
    for line in paste.lines:
        row = re.match(FREE_ROW, line.text)
        if not row:
            continue
        words = row["sizes"].split()
        if not unit and not re.search(r"[KMGT]", row["sizes"]):
            continue
        sizes = [size(word, unit or 1) for word in words]
        if row["kind"] == "Mem" and len(sizes) > 5:  # noqa: PLR2004 - the sixth column is `available`
            # Whole GiB are too coarse to tell how little is left.
            available = None if unit == FREE_OPTIONS["-g"] else sizes[5]
            yield Piece("memory", {"total_bytes": sizes[0], "available_bytes": available}, line.source)
        elif row["kind"] == "Swap" and len(sizes) > 2:  # noqa: PLR2004
            yield Piece("memory", {"swap_total_bytes": sizes[0], "swap_free_bytes": sizes[2]}, line.source)


LIMITS = {
    "-n": ("open_files_soft", 1),
    "-Sn": ("open_files_soft", 1),
    "-Hn": ("open_files_hard", 1),
    "-l": ("locked_memory_soft_bytes", 1024),
    "-u": ("processes_soft", 1),
    "-v": ("address_space_soft_bytes", 1024),
    "-s": ("stack_soft_bytes", 1024),
}


def _limit(command: Command) -> Iterator[Piece]:
    found = re.fullmatch(r"ulimit (?P<option>-\w{1,2})", command.text)
    known = LIMITS.get(found["option"]) if found else None
    if known and command.output:
        value = _value(command.output[0].text.strip(), known[1])
        if value is not None:
            yield Piece("limits", {known[0]: value}, command.output[0].source)
    elif command.text == "nproc" and command.output and re.fullmatch(r"\d{1,4}", command.output[0].text.strip()):
        yield Piece("cpu", {"allowed_cores": int(command.output[0].text)}, command.output[0].source)


def _value(text: str, unit: int) -> int | None:
    if text == "unlimited":
        return -1
    return int(text) * unit if re.fullmatch(r"\d{1,15}", text) else None


def _limit_row(field: str, unit: int = 1) -> Callable[[re.Match[str]], Values]:
    def read(found: re.Match[str]) -> Values:
        value = _value(found["value"], unit)
        return {} if value is None else {field: value}

    return read


RULES = (
    Rule("open files", r"^open files\s+\(-n\) (?P<value>\d+|unlimited)", "limits", _limit_row("open_files_soft")),
    Rule(
        "max locked memory",
        r"^max locked memory\s+\((?:kbytes, )?-l\) (?P<value>\d+|unlimited)",
        "limits",
        _limit_row("locked_memory_soft_bytes", 1024),
    ),
    Rule(
        "max user processes",
        r"^max user processes\s+\(-u\) (?P<value>\d+|unlimited)",
        "limits",
        _limit_row("processes_soft"),
    ),
    Rule(
        "virtual memory",
        r"^virtual memory\s+\(kbytes, -v\) (?P<value>\d+|unlimited)",
        "limits",
        _limit_row("address_space_soft_bytes", 1024),
    ),
    Rule(
        "MemTotal:",
        r"^MemTotal:\s+(?P<value>\d{1,12}) kB",
        "memory",
        lambda found: {"total_bytes": int(found["value"]) * 1024},
    ),
    Rule(
        "MemAvailable:",
        r"^MemAvailable:\s+(?P<value>\d{1,12}) kB",
        "memory",
        lambda found: {"available_bytes": int(found["value"]) * 1024},
    ),
    Rule("model name", r"^model name\s+: (?P<name>.{3,100})$", "cpu", lambda found: {"model": found["name"].strip()}),
    Rule(
        "flags", r"^flags\s+: (?P<names>\S.{20,4000})$", "cpu", lambda found: {"instructions": found["names"].split()}
    ),
)
