"""NVIDIA's driver: installed, loaded, of one version, reachable, and fit for the card."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from typing import TYPE_CHECKING

from envcheck.check import check
from envcheck.checks.nvidia_context import (
    GPU_UNUSABLE,
    NVIDIA_INSTALL_GUIDE,
    RESTART,
    capabilities,
    driver_installed,
    driver_version,
    gpus_on_bus,
    gravity,
    in_container,
    in_wsl,
    install_driver,
    no_gpu_on_bus,
    working_gpus,
)
from envcheck.facts import Facts, NvidiaDriver, Nvml, Pci, PciDevice, need
from envcheck.intent import Intent
from envcheck.report import Confidence, Evidence, Finding, Remedy, Severity, seen

if TYPE_CHECKING:
    from envcheck.compat.nvml import NvmlReturn


def cards_seen(devices: list[PciDevice], pci: Pci | None) -> list[Evidence]:
    """Return NVIDIA's devices on the bus as evidence."""
    source = pci.sources.get("devices", "") if pci else ""
    return [
        Evidence(
            f"NVIDIA device {device.address} {device.name or device.device_id}"
            + (f", driver in use: {device.driver}" if device.driver else ""),
            source,
        )
        for device in devices[:8]
    ]


def answers(nvml: Nvml | None) -> bool:
    """Tell whether the driver answers: whatever else looks wrong, it works."""
    return nvml is not None and nvml.state == "ok"


@check(area="driver", causes=["driver-missing"])
def driver_is_installed(pci: Pci, driver: NvidiaDriver, facts: Facts, intent: Intent) -> Iterator[Finding]:
    """An NVIDIA GPU has an NVIDIA driver.

    Why: CUDA is a part of NVIDIA's driver; the free driver nouveau cannot run it. A CUDA toolkit or the CUDA libraries
    in a Python environment do not bring a driver.
    If not: install the driver with the package manager of the system and restart. Inside a container or WSL the driver
    belongs to the host, so nothing is asked there.
    Source: NVIDIA Driver Installation Guide.
    """
    devices = gpus_on_bus(pci)
    if not devices or in_container(facts) or in_wsl(facts) or answers(facts.nvml) or driver.module_loaded:
        return
    if driver_installed(driver) or driver.libraries or any(device.driver == "nvidia" for device in devices):
        return
    if driver.library_version is None and driver.smi_path != "":
        need(driver.library_version, "driver.library_version")
    looked = driver.library_version == "" and driver.packages_version == ""
    yield Finding(
        cause="driver-missing",
        severity=gravity(facts, intent),
        confidence=Confidence.CERTAIN if looked else Confidence.LIKELY,
        title=f"No NVIDIA driver is installed for {devices[0].name or 'the NVIDIA GPU'}",
        evidence=[
            *cards_seen(devices, pci),
            *seen(driver, "module_loaded", "library_version", "packages_version", "smi_path"),
        ],
        explains=[*GPU_UNUSABLE, "nouveau-is-not-in-use", "framework-build-matches-accelerator"],
        remedies=install_driver(facts),
        links=[NVIDIA_INSTALL_GUIDE],
    )


@check(area="driver", causes=["driver-not-loaded"])
def driver_module_is_loaded(driver: NvidiaDriver, facts: Facts, intent: Intent) -> Iterator[Finding]:
    """The kernel module of the installed NVIDIA driver is loaded.

    Why: after a kernel update the module has to be built again; without kernel headers, or when DKMS fails, the new
    kernel has none, and nothing can reach the GPU although the driver is installed.
    If not: build it for the running kernel (DKMS) or load it; the kernel log says why a module is refused.
    Source: NVIDIA driver README, "Installing the NVIDIA kernel module"; dkms(8).
    """
    if in_container(facts) or in_wsl(facts) or answers(facts.nvml) or no_gpu_on_bus(facts.pci):
        return
    code = facts.nvml.state if facts.nvml else None
    told = code == "NVML_ERROR_DRIVER_NOT_LOADED" or driver.smi_exit_code == 9  # noqa: PLR2004 - nvidia-smi(1)
    if driver.module_loaded or (driver.module_loaded is None and not told):
        if driver.module_loaded is None:
            need(driver.module_loaded, "driver.module_loaded")
        return
    installed = driver_installed(driver)
    if installed is None and not told:
        return
    built = driver.module_on_disk
    sure = driver.module_loaded is False and installed is not None
    evidence = [*seen(driver, "module_loaded"), *([installed] if installed else [])]
    if built is not None:
        evidence += seen(driver, "module_on_disk")
    if code and told:
        evidence.append(Evidence(f"NVML: {code}", "NVML"))
    kernel = facts.platform.kernel_release if facts.platform else None
    reason = f"no module is built for the running kernel {kernel or ''}".strip() if built == "" else "it is not loaded"
    yield Finding(
        cause="driver-not-loaded",
        severity=gravity(facts, intent),
        confidence=Confidence.CERTAIN if sure else Confidence.LIKELY,
        title=f"The NVIDIA driver is installed, but {reason}",
        evidence=evidence,
        explains=GPU_UNUSABLE,
        remedies=load_module(facts, built),
        links=[NVIDIA_INSTALL_GUIDE],
    )


