from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest
from packaging.version import Version

from envcheck.compat import cuda, cudnn, target


@pytest.mark.parametrize(
    ("build", "system", "least"),
    [
        ("12.8", "linux", "525.60.13"),
        ("12.8", "windows", "528.33"),
        ("12.8", "wsl", "528.33"),
        ("13.2", "linux", "580"),
        ("11.8", "linux", "450.80.02"),
        ("10.2", "linux", "440.33"),
        ("10.2.89", "linux", "440.33"),
    ],
)
def test_a_build_needs_the_least_driver_of_its_major_version(build, system, least):
    assert cuda.minimum_driver(build, system) == Version(least)


@pytest.mark.parametrize("build", ["8.0", "99.1", "", "unknown", None])
def test_what_no_row_says_stays_unknown(build):
    assert cuda.minimum_driver(build) is None
    assert cuda.driver_runs(build, "580.65.06") is None
    assert cuda.toolkit_driver(build) is None


def test_there_is_no_cuda_driver_for_macos():
    assert cuda.minimum_driver("12.8", "macos") is None


def test_a_driver_runs_an_older_major_version_too():
    assert cuda.driver_runs("11.8", "610.43.02") is True
    assert cuda.driver_runs("12.4", "525.60.13") is True
    assert cuda.driver_runs("12.0", "520.61.05") is False
    assert cuda.driver_runs("12.0", None) is None


@pytest.mark.parametrize(
    ("driver", "printed"),
    [
        ("390.157", "9.1"),
        ("418.87.01", "10.1"),
        ("470.256.02", "11.4"),
        ("535.54.03", "12.2"),
        ("550.40.07", "12.4"),
        ("570", "12.8"),
        ("580.95.05", "13.0"),
        ("565.57.01", "12.7"),
        ("610.43.02", "13.3"),
        ("615.71.09", "13.4"),
        ("340.108", None),
    ],
)
def test_the_newest_cuda_of_a_driver_is_what_nvidia_smi_prints(driver, printed):
    assert cuda.newest_cuda(driver) == printed


@pytest.mark.parametrize(
    ("driver", "printed"),
    [
        ("452.39", "11.0"),
        ("561.17", "12.6"),
        ("566.36", "12.7"),
        ("581.15", "13.0"),
        ("591.74", "13.1"),
        ("596.49", "13.2"),
    ],
)
def test_on_windows_too_it_is_what_nvidia_smi_prints(driver, printed):
    assert cuda.newest_cuda(driver, "windows") == printed
    assert cuda.newest_cuda(driver, "wsl") == printed


def test_a_newer_driver_never_serves_less():
    for system in ("linux", "windows", "wsl"):
        newest = [cuda.newest_cuda(f"{branch}.99", system) for branch in range(384, 640)]
        versions = [Version(text or "0") for text in newest]
        assert versions == sorted(versions)


def test_a_pascal_card_lost_its_driver_after_branch_580():
    assert cuda.last_driver_branch("6.1") == 580
    assert cuda.driver_supports("580.95.05", "6.1") is True
    assert cuda.driver_supports("590.44.01", "6.1") is False


def test_a_windows_driver_of_branch_580_has_numbers_up_to_589():
    assert cuda.driver_supports("582.16", "6.1", "windows") is True
    assert cuda.driver_supports("590.26", "6.1", "windows") is False
    assert cuda.driver_supports("581.15", "6.1", "linux") is False
    assert cuda.driver_supports("591.44", "6.1", "wsl") is False


def test_a_blackwell_card_needs_a_driver_that_knows_it():
    assert cuda.driver_supports("550.54.14", "12.0") is False
    assert cuda.driver_supports("570.86.15", "12.0") is True


def test_whether_a_driver_suits_a_jetson_is_not_guessed():
    assert cuda.driver_supports("540.3.0", "8.7") is None


@pytest.mark.parametrize(
    ("architectures", "card", "way"),
    [
        (["sm_80"], "8.6", "machine code"),
        (["sm_86"], "8.0", "not at all"),
        (["sm_80", "sm_90"], "12.0", "not at all"),
        (["sm_80", "compute_90"], "12.0", "PTX"),
        (["compute_90"], "8.9", "not at all"),
        (["compute_90"], "9.0", "PTX"),
        (["sm_90a"], "9.0", "machine code"),
        (["sm_90a"], "10.0", "not at all"),
        (["sm_100f"], "10.3", "machine code"),
        (["sm_120"], "12.1", "machine code"),
        (["sm_80", "sm_86"], "8.7", "not at all"),
        (["sm_87"], "8.7", "machine code"),
        (["sm_87"], "8.9", "not at all"),
        (["sm_60"], "6.1", "machine code"),
        (["sm_101"], "11.0", "machine code"),
        (["sm_50", "sm_60"], (6, 1), "machine code"),
        (["sm_70"], "sm_75", "machine code"),
    ],
)
def test_code_runs_on_cards_of_its_major_capability_and_ptx_on_any_newer(architectures, card, way):
    assert cuda.how_it_runs(architectures, card) == way
    assert cuda.runs_on(architectures, card) is (way != "not at all")


