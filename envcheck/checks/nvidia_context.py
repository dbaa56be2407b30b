"""What several checks of GPUs ask of the facts; no checks stand here."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from envcheck.facts import (
    Facts,
    Framework,
    Gpu,
    NvidiaDriver,
    Nvml,
    Pci,
    PciDevice,
    Platform,
)
from envcheck.intent import Intent
from envcheck.report import Evidence, Severity

if TYPE_CHECKING:
    from envcheck.compat.build import Build
    from envcheck.compat.target import Target


GPU_UNUSABLE = [
    "driver-module-is-loaded",
    "nvml-answers",
    "nvidia-smi-answers",
    "gpus-on-bus-are-reported",
    "required-gpu-*",
    "device-nodes-exist",
    "torch-sees-gpu",
    "tensorflow-sees-gpu",
    "*-computes",
    "no-message-tells-of-a-driver-fault",
    "no-message-tells-of-a-cuda-fault",
]
"""Checks whose findings follow from a driver that does not work."""


FRAMEWORK_GPU_UNUSABLE = [
    "torch-sees-gpu",
    "tensorflow-sees-gpu",
    "*-computes",
    "no-message-tells-of-a-cuda-fault",
]
"""Checks whose findings follow from a framework that cannot use a GPU that works."""


TITLES = {"torch": "PyTorch", "tensorflow": "TensorFlow", "keras": "Keras"}


NVIDIA_INSTALL_GUIDE = "https://docs.nvidia.com/datacenter/tesla/driver-installation-guide/"


NVIDIA_XID_GUIDE = "https://docs.nvidia.com/deploy/xid-errors/"


NVIDIA_COMPATIBILITY_GUIDE = "https://docs.nvidia.com/deploy/cuda-compatibility/"


NVIDIA_MEMORY_GUIDE = "https://docs.nvidia.com/deploy/a100-gpu-mem-error-mgmt/"


PYTORCH_INSTALL = "https://pytorch.org/get-started/locally/"


TENSORFLOW_INSTALL = "https://www.tensorflow.org/install/pip"


def gpus_on_bus(pci: Pci | None) -> list[PciDevice]:
    """Return NVIDIA's display and accelerator devices, without those that were handed to a virtual machine."""
    devices = pci.devices or [] if pci else []
    return [device for device in devices if device.vendor_id == "10de" and device.driver != "vfio-pci"]


def no_gpu_on_bus(pci: Pci | None) -> bool:
    """Tell whether it is known that the machine has no NVIDIA GPU."""
    return pci is not None and pci.devices is not None and pci.complete and not gpus_on_bus(pci)


def in_container(facts: Facts) -> bool:
    """Tell whether this is the inside of a container, where the host brings the driver."""
    return bool(facts.platform and facts.platform.container)


def in_wsl(facts: Facts) -> bool:
    """Tell whether Windows brings the driver."""
    return bool(facts.platform and facts.platform.wsl)


def working_gpus(facts: Facts) -> list[Gpu]:
    """Return the GPUs that the driver reports and that answer."""
    return [gpu for gpu in (facts.nvml.gpus or [] if facts.nvml else []) if gpu.state == "ok"]


def driver_version(facts: Facts) -> tuple[str, str] | None:
    """Return the version of the driver and where it was read; None where nothing tells it."""
    if facts.nvml and facts.nvml.driver_version:
        return facts.nvml.driver_version, facts.nvml.sources.get("driver_version", "NVML")
    driver = facts.driver
    for field in ("module_version", "smi_driver_version", "library_version") if driver else ():
        value = getattr(driver, field)
        if value and driver:
            return value, driver.sources.get(field, "")
    return None


def driver_installed(driver: NvidiaDriver) -> Evidence | None:
    """Return what shows that an NVIDIA driver is installed, loaded or not; None where nothing does."""
    for field, what in (
        ("library_version", "user-space libraries"),
        ("packages_version", "packages"),
        ("module_on_disk", "kernel module for the running kernel"),
        ("module_version", "loaded kernel module"),
    ):
        value = getattr(driver, field)
        if value:
            return Evidence(f"{what}: version {value}", driver.sources.get(field, ""))
    return None