def load_module(facts: Facts, built: str | None) -> list[Remedy]:
    """Return how the module gets into the running kernel: built first where it is known not to be there."""
    load = Remedy(
        action="Load the module; where the kernel refuses it, its log says why",
        commands=["sudo modprobe nvidia", "sudo dmesg | tail -n 20"],
        changes="loads a kernel module",
    )
    if built:
        return [load]
    distribution = facts.platform.distribution if facts.platform else None
    headers = {
        "ubuntu": "sudo apt install linux-headers-$(uname -r)",
        "debian": "sudo apt install linux-headers-$(uname -r)",
        "fedora": "sudo dnf install kernel-devel-$(uname -r)",
        "rhel": "sudo dnf install kernel-devel-$(uname -r)",
        "rocky": "sudo dnf install kernel-devel-$(uname -r)",
        "almalinux": "sudo dnf install kernel-devel-$(uname -r)",
        "arch": "sudo pacman -S linux-headers",
    }.get(distribution or "")
    build = "sudo akmods --force" if distribution == "fedora" else "sudo dkms autoinstall"
    rebuild = Remedy(
        action="Build the module for the running kernel and load it",
        commands=[*([headers] if headers else []), build, "sudo modprobe nvidia"],
        changes="installs kernel headers, builds and loads a kernel module",
    )
    return [rebuild] if built == "" else [load, rebuild]


@check(area="driver", causes=["secure-boot-blocks-driver"])
def secure_boot_lets_the_driver_load(driver: NvidiaDriver, facts: Facts, intent: Intent) -> Iterator[Finding]:
    """With Secure Boot on, the NVIDIA kernel module is signed with a key that the firmware trusts.

    Why: a kernel that was started with Secure Boot loads only modules that are signed with an enrolled key. A module
    built by DKMS is signed with the machine's own key, which has to be enrolled once at start-up (MOK).
    If not: enrol the key that signs the module (a password is asked now and once more at the next start), use the
    distribution's signed module, or switch Secure Boot off in the firmware.
    Source: kernel documentation, "Kernel module signing facility"; mokutil(1); kernel_lockdown(7).
    """
    lines = [
        message
        for message in (facts.kernel_log.messages or [] if facts.kernel_log else [])
        if message.kind in {"lockdown-unsigned", "module-rejected", "module-untrusted-key"}
    ]
    refused = any(message.kind in {"lockdown-unsigned", "module-rejected"} for message in lines)
    secure = facts.platform.secure_boot if facts.platform else None
    if driver.module_loaded or answers(facts.nvml) or in_container(facts) or in_wsl(facts) or secure is False:
        return
    blocked = secure and driver.module_loaded is False and bool(driver.module_on_disk)
    if not refused and not blocked:
        if secure is None:
            need(secure, "platform.secure_boot")
        return
    evidence = [Evidence(message.text, message.source) for message in lines[:3]]
    if facts.platform:
        evidence += seen(facts.platform, "secure_boot")
    key = {"ubuntu": "/var/lib/shim-signed/mok/MOK.der", "debian": "/var/lib/dkms/mok.pub"}.get(
        (facts.platform.distribution if facts.platform else None) or "", "/var/lib/dkms/mok.pub"
    )
    yield Finding(
        cause="secure-boot-blocks-driver",
        severity=gravity(facts, intent),
        confidence=Confidence.CERTAIN if refused else Confidence.LIKELY,
        title="Secure Boot keeps the kernel from loading the NVIDIA module, whose signature it does not trust",
        evidence=[*evidence, *seen(driver, "module_loaded", "module_on_disk")],
        explains=["driver-module-is-loaded", "driver-is-installed", "kernel-accepts-the-driver", *GPU_UNUSABLE],
        remedies=[
            Remedy(
                action="Enrol the key that signs the module, restart, and choose `Enroll MOK` in the blue menu",
                commands=[f"sudo mokutil --import {key}", "sudo reboot"],
                changes="the firmware's list of trusted keys",
            ),
            Remedy(action="Or switch Secure Boot off in the firmware's set-up", changes="the firmware's settings"),
        ],
    )


