"""`lspci`: graphics and accelerator devices, their kernel driver and their link."""

from __future__ import annotations

import re
from collections.abc import Iterator

import msgspec

from envcheck.facts import PciDevice
from envcheck.triage.paste import Paste
from envcheck.triage.pieces import Piece

DEVICE = (
    r"^(?:(?P<domain>[0-9a-f]{4}):)?(?P<place>[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]) "
    r"\"?(?P<kind>VGA compatible controller|3D controller|Display controller|Processing accelerators|Bridge)"
    r"(?: \[(?P<class>[0-9a-f]{4})\])?\"?:? (?P<name>.{3,200})$"
)
IDENTITY = r"\[(?P<vendor>[0-9a-f]{4}):(?P<device>[0-9a-f]{4})\]"
CLASSES = {
    "VGA compatible controller": "0300",
    "3D controller": "0302",
    "Display controller": "0380",
    "Processing accelerators": "1200",
}
VENDORS = (
    ("NVIDIA", "10de"),
    ("nVidia", "10de"),
    ("Advanced Micro Devices", "1002"),
    ("AMD", "1002"),
    ("Intel", "8086"),
)
DRIVER = r"^\s+Kernel driver in use: (?P<name>[\w-]{2,30})"
CAPABLE = r"^\s+LnkCap:.{0,80}Speed (?P<speed>\d{1,3}(?:\.\d)? ?GT/s).{0,40}Width x(?P<width>\d{1,2})"
STATUS = r"^\s+LnkSta:\s+Speed (?P<speed>\d{1,3}(?:\.\d)? ?GT/s).{0,40}Width x(?P<width>\d{1,2})"


def recognise(paste: Paste) -> Iterator[Piece]:
    """Yield devices; `complete` stays open, for a grep may have chosen them."""
    device: PciDevice | None = None
    source = ""
    found_any: list[PciDevice] = []
    switches: list[str] = []
    for line in paste.lines:
        text = line.text
        if found := re.match(DEVICE, text):
            if "NVSwitch" in text:
                switches.append(f"{found['domain'] or '0000'}:{found['place']}")
            device = _device(found) if found["kind"] in CLASSES else None
            source = source or line.source
            if device is not None:
                found_any.append(device)
        elif device is not None and text[:1].isspace():
            device = found_any[-1] = _detailed(device, text)
        elif text.strip():
            device = None
    if found_any or switches:
        values = {"devices": found_any, "complete": False, "nvswitches": switches or None}
        yield Piece("pci", values, source)


def _device(found: re.Match[str]) -> PciDevice:
    identity = re.search(IDENTITY, found["name"])
    vendor = next((number for name, number in VENDORS if name in found["name"]), "")
    return PciDevice(
        address=f"{found['domain'] or '0000'}:{found['place']}",
        vendor_id=identity["vendor"] if identity else vendor,
        device_id=identity["device"] if identity else "",
        class_code=found["class"] or CLASSES[found["kind"]],
        name=re.sub(r" \(rev \w+\)$| \[[0-9a-f]{4}:[0-9a-f]{4}\]", "", found["name"]).strip(),
    )


def _detailed(device: PciDevice, text: str) -> PciDevice:
    if found := re.match(DRIVER, text):
        return msgspec.structs.replace(device, driver=found["name"])
    if found := re.match(CAPABLE, text):
        return msgspec.structs.replace(device, link_speed_max=_speed(found), link_width_max=int(found["width"]))
    if found := re.match(STATUS, text):
        return msgspec.structs.replace(device, link_speed=_speed(found), link_width=int(found["width"]))
    return device


def _speed(found: re.Match[str]) -> str:
    """Return a speed as sysfs writes it: `16.0 GT/s PCIe`."""
    return f"{float(re.sub('[^0-9.]', '', found['speed'])):.1f} GT/s PCIe"
