"""What the kernel's log says of GPUs, their driver and memory.

Live, a line may tell of something that has passed: where the card of which it speaks answers now, the finding is a
warning at most.  In a log that was pasted, the line is what there is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import msgspec

from envcheck.check import check
from envcheck.checks.nvidia_context import (
    FRAMEWORK_GPU_UNUSABLE,
    NVIDIA_XID_GUIDE,
    answers,
    gpus_on_bus,
    gravity,
    no_gpu_on_bus,
)
from envcheck.checks.nvidia_remedies import POWER_CYCLE, RESTART, RESTART_PLAIN, install_driver, remedies_of
from envcheck.facts import Facts, KernelLog, KernelMessage, need
from envcheck.intent import Intent
from envcheck.report import Confidence, Evidence, Finding, Remedy, Severity

if TYPE_CHECKING:
    from envcheck.compat import xid as tables

LIVE_SOURCES = {"dmesg", "journalctl -k"}

SILENCE_SECONDS = 180.0
"""Lines with less silence between them belong to one incident (NVIDIA Fleet Intelligence, Xid bursts)."""

STREAM_LINES = 20
"""Corrected PCIe errors from which they count as a stream: single ones are ordinary."""

TITLE_WIDTH = 70
"""Characters of a name, or half of a line, that fit into a finding's title."""

REMOVED_CHANNEL = 45
"""The Xid that follows from another one, or from a process that was ended."""

BUS = "gpu-stays-on-the-bus"
MEMORY = "kernel-log-shows-no-memory-fault"
FAULT = "kernel-log-shows-no-gpu-fault"
LINK = "kernel-log-shows-no-link-fault"
PROGRAM = "kernel-log-shows-no-program-fault"


class Incident(msgspec.Struct, frozen=True):
    """Lines of one kind about one device: the first of them, how many there are, and what they mean.

    Attributes:
        first: the first line.
        cause: slug of the vocabulary; empty where none follows.
        severity: `error`, `warning`, `info`, as the tables judge.
        meaning: what the lines mean.
        action: what is to be done; empty where the tables do not say.
        title: what the lines are called.
        count: how many lines there are.
    """

    first: KernelMessage
    cause: str
    severity: str
    meaning: str
    action: str
    title: str
    count: int = 1


def live(message: KernelMessage) -> bool:
    """Tell whether a line was read from this machine's own log."""
    return message.source in LIVE_SOURCES


def current(messages: Sequence[KernelMessage]) -> list[KernelMessage]:
    """Return the lines since the driver was loaded last: what was before, a reload or restart has cleared.

    The log begins with the start of the machine, so the first loading clears nothing but refusals before it.
    """
    loads = [number for number, message in enumerate(messages) if message.kind == "driver-loading"]
    last = loads[-1] if loads else 0
    about_driver = {"sxid", "rm-init-adapter", "fallen-off-bus", "fallen-off-bus-at-probe"}
    return [
        message
        for number, message in enumerate(messages)
        if number >= last or not (message.kind.startswith(("xid", "api-mismatch", *about_driver)))
    ]


def seconds(message: KernelMessage) -> float | None:
    """Return the time of a line in seconds since the start; None where its stamp is of another form."""
    return float(message.time) if re.fullmatch(r"\d+\.\d+", message.time) else None


def incidents(log: KernelLog) -> list[Incident]:
    """Return what happened, oldest first: lines of one kind, number and device are one incident."""
    alike: dict[tuple[str, int | None, str], list[KernelMessage]] = {}
    for message in current(need(log.messages, "kernel_log.messages")):
        key = (message.kind.partition("-nvlink5")[0], message.number, message.device)
        alike.setdefault(key, []).append(message)
    understood = ((_understood(messages[0]), len(messages)) for messages in alike.values())
    return _without_echoes(
        [msgspec.structs.replace(incident, count=count) for incident, count in understood if incident is not None]
    )


