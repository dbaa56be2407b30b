"""What of a machine decides a plan: drawn from facts, from the Pythons that are there and from wheels that are kept."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import msgspec
from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename

from envcheck.compat import gpus
from envcheck.compat.target import Platform as WheelPlatform
from envcheck.compat.target import Target, capability, platform_of
from envcheck.facts import Facts, Gpu, need

NVIDIA = "10de"
DISPLAY_CLASSES = ("03", "12")
"""PCI classes of graphics and accelerator devices: display controllers and processing accelerators (PCI SIG)."""


class Card(msgspec.Struct, frozen=True):
    """An NVIDIA GPU that a program may see.

    Attributes:
        name: model, such as `GTX 1080`.
        compute_capability: such as `6.1`; None where it is not known.
    """

    name: str
    compute_capability: str | None

    @property
    def label(self) -> str:
        """The card as sentences name it: `GTX 1080 (sm_61)`."""
        found = capability(self.compute_capability)
        return self.name if found is None else f"{self.name} (sm_{found[0]}{found[1]})"


class InstalledPython(msgspec.Struct, frozen=True):
    """A CPython that is installed.

    Attributes:
        version: such as `3.11.7`; `3.14.0t` is free-threaded.
        path: its program.
        preferred: whether it is the interpreter under test, or the one that it was made from.
    """

    version: str
    path: str
    preferred: bool = False


class HeldWheel(msgspec.Struct, frozen=True):
    """A wheel that lies in a folder of the user's.

    Attributes:
        name: normalised name of the distribution.
        version: with its local part, such as `2.13.0+cpu`.
        pythons: CPython series that it is for; empty = any.
        platforms: platforms as the tables name them that it is for; empty = any.
        folder: where it lies.
    """

    name: str
    version: str
    pythons: tuple[str, ...]
    platforms: tuple[WheelPlatform, ...]
    folder: str


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """All that the planner knows of a machine; it judges nothing that is unknown.

    Attributes:
        target: platform, C library, driver, cards and gfx targets as the tables want them.
        cards: NVIDIA GPUs that a program may see.
        gpu_problem: why the GPUs that are there cannot be used now, one clause; empty where they can, or none is there.
        amd_cards: names of the AMD GPUs.
        pythons: interpreters that are installed.
        downloads_python: whether the installer may fetch an interpreter.
        held: wheels in the folders that the user's pip is configured with, or in the wheelhouse.
        held_only: nothing else can be had (`--offline`).
    """

    target: Target
    cards: tuple[Card, ...] = ()
    gpu_problem: str = ""
    amd_cards: tuple[str, ...] = ()
    pythons: tuple[InstalledPython, ...] = ()
    downloads_python: bool = True
    held: tuple[HeldWheel, ...] = ()
    held_only: bool = False

    @property
    def platform(self) -> WheelPlatform | None:
        """The platform as the tables name it; None where no wheels are published for it."""
        return platform_of(self.target.system, self.target.machine)


def machine_of(facts: Facts) -> Machine:
    """Return what the facts say; without facts about the platform nothing can be planned.

    Raises:
        UnknownFactError: system or architecture is not known.
    """
    platform = need(facts.platform, "platform")
    system, architecture = need(platform.system, "platform.system"), need(platform.machine, "platform.machine")
    cards, problem = _cards(facts)
    others = facts.accelerators
    libc: Literal["glibc", "musl"] | None = None
    if platform.libc in {"glibc", "musl"}:
        libc = "glibc" if platform.libc == "glibc" else "musl"
    target = Target(
        system="wsl" if platform.wsl else system.lower(),
        machine=architecture,
        libc=libc,
        glibc=platform.libc_version if libc == "glibc" else None,
        macos=platform.distribution_version if system == "Darwin" else None,
        driver=_driver(facts),
        compute_capabilities=tuple(card.compute_capability for card in cards if card.compute_capability),
        gfx=tuple(others.amd_targets or []) if others else (),
    )
    return Machine(
        target=target,
        cards=cards,
        gpu_problem=problem,
        amd_cards=tuple(others.amd_devices or []) if others else (),
    )


def _driver(facts: Facts) -> str | None:
    seen = [
        facts.nvml.driver_version if facts.nvml else None,
        facts.driver.smi_driver_version if facts.driver else None,
        facts.driver.module_version if facts.driver else None,
    ]
    return next((version for version in seen if version), None)


def _cards(facts: Facts) -> tuple[tuple[Card, ...], str]:
    """Return the NVIDIA GPUs that programs may see, and why they cannot be used where that is so."""
    nvml = facts.nvml
    if nvml is not None and nvml.state == "ok":
        visible = _visible(nvml.gpus or [], facts)
        lost = [gpu for gpu in visible if gpu.state not in {"ok", None}]
        problem = f"a GPU does not answer ({lost[0].state})" if lost else ""
        return tuple(Card(_short(gpu.name), gpu.compute_capability) for gpu in visible), problem
    on_the_bus = [
        device
        for device in (facts.pci.devices or [] if facts.pci else [])
        if device.vendor_id == NVIDIA and device.class_code.startswith(DISPLAY_CLASSES)
    ]
    cards = []
    for device in on_the_bus:
        model = gpus.by_pci_id(device.device_id)
        cards.append(Card(_short(model.name if model else device.name), model.compute_capability if model else None))
    if not cards:
        return (), ""
    return tuple(cards), f"NVIDIA's driver does not answer ({_why_silent(facts)})"


def _why_silent(facts: Facts) -> str:
    if facts.nvml is not None:
        return facts.nvml.message or facts.nvml.state or "unknown reason"
    if facts.driver is not None and facts.driver.module_loaded is False:
        return "its kernel module is not loaded"
    return "it could not be asked"


def _visible(found: list[Gpu], facts: Facts) -> list[Gpu]:
    """Return the GPUs that CUDA_VISIBLE_DEVICES leaves.

    Numbers in it follow the order of speed unless CUDA_DEVICE_ORDER=PCI_BUS_ID, and what that order is only CUDA
    knows; then all GPUs count.  Source: CUDA C++ Programming Guide, CUDA environment variables.
    """
    values = (facts.variables.values if facts.variables else None) or {}
    chosen = values.get("CUDA_VISIBLE_DEVICES")
    if chosen is None:
        return found
    entries = [entry.strip() for entry in chosen.split(",")]
    if entries[0] in {"", "-1"}:
        return []
    if all(entry.isdigit() for entry in entries):
        by_address = values.get("CUDA_DEVICE_ORDER") == "PCI_BUS_ID"
        return [gpu for gpu in found if str(gpu.index) in entries] if by_address else found
    named = [gpu for gpu in found if any(entry and (gpu.uuid or "").startswith(entry) for entry in entries)]
    return named or found


def _short(name: str | None) -> str:
    return (name or "NVIDIA GPU").removeprefix("NVIDIA ").removeprefix("GeForce ")


def held_wheels(folder: str, names: Iterable[str]) -> tuple[HeldWheel, ...]:
    """Return the wheels of CPython among the names of a folder's files."""
    found = []
    for name in names:
        try:
            distribution, version, _, tags = parse_wheel_filename(name)
        except InvalidWheelFilename:
            continue
        pythons = {_python_of_tag(tag.interpreter, tag.abi) for tag in tags}
        platforms = {_platform_of_tag(tag.platform) for tag in tags}
        if pythons == {None} or platforms == {None}:
            continue
        found.append(
            HeldWheel(
                canonicalize_name(distribution),
                str(version),
                tuple(sorted(python for python in pythons if python)),
                tuple(sorted(platform for platform in platforms if platform is not None and platform != "any")),
                folder,
            )
        )
    return tuple(found)


def _python_of_tag(interpreter: str, abi: str) -> str | None:
    """Return the series that a wheel's tag names, an empty text where it takes any Python 3, None for others."""
    if interpreter.startswith("cp") and interpreter[2:].isdigit():
        series = f"{interpreter[2]}.{interpreter[3:]}"
        return "" if abi == "abi3" else series + ("t" if abi.endswith("t") else "")
    return "" if interpreter.startswith("py3") else None


def _platform_of_tag(tag: str) -> WheelPlatform | Literal["any"] | None:
    if tag == "any":
        return "any"
    systems = {"linux": "linux", "manylinux": "linux", "win": "windows", "macosx": "macos"}
    for prefix, system in systems.items():
        if tag.startswith(prefix):
            machine = "aarch64" if tag.endswith(("aarch64", "arm64")) else "x86_64"
            return platform_of(system, machine)
    return None
