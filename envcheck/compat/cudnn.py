"""cuDNN: which cards a version works on, and which versions exist as wheels.

Table: cudnn (NVIDIA cuDNN support matrices; metadata of the nvidia-cudnn-cuNN packages).
"""

from __future__ import annotations

from functools import cache, lru_cache

import msgspec
from packaging.version import Version

from envcheck.compat import table
from envcheck.compat.target import Capability, capability
from envcheck.compat.versions import VersionLike, parse


class Support(msgspec.Struct, frozen=True):
    """One row of a support matrix: a cuDNN version built for a CUDA major version."""

    cudnn: str
    """A version, or a range "8.0.2 - 8.0.3"."""
    cuda_major: int
    toolkits: list[str]
    minimum_driver_linux: str
    source: str
    minimum_driver_windows: str | None = None
    minimum_compute_capability: str | None = None
    compute_capabilities: list[str] = []
    note: str | None = None


class Rule(msgspec.Struct, frozen=True):
    """A change that came with a version."""

    since: str
    rule: str
    source: str
    minimum_compute_capability: str | None = None
    symptom: str | None = None
    symptom_verified: bool = True


class Wheels(msgspec.Struct, frozen=True):
    """The versions of cuDNN that are published as wheels for a CUDA major version, oldest first."""

    package: str
    cuda_major: int
    versions: list[str]
    source: str


class _Table(msgspec.Struct, frozen=True):
    support: list[Support]
    rule: list[Rule]
    published: list[Wheels]


@cache
def _table() -> _Table:
    return table.read("cudnn", _Table)


def support() -> list[Support]:
    """Return the rows of the support matrices, oldest first."""
    return _table().support


def rules() -> list[Rule]:
    """Return the changes that concern users, with the version that brought each."""
    return _table().rule


@lru_cache(maxsize=1024)
def minimum_compute_capability(cudnn: VersionLike | None) -> str | None:
    """Return the least compute capability that a cuDNN version works on, or None where no row says it.

    A version between two rows of the matrix has the older row's limit, unless a rule in between raised it.
    """
    version = parse(cudnn)
    if version is None:
        return None
    known = {
        Version(row.cudnn.split(" - ")[0]): row.minimum_compute_capability
        for row in _table().support
        if row.minimum_compute_capability is not None
    }
    for rule in _table().rule:
        since = parse(rule.since)
        if since is not None and rule.minimum_compute_capability is not None:
            known[since] = rule.minimum_compute_capability
    older = [row for row in known if row <= version]
    return known[max(older)] if older else None


@lru_cache(maxsize=1024)
def works_on(cudnn: VersionLike | None, card: Capability | None) -> bool | None:
    """Say whether a cuDNN version works on a card; None where either is unknown."""
    least, device = capability(minimum_compute_capability(cudnn)), capability(card)
    return None if least is None or device is None else device >= least


def wheels(cuda_major: int) -> Wheels | None:
    """Return the cuDNN wheels for a CUDA major version, or None where there are none."""
    return next((row for row in _table().published if row.cuda_major == cuda_major), None)


def newest_wheel_for(cuda_major: int, card: Capability | None) -> str | None:
    """Return the newest cuDNN wheel for a CUDA major version that works on a card, or None where none is known."""
    row = wheels(cuda_major)
    versions = [] if row is None else [version for version in row.versions if works_on(version, card)]
    return max(versions, key=Version) if versions else None