def _understood(message: KernelMessage) -> Incident | None:
    from envcheck.compat import xid

    if message.kind == "xid" and message.number is not None:
        return _xid(message, xid.xid(message.number))
    if message.kind == "xid-nvlink5":
        row = xid.xid(message.number)
        severity = "error" if " Fatal " in message.text else "warning"
        return Incident(
            message, "nvlink-degraded", severity, row.meaning if row else "", row.action if row else "", _name(message)
        )
    if message.kind == "sxid":
        switch = xid.sxid(message.number)
        fatal = "Fatal" in message.text and "Non-fatal" not in message.text
        severity = "error" if fatal or (switch and switch.kind == "always-fatal") else "warning"
        meaning, action = (switch.meaning, switch.action) if switch else ("", "")
        return Incident(message, "nvlink-degraded", severity, meaning, action, f"SXid {message.number}")
    if message.kind == "xid-recovery-action":
        wish = re.search(r"to 0x[0-9a-fA-F]+ \(([^)]{1,40})\)", message.text)
        asked = xid.recovery_action(wish[1]) if wish else None
        if asked is None or not asked.value:
            return None
        title = f"the driver asks for a recovery: {asked.name}"
        return Incident(message, asked.cause or "gpu-hardware-fault", asked.severity, "", asked.action, title)
    kind = next((row for row in xid.kernel_messages() if row.id == message.kind), None)
    if kind is None or not kind.cause:
        return None
    cause = kind.causes[0] if kind.causes else kind.cause
    return Incident(message, cause, kind.severity, kind.meaning, "", message.kind.replace("-", " "))


def _xid(message: KernelMessage, row: tables.Xid | None) -> Incident:
    if row is None:
        return Incident(message, "gpu-hardware-fault", "warning", "", "", f"Xid {message.number}, which no table knows")
    return Incident(message, row.cause, row.severity, row.meaning, row.action, _name(message))


def _name(message: KernelMessage) -> str:
    from envcheck.compat import xid

    row = xid.xid(message.number)
    return f"Xid {message.number}" + (
        f" ({row.name.replace('_', ' ').lower()})" if row and len(row.name) <= TITLE_WIDTH else ""
    )


def _without_echoes(found: list[Incident]) -> list[Incident]:
    """Leave out what only follows another incident of the same device: Xid 45 and 154, and a second lost-GPU line."""
    kept = []
    for incident in found:
        first = incident.first
        others = [
            other
            for other in found
            if other is not incident
            and other.severity == "error"
            and other.first.device in {first.device, ""}
            and other.first.kind.startswith(("xid", "fallen", "sxid"))
            and other.first.kind != "xid-recovery-action"
        ]
        echo = (
            first.kind == "xid-recovery-action"
            or first.number == REMOVED_CHANNEL
            or "caused by previous Xid" in first.text
        )
        if echo and any(_near(first, other.first) for other in others):
            continue
        kept.append(incident)
    return kept


def _near(later: KernelMessage, earlier: KernelMessage) -> bool:
    one, other = seconds(later), seconds(earlier)
    return one is None or other is None or abs(one - other) <= SILENCE_SECONDS


def recovered(message: KernelMessage, facts: Facts) -> bool:
    """Tell whether the card of which a live line speaks answers now."""
    if not live(message) or not answers(facts.nvml):
        return False
    gpus = facts.nvml.gpus or [] if facts.nvml else []
    if not message.device:
        return bool(gpus) and all(gpu.state == "ok" for gpu in gpus)
    short = message.device.rpartition(".")[0]
    return any(gpu.state == "ok" and (gpu.pci_address or "").startswith(short) for gpu in gpus)


def about_gpu(message: KernelMessage, facts: Facts) -> bool:
    """Tell whether a line about some PCI device concerns an NVIDIA GPU; a pasted one is taken to."""
    if not live(message) or "nvidia" in message.text or "NVRM" in message.text:
        return True
    known = {device.address for device in gpus_on_bus(facts.pci)}
    return any(address in message.text for address in known)


