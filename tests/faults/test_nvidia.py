"""What a user of a machine with a broken NVIDIA driver sees; the driver and nvidia-smi are fakes."""

from __future__ import annotations

import pathlib
from collections.abc import Callable
from typing import Any

import fake_driver
import pytest
from running import Ran, doctor

Examine = Callable[..., Ran]

TORCH = "raise SystemExit('a quick examination imports nothing')"


@pytest.fixture
def examine(environment: Any, tmp_path: pathlib.Path) -> Examine:
    """Run doctor where the fake driver is found, in an environment with a CUDA build of torch."""
    environment.describe("torch", "2.9.0+cu126")

    def run(answers: dict[str, str] | None = None, *options: str, smi: str | None = None, **more: str) -> Ran:
        variables = {**fake_driver.variables(tmp_path, answers, smi), **more}
        return doctor("--python", environment.python, *options, env=variables)

    return run


def driver_findings(ran: Ran) -> list[dict[str, Any]]:
    """Return the findings that concern the driver or a GPU; toolkits of this machine and packages are real."""
    areas = {check["check"]: check["area"] for check in ran.report["checks"]}
    return [finding for finding in ran.report["findings"] if areas[finding["check"]] in {"driver", "gpu", "gpu health"}]


def test_a_working_gpu_is_reported_and_nothing_is_wrong_with_it(examine: Examine) -> None:
    ran = examine({}, "--quick", "--require", "gpus>=1", "--require", "gpu-memory>=70GiB")
    assert ran.code == 0, ran.report["findings"]
    (gpu,) = ran.report["facts"]["nvml"]["gpus"]
    assert gpu["name"] == "NVIDIA H100 80GB HBM3"
    assert [requirement["state"] for requirement in ran.report["requirements"]] == ["holds", "holds"]


def test_a_missing_nvidia_smi_is_no_missing_driver(examine: Examine) -> None:
    ran = examine({}, "--require", "gpus>=1", PATH="/nowhere")
    (finding,) = driver_findings(ran)
    assert (finding["cause"], finding["severity"]) == ("nvidia-smi-missing", "note")
    assert ran.code == 0


def test_a_hanging_nvidia_smi_neither_hangs_the_diagnosis_nor_hides_a_working_gpu(examine: Examine) -> None:
    ran = examine({}, "--timeout", "2", smi="sleep 60")
    assert ran.seconds < 10
    assert ran.report["facts"]["driver"]["smi_state"] == "timeout"
    (finding,) = driver_findings(ran)
    assert (finding["check"], finding["severity"]) == ("nvidia-smi-answers", "warning")
    assert "although the driver answers" in finding["title"]


def test_a_quick_examination_does_not_wait_for_nvidia_smi(examine: Examine) -> None:
    ran = examine({}, "--quick", smi="sleep 60")
    assert ran.seconds < 5
    assert driver_findings(ran) == []


def test_garbage_from_nvidia_smi_is_said_to_be_no_table(examine: Examine) -> None:
    ran = examine({}, smi=r"printf '\377\376 <html>nonsense\033[31m'")
    assert ran.report["facts"]["driver"]["smi_state"] == "garbled"
    (finding,) = driver_findings(ran)
    assert "no table" in finding["title"]


def test_a_table_from_nvidia_smi_agrees_with_the_driver(examine: Examine) -> None:
    ran = examine({}, smi=f"cat <<'END'\n{fake_driver.TABLE}END")
    driver = ran.report["facts"]["driver"]
    assert (driver["smi_state"], driver["smi_driver_version"], driver["smi_cuda_version"]) == (
        "ok",
        "580.95.05",
        "13.0",
    )
    assert driver_findings(ran) == []


def test_a_driver_whose_library_and_module_differ_is_to_be_restarted_not_installed(examine: Examine) -> None:
    words = "Failed to initialize NVML: Driver/library version mismatch\nNVML library version: 580.95"
    ran = examine({"return.nvmlInitWithFlags": "18"}, smi=f"echo '{words}'; exit 18")
    assert ran.code == 1
    assert ran.first["cause"] == "driver-library-mismatch"
    assert ran.first["confidence"] == "certain"
    assert {"nvml-answers", "nvidia-smi-answers"} <= {finding["check"] for finding in ran.first["consequences"]}


def test_a_driver_that_never_answers_is_called_hung_and_nothing_is_left_running(examine: Examine) -> None:
    ran = examine({"hang.nvmlInitWithFlags": "1"}, "--quick", "--timeout", "2")
    assert ran.code == 1
    assert ran.seconds < 10
    assert ran.first["cause"] == "driver-hung"


def test_a_driver_library_that_crashes_does_not_crash_the_diagnosis(examine: Examine) -> None:
    ran = examine({"crash.nvmlInitWithFlags": "1"}, "--quick")
    assert ran.code == 1
    assert ran.report["facts"]["nvml"]["state"] == "crash"
    assert "SIGSEGV" in str(ran.first["evidence"])


def test_a_gpu_that_fell_off_the_bus_is_named_first(examine: Examine) -> None:
    ran = examine({"gpus": "2", "1.return.nvmlDeviceGetHandleByIndex_v2": "15"}, "--quick")
    assert ran.code == 1
    assert ran.first["cause"] == "gpu-fell-off-bus"


def test_a_driver_that_is_too_old_for_the_installed_torch_is_named_with_the_version_needed(examine: Examine) -> None:
    ran = examine(
        {"driver": "470.256.02", "cuda": "11040", "*.name": "NVIDIA GeForce RTX 3090", "*.capability": "8.6"}, "--quick"
    )
    assert ran.first["cause"] == "driver-too-old"
    assert "525" in ran.first["title"]
    assert ran.code == 1


def test_a_card_for_which_the_installed_torch_has_no_code_is_named(examine: Examine) -> None:
    ran = examine({"*.name": "Tesla K80", "*.capability": "3.7"}, "--quick")
    assert ran.first["cause"] == "gpu-arch-not-in-build"


def test_a_cpu_build_beside_a_working_gpu_is_pointed_out(environment: Any, tmp_path: pathlib.Path) -> None:
    environment.describe("torch", "2.9.0+cpu")
    ran = doctor("--quick", "--python", environment.python, env=fake_driver.variables(tmp_path))
    assert ran.first["cause"] == "cpu-only-build"
    assert ran.code == 0
    strict = doctor(
        "--quick", "--python", environment.python, "--require", "torch.cuda", env=fake_driver.variables(tmp_path)
    )
    assert strict.code != 0


def test_visible_devices_that_name_no_gpu_are_pointed_out(examine: Examine) -> None:
    ran = examine({}, "--quick", "--require", "gpus>=1", CUDA_VISIBLE_DEVICES="3")
    assert ran.first["cause"] == "visible-devices-masked"
    assert ran.code == 1


def test_a_user_who_hides_the_gpus_on_purpose_is_not_scolded(examine: Examine) -> None:
    ran = examine({}, "--quick", CUDA_VISIBLE_DEVICES="")
    assert ran.code == 0
    assert {finding["severity"] for finding in driver_findings(ran)} <= {"note"}
