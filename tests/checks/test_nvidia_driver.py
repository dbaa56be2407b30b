"""What is said of an NVIDIA driver: the deepest cause comes first, and a healthy machine hears nothing."""

from __future__ import annotations

import pathlib
import re

import pytest
from msgspec.structs import replace
from nvidia_facts import CARD, CHECKS, DRIVER, NODES, NOT_LOADED, NVML, UBUNTU, first, log, report

from envcheck.causes import CAUSES
from envcheck.check import all_checks
from envcheck.facts import DeviceNode, Library, NvidiaDriver, Nvml, Pci, PciDevice, Variables
from envcheck.report import Severity


def test_a_healthy_workstation_hears_nothing() -> None:
    assert report().findings == []


def test_every_cause_that_a_check_can_name_is_in_the_vocabulary() -> None:
    known = {slug for family in CAUSES.values() for slug in family}
    for check in CHECKS:
        assert set(check.causes) <= known, check.id


def test_every_manual_states_the_requirement_why_and_the_source() -> None:
    for check in CHECKS:
        assert "Why:" in check.manual, check.id
        assert "If not:" in check.manual, check.id
        assert "Source:" in check.manual, check.id


def test_a_card_without_any_driver_is_told_to_install_one() -> None:
    driver = NvidiaDriver(
        module_loaded=False,
        module_version="",
        nouveau_loaded=False,
        module_on_disk="",
        packages_version="",
        libraries=[],
        library_version="",
        device_nodes=[],
        smi_path="",
        smi_state="absent",
    )
    found = first(pci=Pci(devices=[replace(CARD, driver="")]), driver=driver, nvml=Nvml(state="library-missing"))
    assert (found.cause, found.severity) == ("driver-missing", Severity.ERROR)
    assert found.remedies[0].commands == ["sudo ubuntu-drivers install", "sudo reboot"]
    assert [consequence.check for consequence in found.consequences] == ["nvml-answers"]


def test_a_card_without_a_driver_is_no_error_where_nothing_is_to_compute_on_it() -> None:
    driver = replace(
        DRIVER, module_loaded=False, module_version="", libraries=[], library_version="", packages_version=""
    )
    found = first(pci=Pci(devices=[replace(CARD, driver="")]), driver=driver, nvml=None, torch=None)
    assert (found.cause, found.severity) == ("driver-missing", Severity.WARNING)


def test_a_kernel_update_without_a_new_module_is_named_before_its_consequences() -> None:
    driver = replace(
        DRIVER, module_loaded=False, module_version="", module_on_disk="", device_nodes=[], smi_exit_code=9
    )
    driver = replace(
        driver,
        smi_state="failed",
        smi_message="NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver. Make sure that the "
        "latest NVIDIA driver is installed and running.",
    )
    found = first(driver=driver, nvml=NOT_LOADED, pci=Pci(devices=[replace(CARD, driver="")]))
    assert found.cause == "driver-not-loaded"
    assert "no module is built for the running kernel 6.8.0-45-generic" in found.title
    assert "sudo apt install linux-headers-$(uname -r)" in found.remedies[0].commands
    assert {consequence.check for consequence in found.consequences} == {"nvml-answers", "nvidia-smi-answers"}


def test_secure_boot_is_named_where_it_is_what_keeps_the_module_out() -> None:
    driver = replace(DRIVER, module_loaded=False, module_version="", module_on_disk="580.95.05", device_nodes=[])
    refused = log(("module-rejected", "Loading of module with unavailable key is rejected"))
    found = first(
        driver=driver,
        nvml=NOT_LOADED,
        platform=replace(UBUNTU, secure_boot=True),
        kernel_log=refused,
    )
    assert (found.cause, found.severity) == ("secure-boot-blocks-driver", Severity.ERROR)
    assert "mokutil" in found.remedies[0].commands[0]
    assert "driver-module-is-loaded" in {consequence.check for consequence in found.consequences}


def test_nouveau_is_named_where_it_holds_the_card() -> None:
    driver = replace(DRIVER, module_loaded=False, module_version="", nouveau_loaded=True, device_nodes=[])
    found = first(driver=driver, nvml=NOT_LOADED, pci=Pci(devices=[replace(CARD, driver="nouveau")]))
    assert found.cause == "nouveau-loaded"
    assert "driver-module-is-loaded" in {consequence.check for consequence in found.consequences}


def test_with_nouveau_and_no_nvidia_driver_the_driver_is_what_is_missing() -> None:
    driver = NvidiaDriver(
        module_loaded=False,
        module_version="",
        nouveau_loaded=True,
        module_on_disk="",
        packages_version="",
        libraries=[],
        library_version="",
        smi_path="",
    )
    found = first(driver=driver, nvml=None, pci=Pci(devices=[replace(CARD, driver="nouveau")]))
    assert found.cause == "driver-missing"
    assert [consequence.cause for consequence in found.consequences] == ["nouveau-loaded"]


