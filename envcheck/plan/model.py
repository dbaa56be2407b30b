"""What plans are made of."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

import msgspec
from packaging.specifiers import SpecifierSet
from packaging.version import Version

from envcheck.compat.build import Build
from envcheck.compat.target import Accelerator
from envcheck.machine import HeldWheel, InstalledPython
from envcheck.wish import FrameworkName

TITLES: dict[FrameworkName, str] = {"torch": "PyTorch", "tensorflow": "TensorFlow", "keras": "Keras"}


DISTRIBUTIONS: dict[FrameworkName, tuple[str, ...]] = {
    "torch": ("torch",),
    "tensorflow": ("tensorflow", "tensorflow-cpu", "tensorflow-gpu", "tensorflow-macos"),
    "keras": ("keras",),
}
"""Framework → the distributions that bring it."""


@lru_cache(maxsize=4096)
def parse_version(text: str) -> Version:
    """Return a version parsed, once for all who ask."""
    return Version(text)


@lru_cache(maxsize=1024)
def specifier_set(text: str) -> SpecifierSet:
    """Return a comparison of versions parsed, once for all who ask."""
    return SpecifierSet(text)


class Refused(msgspec.Struct, frozen=True):
    """Builds that were passed over.

    Attributes:
        builds: their versions, newest first, such as `2.15.0+cu132`.
        reason: what speaks against them, one clause.
    """

    builds: tuple[str, ...]
    reason: str


class Choice(msgspec.Struct, frozen=True, kw_only=True):
    """The build of a framework that was chosen.

    Attributes:
        framework: which one.
        version: with its local part, such as `2.13.0+cu126`.
        accelerator: what it computes on.
        why: why this one, one sentence.
        refused: newer builds, and builds for a better accelerator, that were passed over.
        verified: whether the tables' authors saw this build published.
        source: where its row of the tables comes from.
    """

    framework: FrameworkName
    version: str
    accelerator: Accelerator
    why: str
    refused: tuple[Refused, ...] = ()
    verified: bool = True
    source: str = ""


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """One requirement that is handed to the installer.

    Attributes:
        text: the requirement (PEP 508).
        why: who wants it.
        index: address of the one index that may answer it; empty = wherever the user's pip looks.
    """

    text: str
    why: str
    index: str = ""


class PythonChoice(msgspec.Struct, frozen=True, kw_only=True):
    """The interpreter that the environment is made from.

    Attributes:
        series: such as `3.12`, `3.14t`.
        path: its program; empty where the installer fetches one.
        why: why this one, one sentence.
    """

    series: str
    path: str = ""
    why: str = ""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """An environment that can be made.

    Attributes:
        platform: as the tables name it.
        python: its interpreter.
        choices: one a framework.
        requirements: what is installed, first the frameworks.
        constraints: limits on what comes along, which the installer reads from the files that hold them.
        files: requirements files that the installer reads itself.
        variables: environment variables that are the default inside.
        notes: what the user should know.
        kernel: whether a Jupyter kernel is registered.
        stack: name of the stack that this is; empty = none.
        lock: file with version and checksums of every package that is installed as it is; empty = one is solved.
    """

    platform: str
    python: PythonChoice
    choices: tuple[Choice, ...]
    requirements: tuple[Wanted, ...]
    constraints: tuple[Wanted, ...] = ()
    files: tuple[str, ...] = ()
    variables: dict[str, str] = {}
    notes: tuple[str, ...] = ()
    kernel: bool = False
    stack: str = ""
    lock: str = ""


class Refusal(msgspec.Struct, frozen=True, kw_only=True):
    """Why there is no plan.

    Attributes:
        sentence: what cannot be had, and why.
        change: what would change that.
        refused: builds that were considered.
    """

    sentence: str
    change: str
    refused: tuple[Refused, ...] = ()


class Candidate(msgspec.Struct, frozen=True):
    """A build that can be had and runs.

    Attributes:
        framework: of which framework.
        build: the build.
        held: the wheel of it that lies in a folder of the user's, where another index would have to be asked without.
    """

    framework: FrameworkName
    build: Build
    held: HeldWheel | None


class Suite(msgspec.Struct, frozen=True):
    """One candidate a framework, for one Python."""

    series: str
    python: InstalledPython | None
    candidates: tuple[Candidate, ...]


def listed_names(names: Iterable[str]) -> str:
    """Return names as a sentence lists them."""
    listed = list(names)
    return " and ".join(filter(None, [", ".join(listed[:-1]), *listed[-1:]]))
