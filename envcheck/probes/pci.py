"""Graphics and accelerator devices on the PCI bus, from sysfs."""

from __future__ import annotations

import re

from envcheck.facts import Pci, PciDevice
from envcheck.probe import Ended, probe
from envcheck.report import Outcome
from envcheck.system import System

DEVICES = "/sys/bus/pci/devices"

NVIDIA, AMD, INTEL = "10de", "1002", "8086"

ACCELERATOR_CLASSES = ("03", "12")
"""PCI base classes: display controller, processing accelerator (PCI Code and ID Assignment Specification)."""

NVSWITCH_CLASS = "0680"
"""An NVSwitch presents itself as a bridge of the kind "other" (NVIDIA Fabric Manager User Guide)."""


@probe(fills=["pci"], deadline=3)
def pci(system: System) -> Pci:
    """List display controllers, accelerators and NVSwitches."""
    if (system.ask("uname") or {}).get("system") != "Linux":
        raise Ended(Outcome.SKIPPED, "only Linux shows the PCI bus in files")
    addresses = system.entries(DEVICES)
    if addresses is None:
        if system.status(DEVICES).outcome == "absent" and system.entries("/sys") is not None:
            raise Ended(Outcome.ABSENT, "this machine has no PCI bus, or it is hidden here")
        raise Ended(Outcome.DENIED, f"{DEVICES} may not be read")
    devices, nvswitches = [], []
    for address in addresses:
        identity = _identity(system, address)
        code = identity.get("PCI_CLASS", "").zfill(6)
        vendor = identity.get("PCI_ID", "").partition(":")[0].lower()
        if code.startswith(ACCELERATOR_CLASSES):
            devices.append(_device(system, address, identity, code[:4]))
        elif vendor == NVIDIA and code.startswith(NVSWITCH_CLASS):
            nvswitches.append(address)
    return Pci(devices=devices, nvswitches=nvswitches, sources={"devices": DEVICES, "nvswitches": DEVICES})


def nvidia_on_bus(system: System) -> bool:
    """Tell whether an NVIDIA device is on the PCI bus; False where the bus cannot be read."""
    return any(
        _identity(system, address).get("PCI_ID", "").lower().startswith(f"{NVIDIA}:")
        for address in system.entries(DEVICES) or []
    )


def _identity(system: System, address: str) -> dict[str, str]:
    """Return what the kernel says of a device in one file: class, ids, driver."""
    lines = system.read(f"{DEVICES}/{address}/uevent").text.splitlines()
    return {name: value for name, _, value in (line.partition("=") for line in lines)}


def _device(system: System, address: str, identity: dict[str, str], code: str) -> PciDevice:
    vendor, _, device = identity.get("PCI_ID", "").lower().partition(":")
    # Without a driver the kernel leaves the line out.
    return PciDevice(
        address=address,
        vendor_id=vendor,
        device_id=device,
        class_code=code.lower(),
        driver=identity.get("DRIVER", ""),
        name=_name(vendor, device, identity.get("PCI_SUBSYS_ID", "").lower()),
        link_speed=_text(system, address, "current_link_speed"),
        link_width=_number(system, address, "current_link_width"),
        link_speed_max=_text(system, address, "max_link_speed"),
        link_width_max=_number(system, address, "max_link_width"),
    )


def _name(vendor: str, device: str, subsystem: str) -> str:
    """Return the model as the tables name it; empty where they do not know it."""
    if vendor == NVIDIA:
        from envcheck.compat import gpus  # noqa: PLC0415 - only where such a card is there

        card = gpus.by_pci_id(device, subsystem)
        return card.name if card else ""
    if vendor == AMD:
        from envcheck.compat import amd  # noqa: PLC0415

        product = amd.by_pci_id(device)
        return product.name if product else ""
    if vendor == INTEL:
        from envcheck.compat import intel  # noqa: PLC0415

        chip = intel.by_pci_id(device)
        return chip.name if chip else ""
    return ""


def _text(system: System, address: str, file: str) -> str | None:
    text = system.read(f"{DEVICES}/{address}/{file}").text.strip()
    return None if not text or text.startswith("Unknown") else text


def _number(system: System, address: str, file: str) -> int | None:
    found = re.fullmatch(r"\d{1,3}", system.read(f"{DEVICES}/{address}/{file}").text.strip())
    # sysfs prints 255 or 0 lanes where the device has no PCI Express link.
    return int(found[0]) if found and int(found[0]) not in {0, 255} else None
