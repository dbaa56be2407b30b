"""GPUs of AMD, Intel and Apple: driver, permission, and a build of the framework for them."""

from __future__ import annotations

from collections.abc import Iterator

from envcheck.check import check
from envcheck.checks.nvidia_context import (
    accelerator_of,
    gpus_on_bus,
    in_container,
    in_wsl,
    label,
    version_of,
)
from envcheck.checks.nvidia_remedies import install_framework
from envcheck.facts import Facts, Framework, OtherAccelerators, need
from envcheck.intent import Intent
from envcheck.report import Confidence, Evidence, Finding, Remedy, Severity, seen

ROCM_GUIDE = "https://rocm.docs.amd.com/projects/install-on-linux/en/latest/"
XPU_GUIDE = "https://docs.pytorch.org/docs/stable/notes/get_start_xpu.html"
MPS_GUIDE = "https://developer.apple.com/metal/pytorch/"

ROCM_CONSEQUENCES = ["torch-sees-its-accelerator", "torch-computes", "tensorflow-computes"]


def requires(intent: Intent, name: str) -> bool:
    """Tell whether declared intent names something."""
    return any(requirement.text.strip().lower() == name for requirement in intent.requirements)


def wants_rocm(facts: Facts, intent: Intent) -> bool:
    """Tell whether something here is to compute with ROCm."""
    builds = [accelerator_of(framework, facts) for framework in (facts.torch, facts.tensorflow) if framework]
    return "rocm" in builds or requires(intent, "torch.rocm")


@check(area="accelerators", causes=["rocm-mismatch"])
def rocm_driver_is_there(accelerators: OtherAccelerators, facts: Facts, intent: Intent) -> Iterator[Finding]:
    """Where ROCm is to be used, the kernel driver amdgpu offers /dev/kfd.

    Why: ROCm reaches AMD GPUs through that one device file; it is missing where amdgpu is not loaded or was built
    without compute support, and in a container that was started without it.
    If not: load amdgpu or install AMD's driver; start the container with --device /dev/kfd --device /dev/dri.
    Source: ROCm documentation, "Prerequisites" and "Running ROCm Docker containers".
    """
    if not wants_rocm(facts, intent) or accelerators.amd_kfd is not None or in_wsl(facts):
        return
    if not need(accelerators.amd_devices, "accelerators.amd_devices"):
        return
    container = in_container(facts)
    yield Finding(
        cause="rocm-mismatch",
        severity=Severity.ERROR,
        confidence=Confidence.LIKELY,
        title="There is an AMD GPU, and /dev/kfd, through which ROCm reaches it, is missing",
        evidence=seen(accelerators, "amd_devices", "amd_kernel_driver", "rocm_version"),
        explains=ROCM_CONSEQUENCES,
        remedies=[
            Remedy(
                action="Start the container with the GPU's device files",
                commands=["docker run --device /dev/kfd --device /dev/dri --group-add video --group-add render IMAGE"],
                changes="how the container is started",
            )
            if container
            else Remedy(
                action="Load the kernel driver; where it is not there, install AMD's",
                commands=["sudo modprobe amdgpu", "ls -l /dev/kfd"],
                changes="loads a kernel module",
            )
        ],
        links=[ROCM_GUIDE],
    )


@check(area="accelerators", causes=["rocm-permission"])
def rocm_devices_are_accessible(accelerators: OtherAccelerators, facts: Facts, intent: Intent) -> Iterator[Finding]:
    """Where ROCm is to be used, this user may open /dev/kfd and the render nodes.

    Why: they belong to the group render (older systems: video); without it, rocminfo and PyTorch see no GPU.
    If not: join both groups and log in anew; in a container, add the groups by the numbers that the host uses.
    Source: ROCm documentation, "Prerequisites", "Setting permissions for groups".
    """
    if not wants_rocm(facts, intent):
        return
    nodes = [node for node in [accelerators.amd_kfd, *(accelerators.render_nodes or [])] if node]
    closed = [node for node in nodes if node.accessible is False]
    kfd_closed = accelerators.amd_kfd is not None and accelerators.amd_kfd.accessible is False
    if not closed or (not kfd_closed and len(closed) < len(accelerators.render_nodes or [])):
        return
    groups = facts.platform.user_groups if facts.platform else None
    yield Finding(
        cause="rocm-permission",
        severity=Severity.ERROR,
        title=f"This user may not open {closed[0].path}",
        evidence=[
            *(Evidence(f"{node.path} mode {node.mode} group {node.group}", node.path) for node in closed[:4]),
            *([Evidence(f"groups of this user: {', '.join(groups)}", "id")] if groups is not None else []),
        ],
        explains=ROCM_CONSEQUENCES,
        remedies=[
            Remedy(
                action="Start the container with the groups of the device files",
                commands=[
                    f"docker run --device /dev/kfd --device /dev/dri --group-add {closed[0].group or 'render'} IMAGE"
                ],
                changes="how the container is started",
            )
            if in_container(facts)
            else Remedy(
                action="Join the groups render and video, then log out and in",
                commands=['sudo usermod -aG render,video "$USER"'],
                changes="the groups of this user",
            )
        ],
        links=[ROCM_GUIDE],
    )


