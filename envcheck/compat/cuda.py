"""CUDA: which driver runs which toolkit's programs, which card runs which code.

Tables: cuda_driver (NVIDIA CUDA Toolkit release notes, tables 2 and 3) and compute_capability (NVIDIA's matrix of
toolkits, drivers and architectures; PyTorch's DEVICE_REQUIREMENT for what code runs where).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache, lru_cache
from typing import Literal

import msgspec
from packaging.version import Version

from envcheck.compat import table
from envcheck.compat.target import Capability, capability, driver_system
from envcheck.compat.versions import VersionLike, parse, series

JETSON_LIKE_OTHERS = frozenset({(7, 2), (8, 7)})
JETSON_LIKE_OTHERS_SINCE = Version("13.2")
"""From this CUDA on Xavier and Orin run the code of their major capability. Source: table compute_capability, 8.7."""


class Toolkit(msgspec.Struct, frozen=True):
    """One release of the CUDA toolkit and the driver that came with it."""

    toolkit: str
    """Series: "12.8"."""
    release: str
    """Full version: "12.8.1"."""
    source: str
    driver_linux: str | None = None
    """The driver named for this toolkit on Linux x86_64; None where it was not published or not found."""
    driver_windows: str | None = None
    verified: bool = True
    note: str | None = None


class MinorVersionCompatibility(msgspec.Struct, frozen=True):
    """The least driver for programs of a whole major version, if they hold machine code for the card."""

    cuda_major: int
    source: str
    minimum_driver_linux: str | None = None
    minimum_driver_windows: str | None = None
    note: str | None = None


class ForwardCompatibility(msgspec.Struct, frozen=True):
    """The package that lets an older kernel module run a newer CUDA, and where that is allowed."""

    package: str
    """Name of the system package: "cuda-compat-12-8"."""
    system: str
    gpus: str
    """On which GPUs NVIDIA supports it."""
    text: str
    source: str


class ComputeCapability(msgspec.Struct, frozen=True):
    """One compute capability: its architecture, and the toolkits and drivers that know it."""

    compute_capability: str
    code: str
    """Name of its machine code: "sm_86"."""
    architecture: str
    first_toolkit: str
    gpus: list[str]
    """Examples, not a full list."""
    source: str
    last_toolkit: str | None = None
    """Last toolkit that compiles for it; None = the newest listed still does."""
    first_driver_branch: int | None = None
    """Branch of the driver that came with first_toolkit; the card itself may need a later one."""
    last_driver_branch: int | None = None
    """Last driver branch that drives it; None = the newest listed does, or the board's own system brings the driver."""
    kernel_module: str | None = None
    verified: bool = True
    note: str | None = None


class _ForwardRow(msgspec.Struct, frozen=True):
    platform: str
    package: str
    first_cuda: str
    gpus: str
    text: str
    source: str


class _Printed(msgspec.Struct, frozen=True):
    branch: int
    cuda: str


class _DriverTable(msgspec.Struct, frozen=True):
    toolkit: list[Toolkit]
    minor_version_compatibility: list[MinorVersionCompatibility]
    forward_compatibility: list[_ForwardRow]
    printed: list[_Printed]


class _DeviceRequirement(msgspec.Struct, frozen=True):
    code: int
    devices: str
    except_code: list[int]


class _CapabilityTable(msgspec.Struct, frozen=True):
    capability: list[ComputeCapability]
    device_requirement: list[_DeviceRequirement]


@cache
def _drivers() -> _DriverTable:
    return table.read("cuda_driver", _DriverTable)


@cache
def _capabilities() -> _CapabilityTable:
    return table.read("compute_capability", _CapabilityTable)


def toolkits() -> list[Toolkit]:
    """Return every toolkit release of the table, newest first."""
    return sorted(_drivers().toolkit, key=lambda row: Version(row.release), reverse=True)


def toolkit(cuda: VersionLike | None) -> Toolkit | None:
    """Return the row of a toolkit: of that very release, else of the first release of its series."""
    version = parse(cuda)
    if version is None:
        return None
    rows = [row for row in reversed(toolkits()) if row.toolkit == series(version)]
    return next((row for row in rows if Version(row.release) == version), rows[0] if rows else None)


@lru_cache(maxsize=1024)
def toolkit_driver(cuda: VersionLike | None, system: str = "linux") -> Version | None:
    """Return the driver that was released with a toolkit: what all features and PTX of that toolkit need.

    Args:
        cuda: a series ("12.8": its first release) or a release ("12.8.1").
        system: "linux", "windows" or "wsl".

    Returns:
        The driver version, or None where the table has none.
    """
    row = toolkit(cuda)
    if row is None:
        return None
    return parse(row.driver_linux if driver_system(system) == "linux" else _windows(system, row.driver_windows))


