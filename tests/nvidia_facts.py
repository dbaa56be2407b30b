"""A healthy Ubuntu workstation with one NVIDIA GPU as facts, and how it is judged when something changes."""

from __future__ import annotations

from typing import Any

from envcheck.check import Check, all_checks
from envcheck.doctor import diagnose
from envcheck.facts import (
    DeviceNode,
    Facts,
    Framework,
    Gpu,
    KernelLog,
    KernelMessage,
    Library,
    NvidiaDriver,
    Nvml,
    Packages,
    Pci,
    PciDevice,
    Platform,
    Python,
    Variables,
)
from envcheck.intent import Intent
from envcheck.report import CheckOutcome, Finding, Report, Requirement

UBUNTU = Platform(
    system="Linux",
    machine="x86_64",
    kernel_release="6.8.0-45-generic",
    distribution="ubuntu",
    distribution_version="22.04",
    libc="glibc",
    libc_version="2.35",
    container="",
    wsl=0,
    virtual_machine="",
    secure_boot=False,
    user_id=1000,
    user_groups=["me"],
)
CARD = PciDevice(
    address="0000:01:00.0",
    vendor_id="10de",
    device_id="2684",
    class_code="0300",
    driver="nvidia",
    name="NVIDIA GeForce RTX 4090",
)
BUS = Pci(devices=[CARD])
NODES = [
    DeviceNode(path=path, mode="0666", group="root", accessible=True)
    for path in ("/dev/nvidia-uvm", "/dev/nvidia0", "/dev/nvidiactl")
]
FOLDER = "/usr/lib/x86_64-linux-gnu"
DRIVER = NvidiaDriver(
    module_loaded=True,
    module_version="580.95.05",
    module_flavour="open",
    uvm_loaded=True,
    nouveau_loaded=False,
    device_nodes=NODES,
    libraries=[
        Library(name="libcuda.so.1", path=f"{FOLDER}/libcuda.so.580.95.05", version="580.95.05"),
        Library(name="libnvidia-ml.so.1", path=f"{FOLDER}/libnvidia-ml.so.580.95.05", version="580.95.05"),
    ],
    library_version="580.95.05",
    smi_path="/usr/bin/nvidia-smi",
    smi_state="ok",
    smi_exit_code=0,
)
GPU = Gpu(
    index=0,
    name="NVIDIA GeForce RTX 4090",
    uuid="GPU-1",
    pci_address="0000:01:00.0",
    compute_capability="8.9",
    memory_total_bytes=24 * 2**30,
    memory_used_bytes=2**29,
    memory_free_bytes=23 * 2**30,
    utilization_percent=0,
    temperature_celsius=40,
)
NVML = Nvml(state="ok", driver_version="580.95.05", cuda_version="13.0", gpus=[GPU])
PYTHON = Python(
    path="/home/me/.venv/bin/python", version="3.12.4", environment_kind="venv", machine="x86_64", pip_version="24.0"
)
TORCH = Framework(name="torch", metadata_version="2.9.0", distribution="torch", state="not-imported")
HEALTHY = {
    "platform": UBUNTU,
    "pci": BUS,
    "driver": DRIVER,
    "nvml": NVML,
    "python": PYTHON,
    "torch": TORCH,
    "packages": Packages(installed=[]),
    "variables": Variables(values={}),
    "kernel_log": KernelLog(readable=True, messages=[]),
}

AREAS = {"driver", "gpu", "gpu health", "cuda", "kernel log", "accelerators", "torch", "tensorflow"}
CHECKS: list[Check] = [check for check in all_checks() if check.area in AREAS]

NOT_LOADED = Nvml(state="NVML_ERROR_DRIVER_NOT_LOADED", gpus=None)


def report(*requirements: str, **changes: Any) -> Report:
    """Judge a healthy machine with changes."""
    facts = Facts(**{**HEALTHY, **changes})
    result = diagnose(facts, [], CHECKS, Intent(requirements=[Requirement(text=text) for text in requirements]))
    assert not [check for check in result.checks if check.outcome is CheckOutcome.CRASH], result.checks
    return result


def first(*requirements: str, **changes: Any) -> Finding:
    findings = report(*requirements, **changes).findings
    assert findings, "nothing was found"
    return findings[0]


def log(*lines: tuple[str, str], source: str = "dmesg", **more: Any) -> KernelLog:
    return KernelLog(
        readable=True, messages=[KernelMessage(kind=kind, text=text, source=source, **more) for kind, text in lines]
    )
