"""AMD GPUs and ROCm: products, gfx targets, what the published builds of torch hold, kernel drivers.

Tables: amd_intel_apple (ROCm documentation, pci.ids) and rocm (PyTorch build matrices, AMD's support tables).
"""

from __future__ import annotations

from functools import cache

import msgspec

from envcheck.compat import table
from envcheck.compat.versions import VersionLike, parse, series

PCI_VENDOR = "1002"


class AmdGpu(msgspec.Struct, frozen=True):
    """A product with an AMD GPU."""

    name: str
    architecture: str
    gfx: str
    """LLVM target of its compute units: "gfx1100"."""
    source: list[str]
    memory_gib: int | None = None
    device_ids: list[str] = []
    """PCI device ids, four hexadecimal digits."""


class GfxTarget(msgspec.Struct, frozen=True):
    """A gfx target, and whether any published torch wheel has code for it."""

    gfx: str
    gpus: list[str]
    in_torch_wheels: str
    source: str
    architecture: str | None = None
    amd_support_rocm_6_2: str | None = None
    verified: bool = True
    note: str | None = None


class RocmDriver(msgspec.Struct, frozen=True):
    """A kernel driver and the versions of ROCm's user space that AMD lists for it."""

    driver: str
    driver_kind: str
    user_space: list[str]
    source: str
    note: str | None = None


class RocmRule(msgspec.Struct, frozen=True):
    """A sentence about ROCm, with its source."""

    id: str
    text: str
    source: str
    verified: bool = True


class RocmFrameworks(msgspec.Struct, frozen=True):
    """The framework versions that AMD itself tested with a version of ROCm."""

    rocm: str
    torch: list[str]
    tensorflow: list[str]
    source: str


class VendorRule(msgspec.Struct, frozen=True):
    """What a symptom on an AMD, Intel or Apple machine means."""

    id: str
    when: str
    means: str
    severity: str
    cause: str
    """Slug of the causes vocabulary; empty where none follows."""
    source: list[str]


class _Target(msgspec.Struct, frozen=True):
    rocm: str
    gfx: list[str]


class _RocmTable(msgspec.Struct, frozen=True):
    target: list[_Target]
    device: list[GfxTarget]
    driver: list[RocmDriver]
    framework: list[RocmFrameworks]
    rule: list[RocmRule]


class _GpuTable(msgspec.Struct, frozen=True):
    amd: list[AmdGpu]
    rule: list[VendorRule]


@cache
def _rocm() -> _RocmTable:
    return table.read("rocm", _RocmTable)


@cache
def _gpus() -> _GpuTable:
    return table.read("amd_intel_apple", _GpuTable)


def by_pci_id(device: str | None) -> AmdGpu | None:
    """Return the product with a PCI device id ("744c", "0x744C"), or None where the table does not have it."""
    wanted = (device or "").lower().removeprefix("0x")
    return next((row for row in _gpus().amd if wanted in row.device_ids), None)


def gfx_target(gfx: str | None) -> GfxTarget | None:
    """Return the row of a gfx target ("gfx1100"), or None where the table does not have it."""
    return next((row for row in _rocm().device if row.gfx == gfx), None)


def gfx_of_sysfs(version: int | None) -> str | None:
    """Return the gfx target that a number in the kernel's topology stands for.

    gfx_target_version in /sys/class/kfd/kfd/topology/nodes/N/properties is major, minor and step in decimal, two
    digits each for the last two: 110000 is gfx1100, 110501 gfx1151, 90010 gfx90a. Source: table amd_intel_apple,
    rule amd-target-from-sysfs.

    Returns:
        The target, or None for 0 (a CPU) and None.
    """
    if not version or version < 0:
        return None
    major, minor, step = version // 10000, version // 100 % 100, version % 100
    return f"gfx{major}{minor}{step:x}"


def gfx_in_wheels(rocm: VersionLike | None) -> list[str] | None:
    """Return the gfx targets in torch's wheels for a version of ROCm, or None where no row has that version."""
    wanted = parse(rocm)
    if wanted is None:
        return None
    for row in _rocm().target:
        for part in row.rocm.split(", "):
            first, _, last = part.partition(" to ")
            low, high = parse(first), parse(last or first)
            if low is not None and high is not None and low <= wanted <= high:
                return row.gfx
    return None


def frameworks_tested(rocm: VersionLike | None) -> RocmFrameworks | None:
    """Return what AMD tested with a version of ROCm, or None where no row has its series alone."""
    wanted = series(rocm)
    return next((row for row in _rocm().framework if row.rocm.removesuffix(".x") in {str(rocm), wanted}), None)


def drivers() -> list[RocmDriver]:
    """Return the kernel drivers and the user space that AMD lists for each."""
    return _rocm().driver


def rules() -> list[RocmRule]:
    """Return the sentences about ROCm that no column holds."""
    return _rocm().rule


def vendor_rules() -> list[VendorRule]:
    """Return what symptoms on AMD, Intel and Apple machines mean."""
    return _gpus().rule