def _windows(system: str, value: str | None) -> str | None:
    return value if driver_system(system) == "windows" else None


@lru_cache(maxsize=1024)
def minimum_driver(cuda: VersionLike | None, system: str = "linux") -> Version | None:
    """Return the least driver on which a program built with a CUDA version runs.

    From CUDA 11 on that is the least driver of the major version (minor version compatibility), provided that the
    program holds machine code for the card: PTX needs toolkit_driver. Before CUDA 11 it is the toolkit's own driver.
    Source: NVIDIA CUDA Toolkit release notes, tables 2 and 3.

    Args:
        cuda: the CUDA version of the build, such as torch.version.cuda ("12.8").
        system: "linux", "windows" or "wsl" (WSL runs on the driver of Windows).

    Returns:
        The driver version, or None where the table does not say.
    """
    version = parse(cuda)
    if version is None:
        return None
    for row in _drivers().minor_version_compatibility:
        if row.cuda_major == version.major:
            if driver_system(system) == "linux":
                minimum = row.minimum_driver_linux
            else:
                minimum = _windows(system, row.minimum_driver_windows)
            if minimum is not None:
                return parse(minimum)
    return toolkit_driver(version, system)


def driver_text(driver: VersionLike | None) -> str | None:
    """Return a driver's version as NVIDIA writes it: "570.124.06", where str(Version) gives 570.124.6."""
    version = parse(driver)
    if version is None:
        return None
    first, *others = version.release
    return ".".join([str(first), *(f"{part:02}" for part in others)])


def driver_runs(cuda: VersionLike | None, driver: VersionLike | None, system: str = "linux") -> bool | None:
    """Say whether a driver runs programs built with a CUDA version; None where either is unknown."""
    needed, present = minimum_driver(cuda, system), parse(driver)
    return None if needed is None or present is None else present >= needed


@lru_cache(maxsize=1024)
def newest_cuda(driver: VersionLike | None, system: str = "linux") -> str | None:
    """Return the newest CUDA that a driver fully serves, as a series: what nvidia-smi prints as "CUDA Version".

    On Linux all drivers of a branch bring the same CUDA. A driver newer than all that are listed has the answer of
    the newest one: at least that. Source: table cuda_driver, parts toolkit and printed.

    Args:
        driver: the driver's version, on Linux its branch ("570") is enough.
        system: "linux", "windows" or "wsl".

    Returns:
        The series, or None where the driver is older than all that are listed, or unknown.
    """
    present = parse(driver)
    kind = driver_system(system)
    if present is None or kind is None:
        return None
    served = [Version(row.cuda) for row in _drivers().printed if row.branch <= present.major]
    for row in _drivers().toolkit:
        needed = parse(row.driver_linux if kind == "linux" else row.driver_windows)
        if needed is not None and (needed.major <= present.major if kind == "linux" else needed <= present):
            served.append(Version(row.toolkit))
    return str(max(served)) if served else None


def forward_compatibility(cuda: VersionLike | None, system: str = "linux") -> ForwardCompatibility | None:
    """Return the package with which an older driver runs a newer CUDA, or None where NVIDIA offers none.

    Whether it may be used depends on the GPU (field gpus) and on the driver's branch, which no row holds.
    """
    version = parse(cuda)
    if version is None or system.lower() != "linux":
        return None
    for row in _drivers().forward_compatibility:
        if version >= Version(row.first_cuda):
            name = row.package.format(major=version.major, minor=version.minor)
            return ForwardCompatibility(name, row.platform, row.gpus, row.text, row.source)
    return None


def compute_capabilities() -> list[ComputeCapability]:
    """Return every row of the capability table, lowest first."""
    return _capabilities().capability


def compute_capability(value: Capability | None) -> ComputeCapability | None:
    """Return the row of a compute capability, or None where the table has none."""
    wanted = capability(value)
    return next((row for row in compute_capabilities() if capability(row.compute_capability) == wanted), None)


def last_driver_branch(value: Capability | None) -> int | None:
    """Return the last driver branch that drives cards of a capability; None = still driven, or unknown."""
    row = compute_capability(value)
    return None if row is None else row.last_driver_branch


