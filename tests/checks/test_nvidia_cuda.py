"""What is said of frameworks' builds beside a driver and a card."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace
from nvidia_facts import BUS, CARD, DRIVER, GPU, NVML, PYTHON, TORCH, UBUNTU, first, report

from envcheck.checks.cuda_devices import visible
from envcheck.facts import (
    ComputeDevice,
    CudaToolkits,
    Framework,
    Gpu,
    GpuProcess,
    Library,
    MigInstance,
    Package,
    Packages,
    Pci,
    Platform,
    Toolkit,
    Variables,
)
from envcheck.report import Severity

TENSORFLOW = Framework(name="tensorflow", metadata_version="2.18.0", distribution="tensorflow", state="not-imported")
IMPORTED = Framework(
    name="torch",
    metadata_version="2.9.0",
    version="2.9.0+cu128",
    state="ok",
    accelerator="cuda",
    cuda="12.8",
    architectures=["sm_70", "sm_75", "sm_80", "sm_86", "sm_90", "sm_100", "sm_120"],
    sees_gpu=True,
    devices=[ComputeDevice(name="cuda:0", kind="cuda", computed=True)],
)


def with_driver(version: str, cuda: str = "12.0") -> dict[str, Any]:
    return {
        "nvml": replace(NVML, driver_version=version, cuda_version=cuda),
        "driver": replace(DRIVER, module_version=version, library_version=version, libraries=[]),
    }


def test_an_imported_torch_that_computes_on_the_gpu_hears_nothing() -> None:
    assert report("torch.cuda", torch=IMPORTED).findings == []


def test_a_driver_too_old_for_torch_is_named_with_a_build_that_runs_on_it() -> None:
    changes = with_driver("470.256.02", "11.4")
    changes["nvml"] = replace(
        changes["nvml"], gpus=[replace(GPU, name="NVIDIA GeForce RTX 3090", compute_capability="8.6")]
    )
    found = first(torch=replace(TORCH, metadata_version="2.6.0+cu124"), **changes)
    assert (found.cause, found.severity) == ("driver-too-old", Severity.ERROR)
    assert "470.256.02" in found.title
    assert "525" in found.title
    assert any("torch==" in command and "cu11" in command for remedy in found.remedies for command in remedy.commands)


def test_any_driver_of_the_same_cuda_major_is_new_enough() -> None:
    for version in ("525.60.13", "535.183.01", "550.54.14"):
        assert report(torch=replace(TORCH, metadata_version="2.6.0+cu124"), **with_driver(version)).findings == []


def test_a_driver_too_old_for_tensorflow_is_named() -> None:
    found = first(torch=None, tensorflow=TENSORFLOW, **with_driver("470.256.02", "11.4"))
    assert (found.cause, found.check) == ("driver-too-old", "driver-supports-tensorflow")


LINUX = {"platform_system": "Linux", "platform_machine": "x86_64", "python_version": "3.11"}


@pytest.mark.parametrize(
    ("line", "cuda"),
    [
        # As torch 2.8.0, 2.6.0 and 2.14.1 have it; what another framework brings is no requirement of torch's.
        (
            'nvidia-cuda-runtime-cu12==12.8.90; platform_system == "Linux" and platform_machine == "x86_64"',
            "CUDA 12.8",
        ),
        (
            'nvidia-cuda-runtime-cu12 (==12.4.127) ; platform_system == "Linux" and platform_machine == "x86_64"',
            "CUDA 12.4",
        ),
        ('cuda-toolkit[cublas,cudart,nvtx]==13.0.3; platform_system == "Linux"', "CUDA 13.0"),
    ],
)
def test_a_torch_that_no_table_has_is_told_by_the_runtime_that_its_metadata_pins(line: str, cuda: str) -> None:
    unknown = replace(TORCH, metadata_version="2.99.0")
    packages = Packages(installed=[Package(name="torch", version="2.99.0", requires=[line])], markers=LINUX)
    found = first(torch=unknown, packages=packages, **with_driver("470.256.02", "11.4"))
    assert (found.cause, found.check) == ("driver-too-old", "driver-supports-torch")
    assert cuda in found.title
    assert any(line.partition(";")[0] in evidence.source for evidence in found.evidence)


@pytest.mark.parametrize(
    "packages",
    [
        Packages(installed=[Package(name="torch", version="2.99.0")], markers=LINUX),
        Packages(
            installed=[
                Package(name="torch", version="2.99.0"),
                Package(name="nvidia-cuda-runtime-cu12", version="12.8.90"),
            ],
            markers=LINUX,
        ),
        Packages(
            installed=[
                Package(
                    name="torch",
                    version="2.99.0",
                    requires=['nvidia-cuda-runtime-cu12==12.8.90; platform_machine == "x86_64"'],
                )
            ],
            markers={**LINUX, "platform_machine": "aarch64"},
        ),
    ],
    ids=["nothing is pinned", "another brought the runtime", "the pin is for another processor"],
)
def test_a_torch_whose_cuda_nobody_knows_is_not_judged_and_not_called_healthy(packages: Packages) -> None:
    judged = report(
        torch=replace(TORCH, metadata_version="2.99.0"), packages=packages, **with_driver("470.256.02", "11.4")
    )
    assert "driver-too-old" not in {finding.cause for finding in judged.findings}
    (outcome,) = [one for one in judged.checks if one.check == "driver-supports-torch"]
    assert outcome.outcome.value == "skip"


def test_a_forward_compatibility_package_makes_an_old_driver_do() -> None:
    compat = Library(name="libcuda.so.1", path="/usr/local/cuda/compat/libcuda.so.550.54.15", version="550.54.15")
    card = replace(GPU, name="NVIDIA A100-SXM4-40GB", compute_capability="8.0")
    found = report(
        torch=replace(TORCH, metadata_version="2.6.0+cu124"),
        nvml=replace(NVML, driver_version="470.256.02", gpus=[card]),
        driver=replace(DRIVER, module_version="470.256.02", library_version="470.256.02", libraries=[compat]),
    )
    assert found.findings == []


def test_a_forward_compatibility_package_on_a_geforce_card_is_the_fault() -> None:
    compat = Library(name="libcuda.so.1", path="/usr/local/cuda/compat/libcuda.so.590.44.01", version="590.44.01")
    found = first(driver=replace(DRIVER, libraries=[compat, *(DRIVER.libraries or [])]))
    assert found.cause == "libcuda-stub-or-duplicate"


def test_a_card_that_is_too_new_for_the_build_is_told_a_release_that_has_code_for_it() -> None:
    card = replace(GPU, name="NVIDIA GeForce RTX 5090", compute_capability="12.0")
    found = first(torch=replace(TORCH, metadata_version="2.5.1+cu124"), nvml=replace(NVML, gpus=[card]))
    assert (found.cause, found.severity) == ("gpu-arch-not-in-build", Severity.ERROR)
    assert "compute capability 12.0" in found.title
    command = found.remedies[0].commands[0]
    assert command.startswith("/home/me/.venv/bin/python -m pip install")
    assert "torch==" in command
    assert found.remedies[0].safe


def test_a_card_that_is_too_old_for_the_build_is_named_by_the_builds_own_list() -> None:
    card = replace(GPU, name="NVIDIA GeForce GTX 1080", compute_capability="6.1")
    seen = replace(IMPORTED, devices=[ComputeDevice(name="cuda:0", kind="cuda", computed=False, error="x")])
    found = first(torch=seen, nvml=replace(NVML, gpus=[card], driver_version="580.95.05"))
    assert (found.cause, found.confidence.value) == ("gpu-arch-not-in-build", "certain")
    assert [consequence.check for consequence in found.consequences] == ["torch-computes"]


def test_one_card_of_two_without_code_is_a_warning() -> None:
    old = replace(GPU, index=1, name="Tesla K80", compute_capability="3.7", pci_address="0000:02:00.0")
    bus = Pci(devices=[CARD, replace(CARD, address="0000:02:00.0")])
    found = first(torch=replace(IMPORTED, devices=[]), nvml=replace(NVML, gpus=[GPU, old]), pci=bus)
    assert (found.cause, found.severity) == ("gpu-arch-not-in-build", Severity.WARNING)


def test_a_cpu_build_beside_a_gpu_is_a_warning_and_an_error_where_cuda_is_required() -> None:
    cpu = replace(TORCH, metadata_version="2.9.0+cpu")
    assert (first(torch=cpu).cause, first(torch=cpu).severity) == ("cpu-only-build", Severity.WARNING)
    required = first("torch.cuda", torch=cpu)
    assert (required.severity, required.required) == (Severity.ERROR, True)
    assert "--index-url https://download.pytorch.org/whl/cu" in required.remedies[0].commands[0]


def test_a_cpu_build_of_one_framework_is_only_a_note_where_the_other_computes_on_the_gpu() -> None:
    found = first(torch=IMPORTED, tensorflow=replace(TENSORFLOW, distribution="tensorflow-cpu"))
    assert (found.cause, found.severity) == ("cpu-only-build", Severity.NOTE)


def test_a_cpu_build_on_a_machine_without_a_gpu_is_right() -> None:
    plain = report(torch=replace(TORCH, metadata_version="2.9.0+cpu"), pci=Pci(devices=[]), driver=None, nvml=None)
    assert plain.findings == []


def test_a_rocm_build_on_an_nvidia_machine_is_for_another_accelerator() -> None:
    found = first(torch=replace(TORCH, metadata_version="2.9.0+rocm6.4"))
    assert found.cause == "wrong-accelerator-build"


def test_tensorflow_on_native_windows_is_sent_to_wsl() -> None:
    found = first(
        "tensorflow.gpu",
        platform=Platform(system="Windows", machine="AMD64", container="", wsl=0),
        pci=None,
        driver=None,
        python=replace(PYTHON, machine="AMD64"),
        torch=None,
        tensorflow=TENSORFLOW,
    )
    assert found.cause == "cpu-only-build"
    assert any("wsl" in command for remedy in found.remedies for command in remedy.commands)


def test_a_framework_that_sees_no_gpu_repeats_what_cuda_said() -> None:
    blind = replace(
        IMPORTED,
        sees_gpu=False,
        devices=[],
        gpu_error="CUDA unknown error. Error 802: system not yet initialized",
    )
    found = first(torch=blind)
    assert (found.cause, found.check) == ("fabric-manager-down", "torch-sees-gpu")


def test_tensorflow_without_its_cuda_libraries_is_told_the_extra_that_brings_them() -> None:
    blind = Framework(
        name="tensorflow",
        metadata_version="2.18.0",
        version="2.18.0",
        distribution="tensorflow",
        state="ok",
        accelerator="cuda",
        cuda="12.5",
        sees_gpu=False,
        gpu_error="Cannot dlopen some GPU libraries. Please make sure the missing libraries are installed",
    )
    found = first(torch=None, tensorflow=blind)
    assert found.cause == "cuda-libraries-missing"
    assert "[and-cuda]" in found.remedies[0].commands[0]


def test_a_gpu_taken_by_another_program_is_the_cause_of_a_failed_computation() -> None:
    full = replace(
        GPU,
        memory_used_bytes=int(23.9 * 2**30),
        memory_free_bytes=2**27,
        processes=[GpuProcess(process_id=4711, name="python3", memory_bytes=23 * 2**30)],
    )
    failed = [ComputeDevice(name="cuda:0", kind="cuda", computed=False, error="CUDA error: out of memory")]
    found = first(torch=replace(IMPORTED, devices=failed), nvml=replace(NVML, gpus=[full]))
    assert found.cause == "gpu-in-use"
    assert found.severity is Severity.ERROR
    assert "4711" in str(found)


def test_what_envcheck_itself_holds_on_the_gpu_is_not_held_against_the_user() -> None:
    ours = replace(
        GPU,
        memory_used_bytes=20 * 2**30,
        processes=[GpuProcess(process_id=9, memory_bytes=19 * 2**30, ours=True)],
    )
    assert report(torch=IMPORTED, nvml=replace(NVML, gpus=[ours])).findings == []


def test_cudnn_that_dropped_the_card_is_told_the_last_one_that_works() -> None:
    card = replace(GPU, name="Tesla V100-SXM2-16GB", compute_capability="7.0")
    torch = replace(IMPORTED, cudnn="9.11.0", devices=[], sees_gpu=True)
    found = first(torch=torch, nvml=replace(NVML, gpus=[card]))
    assert found.cause == "cudnn-version-mismatch"
    assert "nvidia-cudnn-cu12==9.10" in found.remedies[0].commands[0]


def test_a_toolkit_of_another_major_version_is_a_note_for_those_who_compile() -> None:
    toolkits = CudaToolkits(
        toolkits=[Toolkit(path="/usr/local/cuda-11.8", version="11.8", has_nvcc=True)],
        cuda_home="",
        nvcc_path="/usr/local/cuda-11.8/bin/nvcc",
        nvcc_version="11.8",
        host_compiler="gcc 11.4.0",
    )
    found = first(torch=IMPORTED, toolkits=toolkits)
    assert (found.cause, found.severity) == ("toolkit-version-mismatch", Severity.NOTE)


def test_a_gcc_that_nvcc_refuses_is_a_note() -> None:
    toolkits = CudaToolkits(
        toolkits=[], cuda_home="", nvcc_path="/x/nvcc", nvcc_version="12.4", host_compiler="gcc 14.2.0"
    )
    found = first(torch=IMPORTED, toolkits=toolkits)
    assert (found.cause, found.severity) == ("host-compiler-unsupported", Severity.NOTE)


GPUS = [
    Gpu(index=0, uuid="GPU-aaaa-1", mig_instances=[MigInstance(uuid="MIG-cccc")]),
    Gpu(index=1, uuid="GPU-aabb-2"),
]


@pytest.mark.parametrize(
    ("value", "named", "wrong"),
    [
        ("0,1", ["0", "1"], ""),
        ("1", ["1"], ""),
        ("2", [], "2"),
        ("0,7,1", ["0"], "7"),
        ("-1", [], "-1"),
        ("", [], ""),
        ("GPU-aaaa", ["GPU-aaaa"], ""),
        ("GPU-aa", [], "GPU-aa"),
        ("MIG-cccc", ["MIG-cccc"], ""),
        ("MIG-GPU-aaaa-1/3/0", ["MIG-GPU-aaaa-1/3/0"], ""),
        ("0,0", [], "0"),
        ("all", [], "all"),
    ],
)
def test_visible_devices_are_read_as_cuda_reads_them(value: str, named: list[str], wrong: str) -> None:
    assert visible(value, GPUS) == (named, wrong)


def test_a_wrong_entry_that_leaves_a_gpu_is_a_warning() -> None:
    found = first(variables=Variables(values={"CUDA_VISIBLE_DEVICES": "0,5"}))
    assert (found.cause, found.severity) == ("visible-devices-masked", Severity.WARNING)


def test_debugging_variables_left_over_are_a_note() -> None:
    found = first(variables=Variables(values={"CUDA_LAUNCH_BLOCKING": "1"}))
    assert found.severity is Severity.NOTE


def test_a_uv_environment_is_mended_with_uv() -> None:
    found = first(
        torch=replace(TORCH, metadata_version="2.9.0+cpu"),
        python=replace(PYTHON, environment_kind="uv", pip_version=""),
        packages=Packages(installed=[Package(name="torchvision", version="0.24.0")]),
    )
    command = found.remedies[0].commands[0]
    assert command.startswith("uv pip install --python /home/me/.venv/bin/python")
    assert "--reinstall-package torchvision" in command


def test_a_conda_build_is_not_taken_for_the_wheel_of_that_version() -> None:
    packages = Packages(installed=[Package(name="torch", version="2.9.0", installer="conda")])
    assert report(packages=packages, platform=UBUNTU, pci=BUS).findings == []
