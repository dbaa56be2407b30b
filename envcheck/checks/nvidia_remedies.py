"""What cures a driver, a card or a build, by commands that this machine has; no checks stand here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from envcheck import cures
from envcheck.checks.nvidia_context import (
    TITLES,
    capabilities,
    in_container,
    target_of,
    version_of,
)
from envcheck.facts import (
    Facts,
    Framework,
    Gpu,
    Platform,
)
from envcheck.report import Remedy

if TYPE_CHECKING:
    from envcheck.compat.build import Build


def install_framework(framework: Framework, facts: Facts, *, accelerator: str = "cuda") -> Remedy | None:
    """Return the remedy that installs a build which runs on this machine; None where no build is known to.

    The release that is installed is kept where it has such a build; else the newest release that has one is named.
    """
    target = target_of(facts, accelerator=accelerator)
    if framework.name == "torch":
        from envcheck.compat import torch

        fitting = torch.builds(target)
    else:
        from envcheck.compat import tensorflow

        fitting = tensorflow.builds(target)
    if not fitting:
        return None
    present = (version_of(framework) or "").partition("+")[0]
    best = next((build for build in fitting if build.version == present), fitting[0])
    what = f"{TITLES[framework.name or 'torch']} {best.version}"
    what += f" for CUDA {best.cuda}" if best.cuda else ""
    action = f"Install {what}, which runs on this machine"
    if present and best.version != present:
        action += f"; {present} has no build that does"
    if framework.name == "torch":
        return _torch(best, action, facts)
    from envcheck.compat import tensorflow

    row = tensorflow.release(best.version)
    extra = "[and-cuda]" if best.accelerator == "cuda" and row and row.and_cuda else ""
    pins = tensorflow.extra_pins(best, target)
    return cures.install(
        facts.python, [f"{best.package}{extra}=={best.version}", *pins], action, packages=facts.packages
    )


def _torch(best: Build, action: str, facts: Facts) -> Remedy:
    """Return the remedy that installs a build of torch with those of its companions that are installed."""
    from envcheck.compat import torch

    requirements = [f"torch=={best.version}"]
    companions = torch.companions(best.version)
    installed = {package.name for package in (facts.packages.installed or [] if facts.packages else [])}
    for companion in ("torchvision", "torchaudio"):
        version = getattr(companions, companion, None)
        if companion in installed and version:
            requirements.append(f"{companion}=={version}")
    index = best.index
    if index is None and best.accelerator == "cuda" and best.cuda and best.platform == "linux_x86_64":
        # A mirror may have a CPU build under the same version; PyTorch's own index says which build it is.
        index = f"{torch.WHEEL_INDEX}/cu{best.cuda.replace('.', '')}"
    # Installers keep what is there where only the part after the plus sign differs.
    if cures.installer(facts.python).startswith("uv "):
        options = " ".join(f"--reinstall-package {requirement.partition('==')[0]}" for requirement in requirements)
    else:
        options = "--force-reinstall"
    return cures.install(facts.python, requirements, action, index=index, options=options, packages=facts.packages)


RESTART = Remedy(
    action="Restart the machine, so that kernel module and libraries are of one version again",
    commands=["sudo reboot"],
    changes="ends every running program",
)


def install_driver(facts: Facts) -> list[Remedy]:
    """Return how the NVIDIA driver is installed on this system, by its own package manager."""
    platform = facts.platform or Platform()
    branch = _last_branch(facts)
    if platform.system == "Windows" or platform.wsl:
        return [
            Remedy(
                action="Install NVIDIA's driver for Windows (no Linux driver inside WSL), then run `wsl --shutdown`",
                changes="the driver of the Windows host",
            )
        ]
    commands = {
        "ubuntu": [f"sudo apt install nvidia-driver-{branch}"] if branch else ["sudo ubuntu-drivers install"],
        "debian": ["sudo apt install linux-headers-amd64 nvidia-driver firmware-misc-nonfree"],
        "fedora": ["sudo dnf install akmod-nvidia xorg-x11-drv-nvidia-cuda"],
        "arch": ["sudo pacman -S nvidia-open nvidia-utils"],
    }.get(platform.distribution or "", [])
    if platform.distribution == "arch" and branch:
        commands = []
    notes = {
        "debian": " (from Debian's component non-free)",
        "fedora": " (from RPM Fusion's nonfree repository)",
    }
    if commands:
        action = "Install the NVIDIA driver" + notes.get(platform.distribution or "", "") + ", then restart"
    else:
        action = "Install the NVIDIA driver as NVIDIA's installation guide says for this distribution, then restart"
        if branch:
            action = f"Install NVIDIA driver branch {branch}, the last one for this card, then restart"
    return [
        Remedy(
            action=action,
            commands=[*commands, *(["sudo reboot"] if commands else [])],
            changes="the system's kernel modules",
        )
    ]


def _last_branch(facts: Facts) -> int | None:
    """Return the last driver branch of the oldest card; None where the newest driver serves all of them."""
    from envcheck.compat import cuda

    branches = [cuda.last_driver_branch(capability) for capability, _, _ in capabilities(facts)]
    return min((branch for branch in branches if branch), default=None)


def update_driver(facts: Facts, minimum: str) -> Remedy:
    """Return how the driver is brought to a version or a newer one."""
    platform = facts.platform or Platform()
    if platform.container:
        return Remedy(
            action=f"On the host, not in this container: update the NVIDIA driver to {minimum} or newer",
            changes="the host's driver",
        )
    if platform.system == "Windows" or platform.wsl:
        return Remedy(
            action=f"Install NVIDIA's driver {minimum} or newer for Windows"
            + ("; nothing inside WSL" if platform.wsl else ""),
            changes="the driver of Windows",
        )
    major = minimum.partition(".")[0]
    commands = {
        "ubuntu": ["sudo apt update", "sudo ubuntu-drivers list", "sudo ubuntu-drivers install", "sudo reboot"],
        "fedora": ["sudo dnf upgrade --refresh", "sudo reboot"],
        "arch": ["sudo pacman -Syu", "sudo reboot"],
    }.get(platform.distribution or "", [])
    return Remedy(
        action=f"Update the NVIDIA driver to {minimum} or newer (branch {major} or later), then restart",
        commands=commands,
        changes="the system's kernel modules and driver libraries",
    )


def reset_gpu(gpu: Gpu) -> Remedy:
    """Return how one GPU is reset once nothing uses it."""
    place = gpu.index if gpu.index is not None else gpu.pci_address or 0
    return Remedy(
        action="End the programs on this GPU and reset it; where the reset is refused, restart the machine",
        commands=[f"sudo nvidia-smi --gpu-reset -i {place}"],
        changes="ends every program on the GPU; GPUs that NVLink connects are reset together",
    )


RESTART_PLAIN = Remedy(action="Restart the machine", commands=["sudo reboot"], changes="ends every running program")


POWER_CYCLE = [
    Remedy(
        action="Power the machine off and on (a restart alone often leaves the card unpowered or lost); then check the "
        "card's seat, its power cables and its temperature",
        commands=["sudo poweroff"],
        changes="ends every running program",
    )
]


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


def after_hang(facts: Facts) -> list[Remedy]:
    """Return what to do about a driver that does not come back."""
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
        "driver-hung": after_hang(facts),
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