def test_an_update_without_a_restart_is_cured_by_a_restart_and_by_nothing_of_cuda() -> None:
    driver = replace(DRIVER, module_version="570.86.15", smi_state="failed", smi_exit_code=18)
    driver = replace(driver, smi_message="Failed to initialize NVML: Driver/library version mismatch")
    found = first(driver=driver, nvml=Nvml(state="NVML_ERROR_LIB_RM_VERSION_MISMATCH"))
    assert (found.cause, found.severity) == ("driver-library-mismatch", Severity.ERROR)
    assert "module 570.86.15, libraries 580.95.05" in found.title
    assert found.remedies[0].commands == ["sudo reboot"]
    assert not any("pip" in command or "cuda" in command for remedy in found.remedies for command in remedy.commands)


def test_a_restart_that_would_load_the_old_module_again_is_not_advised() -> None:
    driver = replace(DRIVER, module_version="570.86.15", module_on_disk="570.86.15")
    found = first(driver=driver, nvml=Nvml(state="NVML_ERROR_LIB_RM_VERSION_MISMATCH"))
    assert found.remedies[0].commands == ["sudo dkms autoinstall", "sudo reboot"]


def test_a_card_that_the_branch_dropped_is_told_its_last_branch() -> None:
    card = replace(CARD, device_id="1b81", name="NVIDIA GeForce GTX 1070", driver="")
    found = first(
        pci=Pci(devices=[card]),
        driver=replace(DRIVER, module_version="595.58.03", library_version="595.58.03"),
        nvml=replace(NVML, driver_version="595.58.03", gpus=[]),
    )
    assert found.cause == "driver-dropped-gpu"
    assert "580" in found.title


def test_a_blackwell_card_under_the_proprietary_module_needs_the_open_one() -> None:
    card = replace(CARD, device_id="2b85", name="NVIDIA GeForce RTX 5090")
    found = first(
        pci=Pci(devices=[card]), driver=replace(DRIVER, module_flavour="proprietary"), nvml=replace(NVML, gpus=[])
    )
    assert found.cause == "driver-dropped-gpu"
    assert found.remedies[0].commands[0] == "sudo apt install nvidia-driver-580-open"


def test_missing_device_files_are_named_where_the_driver_cannot_be_reached() -> None:
    found = first(driver=replace(DRIVER, device_nodes=[]), nvml=NOT_LOADED)
    assert found.cause == "device-nodes-missing"
    assert "nvidia-modprobe" in found.remedies[0].commands[0]


def test_device_files_that_come_with_the_first_program_are_not_missed() -> None:
    few = [node for node in NODES if node.path != "/dev/nvidia-uvm"]
    assert report(driver=replace(DRIVER, device_nodes=few)).findings == []


def test_closed_device_files_name_the_group_to_join() -> None:
    closed = [replace(node, mode="0660", group="vglusers", accessible=False) for node in NODES]
    found = first(driver=replace(DRIVER, device_nodes=closed), nvml=Nvml(state="NVML_ERROR_NO_PERMISSION"))
    assert (found.cause, found.severity) == ("device-permission", Severity.ERROR)
    assert found.remedies[0].commands == ['sudo usermod -aG vglusers "$USER"']


def test_a_stub_of_libcuda_that_is_found_first_is_named_by_its_path() -> None:
    stub = Library(name="libcuda.so.1", path="/usr/local/cuda/lib64/stubs/libcuda.so", stub=True)
    found = first(
        driver=replace(DRIVER, libraries=[stub, *(DRIVER.libraries or [])]),
        variables=Variables(values={"LD_LIBRARY_PATH": "/usr/local/cuda/lib64/stubs:/opt/lib"}),
    )
    assert found.cause == "libcuda-stub-or-duplicate"
    assert "/usr/local/cuda/lib64/stubs" in found.title
    assert found.remedies[0].commands == ["export LD_LIBRARY_PATH=/opt/lib"]


def test_a_card_that_the_driver_does_not_report_is_missed() -> None:
    other = replace(CARD, address="0000:02:00.0")
    found = first("gpus>=2", pci=Pci(devices=[CARD, other]))
    assert found.cause == "gpu-fell-off-bus"
    assert "0000:02:00.0" in found.title


def test_a_job_that_was_given_some_of_the_gpus_hears_nothing_of_the_others() -> None:
    bus = Pci(devices=[CARD, replace(CARD, address="0000:02:00.0")])
    job = Variables(values={"SLURM_JOB_ID": "4411"})
    assert "gpus-on-bus-are-reported" in [finding.check for finding in report(pci=bus).findings]
    assert "gpus-on-bus-are-reported" not in [finding.check for finding in report(pci=bus, variables=job).findings]


def test_a_card_handed_to_a_virtual_machine_is_not_missed() -> None:
    other = replace(CARD, address="0000:02:00.0", driver="vfio-pci")
    assert report(pci=Pci(devices=[CARD, other])).findings == []


def test_a_required_gpu_that_the_machine_does_not_have_is_named() -> None:
    found = first("gpus>=1", pci=Pci(devices=[]), driver=None, nvml=None, torch=None)
    assert (found.cause, found.severity, found.required) == ("no-gpu-present", Severity.ERROR, True)