def requires_gpu(intent: Intent) -> bool:
    """Tell whether declared intent asks for a GPU of NVIDIA."""
    for requirement in intent.requirements:
        name = re.match(r"[\w.-]+", requirement.text)
        if name and name[0].lower() in {"gpu-memory", "compute-capability", "driver", "cuda", "torch.cuda"}:
            return True
        if (
            name
            and name[0].lower() in {"gpus", "tensorflow.gpu"}
            and not re.search(r"<|[=>]\s*0\s*$", requirement.text)
        ):
            return True
    return False


def needs_cuda(facts: Facts, intent: Intent) -> bool:
    """Tell whether this environment is there to compute with CUDA: intent says so, or a framework's build does."""
    builds = [accelerator_of(framework, facts) for framework in (facts.torch, facts.tensorflow) if framework]
    return requires_gpu(intent) or "cuda" in builds


def gravity(facts: Facts, intent: Intent) -> Severity:
    """Return how grave a GPU is that cannot be used: an error where something here is to compute with it."""
    return Severity.ERROR if needs_cuda(facts, intent) else Severity.WARNING


def capabilities(facts: Facts) -> list[tuple[str, str, str]]:
    """Return (compute capability, name, source) of every NVIDIA GPU, from the driver, else by name or PCI id."""
    from envcheck.compat import gpus

    found = []
    for gpu in facts.nvml.gpus or [] if facts.nvml else []:
        capability = gpu.compute_capability or gpus.compute_capability_of_name(gpu.name)
        if capability:
            found.append((capability, gpu.name or "GPU", "NVML"))
    if found:
        return found
    for device in gpus_on_bus(facts.pci):
        capability = _capability_of_device(device)
        if capability:
            found.append((capability, device.name or f"PCI device {device.vendor_id}:{device.device_id}", "PCI id"))
    return found


def _capability_of_device(device: PciDevice) -> str | None:
    from envcheck.compat import gpus

    card = gpus.by_pci_id(device.device_id)
    if card and card.compute_capability:
        return card.compute_capability
    return gpus.compute_capability_of_name(device.name)


def version_of(framework: Framework) -> str | None:
    """Return the version of a framework, from its own words or from metadata."""
    return framework.version or framework.metadata_version


def target_of(facts: Facts, *, accelerator: str | None = None, cards: bool = True) -> Target:
    """Return the machine as the tables of builds want it; what is unknown is not judged."""
    from envcheck.compat.target import Target

    platform = facts.platform or Platform()
    system = "WSL" if platform.wsl else platform.system or "linux"
    driver = driver_version(facts)
    libc = platform.libc if platform.libc in {"glibc", "musl"} else None
    return Target(
        system=system.lower(),
        machine=(facts.python.machine if facts.python else None) or platform.machine or "x86_64",
        python=facts.python.version if facts.python else None,
        libc=libc,  # type: ignore[arg-type]
        glibc=platform.libc_version if libc == "glibc" else None,
        macos=platform.distribution_version if platform.system == "Darwin" else None,
        driver=driver[0] if driver else None,
        compute_capabilities=tuple(dict.fromkeys(entry[0] for entry in capabilities(facts))) if cards else (),
        gfx=tuple(facts.accelerators.amd_targets or ()) if facts.accelerators else (),
        accelerator=accelerator,  # type: ignore[arg-type]
    )


def build_of(framework: Framework, facts: Facts) -> Build | None:
    """Return the published build that a framework's version names; None where the tables do not know it.

    Conda's builds carry no local version, so that nothing can be said of theirs.
    """
    version = version_of(framework)
    if version is None or _from_conda(framework, facts) or facts.platform is None or not facts.platform.system:
        return None
    if framework.name == "torch":
        from envcheck.compat import torch

        return torch.build(version, target_of(facts, cards=False))
    if framework.name == "tensorflow":
        from envcheck.compat import tensorflow

        return tensorflow.build(version, target_of(facts, cards=False))
    return None


def _from_conda(framework: Framework, facts: Facts) -> bool:
    names = {framework.distribution or framework.name, framework.name}
    installed = facts.packages.installed or [] if facts.packages else []
    conda = set(facts.packages.conda_managed or []) if facts.packages else set()
    return any(package.name in names and package.installer == "conda" for package in installed) or bool(names & conda)


CPU_DISTRIBUTIONS = {"tensorflow-cpu", "tensorflow-intel", "tensorflow-cpu-aws", "intel-tensorflow"}


