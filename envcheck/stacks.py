"""Stacks: folders with an environment that is known to be of use, read into data.

environments/NAME/README.md          one line: what it is for
environments/NAME/requirements.txt   what pip installs
environments/NAME/index.txt          PyTorch's index, where the stack needs it
environments/NAME/platforms.txt      where it can be installed, where that is not everywhere
environments/NAME/environment.yml    the same for conda
environments/NAME/lock.PLATFORM.txt  every package with version and checksums, for one platform and one Python

A lock says on its second line which inputs it was made from; it is fresh while they are the same.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import msgspec

PLATFORMS = {
    "linux-x86_64": "x86_64-manylinux_2_28",
    "macos-arm64": "aarch64-apple-darwin",
    "windows-x86_64": "x86_64-pc-windows-msvc",
}
"""Platform in a lock's name → what uv calls it."""

PYTHON = "3.11"
"""The Python that the locks and the conda specifications are for: every framework in them has wheels for it."""


class Lock(msgspec.Struct, frozen=True, kw_only=True):
    """A lock of a stack.

    Attributes:
        platform: key of `PLATFORMS`.
        path: the file.
        inputs: digest of the requirements that it was made from; empty where it does not say.
        pins: name → version of every package in it.
    """

    platform: str
    path: Path
    inputs: str
    pins: dict[str, str]


class Stack(msgspec.Struct, frozen=True, kw_only=True):
    """One stack.

    Attributes:
        name: of its folder.
        purpose: what it is for, one line.
        requirements: the file that pip reads.
        specification: the file that conda reads.
        index: PyTorch's index that it needs; empty = none.
        platforms: keys of `PLATFORMS` where it can be installed.
        inputs: digest of its requirements, included files too, comments aside.
        locks: one a platform.
    """

    name: str
    purpose: str
    requirements: Path
    specification: Path
    index: str
    platforms: tuple[str, ...]
    inputs: str
    locks: tuple[Lock, ...]


def read(folder: Path) -> list[Stack]:
    """Return the stacks of a folder, by name."""
    return [_stack(path.parent) for path in sorted(folder.glob("*/requirements.txt"))]


def _stack(folder: Path) -> Stack:
    requirements, index, platforms = (folder / f"{name}.txt" for name in ("requirements", "index", "platforms"))
    return Stack(
        name=folder.name,
        purpose=(folder / "README.md").read_text("utf-8").strip(),
        requirements=requirements,
        specification=folder / "environment.yml",
        index=index.read_text("utf-8").strip() if index.is_file() else "",
        platforms=tuple(platforms.read_text("utf-8").split() if platforms.is_file() else PLATFORMS),
        inputs=digest(requirements),
        locks=tuple(_lock(path) for path in sorted(folder.glob("lock.*.txt"))),
    )


def _lock(path: Path) -> Lock:
    text = path.read_text("utf-8")
    inputs = re.search(r"^# inputs: (\S+)$", text, re.MULTILINE)
    pins = dict(re.findall(r"^([A-Za-z0-9][\w.-]*)(?:\[[^\]]*\])?==([^\s;\\]+)", text, re.MULTILINE))
    return Lock(
        platform=path.name.removeprefix("lock.").removesuffix(".txt"),
        path=path,
        inputs=inputs[1] if inputs else "",
        pins=pins,
    )


def lines(requirements: Path) -> list[str]:
    """Return what a requirements file requires, included files too, without comments."""
    found = []
    for raw in requirements.read_text("utf-8").splitlines():
        line = re.sub(r"(^|\s)#.*$", "", raw).strip()
        include = re.fullmatch(r"-r\s+(\S+)", line)
        found += lines(requirements.parent / include[1]) if include else [line] if line else []
    return found


def digest(requirements: Path) -> str:
    """Return a digest of what a requirements file requires."""
    return hashlib.sha256("\n".join(lines(requirements)).encode()).hexdigest()


def stale(stack: Stack) -> list[Lock]:
    """Return the locks that were made from other requirements than the stack has now."""
    return [lock for lock in stack.locks if lock.inputs != stack.inputs]


def header(stack: Stack, platform: str) -> str:
    """Return the first lines of a lock."""
    return (
        f"# {stack.name}, {platform}, Python {PYTHON}. Made by tools/lock_environments.py from requirements.txt.\n"
        f"# inputs: {stack.inputs}\n"
    )
