"""Intel GPUs: the discrete ones by PCI id. Table: amd_intel_apple (pci.ids)."""

from __future__ import annotations

from functools import cache

import msgspec

from envcheck.compat import table

PCI_VENDOR = "8086"


class IntelGpu(msgspec.Struct, frozen=True):
    """A discrete Intel GPU."""

    name: str
    chip: str
    device_ids: list[str]
    """PCI device ids, four hexadecimal digits."""
    source: list[str]


class _Table(msgspec.Struct, frozen=True):
    intel: list[IntelGpu]


@cache
def intel_gpus() -> list[IntelGpu]:
    """Return every discrete Intel GPU of the table."""
    return table.read("amd_intel_apple", _Table).intel


def by_pci_id(device: str | None) -> IntelGpu | None:
    """Return the GPU with a PCI device id ("56a0", "0x56A0"), or None where the table does not have it."""
    wanted = (device or "").lower().removeprefix("0x")
    return next((row for row in intel_gpus() if wanted in row.device_ids), None)
