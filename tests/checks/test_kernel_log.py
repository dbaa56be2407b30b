"""What is said of a kernel log, pasted and live."""

from __future__ import annotations

import pytest
from msgspec.structs import replace
from nvidia_facts import BUS, CARD, DRIVER, GPU, NOT_LOADED, NVML, TORCH, UBUNTU, first, report

from envcheck.checks import kernel_log as checks
from envcheck.compat.xid import kernel_messages, xids
from envcheck.facts import Facts, KernelLog, Nvml, Pci
from envcheck.probes.kernel_log import messages
from envcheck.report import CheckOutcome, Finding, Severity
from envcheck.testing import run_check

ALONE = {"platform": None, "pci": None, "driver": None, "nvml": None, "torch": None, "python": None, "variables": None}


def pasted(*lines: str) -> KernelLog:
    return KernelLog(readable=True, messages=messages("\n".join(lines), "dmesg.txt"))


def live(*lines: str) -> KernelLog:
    return KernelLog(readable=True, messages=messages("\n".join(lines), "dmesg"))


def said(log: KernelLog, **groups: object) -> Finding:
    return first(kernel_log=log, **{**ALONE, **groups})


XID_79 = "[  912.0] NVRM: Xid (PCI:0000:01:00): 79, pid='<unknown>', name=<unknown>, GPU has fallen off the bus."


@pytest.mark.parametrize(
    ("line", "cause"),
    [
        (XID_79, "gpu-fell-off-bus"),
        (
            "[9.0] NVRM: Xid (PCI:0000:01:00): 48, pid=7, name=python3, An uncorrectable double bit error (DBE)",
            "gpu-memory-fault",
        ),
        (
            "[9.0] NVRM: Xid (PCI:0000:01:00): 63, pid=7, name=x, Row Remapper: New row marked for remapping",
            "gpu-memory-fault",
        ),
        ("[9.0] NVRM: Xid (PCI:0000:01:00): 94, pid=7, name=x, Contained: SM", "gpu-memory-fault"),
        (
            "[9.0] NVRM: Xid (PCI:0000:01:00): 119, pid=7, name=x, Timeout after 6s of waiting for RPC",
            "gpu-hardware-fault",
        ),
        (
            "[9.0] NVRM: Xid (PCI:0000:01:00): 74, pid=7, name=x, NVLink: fatal error detected on link 3",
            "nvlink-degraded",
        ),
        ("[9.0] NVRM: Xid (PCI:0000:01:00): 31, pid=7, name=python3, Ch 00000008, MMU Fault", "user-code"),
        ("[9.0] NVRM: Xid (PCI:0000:01:00): 13, pid=7, name=python3, Graphics SM Warp Exception", "user-code"),
        (
            "[9.0] nvidia-nvswitch0: SXid (PCI:0000:05:00.0): 20034, Fatal, Link 30 LTSSM Fault Up",
            "nvlink-degraded",
        ),
        ("[9.0] Out of memory: Killed process 77 (python3) total-vm:1kB, anon-rss:1kB", "host-out-of-memory"),
        ("[9.0] Memory cgroup out of memory: Killed process 77 (python3) total-vm:1kB", "cgroup-limit"),
        ("[9.0] Loading of module with unavailable key is rejected", "secure-boot-blocks-driver"),
        ("[9.0] NVRM: API mismatch: the client has the version 570.1.2, but", "driver-library-mismatch"),
        ("[9.0] NVRM: This PCI I/O region assigned to your NVIDIA device is invalid:", "bar-or-iommu-setting"),
        ("[9.0] nvidia: version magic '6.1.0 SMP' should be '6.2.0 SMP'", "driver-not-loaded"),
        ("[9.0] NVRM: The NVIDIA probe routine was not called for 1 device(s).", "nouveau-loaded"),
        ("[9.0] NVRM:  supported through the NVIDIA 470.xx Legacy drivers. Please", "driver-dropped-gpu"),
    ],
)
def test_a_pasted_line_alone_names_its_cause(line: str, cause: str) -> None:
    assert said(pasted(line)).cause == cause


def test_every_xid_of_the_table_that_is_an_error_is_found_under_its_cause() -> None:
    for row in xids():
        if row.severity != "error" or not row.cause or row.number == 154:
            continue
        findings = report(
            kernel_log=pasted(f"NVRM: Xid (PCI:0000:01:00): {row.number}, pid=1, name=x, text"), **ALONE
        ).findings
        assert [finding.cause for finding in findings] == [row.cause], row.number


