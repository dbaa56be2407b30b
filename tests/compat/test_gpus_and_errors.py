"""Cards by name and number; error numbers and log lines of the driver, NVSwitch, NVML and CUDA."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envcheck.compat import amd, apple, cuda_errors, gpus, intel, nvml, xid


@pytest.mark.parametrize(
    ("printed", "name"),
    [
        ("NVIDIA GeForce GTX 1080 Ti", "NVIDIA GeForce GTX 1080 Ti"),
        ("GeForce GTX 1080 Ti", "NVIDIA GeForce GTX 1080 Ti"),
        ("Tesla T4", "Tesla T4"),
        ("NVIDIA A100-SXM4-40GB MIG 1g.5gb", "NVIDIA A100-SXM4-40GB"),
        ("nvidia  geforce rtx 4090", "NVIDIA GeForce RTX 4090"),
    ],
)
def test_a_card_is_found_by_the_name_that_any_driver_prints(printed, name):
    row = gpus.by_name(printed)
    assert row is not None
    assert row.name == name


@pytest.mark.parametrize("printed", ["", None, "NVIDIA", "GRID T4-16Q", "GeForce RTX 9090"])
def test_a_card_that_no_row_has_is_unknown(printed):
    assert gpus.by_name(printed) is None


def test_every_card_is_found_by_its_own_name_and_pci_id():
    for row in gpus.gpus():
        assert gpus.by_name(row.name) == row
        for text in row.subsystems:
            device, _, subsystem = text.partition(":")
            assert gpus.by_pci_id(device, subsystem) == row


def test_a_card_is_found_by_its_pci_id():
    row = gpus.by_pci_id("0x2684")
    assert row is not None
    assert row.name == "NVIDIA GeForce RTX 4090"
    assert gpus.by_pci_id("ffff") is None
    assert gpus.by_pci_id(None) is None


def test_models_that_share_a_device_id_are_told_apart_by_the_subsystem_alone():
    shared = [
        row
        for row in gpus.gpus()
        for other in gpus.gpus()
        if row != other and set(row.device_ids) & set(other.device_ids)
    ]
    for row in shared:
        common = [i for i in row.device_ids if sum(i in other.device_ids for other in gpus.gpus()) > 1]
        assert all(gpus.by_pci_id(identifier) is None for identifier in common)


@pytest.mark.parametrize(
    ("name", "capability"),
    [
        ("NVIDIA GeForce RTX 3080 Laptop GPU", "8.6"),
        ("NVIDIA H100 80GB HBM3", "9.0"),
        ("GeForce RTX 2080 with Max-Q Design", "7.5"),
        ("Quadro P600", "6.1"),
        ("NVIDIA Unheard Of", None),
        (None, None),
    ],
)
def test_a_cards_name_tells_its_compute_capability(name, capability):
    assert gpus.compute_capability_of_name(name) == capability


@pytest.mark.parametrize(
    ("card", "need"), [("6.1", "unsupported"), ("8.6", "optional"), ("12.0", "required"), ("99.0", None)]
)
def test_which_kernel_module_a_card_takes_is_known(card, need):
    assert gpus.open_module(card) == need


def test_an_xid_says_what_it_means_and_what_to_do():
    row = xid.xid(79)
    assert row is not None
    assert row.cause == "gpu-fell-off-bus"
    assert row.action
    assert xid.xid(100_000) is None
    assert xid.xid(None) is None
    assert [row.number for row in xid.xids()] == sorted(row.number for row in xid.xids())


def test_an_sxid_says_how_far_it_reaches():
    row = xid.sxid(12028)
    assert row is not None
    assert row.kind == "nonfatal"
    assert xid.sxid(1) is None
    assert len(xid.sxids()) > 90


@pytest.mark.parametrize(
    ("printed", "name"),
    [
        (1, "Reset"),
        ("Drain and Reset", "Drain and Reset"),
        ("GPU Reset Required", "Reset"),
        ("Node Reboot Required", "Reboot"),
        ("drain p2p", "Drain P2P"),
        ("None", "None"),
        ("Dance", None),
        (None, None),
        (99, None),
    ],
)
def test_a_recovery_action_is_found_by_number_and_by_every_name(printed, name):
    row = xid.recovery_action(printed)
    assert (row.name if row else None) == name


def test_a_line_of_the_kernel_log_is_recognised_with_its_parts():
    line = "[ 12.3] NVRM: Xid (PCI:0000:3b:00): 63, pid=1896, name=python, Row Remapper: New row marked"
    (found,) = xid.recognise(line)
    assert found.message.id == "xid"
    assert found.parts["xid"] == "63"
    assert found.parts["pci"] == "0000:3b:00"
    assert found.parts["name"] == "python"


def test_lines_of_a_log_are_counted_and_come_in_their_order():
    log = (
        "nothing\r\nNVRM: GPU 0000:01:00.0: GPU has fallen off the bus.\r\nnothing\nnvidia-uvm: Loaded the UVM driver\n"
    )
    assert [(line.message.id, line.number) for line in xid.recognise_all(log)] == [
        ("fallen-off-bus", 2),
        ("uvm-loaded", 4),
    ]


def test_every_kind_of_line_is_found_in_a_log_of_all_examples():
    messages = xid.kernel_messages()
    log = "\n".join(row.example for row in messages)
    found = {(line.message.id, line.number) for line in xid.recognise_all(log)}
    assert {(row.id, number) for number, row in enumerate(messages, start=1)} <= found


@given(st.text())
def test_no_text_is_too_strange_for_the_recognisers(text):
    for line in xid.recognise_all(text):
        assert line.line in text
    cuda_errors.in_text(text)
    gpus.by_name(text)
    nvml.nvml_return(text)


@pytest.mark.parametrize(
    ("code", "name"),
    [
        (18, "NVML_ERROR_LIB_RM_VERSION_MISMATCH"),
        ("Driver/library version mismatch", "NVML_ERROR_LIB_RM_VERSION_MISMATCH"),
        ("NVML_ERROR_GPU_IS_LOST", "NVML_ERROR_GPU_IS_LOST"),
        ("gpu is lost", "NVML_ERROR_GPU_IS_LOST"),
        (999, "NVML_ERROR_UNKNOWN"),
        ("Unknown Error", "NVML_ERROR_UNKNOWN"),
        (0, "NVML_SUCCESS"),
        (12345, None),
        ("", None),
        (None, None),
    ],
)
def test_a_return_code_of_nvml_is_found_by_number_name_and_text(code, name):
    row = nvml.nvml_return(code)
    assert (row.name if row else None) == name


def test_our_return_codes_are_those_of_nvidias_own_python_binding():
    pynvml = pytest.importorskip("pynvml")
    known = {row.name: row.value for row in nvml.nvml_returns()}
    theirs = {name: getattr(pynvml, name) for name in dir(pynvml) if name.startswith("NVML_ERROR_")}
    assert {name: known.get(name) for name in theirs} == theirs


def test_the_bits_of_a_throttle_mask_are_named():
    assert [row.short for row in nvml.throttle_reasons(0x44)] == ["SwPowerCap", "HwThermalSlowdown"]
    assert nvml.throttle_reasons(0) == []
    assert nvml.throttle_reasons(None) == []
    assert nvml.throttle_reasons(1 << 40) == []


@pytest.mark.parametrize(
    "name",
    [
        "SwPowerCap",
        "SW Power Cap",
        "sw_power_cap",
        "clocks_event_reasons.sw_power_cap",
        "nvmlClocksEventReasonSwPowerCap",
    ],
)
def test_a_throttle_reason_is_found_by_every_tools_name(name):
    row = nvml.throttle_reason(name)
    assert row is not None
    assert row.short == "SwPowerCap"


@pytest.mark.parametrize(
    ("text", "codes"),
    [
        ("RuntimeError: CUDA error: no kernel image is available for execution on the device", [209]),
        ("Unexpected error from cudaGetDeviceCount(). Error 802: system not yet initialized", [802]),
        ("failed call to cuInit: CUDA_ERROR_NO_DEVICE: no CUDA-capable device is detected", [100]),
        ("cudaErrorIllegalAddress then CUDA_ERROR_ILLEGAL_ADDRESS then CUDA_ERROR_ASSERT", [700, 710]),
        ("CUDA error: out of memory", [2]),
        ("the disk is out of memory", []),
        ("CUDA_ERROR_MADE_UP", []),
    ],
)
def test_the_errors_that_a_text_names_are_found_in_order(text, codes):
    assert [row.code for row in cuda_errors.in_text(text)] == codes


def test_an_error_has_one_number_in_runtime_and_driver():
    runtime, driver = cuda_errors.by_name("cudaErrorMemoryAllocation"), cuda_errors.by_name("CUDA_ERROR_OUT_OF_MEMORY")
    assert runtime is not None
    assert runtime == driver == cuda_errors.by_code(2)
    assert cuda_errors.by_code(None) is None


@pytest.mark.parametrize(
    ("number", "gfx"),
    [(110000, "gfx1100"), (110501, "gfx1151"), (90010, "gfx90a"), (90402, "gfx942"), (0, None), (None, None)],
)
def test_an_amd_target_is_read_from_the_kernels_number(number, gfx):
    assert amd.gfx_of_sysfs(number) == gfx


def test_an_amd_card_is_found_by_its_pci_id_and_its_wheels_by_rocm():
    row = amd.by_pci_id("0x744C")
    assert row is not None
    assert row.gfx == "gfx1100"
    assert amd.by_pci_id("0000") is None
    assert "gfx1100" in (amd.gfx_in_wheels("6.4") or [])
    assert "gfx1100" not in (amd.gfx_in_wheels("5.2") or [])
    assert amd.gfx_in_wheels("1.0") is None
    target = amd.gfx_target("gfx1031")
    assert target is not None
    assert target.in_torch_wheels == "no"


def test_what_amd_tested_is_found_by_the_rocm_series():
    row = amd.frameworks_tested("6.1.2")
    assert row is not None
    assert row.tensorflow[0] == "2.13.1"
    assert amd.frameworks_tested("9.9") is None


def test_an_intel_card_is_found_by_its_pci_id():
    row = intel.by_pci_id("56a0")
    assert row is not None
    assert row.name == "Arc A770"
    assert intel.by_pci_id(None) is None


@pytest.mark.parametrize(
    ("torch", "macos", "machine", "usable"),
    [
        ("2.12", "14.1", "arm64", True),
        ("2.12", "13.2", "arm64", False),
        ("1.13", "12.3", "arm64", True),
        ("1.11", "14.0", "arm64", False),
        ("2.2.2", "14.0", "x86_64", None),
        (None, "14.0", "arm64", None),
        ("2.12", None, "arm64", None),
    ],
)
def test_a_macs_gpu_needs_a_new_enough_macos(torch, macos, machine, usable):
    assert apple.mps(torch, macos, machine) is usable


def test_the_mac_wheels_of_a_release_are_known():
    row = apple.wheel("torch", "2.2.2")
    assert row is not None
    assert row.x86_64
    assert apple.wheel("torch", "0.1") is None
