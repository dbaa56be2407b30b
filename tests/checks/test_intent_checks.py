"""What a project declares and a machine lacks is an error, folded under its reason where one is known."""

from __future__ import annotations

import pytest

from envcheck.check import all_checks
from envcheck.doctor import diagnose
from envcheck.facts import (
    ComputeDevice,
    ContainerRuntime,
    Cpu,
    Facts,
    Framework,
    Gpu,
    Memory,
    NvidiaDriver,
    Nvml,
    Packages,
    Pci,
    PciDevice,
    Place,
    Python,
    Storage,
)
from envcheck.intent import NAMES, parse
from envcheck.report import Report, Verdict

SMALL = Facts(
    cpu=Cpu(allowed_cores=2, quota_cores=1.5),
    memory=Memory(total_bytes=2**34, cgroup_limit_bytes=2**30),
    storage=Storage(
        places=[
            Place(purpose="environment", path="/env", free_bytes=2**33, total_bytes=2**40),
            Place(purpose="shared memory", path="/dev/shm", total_bytes=2**26, free_bytes=2**26),
        ]
    ),
    python=Python(path="/env/bin/python", state="ok", version="3.11.7", environment_kind="venv", pip_version="25.0"),
    packages=Packages(installed=[]),
    pci=Pci(devices=[PciDevice(address="0000:01:00.0", vendor_id="10de", device_id="2684", driver="nvidia")]),
    nvml=Nvml(
        state="ok",
        driver_version="550.54.15",
        cuda_version="12.4",
        gpus=[Gpu(index=0, name="NVIDIA GeForce RTX 4090", compute_capability="8.9", memory_total_bytes=24 * 2**30)],
    ),
    torch=Framework(
        name="torch",
        state="ok",
        version="2.9.0+cpu",
        accelerator="cpu",
        sees_gpu=False,
        devices=[ComputeDevice(name="cpu", kind="cpu", computed=True)],
    ),
    containers=ContainerRuntime(docker_socket_accessible=False),
)

TOO_MUCH = {
    "gpus": "gpus>=2",
    "gpu-memory": "gpu-memory>=80GiB",
    "compute-capability": "compute-capability>=9.0",
    "driver": "driver>=580",
    "cuda": "cuda>=13.0",
    "memory": "memory>=8GiB",
    "disk": "disk>=100GiB",
    "shm": "shm>=8GiB",
    "cores": "cores>=8",
    "python": "python>=3.13",
    "torch": "torch>=3",
    "tensorflow": "tensorflow",
    "keras": "keras",
    "torch.cuda": "torch.cuda",
    "torch.rocm": "torch.rocm",
    "torch.mps": "torch.mps",
    "torch.xpu": "torch.xpu",
    "tensorflow.gpu": "tensorflow.gpu",
    "docker": "docker",
}


def report_on(facts: Facts, *required: str) -> Report:
    return diagnose(facts, [], all_checks(), parse(list(required), []))


@pytest.mark.parametrize("name", sorted(NAMES))
def test_what_was_declared_and_is_not_there_is_an_error_and_comes_first(name: str) -> None:
    report = report_on(SMALL, TOO_MUCH[name])
    assert report.requirements[0].state == "fails"
    assert report.verdict is Verdict.ERROR
    first = report.findings[0]
    assert first.required, first.title
    assert first.remedies


def test_the_summary_never_says_that_a_failing_requirement_holds() -> None:
    assert "hold" not in report_on(SMALL, "gpus>=2").summary
    assert "1 of 1 requirements hold" in report_on(Facts(pci=SMALL.pci, nvml=SMALL.nvml), "gpus>=1").summary


def test_a_missing_gpu_is_folded_under_the_driver_fault_that_hides_it() -> None:
    broken = Facts(
        pci=SMALL.pci,
        driver=NvidiaDriver(module_loaded=True, module_version="535.54.03", library_version="535.86.05"),
        nvml=Nvml(state="NVML_ERROR_LIB_RM_VERSION_MISMATCH", message="Driver/library version mismatch"),
    )
    report = report_on(broken, "gpus>=1")
    assert report.findings[0].cause == "driver-library-mismatch"
    assert any(found.check == "required-gpu-properties-hold" for found in report.findings[0].consequences)


def test_a_build_for_the_processor_is_why_torch_does_not_compute_on_the_gpu() -> None:
    report = report_on(SMALL, "torch.cuda")
    assert report.findings[0].cause == "cpu-only-build"
    assert len([found for found in report.findings if found.required]) == 1