def test_a_laptop_without_a_gpu_is_healthy() -> None:
    intel = PciDevice(address="0000:00:02.0", vendor_id="8086", device_id="9a49", class_code="0300", driver="i915")
    assert report(pci=Pci(devices=[intel]), driver=None, nvml=None).findings == []


def test_driver_packages_on_a_machine_without_a_card_are_no_fault() -> None:
    driver = replace(
        DRIVER, module_loaded=False, module_version="", device_nodes=[], smi_state="failed", smi_exit_code=9
    )
    driver = replace(
        driver, smi_message="NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver."
    )
    assert report(pci=Pci(devices=[]), driver=driver, nvml=NOT_LOADED).findings == []
    built = replace(driver, module_on_disk="580.95.05")
    secure = replace(UBUNTU, secure_boot=True)
    absent = log(("no-gpu-found", "NVRM: No NVIDIA GPU found."))
    found = report(pci=Pci(devices=[]), driver=built, nvml=NOT_LOADED, platform=secure, kernel_log=absent)
    assert found.findings == []


def test_a_container_that_was_given_no_gpu_hears_nothing_of_its_hosts_driver() -> None:
    driver = NvidiaDriver(
        module_loaded=True, module_version="580.95.05", libraries=[], library_version="", device_nodes=[], smi_path=""
    )
    found = report(
        platform=replace(UBUNTU, container="docker"), driver=driver, nvml=Nvml(state="library-missing"), torch=None
    )
    assert found.findings == []


def test_a_container_that_lost_its_gpu_is_not_called_broken_hardware() -> None:
    found = first(platform=replace(UBUNTU, container="docker"), nvml=Nvml(state="NVML_ERROR_OPERATING_SYSTEM"))
    assert found.cause == "container-lost-gpu"


def test_wsl_without_a_kernel_module_is_healthy() -> None:
    driver = NvidiaDriver(
        module_loaded=False,
        module_version="",
        nouveau_loaded=False,
        device_nodes=[DeviceNode(path="/dev/dxg", accessible=True)],
        libraries=[Library(name="libcuda.so.1", path="/usr/lib/wsl/lib/libcuda.so.1")],
        smi_path="/usr/lib/wsl/lib/nvidia-smi",
        smi_state="ok",
    )
    wsl = report(platform=replace(UBUNTU, wsl=2), pci=None, driver=driver)
    assert wsl.findings == []


@pytest.mark.parametrize(
    ("message", "exit_code", "cause"),
    [
        ("Failed to initialize NVML: Driver/library version mismatch", 255, "driver-library-mismatch"),
        ("Failed to initialize NVML: Insufficient Permissions", 4, "device-permission"),
        (
            "Unable to determine the device handle for gpu 0: GPU is lost. Reboot the system to recover this GPU",
            15,
            "gpu-fell-off-bus",
        ),
        ("Failed to initialize NVML: Function Not Found", 13, "libcuda-stub-or-duplicate"),
        ("NVIDIA-SMI couldn't find libnvidia-ml.so library in your system.", 12, "driver-missing"),
        ("No devices were found", 6, "no-gpu-present"),
        (
            "No devices were found. Please make sure /dev/nvidia* files are readable by current user.",
            4,
            "device-permission",
        ),
        (
            "Unable to determine the device handle for gpu 0: A GPU reset must occur before this GPU can be used",
            255,
            "gpu-hardware-fault",
        ),
        (
            "The NVIDIA kernel module detected an issue with GPU interrupts",
            11,
            "bar-or-iommu-setting",
        ),
        ("Mismatch in versions between nvidia-smi and NVML.", 255, "driver-library-mismatch"),
    ],
)
def test_the_words_of_nvidia_smi_alone_name_the_cause(message: str, exit_code: int, cause: str) -> None:
    driver = NvidiaDriver(smi_state="failed", smi_message=message, smi_exit_code=exit_code)
    found = first(driver=driver, nvml=None, pci=None, platform=None, python=None, kernel_log=None)
    assert found.cause == cause


def test_the_page_of_gpu_health_names_only_checks_that_exist() -> None:
    page = (pathlib.Path(__file__).parents[2] / "docs" / "gpu-health.md").read_text(encoding="utf-8")
    known = {check.id for check in all_checks()}
    assert set(re.findall(r"`([a-z]+-[a-z-]+)`", page)) - known == set()


def test_every_check_of_gpu_health_stands_on_its_page() -> None:
    page = (pathlib.Path(__file__).parents[2] / "docs" / "gpu-health.md").read_text(encoding="utf-8")
    assert [check.id for check in CHECKS if check.area == "gpu health" and f"`{check.id}`" not in page] == []


def test_a_driver_that_counts_no_gpu_is_not_called_a_broken_tool() -> None:
    driver = replace(DRIVER, smi_state="failed", smi_message="No devices were found", smi_exit_code=6)
    found = first(driver=driver, nvml=replace(NVML, gpus=[]), pci=None)
    assert found.cause == "no-gpu-present"