def finding(
    incident: Incident, facts: Facts, *, explains: list[str], remedies: list[Remedy], links: bool = True
) -> Finding:
    """Return the finding for an incident; what has passed on a card that answers now is a warning at most."""
    message = incident.first
    # A card answers between the errors of its link, too: those are not over.
    past = recovered(message, facts) and not message.kind.startswith("aer")
    severity = {"error": Severity.ERROR, "warning": Severity.WARNING}.get(incident.severity, Severity.NOTE)
    if past:
        severity = Severity.WARNING if severity is Severity.ERROR else Severity.NOTE
    device = f" of GPU {message.device}" if message.device else ""
    count = f", {incident.count} times" if incident.count > 1 else ""
    meaning = incident.meaning.rstrip(".")
    return Finding(
        cause=incident.cause,
        severity=severity,
        confidence=Confidence.CERTAIN if not past and incident.severity == "error" else Confidence.LIKELY,
        title=f"The kernel log has {incident.title}{device}{count}" + (f": {meaning}" if meaning else ""),
        evidence=[Evidence(message.text, message.source)],
        explains=explains,
        remedies=remedies,
        detail="The card answers now: what the log tells of has passed." if past else "",
        links=[NVIDIA_XID_GUIDE] if links and "NVRM" in message.text else [],
    )


def advice(incident: Incident, fallback: list[Remedy]) -> list[Remedy]:
    """Return what the table of Xids says is to be done, else the fallback."""
    return [Remedy(action=incident.action, changes="see the action")] if incident.action else fallback


@check(area="kernel log", causes=["gpu-fell-off-bus"])
def gpu_stays_on_the_bus(kernel_log: KernelLog, facts: Facts) -> Iterator[Finding]:
    """No GPU has fallen off the PCI bus since the machine was started.

    Why: the driver can then reach it no more, and every call about it fails or hangs, up to a restart: power, seat,
    heat, riser or the card itself.
    If not: power the machine off and on, then look at cables, seat and temperature; when it returns on the same slot
    with another card, the slot or the power supply is at fault.
    Source: NVIDIA, "XID Errors", Xid 79; table xid.
    """
    for incident in incidents(kernel_log):
        if incident.cause != "gpu-fell-off-bus" or not about_gpu(incident.first, facts):
            continue
        if incident.first.kind in {"pciehp-link-down", "power-state-d3cold"} and answers(facts.nvml):
            continue
        yield finding(
            incident,
            facts,
            explains=[
                "nvml-answers",
                "every-gpu-answers",
                "gpus-on-bus-are-reported",
                "nvidia-smi-answers",
                MEMORY,
                FAULT,
                LINK,
                PROGRAM,
                *FRAMEWORK_GPU_UNUSABLE,
            ],
            remedies=POWER_CYCLE,
        )


@check(area="kernel log", causes=["gpu-memory-fault"])
def kernel_log_shows_no_memory_fault(kernel_log: KernelLog, facts: Facts) -> Iterator[Finding]:
    """The kernel log tells of no fault in a GPU's memory.

    Why: Xid 48, 63, 64, 94, 95 and the like name uncorrectable errors, rows that are replaced, and replacements that
    failed. The GPU replaces the row at its next reset.
    If not: reset the GPU, then look at remapped rows and error counts; when it comes back, have the card exchanged.
    Source: NVIDIA, "XID Errors"; NVIDIA GPU Memory Error Management; table xid.
    """
    for incident in incidents(kernel_log):
        if incident.cause == "gpu-memory-fault":
            yield finding(
                incident,
                facts,
                explains=[FAULT, PROGRAM, "no-recovery-action-is-pending", "*-computes"],
                remedies=advice(incident, [RESTART_PLAIN]),
            )


FAULT_CAUSES = ["gpu-hardware-fault", "bar-or-iommu-setting", "fabric-manager-down", "version-skew-across-nodes"]
"""What Xids name beside memory, links and programs."""