@check(area="driver", causes=["nouveau-loaded"])
def nouveau_is_not_in_use(driver: NvidiaDriver, facts: Facts, intent: Intent) -> Iterator[Finding]:
    """The free kernel module nouveau does not hold the GPU.

    Why: one module at a time can drive a card. While nouveau holds it, NVIDIA's module cannot attach, and nouveau
    itself cannot run CUDA.
    If not: keep nouveau from loading (the driver's packages do that; the early boot image has to be made anew) and
    restart.
    Source: NVIDIA Driver Installation Guide, "Disable nouveau"; NVRM message "probe routine was not called".
    """
    held = [device for device in gpus_on_bus(facts.pci) if device.driver == "nouveau"]
    if answers(facts.nvml) or in_container(facts) or in_wsl(facts):
        return
    if not held and not (driver.nouveau_loaded and not driver.module_loaded):
        if driver.nouveau_loaded is None and facts.pci is None:
            need(driver.nouveau_loaded, "driver.nouveau_loaded")
        return
    if not held and no_gpu_on_bus(facts.pci):
        return
    installed = driver_installed(driver)
    distribution = (facts.platform.distribution if facts.platform else None) or ""
    rebuild = {
        "ubuntu": "sudo update-initramfs -u",
        "debian": "sudo update-initramfs -u",
        "arch": "sudo mkinitcpio -P",
    }.get(distribution, "sudo dracut --force")
    block = Remedy(
        action="Keep nouveau from loading, make the early boot image anew and restart",
        commands=[
            r"printf 'blacklist nouveau\noptions nouveau modeset=0\n' | sudo tee /etc/modprobe.d/no-nouveau.conf",
            rebuild,
            "sudo reboot",
        ],
        changes="which kernel module drives the card from the next start on",
    )
    yield Finding(
        cause="nouveau-loaded",
        severity=gravity(facts, intent),
        confidence=Confidence.CERTAIN if held or installed else Confidence.LIKELY,
        title="The kernel module nouveau holds the GPU, so that NVIDIA's driver cannot",
        evidence=[
            *cards_seen(held, facts.pci),
            *seen(driver, "nouveau_loaded", "module_loaded"),
            *([installed] if installed else []),
        ],
        explains=[*GPU_UNUSABLE, "kernel-accepts-the-driver"],
        remedies=[block] if installed else [*install_driver(facts), block],
        links=[NVIDIA_INSTALL_GUIDE],
    )