def test_a_jetson_runs_the_code_of_its_major_capability_from_cuda_13_2_on():
    assert cuda.how_it_runs(["sm_80"], "8.7", "13.0") == "not at all"
    assert cuda.how_it_runs(["sm_80"], "8.7", "13.2") == "machine code"
    assert cuda.how_it_runs(["sm_87"], "8.7", "13.2") == "machine code"
    assert cuda.how_it_runs(["sm_87"], "8.9", "13.2") == "not at all"


def test_which_code_runs_where_is_what_torch_itself_says():
    torch = importlib.util.find_spec("torch")
    if torch is None or torch.origin is None:
        pytest.skip("torch is not installed")
    text = (Path(torch.origin).parent / "cuda" / "__init__.py").read_text(encoding="utf-8")
    table = re.search(r"^DEVICE_REQUIREMENT\b.*?^}", text, re.MULTILINE | re.DOTALL)
    if table is None:
        pytest.skip("this torch does not say it")
    # 101 is the old number of 110, which releases of torch treat differently.
    devices = [row.code.removeprefix("sm_") for row in cuda.compute_capabilities() if row.code != "sm_101"]
    for code, start, excluded in re.findall(r"(\d+): _CompatInterval\(start=(\d+)(?:, exclude={(\d+)})?\)", table[0]):
        for device in devices:
            runs = int(start) <= int(device) < (int(start) // 10 + 1) * 10 and device != excluded
            assert cuda.runs_on([f"sm_{code}"], device) is runs, (code, device)
    for code, only in re.findall(r"(\d+): _CompatSet\({([\d, ]+)}\)", table[0]):
        for device in devices:
            assert cuda.runs_on([f"sm_{code}"], device) is (device in only.split(", ")), (code, device)


def test_a_build_without_an_architecture_list_is_not_judged():
    assert cuda.runs_on([], "8.6") is None
    assert cuda.runs_on(["gfx1100"], "8.6") is None
    assert cuda.runs_on(["sm_80"], None) is None


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("8.6", (8, 6)),
        ("sm_86", (8, 6)),
        ("120", (12, 0)),
        ("sm_90a", (9, 0)),
        ("compute_103f", (10, 3)),
        ("12.1", (12, 1)),
    ],
)
def test_a_capability_is_read_in_every_form_that_tools_print(text, value):
    assert target.capability(text) == value


@pytest.mark.parametrize("text", ["", "eight", "8.", "gfx90a", "8.6+PTX"])
def test_what_is_no_capability_is_none(text):
    assert target.capability(text) is None


def test_drivers_are_written_as_nvidia_writes_them():
    assert cuda.driver_text(cuda.toolkit_driver("12.8.1")) == "570.124.06"
    assert cuda.driver_text("440.33") == "440.33"
    assert cuda.driver_text("580") == "580"


def test_an_old_data_center_driver_can_be_helped_by_the_compatibility_package():
    answer = cuda.forward_compatibility("12.8")
    assert answer is not None
    assert answer.package == "cuda-compat-12-8"
    assert "data center" in answer.gpus
    assert cuda.forward_compatibility("12.8", "windows") is None
    assert cuda.forward_compatibility("9.2") is None


@pytest.mark.parametrize(
    ("version", "least"),
    [("8.9.7", "5.0"), ("9.10.2.21", "5.0"), ("9.11.0.98", "7.5"), ("9.28.0.42", "7.5"), ("7.0", None), (None, None)],
)
def test_cudnn_dropped_cards_before_turing_with_9_11(version, least):
    assert cudnn.minimum_compute_capability(version) == least


def test_the_newest_cudnn_for_a_pascal_card_is_the_last_that_works_there():
    assert cudnn.newest_wheel_for(12, "6.1") == "9.10.2.21"
    assert cudnn.works_on("9.20.0.48", "7.0") is False
    assert cudnn.newest_wheel_for(13, "6.1") is None
    assert cudnn.wheels(10) is None