def accelerator_of(framework: Framework, facts: Facts) -> str | None:
    """Return what a framework was built for: `cpu`, `cuda`, `rocm`, `xpu`, `mps`; None where that is not known."""
    if framework.accelerator:
        return framework.accelerator
    if framework.cuda:
        return "cuda"
    if framework.rocm:
        return "rocm"
    local = (version_of(framework) or "").partition("+")[2]
    named = re.match(r"cpu|cu(?=\d)|rocm|xpu", local)
    if named:
        return {"cu": "cuda"}.get(named[0], named[0])
    if framework.distribution in CPU_DISTRIBUTIONS:
        return "cpu"
    if framework.distribution == "tensorflow-rocm":
        return "rocm"
    if required_runtime(framework, facts):
        return "cuda"
    build = build_of(framework, facts)
    return build.accelerator if build else None


def cuda_of(framework: Framework, facts: Facts) -> tuple[str, str] | None:
    """Return the CUDA version that a framework was built with, and where that is from; None where it is unknown."""
    name = framework.name or ""
    if framework.cuda:
        return framework.cuda, framework.sources.get("cuda", name)
    local = re.search(r"\+cu(\d+)(\d)$", version_of(framework) or "")
    if local:
        return f"{local[1]}.{local[2]}", framework.sources.get("metadata_version", f"version of {name}")
    if accelerator_of(framework, facts) != "cuda":
        return None
    required = required_runtime(framework, facts)
    if required:
        return required
    build = build_of(framework, facts)
    return (build.cuda, f"table: {build.package} {build.version}") if build and build.cuda else None


RUNTIME = re.compile(r"(?:nvidia-cuda-runtime(?:-cu\d+)?|cuda-toolkit)\s*(?:\[[^]]*\])?\s*\(?==\s*(\d+)\.(\d+)")
"""A wheel's requirement of the one CUDA runtime that it was built with: `nvidia-cuda-runtime-cu12==12.8.90`."""


def required_runtime(framework: Framework, facts: Facts) -> tuple[str, str] | None:
    """Return the CUDA version of the runtime that a framework's own metadata pins, and where that stands.

    PyTorch's wheels for Linux pin it exactly (torch 2.8: nvidia-cuda-runtime-cu12==12.8.90, torch 2.14:
    cuda-toolkit[…]==13.0.3), so that it is known also of a release that is in no table and has no local version. What
    is merely installed says nothing: another framework may have brought it. TensorFlow names a range, in an extra.
    """
    packages = facts.packages
    if framework.name != "torch" or packages is None:
        return None
    own = next((package for package in packages.installed or [] if package.name == "torch"), None)
    for line in own.requires if own else []:
        pinned = RUNTIME.match(line)
        if pinned and _holds_here(line.partition(";")[2].strip(), packages.markers):
            return f"{pinned[1]}.{pinned[2]}", f"metadata of torch {own.version if own else ''}: {line.split(';')[0]}"
    return None


def _holds_here(marker: str, environment: dict[str, str] | None) -> bool:
    """Tell whether a requirement's marker is known to hold in the interpreter under test."""
    if not marker:
        return True
    if not environment:
        return False
    from packaging.markers import InvalidMarker, Marker, UndefinedEnvironmentName

    try:
        return Marker(marker).evaluate({**environment, "extra": ""})
    except (InvalidMarker, UndefinedEnvironmentName):
        return False


def architectures_of(framework: Framework, facts: Facts) -> tuple[list[str], str]:
    """Return the architectures that a build has code for, and where that is from; empty where it is unknown."""
    if framework.architectures:
        return framework.architectures, framework.sources.get("architectures", framework.name or "")
    build = build_of(framework, facts)
    if build and build.verified and build.architectures:
        return list(build.architectures), f"table: {build.package} {build.version}"
    return [], ""


def label(framework: Framework) -> str:
    """Return a framework's name and version for people."""
    return f"{TITLES.get(framework.name or '', framework.name)} {version_of(framework) or ''}".strip()


def named(gpu: Gpu) -> str:
    """Return a GPU's number, name and place for people."""
    index = f"GPU {gpu.index}" if gpu.index is not None else "GPU"
    details = ", ".join(part for part in (gpu.name, gpu.pci_address) if part)
    return f"{index} ({details})" if details else index


def answers(nvml: Nvml | None) -> bool:
    """Tell whether the driver answers: whatever else looks wrong, it works."""
    return nvml is not None and nvml.state == "ok"
