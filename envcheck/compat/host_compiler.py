"""Host compilers: the newest and oldest gcc, clang and Visual Studio that a CUDA toolkit accepts.

Table: host_compiler (spack build definitions, host_config.h quoted in public logs, torch/utils/cpp_extension.py).
"""

from __future__ import annotations

from functools import cache

import msgspec

from envcheck.compat import table
from envcheck.compat.versions import VersionLike, parse, series


class HostCompiler(msgspec.Struct, frozen=True):
    """Major versions of compilers, inclusive, that nvcc of a toolkit accepts on Linux x86_64; None = not known."""

    toolkit: str
    gcc_max: int
    source: str
    gcc_min: int | None = None
    clang_min: int | None = None
    clang_max: int | None = None
    gcc_max_torch: int | None = None
    """Where torch's own table, a warning when it builds extensions, differs."""
    clang_max_torch: int | None = None
    note: str | None = None


class VisualStudio(msgspec.Struct, frozen=True):
    """What a toolkit, or several ("12.0 to 12.3"), accepts on Windows."""

    toolkit: str
    source: str
    visual_studio: str | None = None
    visual_studio_max: str | None = None
    msc_ver: str | None = None
    note: str | None = None


class Message(msgspec.Struct, frozen=True):
    """A message that is printed when compiler or toolkit do not fit."""

    id: str
    text: str
    source: str
    meaning: str | None = None
    note: str | None = None


class _Table(msgspec.Struct, frozen=True):
    linux: list[HostCompiler]
    windows: list[VisualStudio]
    message: list[Message]


@cache
def _table() -> _Table:
    return table.read("host_compiler", _Table)


def host_compiler(cuda: VersionLike | None) -> HostCompiler | None:
    """Return the compilers that a CUDA toolkit accepts on Linux, or None where no row has its series."""
    wanted = series(cuda)
    return next((row for row in _table().linux if row.toolkit == wanted), None)


def visual_studio(cuda: VersionLike | None) -> list[VisualStudio]:
    """Return what is known of a toolkit on Windows; empty where no row has it."""
    wanted, version = series(cuda), parse(cuda)
    found = []
    for row in _table().windows:
        first, _, last = row.toolkit.partition(" to ")
        low, high, mine = parse(first), parse(last or first), parse(wanted)
        of_major = version is not None and row.toolkit == f"{version.major}.x"
        if of_major or (low is not None and high is not None and mine is not None and low <= mine <= high):
            found.append(row)
    return found


def toolkit_for_gcc(gcc_major: int) -> str | None:
    """Return the oldest toolkit that accepts a gcc major version, or None where none of the table does."""
    fitting = [row for row in _table().linux if row.gcc_max >= gcc_major]
    return min(fitting, key=lambda row: parse(row.toolkit) or 0).toolkit if fitting else None


def messages() -> list[Message]:
    """Return the messages that are printed when compiler or toolkit do not fit."""
    return _table().message