@check(area="accelerators", causes=["gpu-arch-not-in-build"])
def amd_target_is_in_torch(accelerators: OtherAccelerators, torch: Framework, facts: Facts) -> Iterator[Finding]:
    """PyTorch's build for ROCm has code for the AMD GPU.

    Why: builds hold code for a list of gfx targets; on another one the first kernel ends with "invalid device
    function" or hipErrorNoBinaryForGpu.
    If not: a build that has the target; for a near relative in the same family HSA_OVERRIDE_GFX_VERSION is used, at
    one's own risk.
    Source: PyTorch's builds for ROCm; ROCm documentation, "System requirements"; table rocm.
    """
    if accelerator_of(torch, facts) != "rocm" or any(
        device.computed and device.kind == "rocm" for device in torch.devices or []
    ):
        return
    targets = need(accelerators.amd_targets, "accelerators.amd_targets")
    from envcheck.compat import amd

    build = torch.architectures or amd.gfx_in_wheels(torch.rocm)
    if not build or not targets:
        return
    known = {name.partition(":")[0] for name in build}
    missing = [target for target in targets if target not in known]
    if not missing or len(missing) < len(targets):
        return
    remedy = install_framework(torch, facts, accelerator="rocm")
    yield Finding(
        cause="gpu-arch-not-in-build",
        severity=Severity.ERROR,
        confidence=Confidence.CERTAIN if torch.architectures else Confidence.LIKELY,
        title=f"{label(torch)} has no code for {', '.join(missing)}",
        evidence=[
            Evidence(f"code in the build: {', '.join(build)}", torch.sources.get("architectures", "table: rocm")),
            *seen(accelerators, "amd_targets", "amd_devices"),
        ],
        explains=ROCM_CONSEQUENCES,
        remedies=[remedy] if remedy else [],
        links=[ROCM_GUIDE],
    )


@check(area="accelerators", causes=["wrong-accelerator-build", "cpu-only-build"])
def torch_build_suits_the_accelerator(
    accelerators: OtherAccelerators, torch: Framework, facts: Facts, intent: Intent
) -> Iterator[Finding]:
    """On a machine whose GPU is AMD's or Intel's, PyTorch is a build for it.

    Why: the default wheel for Linux is for CUDA and cannot use another maker's GPU; it says only that no NVIDIA driver
    was found.
    If not: install from PyTorch's index for ROCm or XPU. Where the CPU is meant, nothing has to be done.
    Source: PyTorch, "Get Started"; table rocm.
    """
    kind = accelerator_of(torch, facts)
    if kind is None or gpus_on_bus(facts.pci) or kind == "mps":
        return
    amd = [name for name in accelerators.amd_devices or [] if not name.startswith("1002:")]
    required_amd, required_intel = requires(intent, "torch.rocm"), requires(intent, "torch.xpu")
    wanted = (
        "rocm" if amd or (required_amd and accelerators.amd_devices) else "xpu" if accelerators.intel_devices else None
    )
    if wanted is None or kind == wanted:
        return
    required = required_amd if wanted == "rocm" else required_intel
    remedy = install_framework(torch, facts, accelerator="rocm") if wanted == "rocm" else _xpu_build()
    yield Finding(
        cause="cpu-only-build" if kind == "cpu" else "wrong-accelerator-build",
        severity=Severity.ERROR if required else Severity.NOTE,
        confidence=Confidence.CERTAIN if torch.accelerator else Confidence.LIKELY,
        required=required,
        title=f"{label(torch)} is a build for {kind}, and the GPU here needs one for {wanted}",
        evidence=[*seen(torch, "accelerator", "metadata_version"), *seen(accelerators, "amd_devices", "intel_devices")],
        explains=["torch-sees-gpu", *ROCM_CONSEQUENCES],
        remedies=[remedy] if remedy else [],
        links=[ROCM_GUIDE if wanted == "rocm" else XPU_GUIDE],
    )


