"""The machine that a framework is to run on, as far as it decides which builds fit."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Literal, TypeAlias, get_args

import msgspec

from envcheck.compat.versions import parse

Platform: TypeAlias = Literal["linux_x86_64", "linux_aarch64", "windows_x86_64", "macos_arm64", "macos_x86_64"]
"""A platform for which wheels are published, as the tables call it."""

PLATFORMS: tuple[Platform, ...] = get_args(Platform)

Accelerator: TypeAlias = Literal["cpu", "cuda", "rocm", "mps"]

Capability: TypeAlias = "str | tuple[int, int]"
"""A CUDA compute capability: "8.6", (8, 6), "sm_86" and "86" are the same one."""

_SYSTEMS = {
    "linux": "linux",
    "wsl": "linux",
    "windows": "windows",
    "win32": "windows",
    "cygwin": "windows",
    "macos": "macos",
    "darwin": "macos",
}
_MACHINES = {"x86_64": "x86_64", "amd64": "x86_64", "x64": "x86_64", "aarch64": "aarch64", "arm64": "aarch64"}
_PLATFORMS: dict[tuple[str, str], Platform] = {
    ("linux", "x86_64"): "linux_x86_64",
    ("linux", "aarch64"): "linux_aarch64",
    ("windows", "x86_64"): "windows_x86_64",
    ("macos", "aarch64"): "macos_arm64",
    ("macos", "x86_64"): "macos_x86_64",
}


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a machine. A field that is None (or empty) is unknown and is not judged.

    system and machine take what platform.system() or sys.platform, and platform.machine() return, in any case;
    "WSL" is Linux with the driver numbers of Windows.
    """

    system: str = "linux"
    machine: str = "x86_64"
    python: str | None = None
    """CPython version: "3.12" or "3.12.4"; "3.13t" is the free-threaded build."""
    libc: Literal["glibc", "musl"] | None = None
    """C library of a Linux machine; None where glibc below says it, or nobody knows."""
    glibc: str | None = None
    """Version of glibc, Linux only: "2.31"."""
    macos: str | None = None
    """Version of macOS: "14.5"."""
    driver: str | None = None
    """Version of the NVIDIA driver: "570.124.06"."""
    compute_capabilities: tuple[str, ...] = ()
    """Compute capability of every visible NVIDIA GPU: ("8.6", "12.0"). A build must run on all of them."""
    gfx: tuple[str, ...] = ()
    """gfx target of every visible AMD GPU: ("gfx1100",)."""
    accelerator: Accelerator | None = None
    """The accelerator that the build must be for; None accepts any."""


@lru_cache(maxsize=64)
def platform_of(system: str, machine: str) -> Platform | None:
    """Return the tables' name of a platform, or None where no wheels are published for it (32-bit, ppc64le, BSD)."""
    system_name = _SYSTEMS.get(system.lower())
    machine_name = _MACHINES.get(machine.lower())
    if system_name is None or machine_name is None:
        return None
    return _PLATFORMS.get((system_name, machine_name))


def driver_system(system: str) -> Literal["linux", "windows"] | None:
    """Return which numbering a machine's NVIDIA driver follows: WSL runs on the driver of Windows."""
    match system.lower():
        case "linux":
            return "linux"
        case "wsl" | "windows" | "win32" | "cygwin":
            return "windows"
        case _:
            return None


@lru_cache(maxsize=1024)
def capability(value: Capability | None) -> tuple[int, int] | None:
    """Return a compute capability as (major, minor), so that (10, 0) > (9, 0); None where the text is none.

    The last digit of the undotted form is the minor number: "sm_120" and "120" are (12, 0).
    """
    if value is None or isinstance(value, tuple):
        return value
    match = re.fullmatch(r"(?:sm_|compute_)?(\d{1,3}?)(?:\.)?(\d)[af]?", value.strip())
    return (int(match[1]), int(match[2])) if match else None


def capability_text(value: tuple[int, int]) -> str:
    """Return a compute capability as people write it: "12.0"."""
    return f"{value[0]}.{value[1]}"


@lru_cache(maxsize=64)
def python_series(python: str | None) -> str | None:
    """Return the "3.12" or "3.13t" that wheels are published for, or None where the text names no Python version."""
    if python is None:
        return None
    text = python.strip()
    version = parse(text.rstrip("t"))
    if version is None:
        return None
    return f"{version.major}.{version.minor}" + ("t" if text.endswith("t") else "")