@check(area="driver", causes=["driver-library-mismatch"])
def driver_module_matches_libraries(driver: NvidiaDriver, facts: Facts, intent: Intent) -> Iterator[Finding]:
    """The loaded kernel module and the driver's libraries are of the same version.

    Why: module and libraries speak a private protocol that only fits within one version. An update of the packages
    replaces the libraries at once, while the old module stays in the kernel until the next start: from then on every
    CUDA call and nvidia-smi fail. Nothing of CUDA, torch or TensorFlow has to be installed anew.
    If not: restart, or unload and load the modules while nothing uses the GPU.
    Source: NVML API reference, NVML_ERROR_LIB_RM_VERSION_MISMATCH; NVRM message "API mismatch".
    """
    module, library = driver.module_version, driver.library_version
    told = (facts.nvml is not None and facts.nvml.state == "NVML_ERROR_LIB_RM_VERSION_MISMATCH") or (
        "version mismatch" in (driver.smi_message or "").lower()
    )
    lines = [
        message
        for message in (facts.kernel_log.messages or [] if facts.kernel_log else [])
        if message.kind.startswith("api-mismatch")
    ]
    if answers(facts.nvml):
        return
    differ = bool(module and library and module != library)
    if not told and not differ and not (lines and facts.nvml is None):
        if module is None or library is None:
            need(module, "driver.module_version")
            need(library, "driver.library_version")
        return
    evidence = [*seen(driver, "module_version", "library_version", "packages_version", "module_on_disk")]
    if facts.nvml and facts.nvml.state and facts.nvml.state != "ok":
        evidence.append(Evidence(f"NVML: {facts.nvml.state}", facts.nvml.sources.get("state", "NVML")))
    evidence += seen(driver, "smi_message") if driver.smi_message else []
    evidence += [Evidence(message.text, message.source) for message in lines[:3]]
    versions = f": module {module}, libraries {library}" if differ else ""
    yield Finding(
        cause="driver-library-mismatch",
        severity=gravity(facts, intent) if not told else Severity.ERROR,
        confidence=Confidence.CERTAIN if told else Confidence.LIKELY,
        title=f"The NVIDIA kernel module and the driver's libraries differ in version{versions}",
        evidence=evidence,
        explains=[*GPU_UNUSABLE, "driver-libraries-are-the-drivers-own", "kernel-accepts-the-driver"],
        remedies=_align(driver, facts),
        detail="Nothing of CUDA, PyTorch or TensorFlow is wrong; installing them anew changes nothing.",
    )


def _align(driver: NvidiaDriver, facts: Facts) -> list[Remedy]:
    if in_container(facts):
        return [
            Remedy(
                action="Take the driver's packages (nvidia-driver, libnvidia-*, libcuda1) out of the image: the host "
                "brings its own libraries into the container",
                changes="the container's image",
            ),
            Remedy(
                action="If the host's driver was updated, restart the host", commands=[], changes="ends every program"
            ),
        ]
    if driver.module_on_disk and driver.library_version and driver.module_on_disk != driver.library_version:
        return [
            Remedy(
                action=f"The next start would load module {driver.module_on_disk} again: build the one that belongs to "
                f"the libraries {driver.library_version}, then restart",
                commands=["sudo dkms autoinstall", "sudo reboot"],
                changes="builds a kernel module; ends every running program",
            )
        ]
    return [
        RESTART,
        Remedy(
            action="Or, with every program on the GPU and the graphical desktop ended, load the new module",
            commands=["sudo rmmod nvidia_uvm nvidia_drm nvidia_modeset nvidia", "sudo modprobe nvidia"],
            changes="kernel modules; refused while something uses the GPU",
        ),
    ]


@check(area="driver", causes=["driver-dropped-gpu", "driver-too-old"])
def driver_supports_the_gpu(facts: Facts, intent: Intent) -> Iterator[Finding]:
    """The installed driver branch, and the kind of its kernel module, drive this GPU.

    Why: each driver branch drops old generations (Kepler after 470; Maxwell, Pascal and Volta after 580) and cannot
    know later ones. The open kernel module drives Turing and later only; Blackwell works with nothing but the open one.
    If not: install the last branch that drives the card, or the other kind of kernel module.
    Source: NVIDIA driver README, "Supported NVIDIA GPU products" and "Open Linux Kernel Modules"; NVIDIA CUDA Toolkit
    release notes.
    """
    version = driver_version(facts)
    cards = capabilities(facts)
    if version is None or not cards or working_gpus(facts):
        # A GPU that answers is driven, whatever a table says.
        return
    from envcheck.compat import cuda, gpus
    from envcheck.compat.target import capability

    system = "wsl" if in_wsl(facts) else ((facts.platform.system if facts.platform else None) or "linux").lower()
    flavour = facts.driver.module_flavour if facts.driver else None
    for value, name, source in dict.fromkeys(cards):
        row = cuda.compute_capability(value)
        if row is None or capability(value) is None:
            continue
        evidence = [
            Evidence(f"{name}: {row.architecture}, compute capability {value}", source),
            Evidence(f"driver {version[0]}", version[1]),
        ]
        if cuda.driver_supports(version[0], value, system) is False:
            yield _wrong_branch(
                name, version[0], row.last_driver_branch, row.first_driver_branch, evidence, facts, intent
            )
            continue
        kind = gpus.open_module(value)
        if (flavour, kind) in {("open", "unsupported"), ("proprietary", "required")}:
            other = "proprietary" if flavour == "open" else "open"
            yield Finding(
                cause="driver-dropped-gpu",
                severity=gravity(facts, intent),
                confidence=Confidence.CERTAIN,
                title=f"{name} needs the {other} kernel module of the NVIDIA driver; the {flavour} one is loaded",
                evidence=[*evidence, *(seen(facts.driver, "module_flavour") if facts.driver else [])],
                explains=[*GPU_UNUSABLE, "kernel-accepts-the-driver", "every-gpu-answers"],
                remedies=[_other_flavour(other, version[0], facts)],
                links=[NVIDIA_INSTALL_GUIDE],
            )


