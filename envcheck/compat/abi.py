"""Binary compatibility: libstdc++ symbols, NumPy and protobuf generations, CPU instructions.

Table: abi (libstdc++ manual, contents of published wheels, google/protobuf/runtime_version.py of each generation).
"""

from __future__ import annotations

import re
from functools import cache, lru_cache
from typing import TYPE_CHECKING

import msgspec
from packaging.version import Version

from envcheck.compat import table
from envcheck.compat.versions import VersionLike, parse, public

if TYPE_CHECKING:
    from packaging.specifiers import SpecifierSet


class Gcc(msgspec.Struct, frozen=True):
    """The first GCC release whose libstdc++ has certain symbol versions, and all before them."""

    gcc: str
    libstdcxx: str
    """File name: "libstdc++.so.6.0.30"."""
    glibcxx: str
    cxxabi: str
    source: str
    verified: bool = True
    note: str | None = None


class Need(msgspec.Struct, frozen=True):
    """What the Linux x86_64 wheels of a package ask of the system's libraries."""

    package: str
    versions: str
    platform: str
    glibc: str
    glibcxx: str
    cxx11_abi: bool
    source: str
    note: str | None = None


class Message(msgspec.Struct, frozen=True):
    """A message of incompatible binaries. regex is for Python's re with MULTILINE."""

    id: str
    text: str
    meaning: str
    fix: str
    regex: str
    source: str
    versions: str | None = None
    note: str | None = None


class CpuNeed(msgspec.Struct, frozen=True):
    """The CPU instructions that releases of a package use without asking."""

    package: str
    versions: str
    platform: str
    needs: str
    source: str
    verified: bool = True
    note: str | None = None


class Rule(msgspec.Struct, frozen=True):
    """A sentence about binary compatibility, with its source."""

    id: str
    text: str
    source: str


class _Numpy(msgspec.Struct, frozen=True):
    built_with: str
    runs_on: str
    source: str


class _Protobuf(msgspec.Struct, frozen=True):
    runtime: str
    accepts: str
    source: str


class _Table(msgspec.Struct, frozen=True):
    gcc: list[Gcc]
    need: list[Need]
    message: list[Message]
    protobuf: list[_Protobuf]
    rule: list[Rule]
    cpu: list[CpuNeed]


@cache
def _table() -> _Table:
    return table.read("abi", _Table)


def gcc_of_symbol(symbol: str) -> Gcc | None:
    """Return the first GCC whose libstdc++ has a symbol version: "GLIBCXX_3.4.30" -> GCC 12.1.0.

    Returns:
        The row, or None where the symbol is none of GLIBCXX_ or CXXABI_, or newer than the table. A symbol version
        older than the oldest row (GCC 4.8) has that row: it was there by then.
    """
    prefix, _, number = symbol.rpartition("_")
    wanted = parse(number)
    if wanted is None or prefix not in {"GLIBCXX", "CXXABI"}:
        return None
    for row in _table().gcc:
        newest = row.glibcxx if prefix == "GLIBCXX" else row.cxxabi
        if Version(newest.rpartition("_")[2]) >= wanted:
            return row
    return None


def need(package: str, version: VersionLike | None) -> Need | None:
    """Return what the Linux x86_64 wheel of a package's release asks of glibc and libstdc++; None if unknown."""
    return next((row for row in _table().need if row.package == package and _covers(row.versions, version)), None)


def cpu_needs(package: str, version: VersionLike | None, *, include_unverified: bool = False) -> list[CpuNeed]:
    """Return the CPU instructions that a release of a package needs on x86_64.

    Args:
        package: "tensorflow" or "torch".
        version: the release; unknown gives an empty list.
        include_unverified: include rows that rest on reports alone.

    Returns:
        The rows that cover the release; empty where none does.
    """
    return [
        row
        for row in _table().cpu
        if row.package == package and _covers(row.versions, version) and (row.verified or include_unverified)
    ]


@lru_cache(maxsize=256)
def _specifiers(versions: str) -> SpecifierSet | None:
    from packaging.specifiers import InvalidSpecifier, SpecifierSet  # noqa: PLC0415 - costs 6 ms, seldom asked

    text = versions.strip()
    first, separator, last = text.partition(" to ")
    if separator:
        text = f">={first},<={last}"
    elif re.fullmatch(r"[\d.]+", text):
        text = f"=={text}"
    elif match := re.fullmatch(r"(<=|<)(\d+)\.(\d+)(?:\.x)?", text):
        # "up to 2.6" means all of the series 2.6.
        text = f"<{match[2]}.{int(match[3]) + 1}" if match[1] == "<=" else text
    try:
        return SpecifierSet(text, prereleases=True)
    except InvalidSpecifier:
        return None


def _covers(versions: str, version: VersionLike | None) -> bool:
    wanted, specifiers = public(version), _specifiers(versions)
    return wanted is not None and specifiers is not None and wanted in specifiers


def numpy_fits(built_with: VersionLike | None, installed: VersionLike | None) -> bool | None:
    """Say whether a module built against one NumPy runs with another.

    Built with 1.x it never runs on 2.x. Built with 2.x it runs on 2.x, and on 1.x only down to the API version that
    its build targeted, which the two versions do not tell. Source: NumPy, "For downstream package authors".

    Args:
        built_with: NumPy at build time; a major version ("1") is enough.
        installed: NumPy at run time.

    Returns:
        The answer, or None where it is not known.
    """
    built, present = parse(built_with), parse(installed)
    if built is None or present is None:
        return None
    if built.major < present.major:
        return False
    return True if built.major == present.major else None


def protobuf_accepts(runtime: VersionLike | None, gencode: VersionLike | None) -> bool | None:
    """Say whether a protobuf runtime loads code that a version of protoc generated.

    Source: google/protobuf/runtime_version.py in the wheels of each generation (table abi, part protobuf).

    Args:
        runtime: version of the installed protobuf: "5.28.3".
        gencode: version in the generated code, in the numbering of the Python package ("6.30.0", "5.27.0"), or of
            protoc 3.x ("3.19.0").

    Returns:
        The answer, or None where a version is unknown or between two that were read.
    """
    have, code = public(runtime), public(gencode)
    if have is None or code is None:
        return None
    if have < Version("3.21"):
        return code < Version("3.21")
    if have < Version("4.21") or (have >= Version("5.30") and have.major == Version("5").major):
        return None
    if code < Version("3.19"):
        return False
    if have < Version("5.27"):
        return code <= have or None
    if code > have:
        return False
    if code < Version("5.27"):
        # Code without the check in it is not checked.
        return True
    same_major_only = have < Version("5.28")
    one_major_older = have < Version("5.29.6") or Version("6.30") <= have < Version("6.32")
    if same_major_only:
        return code.major == have.major
    return have.major - code.major <= 1 if one_major_older else True


def messages() -> list[Message]:
    """Return the messages of incompatible binaries."""
    return _table().message


@cache
def _patterns() -> list[tuple[re.Pattern[str], Message]]:
    return [(re.compile(row.regex, re.MULTILINE), row) for row in _table().message]


def recognise(text: str) -> list[tuple[Message, dict[str, str]]]:
    """Return the messages of incompatible binaries in a text, each once, with the named parts of its first match."""
    found = []
    for pattern, row in _patterns():
        match = pattern.search(text)
        if match is not None:
            found.append((row, {name: part for name, part in match.groupdict().items() if part is not None}))
    return found


def rules() -> list[Rule]:
    """Return the sentences about binary compatibility that no column holds."""
    return _table().rule
