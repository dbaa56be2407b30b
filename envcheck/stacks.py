"""Stacks: folders with an environment that is known to be of use, read into data.

environments/NAME/README.md          one line: what it is for
environments/NAME/requirements.txt   what pip installs
environments/NAME/index.txt          PyTorch's index, where the stack needs it
environments/NAME/platforms.txt      where it can be installed, where that is not everywhere
environments/NAME/environment.yml    the same for conda
environments/NAME/lock.PLATFORM.txt  every package with version and checksums, for one platform and one Python

`BUILT_IN` holds the stacks of envcheck itself.  A distribution that has an entry point in the group `envcheck.stacks`
adds those in the folder of the package that the entry point names; the package is not imported.

A lock says on its second line which inputs it was made from; it is fresh while they are the same.
"""

from __future__ import annotations

import hashlib
import importlib.util
import re
from pathlib import Path

import msgspec
from packaging.requirements import InvalidRequirement, Requirement

from envcheck import plugins

GROUP = "envcheck.stacks"
"""Entry points of third parties."""

BUILT_IN = next(
    (
        path
        for path in (Path(__file__).parent / "environments", Path(__file__).parent.parent / "environments")
        if path.is_dir()
    ),
    Path(__file__).parent / "environments",
)
"""Folder of envcheck's own stacks: in an installed package, else in a checkout."""

PLATFORMS = {
    "linux-x86_64": "x86_64-manylinux_2_28",
    "linux-aarch64": "aarch64-manylinux_2_28",
    "macos-arm64": "aarch64-apple-darwin",
    "windows-x86_64": "x86_64-pc-windows-msvc",
}
"""Platform in a lock's name → what uv calls it."""

MARKERS = {
    "linux-x86_64": {
        "sys_platform": "linux",
        "platform_machine": "x86_64",
        "platform_system": "Linux",
        "os_name": "posix",
    },
    "linux-aarch64": {
        "sys_platform": "linux",
        "platform_machine": "aarch64",
        "platform_system": "Linux",
        "os_name": "posix",
    },
    "macos-arm64": {
        "sys_platform": "darwin",
        "platform_machine": "arm64",
        "platform_system": "Darwin",
        "os_name": "posix",
    },
    "windows-x86_64": {
        "sys_platform": "win32",
        "platform_machine": "AMD64",
        "platform_system": "Windows",
        "os_name": "nt",
    },
}
"""Platform in a lock's name → what environment markers (PEP 508) see there."""

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
        variables: environment variables that conda's specification sets.
    """

    name: str
    purpose: str
    requirements: Path
    specification: Path
    index: str
    platforms: tuple[str, ...]
    inputs: str
    locks: tuple[Lock, ...]
    variables: dict[str, str] = {}


def available() -> list[Stack]:
    """Return the stacks of envcheck and of installed third parties, by name.

    One that cannot be read, or whose name is taken, is left out; `plugins.FAILED` says why.
    """
    found: dict[str, Stack] = {}
    for source, folder in _folders():
        for path in sorted(folder.glob("*/requirements.txt")):
            name = path.parent.name
            try:
                stack = _stack(path.parent)
                lines(stack.requirements)
            except (OSError, ValueError) as error:
                plugins.FAILED[f"{source}: {name}"] = f"{type(error).__name__}: {error}"
                continue
            if found.setdefault(name, stack) is not stack:
                plugins.FAILED[f"{source}: {name}"] = f"the name is that of {found[name].requirements.parent}"
    return sorted(found.values(), key=lambda stack: stack.name)


def _folders() -> list[tuple[str, Path]]:
    """Return the folders that hold stacks, each with who brings them, envcheck's own first."""
    found = [("envcheck", BUILT_IN)]
    for name in plugins.names(GROUP):
        try:
            package = importlib.util.find_spec(name)
        except (ImportError, ValueError) as error:
            plugins.FAILED[name] = f"{type(error).__name__}: {error}"
            continue
        locations = list(package.submodule_search_locations or []) if package else []
        if not locations:
            plugins.FAILED[name] = "there is no package of that name whose folder could hold stacks"
        found += [(name, Path(location)) for location in locations]
    return found


def read(folder: Path) -> list[Stack]:
    """Return the stacks of a folder, by name."""
    return [_stack(path.parent) for path in sorted(folder.glob("*/requirements.txt"))]


def _stack(folder: Path) -> Stack:
    requirements, index, platforms = (folder / f"{name}.txt" for name in ("requirements", "index", "platforms"))
    readme, specification = folder / "README.md", folder / "environment.yml"
    return Stack(
        name=folder.name,
        purpose=readme.read_text("utf-8").strip() if readme.is_file() else "",
        requirements=requirements,
        specification=specification,
        index=index.read_text("utf-8").strip() if index.is_file() else "",
        platforms=tuple(platforms.read_text("utf-8").split() if platforms.is_file() else PLATFORMS),
        inputs=digest(requirements),
        locks=tuple(_lock(path) for path in sorted(folder.glob("lock.*.txt"))),
        variables=_variables(specification.read_text("utf-8")) if specification.is_file() else {},
    )


def _variables(specification: str) -> dict[str, str]:
    """Return the environment variables of a conda specification."""
    block = re.search(r"^variables:\n((?:[ \t]+.*\n?)+)", specification, re.MULTILINE)
    return dict(re.findall(r"^\s+(\w+):\s*[\"']?([^\"'#\n]*?)[\"']?\s*$", block[1], re.MULTILINE)) if block else {}


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


def platform_key(platform: str) -> str:
    """Return a platform of the tables, such as `linux_x86_64`, as locks are named; empty where there are none."""
    key = platform.replace("_", "-", 1)
    return key if key in PLATFORMS else ""


def required(stack: Stack, platform: str, python: str = PYTHON) -> list[Requirement]:
    """Return what a stack requires on a platform, markers settled; what is no named requirement is left out.

    Args:
        stack: which one.
        platform: key of `PLATFORMS`.
        python: series of CPython.
    """
    python = python.rstrip("t")
    surroundings = {**MARKERS[platform], "python_version": python, "python_full_version": f"{python}.0", "extra": ""}
    found = []
    for line in lines(stack.requirements):
        try:
            one = Requirement(line)
        except InvalidRequirement:
            continue
        if one.marker is None or one.marker.evaluate(surroundings):
            one.marker = None
            found.append(one)
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