def _wrong_branch(
    name: str,
    version: str,
    last: int | None,
    first: int | None,
    evidence: list[Evidence],
    facts: Facts,
    intent: Intent,
) -> Finding:
    from envcheck.compat.versions import parse

    present = parse(version)
    too_old = first is not None and present is not None and present.major < first
    branch = first if too_old else last
    title = (
        f"Driver {version} is older than {name}, which needs branch {first} or later"
        if too_old
        else f"Driver {version} no longer drives {name}; the last branch that does is {last}"
    )
    return Finding(
        cause="driver-too-old" if too_old else "driver-dropped-gpu",
        severity=gravity(facts, intent),
        title=title,
        evidence=evidence,
        explains=[*GPU_UNUSABLE, "kernel-accepts-the-driver", "every-gpu-answers", "driver-module-is-loaded"],
        remedies=install_driver(facts)
        if not too_old
        else [
            Remedy(action=f"Install a driver of branch {branch} or later, then restart", changes="the system's driver")
        ],
        links=[NVIDIA_INSTALL_GUIDE],
    )


def _other_flavour(other: str, version: str, facts: Facts) -> Remedy:
    branch = version.partition(".")[0]
    suffix = "-open" if other == "open" else ""
    distribution = facts.platform.distribution if facts.platform else None
    commands = [f"sudo apt install nvidia-driver-{branch}{suffix}", "sudo reboot"] if distribution == "ubuntu" else []
    return Remedy(
        action=f"Install the {other} kernel module of branch {branch}, then restart",
        commands=commands,
        changes="the system's kernel modules",
    )


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


UNKNOWN_STATUS = 255
"""Exit status of nvidia-smi for every return code that has none of its own."""


def code_of_smi(driver: NvidiaDriver) -> NvmlReturn | None:
    """Return the NVML return code that nvidia-smi's words or exit status stand for; None where they name none."""
    from envcheck.compat import nvml as codes

    message = (driver.smi_message or "").strip()
    if "couldn't communicate with the NVIDIA driver" in message:
        return codes.nvml_return("NVML_ERROR_DRIVER_NOT_LOADED")
    if "couldn't find libnvidia-ml" in message:
        return codes.nvml_return("NVML_ERROR_LIBRARY_NOT_FOUND")
    if "No devices" in message:
        return codes.nvml_return("NVML_ERROR_NOT_FOUND")
    lowered = message.lower()
    known = sorted(codes.nvml_returns(), key=lambda row: len(row.text or ""), reverse=True)
    for row in known:
        if row.value and row.text and len(row.text) > 3 and row.text.lower() in lowered:  # noqa: PLR2004 - not "N/A"
            return row
    return next(
        (row for row in known if row.value and row.smi_exit == driver.smi_exit_code and row.smi_exit != UNKNOWN_STATUS),
        None,
    )


def cause_of_code(row: NvmlReturn | None, facts: Facts) -> str:
    """Return the likeliest cause of a return code where this is: causes of containers and WSL hold only inside."""
    candidates = [*(row.causes or []), row.cause] if row else []
    candidates = [cause for cause in candidates if cause]
    inside = [cause for cause in candidates if cause.startswith(("container-", "rootless-"))]
    if in_container(facts) and inside:
        return inside[0]
    fitting = [
        cause
        for cause in candidates
        if not cause.startswith(("container-", "rootless-")) and (in_wsl(facts) or not cause.startswith("wsl-"))
    ]
    if in_wsl(facts) and any(cause.startswith("wsl-") for cause in fitting):
        return next(cause for cause in fitting if cause.startswith("wsl-"))
    return (fitting or inside or ["gpu-hardware-fault"])[0]


