"""What the processor and the memory themselves report as errors of the hardware."""

from __future__ import annotations

from collections.abc import Iterator

from envcheck.check import check
from envcheck.facts import KernelLog, need
from envcheck.report import Confidence, Evidence, Finding, Remedy, Severity

SHOWN = 3
"""Lines that a finding shows."""


@check(area="kernel log", causes=["hardware-computes-wrongly"])
def kernel_log_shows_no_machine_check(kernel_log: KernelLog) -> Iterator[Finding]:
    """The kernel log tells of no machine check and of no memory error that could not be corrected.

    Why: after an uncorrected error numbers are wrong, or the program or the machine ends. Corrected ones harm nothing
    by themselves, and the kernel logs both in the same words, so that these alone are a note.
    If not: take back overclocking, test the memory with memtest86+, reseat or replace the module that the line names;
    rasdaemon tells which it is.
    Source: Linux kernel, Documentation/admin-guide/RAS; tables kernel_messages.
    """
    messages = need(kernel_log.messages, "kernel_log.messages")
    uncorrected = [message for message in messages if message.kind == "edac-uncorrected"]
    reported = [message for message in messages if message.kind == "machine-check"]
    told = uncorrected or reported
    if not told:
        return
    yield Finding(
        cause="hardware-computes-wrongly",
        severity=Severity.ERROR if uncorrected else Severity.NOTE,
        confidence=Confidence.CERTAIN if uncorrected else Confidence.POSSIBLE,
        title=f"The memory gave back wrong numbers: {len(uncorrected)} uncorrected errors in the kernel log"
        if uncorrected
        else f"The processor reported errors of the hardware: {len(reported)} machine checks in the kernel log",
        evidence=[Evidence(message.text, message.source) for message in told[:SHOWN]],
        remedies=[
            Remedy(action="See which part it is", commands=["sudo ras-mc-ctl --errors"], changes="nothing"),
            Remedy(action="Take back overclocking, and test the memory with memtest86+", changes="hardware"),
        ],
    )