def test_no_example_of_a_known_kernel_line_breaks_a_check() -> None:
    for row in kernel_messages():
        report(kernel_log=pasted(row.example), **ALONE)
        report(kernel_log=live(row.example))


def test_a_log_that_may_not_be_read_is_skipped_and_not_passed() -> None:
    outcome, findings = run_check(checks.gpu_stays_on_the_bus, kernel_log=KernelLog(readable=False))
    assert (outcome, findings) == (CheckOutcome.SKIP, [])


def test_a_lost_gpu_stands_before_what_followed_from_it() -> None:
    log = pasted(
        XID_79,
        "[  912.1] NVRM: GPU 0000:01:00.0: GPU has fallen off the bus.",
        "[  912.5] NVRM: Xid (PCI:0000:01:00): 45, pid=7, name=python3, Ch 00000001",
        "[  913.0] NVRM: Xid (PCI:0000:01:00): 154, GPU recovery action changed from 0x0 (None) to 0x2 (Reboot)",
    )
    found = report(kernel_log=log, **ALONE).findings
    assert found[0].cause == "gpu-fell-off-bus"
    assert "user-code" not in str(found)


def test_a_memory_fault_stands_before_the_recovery_that_the_driver_asks_for() -> None:
    log = pasted(
        "[ 10.0] NVRM: Xid (PCI:0000:01:00): 95, pid=7, name=x, Uncontained: LTC TAG",
        "[ 10.2] NVRM: Xid (PCI:0000:01:00): 154, GPU recovery action changed from 0x0 (None) to 0x1 (Reset)",
        "[ 10.4] NVRM: Xid (PCI:0000:01:00): 45, pid=7, name=x, Ch 00000002",
    )
    assert [finding.cause for finding in report(kernel_log=log, **ALONE).findings] == ["gpu-memory-fault"]


def test_a_recovery_that_the_driver_asks_for_alone_says_what_to_do() -> None:
    log = pasted(
        "NVRM: Xid (PCI:0000:01:00): 154, GPU recovery action changed from 0x0 (None) to 0x1 (GPU Reset Required)"
    )
    found = said(log)
    assert found.cause == "gpu-hardware-fault"
    assert "reset" in found.remedies[0].action.lower()


def test_many_lines_of_one_kind_are_one_finding_with_their_number() -> None:
    lines = [f"[{second}.0] NVRM: Xid (PCI:0000:01:00): 94, pid=7, name=x, Contained: SM" for second in range(40)]
    (finding,) = report(kernel_log=pasted(*lines), **ALONE).findings
    assert "40 times" in finding.title


def test_a_live_line_about_a_card_that_answers_now_is_a_warning() -> None:
    line = "[9.0] NVRM: Xid (PCI:0000:01:00): 119, pid=7, name=x, Timeout after 6s of waiting for RPC response"
    found = first(kernel_log=live(line))
    assert found.severity is Severity.WARNING
    assert "has passed" in found.detail


def test_a_live_line_about_a_card_that_is_gone_explains_the_driver() -> None:
    gone = replace(GPU, state="NVML_ERROR_GPU_IS_LOST")
    found = first(kernel_log=live(XID_79), nvml=replace(NVML, gpus=[gone]))
    assert (found.cause, found.severity) == ("gpu-fell-off-bus", Severity.ERROR)
    assert len(report(kernel_log=live(XID_79), nvml=replace(NVML, gpus=[gone])).findings) == 1


def test_a_program_that_broke_its_own_context_is_a_note() -> None:
    line = "[9.0] NVRM: Xid (PCI:0000:01:00): 31, pid=7, name=python3, Ch 00000008, MMU Fault"
    assert first(kernel_log=live(line)).severity is Severity.NOTE


def test_what_was_before_the_driver_was_loaded_again_counts_no_more() -> None:
    log = live(
        "[9.0] NVRM: Xid (PCI:0000:01:00): 119, pid=7, name=x, Timeout after 6s of waiting for RPC response",
        "[99.0] NVRM: loading NVIDIA UNIX Open Kernel Module for x86_64  580.95.05  Release Build  (builder)",
    )
    assert report(kernel_log=log).findings == []