@check(
    area="driver",
    causes=[
        "driver-not-loaded",
        "driver-missing",
        "driver-hung",
        "driver-library-mismatch",
        "libcuda-stub-or-duplicate",
        "device-permission",
        "device-nodes-missing",
        "gpu-fell-off-bus",
        "gpu-hardware-fault",
        "gpu-in-use",
        "bar-or-iommu-setting",
        "fabric-manager-down",
        "no-gpu-present",
        "host-out-of-memory",
        "visible-devices-masked",
        "user-code",
        "container-lost-gpu",
        "container-toolkit-missing",
        "rootless-or-cgroup-config",
        "wsl-driver-misinstalled",
    ],
)
def nvml_answers(nvml: Nvml, facts: Facts, intent: Intent) -> Iterator[Finding]:
    """NVIDIA's management library starts and comes back.

    Why: NVML is the driver's own account of itself, and nvidia-smi is built on it; each of its return codes points to
    a layer. It is asked in a child process with a deadline, so that a driver which hangs or crashes is evidence.
    If not: the return code names the cause; where a deeper check explains it, this finding is folded under that one.
    Source: NVML API reference, nvmlReturn_t; table nvml_returns.
    """
    state = need(nvml.state, "nvml.state")
    if state == "ok":
        return
    if (state == "library-missing" or state.endswith("DRIVER_NOT_LOADED")) and (
        in_container(facts) or (no_gpu_on_bus(facts.pci) and not in_wsl(facts))
    ):
        # A container that was given no GPU, or packages of the driver on a machine without a card.
        return
    evidence = [
        Evidence(f"NVML: {state}" + (f" ({nvml.message})" if nvml.message else ""), nvml.sources.get("state", "NVML")),
        *(seen(nvml, "stage", "library_path")),
    ]
    if state == "timeout":
        yield Finding(
            cause="driver-hung",
            severity=Severity.ERROR,
            title=f"The NVIDIA driver does not come back from {nvml.stage or 'NVML'}",
            evidence=evidence,
            explains=[*GPU_UNUSABLE, "every-gpu-answers"],
            remedies=_after_hang(facts),
        )
        return
    if state == "crash":
        odd = bool(nvml.library_path) and not (nvml.library_path or "").startswith(
            ("/usr/lib", "/lib", "/usr/local/nvidia")
        )
        yield Finding(
            cause="libcuda-stub-or-duplicate" if odd else "driver-library-mismatch",
            severity=Severity.ERROR,
            confidence=Confidence.LIKELY if odd else Confidence.POSSIBLE,
            title=f"NVIDIA's management library crashes in {nvml.stage or 'its first call'}",
            evidence=evidence,
            explains=GPU_UNUSABLE,
            remedies=[RESTART, *install_driver(facts)] if not odd else [_own_library(nvml.library_path or "")],
            detail="The library that was loaded does not fit the kernel module, or its file is damaged.",
        )
        return
    from envcheck.compat import nvml as codes

    row = codes.nvml_return("NVML_ERROR_LIBRARY_NOT_FOUND" if state == "library-missing" else state)
    cause = cause_of_code(row, facts)
    several = len(row.causes) > 1 if row else True
    yield Finding(
        cause=cause,
        severity=Severity.ERROR if row is None or row.severity == "error" else gravity(facts, intent),
        confidence=Confidence.LIKELY if several else Confidence.CERTAIN,
        title=_title_of_code(state, row),
        evidence=evidence,
        explains=[name for name in GPU_UNUSABLE if name not in {"nvml-answers", "driver-module-is-loaded"}],
        remedies=remedies_of(cause, facts),
        detail=row.meaning if row else "",
    )


def _title_of_code(state: str, row: NvmlReturn | None) -> str:
    if state == "library-missing":
        return "The driver's library libnvidia-ml.so.1 is not found"
    return f"NVIDIA's management library does not start: {row.text or row.name if row else state}"


def _own_library(path: str) -> Remedy:
    folder = path.rpartition("/")[0]
    return Remedy(
        action=f"Take {folder} out of LD_LIBRARY_PATH, so that the driver's own library is found",
        safe=True,
        changes="LD_LIBRARY_PATH of this shell",
    )


