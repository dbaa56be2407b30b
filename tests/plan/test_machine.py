"""What of the facts decides a plan."""

from __future__ import annotations

import pytest

from envcheck.facts import (
    Facts,
    Gpu,
    NvidiaDriver,
    Nvml,
    OtherAccelerators,
    Pci,
    PciDevice,
    Platform,
    UnknownFactError,
    Variables,
)
from envcheck.machine import held_wheels, machine_of

LINUX = Platform(system="Linux", machine="x86_64", libc="glibc", libc_version="2.36", wsl=0)
TWO = [
    Gpu(index=0, name="NVIDIA GeForce GTX 1080", uuid="GPU-aa11", compute_capability="6.1", state="ok"),
    Gpu(index=1, name="NVIDIA GeForce RTX 3090", uuid="GPU-bb22", compute_capability="8.6", state="ok"),
]


def with_gpus(gpus: list[Gpu] | None = None, **variables: str) -> Facts:
    nvml = Nvml(state="ok", driver_version="580.95.05", gpus=TWO if gpus is None else gpus)
    return Facts(platform=LINUX, nvml=nvml, variables=Variables(values=variables))


def test_driver_and_cards_come_from_the_driver_itself() -> None:
    found = machine_of(with_gpus())
    assert found.target.driver == "580.95.05"
    assert found.target.compute_capabilities == ("6.1", "8.6")
    assert [card.label for card in found.cards] == ["GTX 1080 (sm_61)", "RTX 3090 (sm_86)"]
    assert found.target.glibc == "2.36"
    assert found.gpu_problem == ""


@pytest.mark.parametrize(
    ("variables", "capabilities"),
    [
        ({"CUDA_VISIBLE_DEVICES": "GPU-bb"}, ("8.6",)),
        ({"CUDA_VISIBLE_DEVICES": "1", "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}, ("8.6",)),
        # The order of speed is known to CUDA alone, so both cards count.
        ({"CUDA_VISIBLE_DEVICES": "1"}, ("6.1", "8.6")),
        ({"CUDA_VISIBLE_DEVICES": ""}, ()),
        ({"CUDA_VISIBLE_DEVICES": "-1"}, ()),
    ],
)
def test_cards_that_are_hidden_from_programs_do_not_count(
    variables: dict[str, str], capabilities: tuple[str, ...]
) -> None:
    assert machine_of(with_gpus(**variables)).target.compute_capabilities == capabilities


def test_a_lost_gpu_is_a_problem_to_be_named() -> None:
    lost = [TWO[0], Gpu(index=1, name="NVIDIA A100", state="NVML_ERROR_GPU_IS_LOST")]
    assert "NVML_ERROR_GPU_IS_LOST" in machine_of(with_gpus(lost)).gpu_problem


def test_a_card_on_the_bus_without_a_driver_is_a_problem_to_be_named() -> None:
    pci = Pci(devices=[PciDevice(address="0000:01:00.0", vendor_id="10de", device_id="1b80", class_code="0300")])
    nvml = Nvml(state="library-missing", message="libnvidia-ml.so.1 is not there")
    found = machine_of(Facts(platform=LINUX, pci=pci, nvml=nvml, driver=NvidiaDriver(module_loaded=False)))
    assert found.cards[0].compute_capability == "6.1"
    assert found.gpu_problem == "NVIDIA's driver does not answer (libnvidia-ml.so.1 is not there)"


def test_a_machine_without_a_gpu_has_no_problem() -> None:
    found = machine_of(Facts(platform=LINUX, pci=Pci(devices=[]), nvml=Nvml(state="library-missing")))
    assert (found.cards, found.gpu_problem) == ((), "")


def test_wsl_follows_the_drivers_of_windows() -> None:
    platform = Platform(system="Linux", machine="x86_64", libc="glibc", libc_version="2.39", wsl=2)
    assert machine_of(Facts(platform=platform)).target.system == "wsl"


def test_a_musl_distribution_has_no_glibc() -> None:
    target = machine_of(Facts(platform=Platform(system="Linux", machine="x86_64", libc="musl"))).target
    assert (target.libc, target.glibc) == ("musl", None)


def test_amd_targets_come_from_the_kernel_driver() -> None:
    others = OtherAccelerators(amd_devices=["Radeon RX 7900 XTX"], amd_targets=["gfx1100"])
    assert machine_of(Facts(platform=LINUX, accelerators=others)).target.gfx == ("gfx1100",)


def test_nothing_is_planned_for_a_machine_of_which_nothing_is_known() -> None:
    with pytest.raises(UnknownFactError):
        machine_of(Facts())


def test_only_wheels_are_taken_from_a_folder_and_their_tags_are_understood() -> None:
    names = [
        "torch-2.13.0+cpu-cp311-cp311-manylinux_2_28_x86_64.whl",
        "torch-2.13.0-cp313-cp313t-win_amd64.whl",
        "numpy-2.3.0-cp39-abi3-macosx_14_0_arm64.whl",
        "six-1.17.0-py2.py3-none-any.whl",
        "notes.txt",
        "broken.whl",
    ]
    found = {(wheel.name, wheel.version): (wheel.pythons, wheel.platforms) for wheel in held_wheels("/w", names)}
    assert found == {
        ("torch", "2.13.0+cpu"): (("3.11",), ("linux_x86_64",)),
        ("torch", "2.13.0"): (("3.13t",), ("windows_x86_64",)),
        ("numpy", "2.3.0"): ((), ("macos_arm64",)),
        ("six", "1.17.0"): ((), ()),
    }