@check(area="kernel log", causes=FAULT_CAUSES)
def kernel_log_shows_no_gpu_fault(kernel_log: KernelLog, facts: Facts) -> Iterator[Finding]:
    """The kernel log tells of no fault of a GPU, its firmware or its power.

    Why: such Xids (62, 109, 119, 120 and others) and resets that the driver began by itself end the programs on the
    card, which fail with errors that name something else.
    If not: do what the number asks for: a reset or restart first, then the newest driver of the branch; when it
    returns, diagnostics and exchange.
    Source: NVIDIA, "XID Errors"; messages of amdgpu, i915 and xe in the Linux kernel; tables xid and kernel_messages.
    """
    for incident in incidents(kernel_log):
        if incident.cause not in FAULT_CAUSES or incident.first.kind in {*STARTING, *DEEPEST_FIRST}:
            continue
        found = finding(
            incident,
            facts,
            explains=[PROGRAM, "*-computes", "nvml-answers", "every-gpu-answers", "nvidia-smi-answers", "*-sees-gpu"],
            remedies=advice(incident, [RESTART_PLAIN]),
        )
        yield found if not live(incident.first) or facts.nvml is not None else _passed(found)


def _passed(found: Finding) -> Finding:
    return msgspec.structs.replace(
        found,
        severity=Severity.WARNING if found.severity is Severity.ERROR else found.severity,
        confidence=Confidence.POSSIBLE,
    )


@check(area="kernel log", causes=["nvlink-degraded", "pcie-degraded"])
def kernel_log_shows_no_link_fault(kernel_log: KernelLog, facts: Facts) -> Iterator[Finding]:
    """The kernel log tells of no fault of a GPU's NVLink, NVSwitch or PCIe link.

    Why: NVLink and NVSwitch errors end collectives of every GPU on the link; a stream of PCIe errors, or one that was
    not corrected, precedes a lost card. Single corrected PCIe errors are ordinary and are not held against it.
    If not: reset all GPUs of the link, or the machine; then seat, cable, riser and slot.
    Source: NVIDIA, "XID Errors" (74, 144 to 150) and Fabric Manager User Guide (SXid); Linux kernel documentation,
    "PCI Express Advanced Error Reporting"; tables xid, sxid and kernel_messages.
    """
    for incident in incidents(kernel_log):
        if incident.cause not in {"nvlink-degraded", "pcie-degraded"} or incident.first.kind == "aer-bit":
            continue
        if incident.first.kind.startswith("aer"):
            ordinary = re.search(r"\bCorrect", incident.first.text)
            if not about_gpu(incident.first, facts):
                continue
            if ordinary and incident.count < STREAM_LINES:
                if live(incident.first):
                    continue
                incident = msgspec.structs.replace(incident, severity="warning")  # noqa: PLW2901 - the same one, judged
        yield finding(
            incident,
            facts,
            explains=[PROGRAM, "*-computes"],
            remedies=advice(
                incident,
                [
                    Remedy(
                        action="Power off and reseat the card; look at riser, cable and slot; try one PCIe generation "
                        "lower in the firmware's set-up",
                        commands=["sudo lspci -vv | grep -E 'NVIDIA|LnkSta:'"],
                        changes="hardware",
                    )
                ],
            ),
        )


STARTING = {
    "rm-init-adapter",
    "rm-init-adapter-minor",
    "rm-init-adapter-old",
    "gsp-boot-failed",
    "gfw-boot-failed",
    "probe-failed",
    "bar-invalid",
    "bar-invalid-head",
    "bios-misconfigured",
    "bar-no-space",
    "iommu-fault-amd",
    "iommu-fault-intel",
    "gsp-firmware-missing",
}
"""Kinds of lines with which a driver fails to start a card."""

DRIVER_CAUSES = [
    "driver-dropped-gpu",
    "driver-library-mismatch",
    "driver-not-loaded",
    "secure-boot-blocks-driver",
    "nouveau-loaded",
    "bar-or-iommu-setting",
    "no-gpu-present",
    "gpu-hardware-fault",
]

