"""`lspci`: graphics and accelerator devices, their kernel driver and their link; Windows' list of video controllers."""

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
    yield from _amd(found_any, source)
    if not found_any:
        yield from _windows(paste)


COMPUTE_CARD = r"\[(?:AMD/ATI|AMD)\].{0,10}(?:Navi \d\d|Vega (?:10|20)|Arcturus|Aldebaran|Instinct)|Instinct MI\d"
"""Names of pci.ids for AMD's cards, processors with graphics left out. Source: pci.ids; ROCm, 'System requirements'."""


def _amd(devices: list[PciDevice], source: str) -> Iterator[Piece]:
    names = [device.name for device in devices if device.vendor_id == "1002" and re.search(COMPUTE_CARD, device.name)]
    if names:
        yield Piece("accelerators", {"amd_devices": names}, source)


def _windows(paste: Paste) -> Iterator[Piece]:
    """Read Win32_VideoController, which names every card; the list is whole where a prompt or the end follows it."""
    for command in paste.commands:
        asked = command.text.lower()
        # Behind a pipe, something other than a layout may have chosen among the cards.
        if "videocontroller" not in asked or "|" in re.sub(r"\| ?(?:select|ft|fl|format)", "", asked):
            continue
        names = [
            name
            for line in command.output
            if (name := re.sub(r"^(?:Name|Caption|Description)\s*[:=]\s*", "", line.text.strip()))
            and not re.fullmatch(r"-+|(?:Name|Caption|Description)", name)
        ]
        vendors = [next((number for word, number in VENDORS if word in name), "") for name in names]
        if not names or not all(vendors):
            continue
        devices = [
            PciDevice(address=f"controller {place}", vendor_id=vendor, class_code="0300", name=name[:120])
            for place, (name, vendor) in enumerate(zip(names, vendors, strict=True))
        ]
        yield Piece("pci", {"devices": devices, "complete": "10de" not in vendors}, command.source)


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
