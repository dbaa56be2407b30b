"""What the NVML probe makes of a driver, driven by a fake libnvidia-ml.so.1."""

from __future__ import annotations

import pathlib
import sys
from collections.abc import Callable, Mapping

import fake_driver
import pytest

from envcheck.check import all_checks
from envcheck.checks import driver_answers as driver_checks
from envcheck.compat.nvml import nvml_returns
from envcheck.doctor import diagnose
from envcheck.facts import Facts, Nvml, Pci, PciDevice, Platform
from envcheck.intent import Intent
from envcheck.interpreter import Interpreter
from envcheck.probes.nvml import nvml
from envcheck.report import Finding, Severity
from envcheck.system import Live
from envcheck.testing import run_check

Ask = Callable[..., Nvml]

BARE_METAL = Platform(system="Linux", machine="x86_64", distribution="ubuntu", container="", wsl=0)
BUS = Pci(devices=[PciDevice(address="0000:0f:00.0", vendor_id="10de", device_id="2330", driver="nvidia")])


@pytest.fixture
def ask(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Ask:
    """Ask the fake driver as the probe does."""

    def run(answers: Mapping[str, str] | None = None, deadline: float = 10.0) -> Nvml:
        for name, value in fake_driver.variables(tmp_path, answers).items():
            monkeypatch.setenv(name, value or "")
        found = nvml(Live(), Interpreter(sys.executable, "the one that runs the tests"), deadline)
        assert isinstance(found, Nvml)
        return found

    return run


def findings(found: Nvml, **groups: object) -> list[Finding]:
    facts = Facts(**{"platform": BARE_METAL, "pci": BUS, "nvml": found, **groups})
    return diagnose(facts, [], all_checks(), Intent()).findings


def test_a_healthy_fake_gpu_is_read_whole_and_nothing_is_found_wrong(ask: Ask) -> None:
    found = ask()
    (gpu,) = found.gpus or []
    assert (found.state, found.driver_version, found.cuda_version) == ("ok", "580.95.05", "13.0")
    assert (gpu.name, gpu.compute_capability, gpu.pci_address) == ("NVIDIA H100 80GB HBM3", "9.0", "0000:0f:00.0")
    assert gpu.memory_total_bytes == 80 * 2**30
    assert gpu.power_limit_watts == 700.0
    assert gpu.throttle_reasons == ["GpuIdle"]
    assert gpu.recovery_action == "None"
    assert (gpu.nvlinks_active, gpu.nvlinks_inactive) == (18, 0)
    assert found.library_path == str(fake_driver.library())
    assert findings(found) == []


def test_a_reading_that_a_card_does_not_have_is_unknown_and_no_fault(ask: Ask) -> None:
    found = ask(
        {
            "*.return.nvmlDeviceGetEccMode": "3",
            "*.return.nvmlDeviceGetPowerUsage": "3",
            "*.return.nvmlDeviceGetMigMode": "3",
        }
    )
    (gpu,) = found.gpus or []
    assert gpu.state == "ok"
    assert gpu.ecc_enabled is gpu.power_watts is gpu.mig_enabled is None
    assert gpu.unreadable["power_watts"] == "NVML_ERROR_NOT_SUPPORTED"
    assert gpu.temperature_celsius == 35
    assert findings(found) == []


@pytest.mark.parametrize("code", [row.value for row in nvml_returns() if row.value])
def test_each_return_code_of_nvml_is_named_and_has_a_cause(ask: Ask, code: int) -> None:
    found = ask({"return.nvmlInitWithFlags": str(code), "return.nvmlInit_v2": str(code)})
    (name,) = [row.name for row in nvml_returns() if row.value == code]
    expected = "library-missing" if name == "NVML_ERROR_LIBRARY_NOT_FOUND" else name
    assert found.state == expected
    _, (finding,) = run_check(driver_checks.nvml_answers, nvml=found, platform=BARE_METAL, pci=BUS)
    assert finding.cause in driver_checks.nvml_answers.__envcheck_check__.causes


@pytest.mark.parametrize(
    ("code", "cause"),
    [
        (4, "device-permission"),
        (9, "driver-not-loaded"),
        (12, "driver-missing"),
        (15, "gpu-fell-off-bus"),
        (16, "gpu-hardware-fault"),
        (18, "driver-library-mismatch"),
        (27, "fabric-manager-down"),
    ],
)
def test_the_driver_that_does_not_start_is_diagnosed_by_its_return_code(ask: Ask, code: int, cause: str) -> None:
    found = ask({"return.nvmlInitWithFlags": str(code)})
    assert findings(found)[0].cause == cause


def test_an_old_driver_without_the_newer_start_function_is_asked_all_the_same(ask: Ask) -> None:
    assert ask({"return.nvmlInitWithFlags": "13"}).state == "ok"


def test_a_driver_that_hangs_is_named_with_the_call_in_which_it_does(ask: Ask) -> None:
    found = ask({"hang.nvmlInitWithFlags": "1"}, deadline=1.5)
    assert (found.state, found.stage) == ("timeout", "nvmlInit")
    first = findings(found)[0]
    assert (first.cause, first.severity) == ("driver-hung", Severity.ERROR)
    assert "nvmlInit" in first.title


def test_what_the_driver_said_before_it_hung_on_the_second_gpu_is_kept(ask: Ask) -> None:
    found = ask({"gpus": "2", "1.hang.nvmlDeviceGetPowerUsage": "1"}, deadline=2.0)
    assert found.state == "timeout"
    assert found.stage == "nvmlDeviceGetPowerUsage of GPU 1"
    assert [gpu.index for gpu in found.gpus or []] == [0]
    assert found.driver_version == "580.95.05"
    assert not found.gpus_complete


def test_a_library_that_crashes_is_named_with_the_call_in_which_it_does(ask: Ask) -> None:
    found = ask({"crash.nvmlDeviceGetCount_v2": "1"})
    assert (found.state, found.stage, found.message) == ("crash", "nvmlDeviceGetCount", "ended by SIGSEGV")
    assert findings(found)[0].severity is Severity.ERROR


def test_a_gpu_that_fell_off_the_bus_is_named_first_and_the_other_one_is_still_read(ask: Ask) -> None:
    found = ask({"gpus": "2", "0.return.nvmlDeviceGetHandleByIndex_v2": "15"})
    lost, other = found.gpus or []
    assert (lost.state, other.state) == ("NVML_ERROR_GPU_IS_LOST", "ok")
    first = findings(found)[0]
    assert (first.cause, first.severity) == ("gpu-fell-off-bus", Severity.ERROR)


def test_a_gpu_that_is_lost_while_it_is_read_is_not_asked_further(ask: Ask) -> None:
    found = ask({"0.return.nvmlDeviceGetMemoryInfo": "15", "0.hang.nvmlDeviceGetComputeRunningProcesses_v3": "1"})
    (gpu,) = found.gpus or []
    assert gpu.state == "NVML_ERROR_GPU_IS_LOST"
    assert gpu.name == "NVIDIA H100 80GB HBM3"


BUSY = {"*.utilization": "97"}


@pytest.mark.parametrize(
    ("answers", "cause", "severity"),
    [
        ({"*.ecc_errors.1.0": "3"}, "gpu-memory-fault", Severity.ERROR),
        ({"*.sram_exceeded": "1"}, "gpu-memory-fault", Severity.ERROR),
        ({"*.remapped": "0 2 0 1"}, "gpu-memory-fault", Severity.ERROR),
        ({"*.remapped": "0 600 0 0"}, "gpu-memory-fault", Severity.ERROR),
        ({"*.remapped": "0 2 1 0"}, "gpu-memory-fault", Severity.WARNING),
        ({"*.retired.0": "3", "*.retired.1": "61", "*.retired_pending": "0"}, "gpu-memory-fault", Severity.ERROR),
        ({"*.retired.0": "0", "*.retired.1": "1", "*.retired_pending": "1"}, "gpu-memory-fault", Severity.WARNING),
        ({"*.repair_pending": "1"}, "gpu-memory-fault", Severity.WARNING),
        ({"*.ecc_pending": "0"}, "gpu-memory-fault", Severity.NOTE),
        ({"*.field.230": "1"}, "gpu-hardware-fault", Severity.ERROR),
        ({"*.field.230": "4"}, "gpu-hardware-fault", Severity.WARNING),
        ({"*.return.nvmlDeviceValidateInforom": "14"}, "gpu-hardware-fault", Severity.WARNING),
        ({"*.return.nvmlDeviceGetPowerUsage": "999"}, "gpu-hardware-fault", Severity.WARNING),
        ({**BUSY, "*.throttle_mask": "0x40", "*.pcie_generation": "5"}, "gpu-throttled", Severity.WARNING),
        ({**BUSY, "*.throttle_mask": "0x80", "*.pcie_generation": "5"}, "gpu-throttled", Severity.WARNING),
        ({"*.temperature.0": "93"}, "gpu-throttled", Severity.WARNING),
        ({"*.power_limit_milliwatts": "400000"}, "gpu-throttled", Severity.NOTE),
        ({**BUSY, "*.pcie_generation": "3"}, "pcie-degraded", Severity.WARNING),
        ({**BUSY, "*.pcie_generation": "5", "*.pcie_width": "8"}, "pcie-degraded", Severity.WARNING),
        ({"*.nvlinks_down": "2"}, "nvlink-degraded", Severity.WARNING),
        ({"*.compute_mode": "2"}, "gpu-not-in-compute-mode", Severity.WARNING),
        ({"*.mig": "1", "*.mig_most": "7"}, "gpu-not-in-compute-mode", Severity.WARNING),
        ({"*.memory_used": str(79 * 2**30), "*.compute": f"4194304={78 * 2**30}"}, "gpu-in-use", Severity.WARNING),
    ],
)
def test_each_ailment_of_a_gpu_is_found(ask: Ask, answers: dict[str, str], cause: str, severity: Severity) -> None:
    first = findings(ask(answers))[0]
    assert (first.cause, first.severity) == (cause, severity)
    assert first.evidence


@pytest.mark.parametrize(
    "answers",
    [
        {"*.throttle_mask": "0x40"},
        {"*.pcie_generation": "1", "*.pcie_width": "4"},
        {"*.throttle_mask": "0x4", "*.utilization": "99", "*.pcie_generation": "5"},
        {"*.nvlinks_down": "18"},
        {"*.ecc_errors.0.0": "1200"},
        {"*.fabric_state": "1"},
        {"*.memory_used": str(30 * 2**30)},
    ],
)
def test_what_an_idle_or_ordinary_gpu_shows_is_no_fault(ask: Ask, answers: dict[str, str]) -> None:
    assert findings(ask(answers)) == []


def test_mig_instances_are_listed(ask: Ask) -> None:
    found = ask(
        {
            "*.mig": "1",
            "*.mig_most": "7",
            "0.mig_instance.0": "40",
            "0.mig_instance.2": "41",
            "40.name": "NVIDIA H100 80GB HBM3 MIG 1g.10gb",
            "40.uuid": "MIG-1",
            "41.name": "NVIDIA H100 80GB HBM3 MIG 2g.20gb",
            "41.uuid": "MIG-2",
        }
    )
    (gpu,) = found.gpus or []
    assert [(instance.uuid, instance.name) for instance in gpu.mig_instances or []] == [
        ("MIG-1", "1g.10gb"),
        ("MIG-2", "2g.20gb"),
    ]
    assert gpu.utilization_percent == 0
    assert findings(found) == []