def _xpu_build() -> Remedy:
    return Remedy(
        action="Install PyTorch's build for Intel GPUs",
        commands=["python -m pip install --force-reinstall torch --index-url https://download.pytorch.org/whl/xpu"],
        changes="PyTorch in the environment under test",
    )


@check(area="accelerators", causes=["rocm-mismatch", "xpu-runtime-missing"])
def torch_sees_its_accelerator(accelerators: OtherAccelerators, torch: Framework, facts: Facts) -> Iterator[Finding]:
    """A build of PyTorch for ROCm or XPU sees the GPU that it is for.

    Why: where device files and permissions are right, user space and kernel driver do not fit (ROCm), or the runtime
    that drives the GPU is missing or old (Intel's compute runtime with Level Zero).
    If not: bring AMD's kernel driver to a release that serves the build's ROCm, or install Intel's compute runtime.
    Source: ROCm documentation, "User and kernel-space support matrix"; PyTorch documentation, "Getting Started on
    Intel GPU".
    """
    kind = accelerator_of(torch, facts)
    if kind not in {"rocm", "xpu"} or torch.state != "ok" or need(torch.sees_gpu, "torch.sees_gpu"):
        return
    devices = accelerators.amd_devices if kind == "rocm" else accelerators.intel_devices
    if not devices:
        return
    runtime = accelerators.intel_runtime
    words = torch.gpu_error or ""
    yield Finding(
        cause="rocm-mismatch" if kind == "rocm" else "xpu-runtime-missing",
        severity=Severity.ERROR,
        confidence=Confidence.CERTAIN if kind == "xpu" and runtime is False else Confidence.LIKELY,
        title=f"{label(torch)} sees no GPU, and {devices[0]} is here"
        + ("; Intel's compute runtime is not installed" if kind == "xpu" and runtime is False else ""),
        evidence=[
            *seen(accelerators, *(["amd_kernel_driver", "rocm_version"] if kind == "rocm" else ["intel_runtime"])),
            *seen(torch, "rocm", "sees_gpu"),
            *([Evidence(words[:400], "torch")] if words else []),
        ],
        explains=["torch-computes"],
        remedies=[
            Remedy(
                action="Bring AMD's kernel driver to a release that serves this version of ROCm, then restart",
                commands=["rocminfo", "dpkg -l amdgpu-dkms"],
                changes="the system's driver",
            )
            if kind == "rocm"
            else Remedy(
                action="Install Intel's compute runtime and the Level Zero loader",
                commands=["sudo apt install libze1 libze-intel-gpu1 intel-opencl-icd"]
                if facts.platform and facts.platform.distribution in {"ubuntu", "debian"}
                else [],
                changes="system packages",
            )
        ],
        links=[ROCM_GUIDE if kind == "rocm" else XPU_GUIDE],
    )


@check(area="accelerators", causes=["mps-unsupported"])
def macos_supports_metal_for_torch(torch: Framework, facts: Facts, intent: Intent) -> Iterator[Finding]:
    """On a Mac with an Apple chip, PyTorch's Metal backend can run.

    Why: it needs macOS 12.3 or later, from PyTorch 2.11 on macOS 14; an interpreter that runs under Rosetta has no GPU.
    If not: update macOS, or install an older PyTorch.
    Source: Apple, "Accelerated PyTorch training on Mac"; table macos.
    """
    if (
        facts.platform is None
        or facts.platform.system != "Darwin"
        or any(device.kind == "mps" and device.computed for device in torch.devices or [])
    ):
        return
    from envcheck.compat import apple

    machine = facts.platform.machine or ""
    supported = apple.mps(version_of(torch), facts.platform.distribution_version, machine)
    intel = facts.accelerators is not None and facts.accelerators.apple_chip == ""
    required = requires(intent, "torch.mps")
    if intel and not required:
        return
    if supported is not False and not (required and (intel or torch.sees_gpu is False)):
        return
    least = apple.minimum_macos_for_mps(version_of(torch))
    yield Finding(
        cause="mps-unsupported",
        severity=Severity.ERROR if required else Severity.NOTE,
        confidence=Confidence.CERTAIN if supported is False else Confidence.LIKELY,
        required=required,
        title=f"{label(torch)} cannot use the GPU of this Mac"
        + (
            f": it needs macOS {least}, this is {facts.platform.distribution_version}"
            if supported is False and least
            else ""
        ),
        evidence=[
            *seen(facts.platform, "distribution_version", "machine"),
            *(seen(facts.accelerators, "apple_chip") if facts.accelerators else []),
        ],
        explains=["torch-computes"],
        remedies=[Remedy(action=f"Update macOS to {least} or later", changes="the operating system")] if least else [],
        links=[MPS_GUIDE],
    )