def _after_hang(facts: Facts) -> list[Remedy]:
    if in_container(facts):
        return [
            Remedy(
                action="On the host: read the kernel log for Xid messages and restart the machine", changes="the host"
            )
        ]
    return [
        Remedy(
            action="Read what the kernel says of it: an Xid, or a task that is blocked",
            commands=["sudo dmesg | grep -iE 'xid|nvrm|blocked for more'"],
            changes="nothing",
        ),
        Remedy(
            action="Restart the machine; where it hangs again, power it off and on",
            commands=["sudo reboot"],
            changes="ends every running program",
        ),
    ]


def remedies_of(cause: str, facts: Facts) -> list[Remedy]:
    """Return what helps against a cause that a return code alone points to."""
    table = {
        "driver-not-loaded": load_module(facts, facts.driver.module_on_disk if facts.driver else None),
        "driver-library-mismatch": [RESTART],
        "driver-missing": install_driver(facts),
        "driver-hung": _after_hang(facts),
        "gpu-fell-off-bus": POWER_CYCLE,
        "gpu-hardware-fault": [
            Remedy(
                action="Read the kernel log for the Xid that came first; it names what to do",
                commands=["sudo dmesg | grep -i xid"],
                changes="nothing",
            ),
            RESTART_PLAIN,
        ],
        "container-lost-gpu": [
            Remedy(
                action="Start the container anew; on the host, have Docker use the cgroupfs driver or name the device "
                "files at start, so that a reload of systemd does not take the GPU away again",
                changes="the container",
            )
        ],
        "fabric-manager-down": [
            Remedy(
                action="Start the fabric manager",
                commands=["sudo systemctl enable --now nvidia-fabricmanager"],
                changes="a system service",
            )
        ],
        "wsl-driver-misinstalled": install_driver(facts),
        "device-permission": [
            Remedy(
                action="See who may open the driver's device files, and join their group",
                commands=["ls -l /dev/nvidia*", "id"],
                changes="nothing",
            )
        ],
        "libcuda-stub-or-duplicate": [
            Remedy(
                action="See which copies of the library the loader knows; only the driver's own may come first",
                commands=["ldconfig -p | grep -E 'libcuda|libnvidia-ml'", 'printf "%s\\n" "$LD_LIBRARY_PATH"'],
                changes="nothing",
            )
        ],
    }
    return table.get(cause, [])


RESTART_PLAIN = Remedy(action="Restart the machine", commands=["sudo reboot"], changes="ends every running program")

POWER_CYCLE = [
    Remedy(
        action="Power the machine off and on (a restart alone often leaves the card unpowered or lost); then check the "
        "card's seat, its power cables and its temperature",
        commands=["sudo poweroff"],
        changes="ends every running program",
    )
]


@check(area="driver", causes=["nvidia-smi-missing"])
def nvidia_smi_is_on_path(driver: NvidiaDriver, facts: Facts) -> Iterator[Finding]:
    """Where the driver works, its tool nvidia-smi is on PATH.

    Why: people and scripts ask nvidia-smi first; a missing nvidia-smi is no missing driver. It comes in a package of
    its own on some distributions, and in containers with the driver capability `utility`.
    If not: install the package, or put its folder on PATH. CUDA programs do not need it.
    Source: NVIDIA Container Toolkit documentation, "Driver capabilities"; packages of Debian and Ubuntu.
    """
    if not answers(facts.nvml) or need(driver.smi_path, "driver.smi_path"):
        return
    distribution = (facts.platform.distribution if facts.platform else None) or ""
    branch = ((facts.nvml.driver_version if facts.nvml else None) or "").partition(".")[0]
    if in_wsl(facts):
        remedy = Remedy(
            action="Put the folder of WSL's driver on PATH",
            commands=['export PATH="$PATH:/usr/lib/wsl/lib"'],
            safe=True,
            changes="PATH of this shell",
        )
    elif in_container(facts):
        remedy = Remedy(
            action="Start the container with the driver capabilities compute and utility",
            commands=["docker run --gpus all -e NVIDIA_DRIVER_CAPABILITIES=compute,utility IMAGE"],
            changes="how the container is started",
        )
    else:
        packages = {"ubuntu": f"nvidia-utils-{branch}", "debian": "nvidia-smi", "arch": "nvidia-utils"}
        installer = "sudo pacman -S" if distribution == "arch" else "sudo apt install"
        name = packages.get(distribution)
        remedy = Remedy(
            action="Install the driver's tools",
            commands=[f"{installer} {name}"] if name else [],
            changes="a system package",
        )
    yield Finding(
        cause="nvidia-smi-missing",
        severity=Severity.NOTE,
        title="The driver works, but nvidia-smi is not on PATH",
        evidence=[*(seen(facts.nvml, "driver_version") if facts.nvml else []), *seen(driver, "smi_path")],
        explains=["nvidia-smi-answers"],
        remedies=[remedy],
    )


