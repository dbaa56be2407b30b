"""NVIDIA GPUs: the row of a model by PCI id or by the name that NVML prints.

Table: gpus (NVIDIA's name tables in three driver versions, NVIDIA's page of compute capabilities, datasheets).
"""

from __future__ import annotations

import re
from functools import cache
from typing import Literal

import msgspec

from envcheck.compat import cuda, table
from envcheck.compat.target import Capability, capability, capability_text

PCI_VENDOR = "10de"


class Gpu(msgspec.Struct, frozen=True):
    """A model. Figures are nominal, of the desktop or reference card; None = not known."""

    name: str
    """As NVML and nvidia-smi print it from driver 470 on."""
    architecture: str
    source: list[str]
    chip: str | None = None
    compute_capability: str | None = None
    device_ids: list[str] = []
    """PCI device ids, four hexadecimal digits."""
    subsystems: list[str] = []
    """ "device:subvendor:subdevice" where a device id is shared by several models."""
    memory_gb: int | None = None
    """Nominal. What NVML reports, in GiB, is 90 to 102 % of this number."""
    memory_type: str | None = None
    memory_bandwidth_gbs: float | None = None
    """Gigabytes a second."""
    fp32_tflops: float | None = None
    tensor_fp16_tflops: float | None = None
    """Dense, FP16 or BF16 with FP32 accumulation."""
    tdp_w: int | None = None
    pcie_generation: int | None = None
    pcie_width: int | None = None
    nvlinks: int | None = None
    ecc: bool | None = None
    mig_instances: int | None = None
    """Greatest number of MIG instances; None = MIG is not listed for the model."""
    integrated: bool = False
    module: bool = False
    known_to: list[str] = []
    last_branch: int | None = None
    """Last driver branch that drives it; None = the newest does."""
    open_module: Literal["unsupported", "optional", "required"] | None = None
    """Whether the open kernel module can, or must, be used."""


class _Generation(msgspec.Struct, frozen=True):
    architecture: str
    compute_capabilities: list[str]
    open_module: Literal["unsupported", "optional", "required"]
    source: list[str]


class _Table(msgspec.Struct, frozen=True):
    gpu: list[Gpu]
    generation: list[_Generation]


@cache
def _table() -> _Table:
    return table.read("gpus", _Table)


def gpus() -> list[Gpu]:
    """Return every model of the table."""
    return _table().gpu


def _plain(name: str) -> str:
    """Return a name without what differs between drivers: the leading NVIDIA, a MIG profile, blanks, case."""
    text = re.sub(r"\s+MIG\s+\d.*$", "", name.strip(), flags=re.IGNORECASE)
    text = re.sub(r"^NVIDIA\s+", "", text, flags=re.IGNORECASE)
    return re.sub(r"\s+", " ", text).casefold()


@cache
def _by_name() -> dict[str, Gpu]:
    return {_plain(row.name): row for row in _table().gpu}


@cache
def _by_device() -> dict[str, list[Gpu]]:
    rows: dict[str, list[Gpu]] = {}
    for row in _table().gpu:
        for device in row.device_ids:
            rows.setdefault(device, []).append(row)
    return rows


def by_name(name: str | None) -> Gpu | None:
    """Return the model by the name that NVML or nvidia-smi prints, of any driver version; None where unknown."""
    return _by_name().get(_plain(name)) if name else None


def by_pci_id(device: str | None, subsystem: str | None = None) -> Gpu | None:
    """Return the model by PCI ids.

    Args:
        device: the device id of vendor 10de: "2684", "0x2684".
        subsystem: "subvendor:subdevice" in hexadecimal, which tells models with one device id apart.

    Returns:
        The model, or None where the table does not have the id, or several share it and the subsystem decides
        nothing.
    """
    wanted = (device or "").lower().removeprefix("0x")
    rows = _by_device().get(wanted, [])
    exact = [row for row in rows if subsystem and f"{wanted}:{subsystem.lower()}" in row.subsystems]
    if len(exact) == 1:
        return exact[0]
    general = [row for row in rows if not any(entry.startswith(f"{wanted}:") for entry in row.subsystems)]
    if len(general) == 1 and (subsystem or len(rows) == 1):
        return general[0]
    return rows[0] if len(rows) == 1 else None


def compute_capability_of_name(name: str | None) -> str | None:
    """Return the compute capability of a card by its name: "8.6" for "NVIDIA GeForce RTX 3080 Laptop GPU".

    Asked are the models, then the examples of the capability table; both without " Laptop GPU" and Max-Q too, whose
    figures differ from the desktop card's but whose generation NVIDIA lists under the same name and capability.

    Returns:
        The capability, or None where the name is not known.
    """
    if not name:
        return None
    names = [_plain(name), re.sub(r" (?:laptop gpu|with max-q design)$", "", _plain(name))]
    for wanted in names:
        row = _by_name().get(wanted)
        if row is not None and row.compute_capability is not None:
            return row.compute_capability
        for known in cuda.compute_capabilities():
            if any(_plain(example) == wanted for example in known.gpus):
                return known.compute_capability
    return None


def open_module(card: Capability | None) -> Literal["unsupported", "optional", "required"] | None:
    """Return whether cards of a capability can, or must, use NVIDIA's open kernel module; None where unknown.

    Source: NVIDIA driver README, Open Linux Kernel Modules; kernel messages of drivers 535, 580 and 595.
    """
    wanted = capability(card)
    text = None if wanted is None else capability_text(wanted)
    return next((row.open_module for row in _table().generation if text in row.compute_capabilities), None)
