"""The way to NVIDIA's driver: device files, permissions, and the libraries that are found first."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from envcheck.check import check
from envcheck.checks.nvidia_context import (
    GPU_UNUSABLE,
    answers,
    gpus_on_bus,
    gravity,
    in_container,
    in_wsl,
)
from envcheck.facts import (
    Facts,
    NvidiaDriver,
    need,
)
from envcheck.intent import Intent
from envcheck.report import Confidence, Evidence, Finding, Remedy, Severity, seen

NEEDED_NODES = ("/dev/nvidiactl", "/dev/nvidia-uvm")


@check(area="driver", causes=["device-nodes-missing"])
def device_nodes_exist(driver: NvidiaDriver, facts: Facts, intent: Intent) -> Iterator[Finding]:
    """With the module loaded, /dev holds the device files of the driver.

    Why: programs reach the driver through /dev/nvidiactl, /dev/nvidia0 … and, for CUDA, /dev/nvidia-uvm. They are made
    by a setuid helper (nvidia-modprobe) or by udev; on a server without a graphical desktop nothing else makes them.
    If not: install nvidia-modprobe, or make the files and load nvidia_uvm once.
    Source: NVIDIA driver README, "How and why are the /dev/nvidia* files created"; CUDA Installation Guide for Linux,
    "Device node verification".
    """
    if in_container(facts) or in_wsl(facts) or not need(driver.module_loaded, "driver.module_loaded"):
        return
    nodes = {node.path for node in need(driver.device_nodes, "driver.device_nodes")}
    missing = [path for path in NEEDED_NODES if path not in nodes]
    if not any(path.startswith("/dev/nvidia") and path[11:].isdigit() for path in nodes) and gpus_on_bus(facts.pci):
        missing.append("/dev/nvidia0")
    blind = [
        framework.name or ""
        for framework in (facts.torch, facts.tensorflow)
        if framework and framework.state == "ok" and framework.sees_gpu is False and framework.accelerator == "cuda"
    ]
    # They appear with the first CUDA program where the helper is there: their absence alone is no fault.
    if not missing or (answers(facts.nvml) and not blind):
        return
    if facts.nvml is not None and facts.nvml.state in {"library-missing", "NVML_ERROR_LIB_RM_VERSION_MISMATCH"}:
        return
    if facts.nvml is None and not blind:
        return
    yield Finding(
        cause="device-nodes-missing",
        severity=gravity(facts, intent),
        confidence=Confidence.CERTAIN if "/dev/nvidiactl" in missing else Confidence.LIKELY,
        title=f"The NVIDIA module is loaded, but {', '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing",
        evidence=[
            *seen(driver, "module_loaded", "uvm_loaded"),
            Evidence(f"device files: {', '.join(sorted(nodes)) or 'none'}", driver.sources.get("device_nodes", "/dev")),
        ],
        explains=[*GPU_UNUSABLE, "driver-module-is-loaded"],
        remedies=[
            Remedy(
                action="Make the device files and load the module that CUDA needs",
                commands=["sudo nvidia-modprobe -c 0 -u"],
                changes="device files in /dev, loads nvidia_uvm",
            )
        ],
    )


@check(area="driver", causes=["device-permission"])
def device_nodes_are_accessible(driver: NvidiaDriver, facts: Facts, intent: Intent) -> Iterator[Finding]:
    """This user may read and write the driver's device files.

    Why: CUDA and NVML open them for reading and writing; the usual mode is 0666. Administrators narrow it with the
    module's parameters NVreg_DeviceFileMode, _UID and _GID.
    If not: join the group that owns the files and log in anew, or have the mode widened.
    Source: NVIDIA driver README, module parameters of nvidia.ko.
    """
    nodes = need(driver.device_nodes, "driver.device_nodes")
    wanted = [node for node in nodes if not node.path.endswith(("-modeset", "-uvm-tools"))]
    closed = [node for node in wanted if node.accessible is False]
    if not closed or facts.nvml is None:
        return
    cards = [node for node in closed if node.path[11:].isdigit()]
    open_cards = [node for node in wanted if node.path[11:].isdigit() and node.accessible]
    if cards == closed and open_cards:
        # On a shared machine single cards are closed on purpose; those that are open work.
        return
    group = next((node.group for node in closed if node.group not in {"", "root"}), "")
    parameters = driver.module_parameters or {}
    modes = [f"{node.path} mode {node.mode} group {node.group}" for node in closed[:8]]
    remedies = []
    if group:
        remedies.append(
            Remedy(
                action=f"Join the group {group}, then log out and in",
                commands=[f'sudo usermod -aG {group} "$USER"'],
                changes="the groups of this user",
            )
        )
    remedies.append(
        Remedy(
            action="Or have the module make its files with mode 0666, from the next start on",
            commands=[
                "echo 'options nvidia NVreg_DeviceFileMode=0666' | sudo tee /etc/modprobe.d/nvidia-permissions.conf",
                "sudo reboot",
            ],
            changes="who may use the GPU on this machine",
        )
    )
    yield Finding(
        cause="device-permission",
        severity=gravity(facts, intent),
        title=f"This user may not open {closed[0].path}" + (f" and {len(closed) - 1} more" if len(closed) > 1 else ""),
        evidence=[
            *(Evidence(mode, driver.sources.get("device_nodes", "/dev")) for mode in modes),
            *(Evidence(f"{name}: {value}", "/proc/driver/nvidia/params") for name, value in sorted(parameters.items())),
        ],
        explains=[*GPU_UNUSABLE, "driver-module-is-loaded"],
        remedies=remedies,
    )


@check(area="driver", causes=["libcuda-stub-or-duplicate"])
def driver_libraries_are_the_drivers_own(driver: NvidiaDriver, facts: Facts, intent: Intent) -> Iterator[Finding]:
    """The libcuda and libnvidia-ml that the loader finds first belong to the loaded driver.

    Why: CUDA toolkits ship stubs of both for linking; a stub, or a copy left over from an older driver or baked into
    an image, answers every call with an error when it comes first on LD_LIBRARY_PATH. A libcuda in a folder `compat`
    is NVIDIA's forward compatibility package, which is newer than the driver on purpose.
    If not: take the folder out of LD_LIBRARY_PATH or the loader's configuration, or delete the stale copy.
    Source: CUDA Installation Guide for Linux (stubs); NVIDIA CUDA Compatibility, "Forward compatibility".
    """
    for name in ("libcuda.so.1", "libnvidia-ml.so.1"):
        copies = [library for library in need(driver.libraries, "driver.libraries") if library.name == name]
        if not copies:
            continue
        first = copies[0]
        truth = driver.module_version
        stale = bool(truth and first.version and first.version != truth and "/compat/" not in first.path) and any(
            other.version == truth for other in copies[1:]
        )
        if not first.stub and not stale:
            continue
        others = [library for library in copies[1:] if not library.stub]
        folder = first.path.rpartition("/")[0]
        what = "a stub, which cannot run anything" if first.stub else f"of version {first.version}, not {truth}"
        yield Finding(
            cause="libcuda-stub-or-duplicate",
            severity=gravity(facts, intent) if not answers(facts.nvml) or name == "libcuda.so.1" else Severity.WARNING,
            title=f"{name} is found first in {folder}: it is {what}",
            evidence=[
                Evidence(f"{library.name}: {library.path}", driver.sources.get("libraries", ""))
                for library in [first, *others[:3]]
            ],
            explains=[*GPU_UNUSABLE, "driver-module-matches-libraries", "driver-module-is-loaded"],
            remedies=[
                Remedy(
                    action=f"Take {folder} out of LD_LIBRARY_PATH (and out of /etc/ld.so.conf.d, then run ldconfig)",
                    commands=[f"export LD_LIBRARY_PATH={shlex.quote(':'.join(_without(folder, facts)))}"],
                    safe=True,
                    changes="LD_LIBRARY_PATH of this shell",
                )
            ],
        )


def _without(folder: str, facts: Facts) -> list[str]:
    """Return the folders of LD_LIBRARY_PATH but one."""
    value = (facts.variables.values or {}).get("LD_LIBRARY_PATH", "") if facts.variables else ""
    return [entry for entry in value.split(":") if entry and entry.rstrip("/") != folder]
