"""NVIDIA's driver: installed, loaded, of one version, and fit for the card."""

from __future__ import annotations

from collections.abc import Iterator

from envcheck.check import check
from envcheck.checks.nvidia_context import (
    GPU_UNUSABLE,
    NVIDIA_INSTALL_GUIDE,
    answers,
    capabilities,
    driver_installed,
    driver_version,
    gpus_on_bus,
    gravity,
    in_container,
    in_wsl,
    no_gpu_on_bus,
    working_gpus,
)
from envcheck.checks.nvidia_remedies import (
    RESTART,
    install_driver,
    load_module,
)
from envcheck.facts import (
    Facts,
    NvidiaDriver,
    Pci,
    PciDevice,
    need,
)
from envcheck.intent import Intent
from envcheck.report import Confidence, Evidence, Finding, Remedy, Severity, seen


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
    # In a paste a message may say more than that the module is missing: why it is.
    live = driver.sources.get("module_loaded", "").startswith("/proc")
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
        title=f"The NVIDIA driver is installed, but {reason}"
        if installed
        else "The NVIDIA driver does not answer: its kernel module is not loaded",
        evidence=evidence,
        explains=GPU_UNUSABLE if live else [name for name in GPU_UNUSABLE if not name.startswith("no-message-")],
        remedies=load_module(facts, built),
        links=[NVIDIA_INSTALL_GUIDE],
    )


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
    if no_gpu_on_bus(facts.pci):
        # Packages of the driver on a machine without a card: there is nothing for the module to do.
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
    version = driver_version(facts) or _packaged(facts.driver)
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


def _packaged(driver: NvidiaDriver | None) -> tuple[str, str] | None:
    """Return the version of a driver that is installed and does not answer, and where it was read."""
    for field in ("module_on_disk", "packages_version") if driver else ():
        if value := getattr(driver, field):
            return value, driver.sources.get(field, "packages") if driver else ""
    return None


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