@pytest.mark.parametrize(
    "lines",
    [
        ["[1.0] nvidia: module verification failed: signature and/or required key missing - tainting kernel"],
        ["[1.0] pci 0000:06:00.1: BAR 0: no space for [mem size 0x00004000]"],
        ["[1.0] nvme 0000:04:00.0: PCIe Bus Error: severity=Corrected, type=Physical Layer, (Receiver ID)"] * 30,
        ["[1.0] nvidia 0000:01:00.0: PCIe Bus Error: severity=Corrected, type=Physical Layer, (Receiver ID)"] * 3,
        ["[1.0] INFO: task kworker/0:1:77 blocked for more than 120 seconds."],
        ["[1.0] DMAR: [DMA Read NO_PASID] Request device [00:02.0] fault addr 0x7cd80000 [fault reason 0x01]"],
        ["[1.0] nouveau 0000:01:00.0: NVIDIA TU117 (167000a1)"],
        ["[1.0] pcieport 0000:3a:00.0: pciehp: Slot(48): Link Down"],
    ],
)
def test_ordinary_lines_of_a_working_machine_are_no_fault(lines: list[str]) -> None:
    assert report(kernel_log=live(*lines)).findings == []


def test_a_stream_of_pcie_errors_of_the_gpu_is_a_warning() -> None:
    lines = ["[1.0] nvidia 0000:01:00.0: PCIe Bus Error: severity=Corrected, type=Physical Layer, (Receiver ID)"] * 30
    found = first(kernel_log=live(*lines))
    assert (found.cause, found.severity) == ("pcie-degraded", Severity.WARNING)


def test_a_card_that_needs_the_open_module_is_named_before_the_failed_start() -> None:
    log = live(
        "[1.0] NVRM: The NVIDIA GPU 0000:01:00.0 (PCI ID: 10de:2b85)",
        "[1.0] NVRM: installed in this system requires use of the NVIDIA open kernel modules.",
        "[1.1] NVRM: GPU 0000:01:00.0: RmInitAdapter failed! (0x22:0x56:884)",
        "[1.1] NVRM: GPU 0000:01:00.0: rm_init_adapter failed, device minor number 0",
    )
    card = replace(CARD, device_id="2b85", name="NVIDIA GeForce RTX 5090")
    found = report(
        kernel_log=log,
        nvml=replace(NVML, gpus=[]),
        pci=Pci(devices=[card]),
        driver=replace(DRIVER, module_flavour="proprietary"),
    ).findings
    assert found[0].cause == "driver-dropped-gpu"
    assert len(found) == 1


def test_a_blocked_task_with_the_driver_on_its_stack_is_a_hung_driver() -> None:
    log = live(
        "[7500.0] INFO: task python3:5095 blocked for more than 120 seconds.",
        "[7500.1]  os_acquire_rwlock_read+0x35/0x50 [nvidia]",
    )
    found = first(kernel_log=log, nvml=Nvml(state="timeout", stage="nvmlInit", message="no answer within 15 s"))
    assert (found.cause, found.severity) == ("driver-hung", Severity.ERROR)


def test_a_module_of_another_kernel_explains_why_it_is_not_loaded() -> None:
    log = live("[9.0] nvidia: version magic '6.1.0 SMP' should be '6.2.0 SMP'")
    driver = replace(DRIVER, module_loaded=False, module_version="", device_nodes=[])
    found = first(kernel_log=log, driver=driver, nvml=NOT_LOADED, platform=UBUNTU, pci=BUS)
    assert found.cause == "driver-not-loaded"


def test_a_process_that_the_kernel_ended_some_time_is_a_note_and_an_error_where_it_was_the_framework_just_now() -> None:
    log = live("[9.0] Out of memory: Killed process 77 (python3) total-vm:1kB, anon-rss:1kB")
    assert first(kernel_log=log).severity is Severity.NOTE
    killed = first(kernel_log=log, torch=replace(TORCH, state="crash", signal="SIGKILL", stage="import"))
    assert (killed.cause, killed.severity) == ("host-out-of-memory", Severity.ERROR)


def test_facts_without_a_log_are_judged_without_it() -> None:
    assert report(kernel_log=None).findings == []
    assert Facts().kernel_log is None


def test_an_xid_of_this_machines_own_log_is_nvidias_whatever_the_bus_tells() -> None:
    assert said(live(XID_79)).cause == "gpu-fell-off-bus"