DEEPEST_FIRST = [
    "open-module-needed",
    "open-module-unsupported",
    "open-module-parameter",
    "legacy-branch",
    "driver-ignores-gpu",
    "legacy-gpu-name",
    "gpu-unsupported",
    "gpu-unsupported-old",
    "lockdown-unsigned",
    "module-rejected",
    "module-version-magic",
    "module-symbol-version",
    "api-mismatch",
    "api-mismatch-module",
    "api-mismatch-client",
    "gsp-firmware-missing",
    "bar-invalid",
    "bar-invalid-head",
    "bios-misconfigured",
    "nouveau-owns",
    "probe-not-called",
    "nouveau",
    "iommu-fault-amd",
    "iommu-fault-intel",
    "gsp-boot-failed",
    "gfw-boot-failed",
    "bar-no-space",
    "rm-init-adapter",
    "rm-init-adapter-minor",
    "rm-init-adapter-old",
    "probe-failed",
    "no-gpu-found",
]
"""Kinds of lines about a driver that does not start, the one that says most first: the later ones follow from it."""


@check(area="kernel log", causes=DRIVER_CAUSES)
def kernel_accepts_the_driver(kernel_log: KernelLog, facts: Facts, intent: Intent) -> Iterator[Finding]:
    """The kernel has loaded the GPU's driver, and the driver has started the card, without a complaint.

    Why: the log says what no tool does: that this branch no longer drives the card, that the card needs the open
    module, that the module is of another kernel or not signed, that the firmware gave the card no address space.
    If not: of several lines the one that says most is named; the others follow from it.
    Source: messages of NVIDIA's kernel module, its README and the Linux kernel's module loader; table kernel_messages.
    """
    found = [incident for incident in incidents(kernel_log) if incident.first.kind in DEEPEST_FIRST]
    found = [incident for incident in found if about_gpu(incident.first, facts) and not _answered(incident, facts)]
    if not found or (live(found[0].first) and no_gpu_on_bus(facts.pci)):
        return
    found.sort(key=lambda incident: DEEPEST_FIRST.index(incident.first.kind))
    told = found[0]
    if told.first.kind == "nouveau" and (live(told.first) or facts.driver is not None):
        # That nouveau is there is judged from the modules that are loaded.
        return
    cause = told.cause
    if cause == "gpu-hardware-fault" and any(incident.cause == "bar-or-iommu-setting" for incident in found):
        cause = "bar-or-iommu-setting"
    severity = Severity.ERROR if not live(told.first) else gravity(facts, intent)
    decided = told.first.kind not in {
        "rm-init-adapter",
        "rm-init-adapter-minor",
        "rm-init-adapter-old",
        "probe-failed",
        "no-gpu-found",
        "bar-no-space",
        "nouveau",
    }
    yield Finding(
        cause=cause,
        severity=severity,
        confidence=Confidence.CERTAIN if decided else Confidence.POSSIBLE,
        title=f"The kernel's log: {told.first.text[-2 * TITLE_WIDTH :]}",
        evidence=[Evidence(incident.first.text, incident.first.source) for incident in found[:5]],
        explains=[
            "nvml-answers",
            "every-gpu-answers",
            "gpus-on-bus-are-reported",
            "nvidia-smi-answers",
            "driver-module-is-loaded",
            FAULT,
            *FRAMEWORK_GPU_UNUSABLE,
        ],
        remedies=_start(cause, told, facts),
        detail=told.meaning,
    )


def _answered(incident: Incident, facts: Facts) -> bool:
    """Tell whether the driver has got over a complaint: it answers, for the device of the line if it names one."""
    if not live(incident.first):
        return False
    return recovered(incident.first, facts) or (answers(facts.nvml) and not incident.first.device)


