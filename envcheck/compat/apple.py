"""Apple: what PyTorch's GPU backend MPS needs, and which wheels exist for macOS. Table: macos."""

from __future__ import annotations

from functools import cache

import msgspec
from packaging.version import Version

from envcheck.compat import table
from envcheck.compat.versions import VersionLike, parse, public


class MacWheel(msgspec.Struct, frozen=True):
    """The wheels of a release for macOS."""

    package: str
    version: str
    tags: list[str]
    """macosx_A_B_MACHINE: A.B is the least macOS that pip accepts."""
    arm64: bool
    x86_64: bool
    source: str


class Rule(msgspec.Struct, frozen=True):
    """A sentence about macOS, with its source."""

    id: str
    text: str
    source: str
    verified: bool = True


class _Table(msgspec.Struct, frozen=True):
    wheel: list[MacWheel]
    rule: list[Rule]


@cache
def _table() -> _Table:
    return table.read("macos", _Table)


def wheel(package: str, version: VersionLike | None) -> MacWheel | None:
    """Return the macOS wheels of a release of torch, tensorflow or tensorflow-macos; None where unknown."""
    wanted = public(version)
    return next((row for row in _table().wheel if row.package == package and Version(row.version) == wanted), None)


def minimum_macos_for_mps(torch: VersionLike | None) -> str | None:
    """Return the least macOS on which a release of torch can use the GPU.

    Source: table macos, part mps: 12.3 from torch 1.12 on, 14.0 from 2.11 on. In which release between the two the
    limit rose is not known, so they have the lower one.

    Returns:
        The version, or None where torch is unknown or has no MPS (before 1.12).
    """
    wanted = public(torch)
    if wanted is None or wanted < Version("1.12"):
        return None
    return "14.0" if wanted >= Version("2.11") else "12.3"


def mps(torch: VersionLike | None, macos: VersionLike | None, machine: str) -> bool | None:
    """Say whether a release of torch can use the GPU of a Mac.

    Args:
        torch: the release.
        macos: version of macOS.
        machine: platform.machine() of the Mac itself: "arm64" or "x86_64". A process under Rosetta says x86_64.

    Returns:
        The answer, or None where a version is unknown, and for Intel Macs, whose AMD GPUs early releases could use.
    """
    least, present = parse(minimum_macos_for_mps(torch)), parse(macos)
    if public(torch) is not None and least is None:
        return False
    if least is None or present is None:
        return None
    if present < least:
        return False
    return True if machine == "arm64" else None


def rules() -> list[Rule]:
    """Return the sentences about macOS that no column holds."""
    return _table().rule