@check(
    area="driver",
    causes=[
        "driver-hung",
        "driver-not-loaded",
        "driver-missing",
        "driver-library-mismatch",
        "libcuda-stub-or-duplicate",
        "device-permission",
        "gpu-fell-off-bus",
        "gpu-hardware-fault",
        "bar-or-iommu-setting",
        "no-gpu-present",
        "container-lost-gpu",
        "container-toolkit-missing",
        "rootless-or-cgroup-config",
        "wsl-driver-misinstalled",
        "fabric-manager-down",
        "gpu-in-use",
        "visible-devices-masked",
        "host-out-of-memory",
        "user-code",
    ],
)
def nvidia_smi_answers(driver: NvidiaDriver, facts: Facts, intent: Intent) -> Iterator[Finding]:
    """nvidia-smi, where it is there, prints its table in time.

    Why: it is the second witness beside NVML. Where NVML works and nvidia-smi does not, the tool is at fault and CUDA
    programs are not; where both fail, its words help to name the layer.
    If not: with a working NVML, a foreign program of that name or one of another driver version is on PATH.
    Source: nvidia-smi(1), "Return value"; table nvml_returns.
    """
    state = need(driver.smi_state, "driver.smi_state")
    if state in {"ok", "absent"}:
        return
    evidence = seen(driver, "smi_path", "smi_exit_code", "smi_message")
    row = code_of_smi(driver) if state == "failed" else None
    if (
        row
        and row.name.endswith(("DRIVER_NOT_LOADED", "LIBRARY_NOT_FOUND"))
        and (in_container(facts) or (no_gpu_on_bus(facts.pci) and not in_wsl(facts)))
    ):
        return
    if answers(facts.nvml):
        words = {"timeout": "hangs", "crash": "crashes", "garbled": "prints what is no table of GPUs"}.get(
            state, "fails"
        )
        yield Finding(
            cause="driver-hung" if state == "timeout" else "libcuda-stub-or-duplicate",
            severity=Severity.WARNING,
            confidence=Confidence.POSSIBLE,
            title=f"nvidia-smi {words}, although the driver answers through NVML",
            evidence=[*evidence, Evidence(f"NVML: driver {facts.nvml.driver_version if facts.nvml else ''}", "NVML")],
            remedies=[
                Remedy(
                    action="See which nvidia-smi this is; it must be the one of the installed driver",
                    commands=["type -a nvidia-smi", "ls -l $(command -v nvidia-smi)"],
                    changes="nothing",
                )
            ],
        )
        return
    if state == "garbled" and facts.nvml is not None:
        # NVML has said what is wrong; a tool that prints nonsense adds nothing to it.
        return
    cause = "driver-hung" if state == "timeout" else cause_of_code(row, facts)
    yield Finding(
        cause=cause,
        severity=gravity(facts, intent) if row and row.name.endswith("NOT_FOUND") else Severity.ERROR,
        confidence=Confidence.LIKELY if row or state == "timeout" else Confidence.POSSIBLE,
        title={
            "timeout": "nvidia-smi does not come back",
            "crash": "nvidia-smi crashes",
            "garbled": "nvidia-smi prints what is no table of GPUs",
        }.get(state, f"nvidia-smi fails: {(driver.smi_message or '').partition('. ')[0] or 'no words'}"),
        evidence=evidence,
        explains=[name for name in GPU_UNUSABLE if name not in {"nvidia-smi-answers", "nvml-answers"}],
        remedies=remedies_of(cause, facts),
        detail=row.meaning if row else "",
    )