@lru_cache(maxsize=1024)
def driver_supports(driver: VersionLike | None, card: Capability | None, system: str = "linux") -> bool | None:
    """Say whether a driver's branch drives cards of a capability.

    False where the branch came after the last one for the card, or before the one that came with the first toolkit
    for the card. None where driver or card is unknown, and for Jetson parts, which bring their own driver.
    On Windows one branch has several leading numbers (580.88 to 582.x are of branch 580), so there a driver counts
    as too new from the number of the next branch on.
    """
    present, row = parse(driver), compute_capability(card)
    if present is None or row is None or (row.first_driver_branch is None and row.last_driver_branch is None):
        return None
    if row.last_driver_branch is not None:
        too_new = row.last_driver_branch + 1
        if driver_system(system) == "windows":
            too_new = min((branch for branch in _branches() if branch >= too_new), default=too_new)
        if present.major >= too_new:
            return False
    return row.first_driver_branch is None or present.major >= row.first_driver_branch


@cache
def _branches() -> frozenset[int]:
    """Return the driver branches that came with a toolkit, by their number on Linux."""
    drivers = (parse(row.driver_linux) for row in _drivers().toolkit)
    return frozenset(driver.major for driver in drivers if driver is not None)


@lru_cache(maxsize=1024)
def _code(name: str) -> tuple[str, tuple[int, int], str] | None:
    """Take "sm_90a" apart into kind, capability and suffix; None for text that is no architecture."""
    match = re.fullmatch(r"(sm|compute)_(\d+)(\d)([af]?)", name.strip())
    return (match[1], (int(match[2]), int(match[3])), match[4]) if match else None


@cache
def _exact() -> dict[tuple[int, int], frozenset[tuple[int, int]]]:
    """Return, for devices on which only certain machine code runs, which code that is (Jetson parts, Thor)."""
    runs: dict[tuple[int, int], set[tuple[int, int]]] = {}
    for row in _capabilities().device_requirement:
        code = capability(str(row.code))
        if code is None:
            continue
        for device in re.findall(r"(?<![=<>.\d])\d+\.\d", row.devices):
            runs.setdefault((int(device.split(".")[0]), int(device.split(".")[1])), set()).add(code)
    return {device: frozenset(codes) for device, codes in runs.items()}


def how_it_runs(
    architectures: Iterable[str], card: Capability | None, cuda: VersionLike | None = None
) -> Literal["machine code", "PTX", "not at all"] | None:
    """Say how a build with code for some architectures runs on a card.

    Machine code "sm_XY" runs on cards of the same major capability at or above the minor one; "sm_XYa" on exactly
    that capability; "sm_XYf" on its family (same major, at or above); Jetson parts need their own code, but from
    CUDA 13.2 on 7.2 and 8.7 run that of their major capability too. PTX "compute_XY" is translated for any card at
    or above X.Y, by a driver at least as new as the toolkit that made it. Source: NVIDIA CUDA C++ Programming Guide;
    torch/cuda/__init__.py of torch 2.15, DEVICE_REQUIREMENT.

    Args:
        architectures: what torch.cuda.get_arch_list() or TensorFlow's build info says: ["sm_80", "compute_90"].
        card: the card's compute capability.
        cuda: the CUDA version of the build, which matters for Jetson parts alone.

    Returns:
        The best way, or None where the card is unknown or no entry names an architecture.
    """
    device = capability(card)
    codes = [code for code in map(_code, architectures) if code is not None]
    if device is None or not codes:
        return None
    version = parse(cuda)
    like_others = device in JETSON_LIKE_OTHERS and version is not None and version >= JETSON_LIKE_OTHERS_SINCE
    for kind, code, suffix in codes:
        if kind == "sm" and _machine_code_runs(code, suffix, device, like_others=like_others):
            return "machine code"
    if any(code <= device for kind, code, suffix in codes if kind == "compute" and not suffix):
        return "PTX"
    return "not at all"


def _machine_code_runs(code: tuple[int, int], suffix: str, device: tuple[int, int], *, like_others: bool) -> bool:
    if suffix == "a":
        return code == device
    if device in _exact() and not like_others:
        return code in _exact()[device]
    if code in _exact():
        return code == device
    return code[0] == device[0] and code[1] <= device[1]


def runs_on(architectures: Iterable[str], card: Capability | None, cuda: VersionLike | None = None) -> bool | None:
    """Say whether a build has code for a card, as machine code or as PTX; None as for how_it_runs."""
    way = how_it_runs(architectures, card, cuda)
    return None if way is None else way != "not at all"