def _start(cause: str, told: Incident, facts: Facts) -> list[Remedy]:
    branch = re.search(r"NVIDIA (\d+)\.", told.first.text) if told.first.kind == "legacy-branch" else None
    if branch:
        return [
            Remedy(
                action=f"Install NVIDIA driver branch {branch[1]}, the last one that drives this card, then restart",
                changes="the system's driver",
            )
        ]
    if told.first.kind == "open-module-needed":
        return [
            Remedy(
                action="Install the open kernel module of the same driver branch, then restart",
                changes="the system's driver",
            )
        ]
    if told.first.kind in {"open-module-unsupported", "open-module-parameter"}:
        return [
            Remedy(
                action="Install the proprietary kernel module of the same driver branch, then restart",
                changes="the system's driver",
            )
        ]
    if cause == "bar-or-iommu-setting":
        return [
            Remedy(
                action="In the firmware's set-up switch on `Above 4G Decoding`, try `Resizable BAR` off, update "
                "the firmware, and try the boot parameter iommu=pt",
                changes="the firmware's settings",
            )
        ]
    if cause == "secure-boot-blocks-driver":
        return [
            Remedy(
                action="Enrol the key that signs the module, and restart",
                commands=["sudo mokutil --import /var/lib/dkms/mok.pub", "sudo reboot"],
                changes="the firmware's list of trusted keys",
            )
        ]
    if cause == "driver-library-mismatch":
        return [RESTART]
    if cause in {"driver-dropped-gpu", "nouveau-loaded", "no-gpu-present"}:
        return install_driver(facts)
    return remedies_of(cause, facts)


@check(area="kernel log", causes=["user-code"])
def kernel_log_shows_no_program_fault(kernel_log: KernelLog, facts: Facts) -> Iterator[Finding]:
    """The kernel log tells of no program that broke its own GPU context.

    Why: Xid 13, 31, 43 and 45 come from programs nearly always: an index out of range in a kernel, a process that was
    killed. The card is healthy, and nothing has to be done to the machine; the same number from several people's
    programs on one card is another matter.
    If not: run the named program with CUDA_LAUNCH_BLOCKING=1 or under compute-sanitizer.
    Source: NVIDIA, "XID Errors"; table xid.
    """
    for incident in incidents(kernel_log):
        if incident.cause != "user-code":
            continue
        yield finding(
            msgspec.structs.replace(incident, severity="info"),
            facts,
            explains=[],
            remedies=advice(incident, []),
        )


@check(area="kernel log", causes=["host-out-of-memory", "cgroup-limit"])
def no_process_was_ended_for_memory(kernel_log: KernelLog, facts: Facts) -> Iterator[Finding]:
    """The kernel has ended no process because memory ran out.

    Why: a process that the kernel ends gets no word in: in Python it is a bare "Killed", exit status 137, a data loader
    that "exited unexpectedly", or a notebook's kernel that restarts.
    If not: smaller batches, fewer loader workers, data read in parts; or a higher limit of the container or job.
    Source: Linux kernel, messages of the out-of-memory killer; table kernel_messages.
    """
    kinds = {"oom-global", "oom-cgroup", "oom-kill-record", "slurm-oom", "oom-invoked"}
    told = [message for message in need(kernel_log.messages, "kernel_log.messages") if message.kind in kinds]
    ended = [message for message in told if message.kind != "oom-invoked"] or told
    if not ended:
        return
    last = ended[-1]
    limit = any(
        message.kind in {"oom-cgroup", "slurm-oom"} or "CONSTRAINT_MEMCG" in message.text for message in ended[-3:]
    )
    name = re.search(r"\((.{1,20}?)\)|task=([^,]{1,32})", last.text)
    process = (name[1] or name[2]) if name else ""
    # On a machine that has run for days such a line is history, unless what was examined just now was ended too.
    examined = (facts.torch, facts.tensorflow, facts.keras)
    ended_now = any(framework is not None and framework.signal == "SIGKILL" for framework in examined)
    severity = Severity.ERROR if not live(last) or ended_now else Severity.NOTE
    who = f" {process}" if process else ""
    yield Finding(
        cause="cgroup-limit" if limit else "host-out-of-memory",
        severity=severity,
        confidence=Confidence.CERTAIN if last.kind != "oom-invoked" else Confidence.LIKELY,
        title=f"The kernel ended{who or ' a process'} because "
        + ("the memory limit of its container or job was reached" if limit else "the machine ran out of memory"),
        evidence=[Evidence(message.text, message.source) for message in ended[-2:]],
        explains=["memory-*", "cgroup-*", "*-imports"] if severity is Severity.ERROR else [],
        remedies=[
            Remedy(
                action="Raise the limit of the container or job, or use smaller batches and fewer loader workers"
                if limit
                else "Need less memory: smaller batches, fewer loader workers, data read in parts; or add swap",
                changes="how the program is run",
            )
        ],
    )


