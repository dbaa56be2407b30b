"""GPUs of AMD, Intel and Apple, as far as the system shows them without their makers' tools."""

from __future__ import annotations

import re

from envcheck.facts import DeviceNode, OtherAccelerators
from envcheck.probe import Ended, probe
from envcheck.probes.driver import loader_folders
from envcheck.probes.pci import AMD, DEVICES, INTEL
from envcheck.report import Outcome
from envcheck.system import System

TOPOLOGY = "/sys/class/kfd/kfd/topology/nodes"


@probe(fills=["accelerators"], deadline=3)
def accelerators(system: System) -> OtherAccelerators:
    """Look at the bus, the kernel's compute interface, render nodes and runtimes."""
    uname = system.ask("uname") or {}
    if uname.get("system") == "Darwin":
        return _apple(system, uname.get("machine", ""))
    if uname.get("system") != "Linux":
        raise Ended(Outcome.SKIPPED, "only Linux and macOS show these in files")
    amd, intel = _on_bus(system)
    kfd = _node(system, "/dev/kfd")
    if not (amd or intel or kfd):
        raise Ended(Outcome.ABSENT, "no accelerator of AMD, Intel or Apple is here")
    modules = system.read("/proc/modules")
    loaded = {line.split(" ", 1)[0] for line in modules.text.splitlines()}
    render = [
        _node(system, f"/dev/dri/{name}") for name in system.entries("/dev/dri") or [] if name.startswith("renderD")
    ]
    return OtherAccelerators(
        amd_devices=amd,
        amd_kernel_driver="amdgpu" in loaded if modules.outcome == "ok" else None,
        amd_kfd=kfd,
        amd_targets=_targets(system),
        rocm_version=_rocm_version(system) if amd or kfd else None,
        render_nodes=[node for node in render if node],
        intel_devices=intel,
        intel_runtime=_level_zero(system) if intel else None,
        sources={
            "amd_devices": DEVICES,
            "amd_kernel_driver": "/proc/modules",
            "amd_kfd": "/dev/kfd",
            "amd_targets": TOPOLOGY,
            "rocm_version": "/opt/rocm/.info/version",
            "render_nodes": "/dev/dri",
            "intel_devices": DEVICES,
            "intel_runtime": "the loader's folders",
        },
    )


def _apple(system: System, machine: str) -> OtherAccelerators:
    chip = system.run(["sysctl", "-n", "machdep.cpu.brand_string"], 2).stdout.strip()
    # A process under Rosetta says x86_64 on an Apple chip: the chip's name decides.
    apple = chip.startswith("Apple") or machine == "arm64"
    return OtherAccelerators(
        apple_chip=chip if apple else "",
        metal=True if apple else None,
        sources={"apple_chip": "sysctl machdep.cpu.brand_string", "metal": "sysctl machdep.cpu.brand_string"},
    )


def _on_bus(system: System) -> tuple[list[str], list[str]]:
    """Return AMD's display and accelerator devices, and Intel's discrete GPUs, by name or PCI id."""
    amd, intel = [], []
    for address in system.entries(DEVICES) or []:
        text = system.read(f"{DEVICES}/{address}/uevent").text
        code, ids = (
            re.search(r"^PCI_CLASS=(\w+)$", text, re.MULTILINE),
            re.search(r"^PCI_ID=(\w+):(\w+)$", text, re.MULTILINE),
        )
        if not code or not ids or not code[1].zfill(6).startswith(("03", "12")):
            continue
        vendor, device = ids[1].lower(), ids[2].lower()
        if vendor == AMD:
            from envcheck.compat import amd as table  # noqa: PLC0415 - only where such a card is there

            product = table.by_pci_id(device)
            amd.append(product.name if product else f"{vendor}:{device}")
        elif vendor == INTEL:
            from envcheck.compat import intel as chips  # noqa: PLC0415

            chip = chips.by_pci_id(device)
            intel += [chip.name] if chip else []
    return amd, intel


def _node(system: System, path: str) -> DeviceNode | None:
    status = system.status(path)
    if status.outcome == "absent" or status.kind == "folder":
        return None
    return DeviceNode(
        path=path,
        mode=status.mode,
        group=status.group,
        accessible=status.readable and status.writable if status.outcome == "ok" else None,
    )


def _targets(system: System) -> list[str]:
    from envcheck.compat import amd  # noqa: PLC0415 - only where a GPU is there

    targets = []
    for node in system.entries(TOPOLOGY) or []:
        found = re.search(
            r"^gfx_target_version (\d+)$", system.read(f"{TOPOLOGY}/{node}/properties").text, re.MULTILINE
        )
        target = amd.gfx_of_sysfs(int(found[1])) if found else None
        targets += [target] if target else []
    return targets


def _rocm_version(system: System) -> str:
    names = [name for name in system.entries("/opt") or [] if re.match(r"rocm(-|$)", name)]
    for name in names:
        found = re.match(r"\d+(?:\.\d+)+", system.read(f"/opt/{name}/.info/version").text)
        if found:
            return found[0]
    return ""


def _level_zero(system: System) -> bool:
    """Tell whether the level-zero loader and Intel's driver for it are found."""
    folders = loader_folders(system)
    return all(
        any(system.status(f"{folder}/{name}").outcome == "ok" for folder in folders)
        for name in ("libze_loader.so.1", "libze_intel_gpu.so.1")
    )