@check(area="kernel log", causes=["driver-hung", "slow-data-path"])
def driver_calls_return(kernel_log: KernelLog, facts: Facts) -> Iterator[Finding]:
    """No process waits in the GPU driver without end.

    Why: a task that the kernel calls blocked, with the driver on its stack, cannot be killed; nvidia-smi and every
    CUDA program then hang likewise until the next restart. Without the driver on the stack it waits for a disk or a
    network file system.
    If not: read the Xid before it; restart.
    Source: Linux kernel, hung task detector; table kernel_messages.
    """
    messages = need(kernel_log.messages, "kernel_log.messages")
    blocked = [message for message in messages if message.kind in {"hung-task", "soft-lockup"}]
    in_driver = [message for message in messages if message.kind == "hung-in-driver"]
    named = [message for message in blocked if re.search(r"nvidia|nv_|cuda|amdgpu|UVM", message.text)]
    if not blocked or (live(blocked[0]) and not (in_driver or named)):
        return
    driver = bool(in_driver or named)
    stuck = bool(facts.nvml and facts.nvml.state == "timeout")
    yield Finding(
        cause="driver-hung" if driver else "slow-data-path",
        severity=Severity.ERROR if stuck or not live(blocked[0]) else Severity.WARNING,
        confidence=Confidence.LIKELY if driver else Confidence.POSSIBLE,
        title="A process waits in the GPU driver without end"
        if driver
        else "A process waits in the kernel without end, for a disk or a network file system",
        evidence=[Evidence(message.text, message.source) for message in [*blocked[:2], *in_driver[:2]]],
        explains=["nvml-answers", "nvidia-smi-answers", *FRAMEWORK_GPU_UNUSABLE] if driver else [],
        remedies=[RESTART_PLAIN],
    )


@check(area="kernel log", causes=["cpu-instructions-missing"])
def no_program_used_a_missing_instruction(kernel_log: KernelLog) -> Iterator[Finding]:
    """No program was ended for an instruction that the processor does not have.

    Why: builds for newer processors use AVX, AVX2 or FMA; on an older one, or in a virtual machine that hides them,
    the program ends with "Illegal instruction".
    If not: install a build for this processor, or have the virtual machine pass the host's processor through.
    Source: Linux kernel, message of the trap handler; table kernel_messages.
    """
    messages = need(kernel_log.messages, "kernel_log.messages")
    trapped = [message for message in messages if message.kind == "invalid-opcode"]
    trapped = [message for message in trapped if not live(message) or "python" in message.text]
    if not trapped:
        return
    yield Finding(
        cause="cpu-instructions-missing",
        severity=Severity.NOTE if live(trapped[-1]) else Severity.ERROR,
        confidence=Confidence.LIKELY,
        title="A program was ended for an instruction that this processor does not have",
        evidence=[Evidence(trapped[-1].text, trapped[-1].source)],
        remedies=[
            Remedy(
                action="Install a build of that library for this processor, or give the virtual machine the host's "
                "processor model",
                changes="the environment",
            )
        ],
    )
