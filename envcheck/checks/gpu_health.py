"""The health of GPUs that answer: memory, clocks, links, what the driver itself wants done.

Thresholds and their sources stand in docs/gpu-health.md, with the items for which there is no check and why.
"""

from __future__ import annotations

from collections.abc import Iterator

from envcheck.check import check
from envcheck.checks.nvidia_context import (
    FRAMEWORK_GPU_UNUSABLE,
    NVIDIA_MEMORY_GUIDE,
    named,
    working_gpus,
)
from envcheck.checks.nvidia_remedies import reset_gpu
from envcheck.facts import Facts, Gpu, NvidiaDriver, Nvml
from envcheck.report import Confidence, Evidence, Finding, Remedy, Severity, seen

MOST_REMAPPED_ROWS = 512
"""Rows replaced for uncorrectable errors from which a card is to be returned (DCGM 4.6.0,
DCGM_LIMIT_MAX_ROW_REMAP_UNCORRECTABLE)."""

MOST_RETIRED_PAGES = 63
"""Retired pages from which a card before Ampere is to be returned (DCGM 4.6.0, page retirement limit)."""

MANY_CORRECTED_ERRORS = 20_000_000
"""Corrected memory errors since the driver was loaded that are no longer ordinary (Azure health checks, DRAM)."""

HELD_DOWN = 0.8
"""Share of the usual clock or power limit below which a card counts as held down."""

BUSY_PERCENT = 50
"""Use from which a GPU counts as under load: an idle one lowers clocks and links by itself."""

REPLACE = Remedy(
    action="Stop using this card and have it replaced: run NVIDIA's field diagnostics and contact the vendor",
    changes="hardware",
)


def source_of(nvml: Nvml) -> str:
    """Return where the readings of GPUs come from."""
    return nvml.sources.get("gpus", "NVML")


@check(area="gpu health", causes=["gpu-memory-fault"])
def gpu_memory_has_no_uncorrectable_errors(nvml: Nvml, facts: Facts) -> Iterator[Finding]:
    """No uncorrectable error of a GPU's memory was counted since the driver was loaded.

    Why: after one, results may be wrong and programs end with Xid 48, 94 or 95. The card replaces the row at its next
    reset; errors of the on-chip SRAM cannot be replaced, so that the driver keeps a threshold for them.
    If not: reset the GPU, then look at the rows that it replaced; when errors come back, have the card replaced.
    Source: NVIDIA GPU Memory Error Management; NVML API reference, nvmlDeviceGetTotalEccErrors and
    nvmlDeviceGetSramEccErrorStatus.
    """
    for gpu in working_gpus(facts):
        if gpu.sram_threshold_exceeded:
            yield Finding(
                cause="gpu-memory-fault",
                severity=Severity.ERROR,
                title=f"The on-chip memory of {named(gpu)} has more errors than the driver accepts",
                evidence=[Evidence("SRAM error threshold: exceeded", source_of(nvml))],
                explains=["kernel-log-shows-no-memory-fault"],
                remedies=[REPLACE],
                links=[NVIDIA_MEMORY_GUIDE],
            )
        elif gpu.ecc_uncorrected:
            lifetime = gpu.ecc_uncorrected_lifetime
            yield Finding(
                cause="gpu-memory-fault",
                severity=Severity.ERROR,
                title=f"{named(gpu)} counted {gpu.ecc_uncorrected} uncorrectable memory errors since it was started",
                evidence=[
                    Evidence(f"uncorrectable ECC errors: {gpu.ecc_uncorrected}", source_of(nvml)),
                    *([Evidence(f"over the card's life: {lifetime}", source_of(nvml))] if lifetime is not None else []),
                ],
                explains=["kernel-log-shows-no-memory-fault", "*-computes"],
                remedies=[reset_gpu(gpu), REPLACE],
                links=[NVIDIA_MEMORY_GUIDE],
            )
        elif gpu.ecc_corrected is not None and gpu.ecc_corrected >= MANY_CORRECTED_ERRORS:
            yield Finding(
                cause="gpu-memory-fault",
                severity=Severity.WARNING,
                confidence=Confidence.LIKELY,
                title=f"{named(gpu)} corrected {gpu.ecc_corrected:,} memory errors since the driver was loaded",
                evidence=[Evidence(f"corrected ECC errors: {gpu.ecc_corrected}", source_of(nvml))],
                remedies=[Remedy(action="Watch whether the number grows, and ask the vendor", changes="nothing")],
            )


@check(area="gpu health", causes=["gpu-memory-fault"])
def gpu_ecc_mode_is_settled(nvml: Nvml, facts: Facts) -> Iterator[Finding]:
    """The ECC mode of a GPU is not waiting for a restart, and is on where the card has it switched on as delivered.

    Why: a change of the mode holds from the next restart on; until then memory size and protection are not those that
    were asked for. Without ECC a flipped bit in the card's memory goes unseen.
    If not: restart, or set the mode as it is meant to be.
    Source: nvidia-smi(1), "ecc-config"; DCGM errors DCGM_FR_ECC_PENDING and DCGM_FR_ECC_DISABLED.
    """
    for gpu in working_gpus(facts):
        if gpu.ecc_enabled is None or gpu.ecc_enabled_pending is None:
            continue
        if gpu.ecc_enabled != gpu.ecc_enabled_pending:
            wanted = "on" if gpu.ecc_enabled_pending else "off"
            yield Finding(
                cause="gpu-memory-fault",
                severity=Severity.NOTE,
                title=f"ECC of {named(gpu)} will be {wanted} after the next restart",
                evidence=[Evidence(f"ECC: {gpu.ecc_enabled}, pending: {gpu.ecc_enabled_pending}", source_of(nvml))],
                remedies=[
                    Remedy(action="Restart, so that the mode holds", commands=["sudo reboot"], changes="the ECC mode")
                ],
            )
        elif not gpu.ecc_enabled and _is_data_centre_card(gpu):
            yield Finding(
                cause="gpu-memory-fault",
                severity=Severity.NOTE,
                title=f"ECC is switched off on {named(gpu)}",
                evidence=[Evidence("ECC: off", source_of(nvml))],
                remedies=[
                    Remedy(
                        action="Switch it on unless it is off on purpose, then restart",
                        commands=[f"sudo nvidia-smi -i {gpu.index} -e 1", "sudo reboot"],
                        changes="protection and, on GDDR cards, the size of the card's memory",
                    )
                ],
            )


def _is_data_centre_card(gpu: Gpu) -> bool:
    from envcheck.compat import gpus

    row = gpus.by_name(gpu.name)
    return bool(row and row.ecc and row.mig_instances)


@check(area="gpu health", causes=["gpu-memory-fault"])
def gpu_memory_rows_are_remapped(nvml: Nvml, facts: Facts) -> Iterator[Finding]:
    """No replacement of memory rows has failed, and none is waiting.

    Why: from Ampere on the card replaces rows that fail by spare ones, at its reset. One that waits needs a reset; one
    that failed means that the spare rows of that bank are used up, and qualifies the card for replacement.
    If not: reset the GPU when its work has ended; after a failure have the card replaced.
    Source: NVIDIA GPU Memory Error Management, "Row remapping"; NVML API reference, nvmlDeviceGetRemappedRows.
    """
    for gpu in working_gpus(facts):
        rows = gpu.remapped_rows_uncorrected
        counted = [
            Evidence(
                f"rows replaced: {gpu.remapped_rows_corrected} after correctable, {rows} after uncorrectable errors; "
                f"pending: {gpu.remap_pending}, failed: {gpu.remap_failed}",
                source_of(nvml),
            )
        ]
        if gpu.remap_failed or (rows is not None and rows >= MOST_REMAPPED_ROWS):
            why = "could not replace a failing row" if gpu.remap_failed else f"has replaced {rows} rows that failed"
            yield Finding(
                cause="gpu-memory-fault",
                severity=Severity.ERROR,
                title=f"{named(gpu)} {why}: the card is to be exchanged",
                evidence=counted,
                explains=["gpu-memory-has-no-uncorrectable-errors", "kernel-log-shows-no-memory-fault"],
                remedies=[REPLACE],
                links=[NVIDIA_MEMORY_GUIDE],
            )
        elif gpu.remap_pending or gpu.repair_pending:
            what = "replace a failing memory row" if gpu.remap_pending else "repair a failing part"
            yield Finding(
                cause="gpu-memory-fault",
                severity=Severity.WARNING,
                title=f"{named(gpu)} waits for a reset to {what}",
                evidence=counted,
                explains=[
                    "gpu-memory-has-no-uncorrectable-errors",
                    "kernel-log-shows-no-memory-fault",
                    "no-recovery-*",
                ],
                remedies=[reset_gpu(gpu)],
                links=[NVIDIA_MEMORY_GUIDE],
            )


@check(area="gpu health", causes=["gpu-memory-fault"])
def gpu_retired_pages_are_few(nvml: Nvml, facts: Facts) -> Iterator[Finding]:
    """A GPU before Ampere has few retired memory pages, and none waits for retirement.

    Why: such cards take failing pages out of use, at most 64 of them; beyond that, errors come back.
    If not: restart so that the page is retired; near the limit have the card replaced.
    Source: NVIDIA Dynamic Page Retirement; DCGM 4.6.0, page retirement limits.
    """
    for gpu in working_gpus(facts):
        pages = gpu.retired_pages
        if pages is not None and pages >= MOST_RETIRED_PAGES:
            yield Finding(
                cause="gpu-memory-fault",
                severity=Severity.ERROR,
                title=f"{named(gpu)} has retired {pages} memory pages: the card is to be exchanged",
                evidence=[Evidence(f"retired pages: {pages}", source_of(nvml))],
                remedies=[REPLACE],
            )
        elif gpu.retired_pages_pending:
            yield Finding(
                cause="gpu-memory-fault",
                severity=Severity.WARNING,
                title=f"{named(gpu)} has a failing memory page that is retired at the next start",
                evidence=[Evidence(f"retired pages: {pages}, pending: yes", source_of(nvml))],
                remedies=[reset_gpu(gpu)],
            )


@check(area="gpu health", causes=["gpu-throttled"])
def gpu_clocks_are_not_held_down(nvml: Nvml, facts: Facts) -> Iterator[Finding]:
    """A GPU that works is not slowed down by heat, by the power brake or by the hardware.

    Why: the hardware then runs at half of its clock or less, and training takes twice as long without any message. An
    idle GPU lowers its clocks by itself and is not judged, unless it is as hot as its limit.
    If not: cooling (dust, fans, air flow, the slot beside a hot card), power supply and cables. One sample is taken:
    a reason that comes and goes is a change of state, so look again while the program runs.
    Source: NVML API reference, nvmlClocksEventReasons; table throttle_reasons.
    """
    from envcheck.compat import nvml as codes

    for gpu in working_gpus(facts):
        rows = [row for name in gpu.throttle_reasons or [] if (row := codes.throttle_reason(name))]
        faults = [row for row in rows if row.fault_under_load]
        limit, heat = gpu.temperature_slowdown_celsius, gpu.temperature_celsius
        hot = limit is not None and heat is not None and 0 < limit <= heat
        memory_limit, memory_heat = gpu.memory_temperature_max_celsius, gpu.memory_temperature_celsius
        memory_hot = memory_limit is not None and memory_heat is not None and 0 < memory_limit <= memory_heat
        busy = (gpu.utilization_percent or 0) >= BUSY_PERCENT
        if not (hot or memory_hot or (faults and busy)):
            continue
        reasons = ", ".join(row.short for row in faults)
        title = f"{named(gpu)} is slowed down by its hardware: {reasons}"
        if hot or memory_hot:
            title = f"{named(gpu)} is as hot as its limit ({heat if hot else memory_heat} °C)"
        yield Finding(
            cause="gpu-throttled",
            severity=Severity.WARNING,
            confidence=Confidence.CERTAIN if hot and faults else Confidence.LIKELY,
            title=title,
            evidence=[
                *([Evidence(f"clock event reasons: {reasons}", source_of(nvml))] if reasons else []),
                Evidence(
                    f"temperature: {heat} °C (slow-down at {limit} °C), use: {gpu.utilization_percent} %, "
                    f"clock: {gpu.clock_megahertz} of {gpu.clock_max_megahertz} MHz, power: {gpu.power_watts} W",
                    source_of(nvml),
                ),
            ],
            remedies=[
                Remedy(
                    action="Watch the reasons while the program runs; they count when they last",
                    commands=["nvidia-smi -q -d PERFORMANCE,TEMPERATURE,POWER"],
                    changes="nothing",
                ),
                Remedy(
                    action="Check the power supply and every power cable of the card"
                    if any("PowerBrake" in row.short for row in faults)
                    else "Improve the cooling: dust, fans, air flow, the room's temperature",
                    changes="hardware",
                ),
            ],
        )


@check(area="gpu health", causes=["gpu-throttled"])
def gpu_power_limit_is_as_delivered(nvml: Nvml, facts: Facts) -> Iterator[Finding]:
    """The enforced power limit of a GPU is not below the one that it was delivered with.

    Why: a lower limit holds the clocks down for good, and no clock event reason calls it a fault. Many set it on
    purpose, and laptops change it all the time, so that this is said and not held against the machine, unless a busy
    card runs into its limit and its equals on the same machine have a higher one.
    If not: set the limit back; where it comes back by itself, look at the power supply and its cables.
    Source: NVML API reference, nvmlDeviceGetEnforcedPowerLimit and nvmlDeviceGetPowerManagementDefaultLimit.
    """
    gpus = working_gpus(facts)
    for gpu in gpus:
        equals = [other.power_limit_watts or 0 for other in gpus if other.name and other.name == gpu.name]
        limit, default = gpu.power_limit_watts, gpu.power_limit_default_watts
        best = max(equals, default=0)
        usual = default or best
        if not limit or limit > 0.95 * usual or "Laptop" in (gpu.name or ""):
            continue
        held = "SwPowerCap" in (gpu.throttle_reasons or []) and limit < HELD_DOWN * best
        slow = gpu.clock_megahertz is None or gpu.clock_megahertz < HELD_DOWN * (gpu.clock_max_megahertz or 0)
        than = f"its default of {usual:.0f} W" if default else f"the {usual:.0f} W of its equals"
        yield Finding(
            cause="gpu-throttled",
            severity=Severity.WARNING if held and slow else Severity.NOTE,
            confidence=Confidence.LIKELY if held and slow else Confidence.POSSIBLE,
            title=f"The power limit of {named(gpu)} is {limit:.0f} W, below {than}",
            evidence=[
                Evidence(f"power limit: {limit:.0f} W, usual: {usual:.0f} W", source_of(nvml)),
                *(
                    [Evidence(f"clock: {gpu.clock_megahertz} of {gpu.clock_max_megahertz} MHz", source_of(nvml))]
                    if held and gpu.clock_megahertz
                    else []
                ),
            ],
            remedies=[
                Remedy(
                    action="Set it back, unless it is low on purpose",
                    commands=[f"sudo nvidia-smi -i {gpu.index} -pl {usual:.0f}"],
                    changes="power draw and heat of the card, until the next start",
                )
            ],
        )


@check(area="gpu health", causes=["pcie-degraded"])
def gpu_pcie_link_is_full_under_load(nvml: Nvml, facts: Facts) -> Iterator[Finding]:
    """A busy GPU's PCIe link runs at the generation and width that card and slot allow.

    Why: a link that trained below them makes every copy between host and GPU slower, by half or worse. Only a busy
    GPU is judged, because an idle one lowers its link to save power.
    If not: reseat the card, look at riser and slot, and read the kernel log for AER errors.
    Source: NVML API reference, nvmlDeviceGetCurrPcieLinkGeneration and …MaxPcieLinkGeneration; DCGM errors
    DCGM_FR_PCIE_GENERATION and DCGM_FR_PCIE_WIDTH.
    """
    for gpu in working_gpus(facts):
        if (gpu.utilization_percent or 0) < BUSY_PERCENT:
            continue
        below = [
            f"{what} {now} of {most}"
            for what, now, most in (
                ("generation", gpu.pcie_generation, gpu.pcie_generation_max),
                ("width", gpu.pcie_width, gpu.pcie_width_max),
            )
            if now and most and now < most
        ]
        if below:
            yield Finding(
                cause="pcie-degraded",
                severity=Severity.WARNING,
                confidence=Confidence.LIKELY,
                title=f"The PCIe link of {named(gpu)} runs at {' and '.join(below)} under load",
                evidence=[
                    Evidence(f"PCIe {', '.join(below)}; use {gpu.utilization_percent} %", source_of(nvml)),
                    *(
                        [Evidence(f"PCIe replays: {gpu.pcie_replays}", source_of(nvml))]
                        if gpu.pcie_replays is not None
                        else []
                    ),
                ],
                remedies=[
                    Remedy(
                        action="Read the kernel log for errors of the link, then reseat the card and try another slot",
                        commands=["sudo dmesg | grep -E 'AER|PCIe Bus Error|available PCIe bandwidth'"],
                        changes="nothing",
                    )
                ],
            )


@check(area="gpu health", causes=["nvlink-degraded"])
def gpu_nvlinks_are_up(nvml: Nvml, facts: Facts) -> Iterator[Finding]:
    """Every NVLink of a GPU that is built for a fixed NVLink board is up, and its links have counted no errors.

    Why: a link that is down makes collectives slower or keeps NCCL from peer-to-peer at all. Cards with a PCIe
    connector are not judged: their links are up only where a bridge is plugged in.
    If not: reset all GPUs of the board together; when the same link fails again, the board or a cable is at fault.
    Source: NVML API reference, nvmlDeviceGetNvLinkState and nvmlDeviceGetNvLinkErrorCounter; table gpus.
    """
    from envcheck.compat import gpus

    present = working_gpus(facts)
    for gpu in present:
        row = gpus.by_name(gpu.name)
        up, down = gpu.nvlinks_active, gpu.nvlinks_inactive
        # The table has the number of links only for models that are mounted on an NVLink board.
        expected = row.nvlinks if row else None
        # A cloud machine with one GPU of a board has all links down: nothing is at the other end.
        if expected and up is not None and down and 0 < up < expected:
            yield Finding(
                cause="nvlink-degraded",
                severity=Severity.WARNING,
                confidence=Confidence.LIKELY,
                title=f"{down} of the {up + down} NVLinks of {named(gpu)} are down",
                evidence=[Evidence(f"NVLinks up: {up}, down: {down}; the model has {expected}", source_of(nvml))],
                remedies=_links(gpu),
            )
        elif gpu.nvlink_errors:
            yield Finding(
                cause="nvlink-degraded",
                severity=Severity.NOTE,
                confidence=Confidence.POSSIBLE,
                title=f"The NVLinks of {named(gpu)} counted {gpu.nvlink_errors} errors since the driver was loaded",
                evidence=[Evidence(f"replays, recoveries and CRC errors: {gpu.nvlink_errors}", source_of(nvml))],
                remedies=_links(gpu),
            )


def _links(gpu: Gpu) -> list[Remedy]:
    return [
        Remedy(
            action="See which link it is and whether its counters grow",
            commands=[f"nvidia-smi nvlink -i {gpu.index} -s", f"nvidia-smi nvlink -i {gpu.index} -e"],
            changes="nothing",
        ),
        Remedy(
            action="Reset all GPUs of the board together while nothing uses them, or restart",
            commands=["sudo nvidia-smi --gpu-reset"],
            changes="ends every program on the GPUs",
        ),
    ]


@check(area="gpu health", causes=["fabric-manager-down"])
def fabric_manager_runs(facts: Facts, nvml: Nvml) -> Iterator[Finding]:
    """On a machine with NVSwitches the fabric manager runs, is of the driver's version, and has registered every GPU.

    Why: until the fabric manager has set up the switches, CUDA does not start: error 802, "system not yet
    initialized". Machines without an NVSwitch need none.
    If not: install the fabric manager of exactly the driver's version and start it.
    Source: NVIDIA Fabric Manager User Guide; NVML API reference, nvmlDeviceGetGpuFabricInfoV.
    """
    driver = facts.driver or NvidiaDriver()
    switches = bool(facts.pci and facts.pci.nvswitches) or driver.fabric_manager is not None
    gpus = nvml.gpus or []
    unfinished = [gpu for gpu in gpus if gpu.fabric_state in {"Not Started", "In Progress"}]
    failed = [gpu for gpu in gpus if gpu.fabric_state == "Completed" and gpu.fabric_status not in {None, "Success"}]
    not_ready = nvml.state == "NVML_ERROR_NOT_READY"
    stopped = switches and driver.fabric_manager in {"inactive", "failed", "not-found"}
    version, fabric = nvml.driver_version or driver.module_version, driver.fabric_manager_version
    differs = bool(switches and version and fabric and version != fabric)
    # A GPU in a cluster's tray or alone in a virtual machine has no NVSwitch in sight, and may never complete.
    if not (stopped or differs or not_ready or ((unfinished or failed) and switches)):
        return
    title = "The fabric manager does not run, so that CUDA cannot start on this NVSwitch machine"
    if differs:
        title = f"The fabric manager is of version {fabric}, the driver of {version}; they must be equal"
    elif not stopped:
        names = ", ".join(named(gpu) for gpu in [*failed, *unfinished][:4])
        title = f"The NVLink fabric is not set up{': ' + names if names else ''}"
    branch = (version or "").partition(".")[0]
    distribution = facts.platform.distribution if facts.platform else None
    install = (
        [f"sudo apt install nvidia-fabricmanager-{branch}={version}-1"] if distribution == "ubuntu" and branch else []
    )
    yield Finding(
        cause="fabric-manager-down",
        severity=Severity.ERROR,
        confidence=Confidence.CERTAIN if stopped or differs or failed else Confidence.LIKELY,
        title=title,
        evidence=[
            *seen(driver, "fabric_manager", "fabric_manager_version"),
            *(
                Evidence(f"{named(gpu)}: fabric {gpu.fabric_state} {gpu.fabric_status or ''}", source_of(nvml))
                for gpu in [*failed, *unfinished][:8]
            ),
            *([Evidence(f"driver {version}", source_of(nvml))] if version else []),
        ],
        explains=["nvml-answers", "nvidia-smi-answers", *FRAMEWORK_GPU_UNUSABLE],
        remedies=[
            *(
                [
                    Remedy(
                        action="Install the fabric manager of the driver's version",
                        commands=install,
                        changes="a system package",
                    )
                ]
                if differs or fabric == ""
                else []
            ),
            Remedy(
                action="Start it, and see what it says where it does not stay up",
                commands=[
                    "sudo systemctl enable --now nvidia-fabricmanager",
                    "sudo journalctl -u nvidia-fabricmanager -n 30 --no-pager",
                ],
                changes="a system service",
            ),
        ],
        links=["https://docs.nvidia.com/datacenter/tesla/fabric-manager-user-guide/"],
    )


@check(area="gpu health", causes=["gpu-hardware-fault", "fabric-manager-down"])
def no_recovery_action_is_pending(nvml: Nvml, facts: Facts) -> Iterator[Finding]:
    """The driver asks for no recovery of a GPU.

    Why: after a fault the driver says itself what has to be done (reset, restart, drain); until then new programs fail
    or compute wrongly.
    If not: do what it asks for.
    Source: NVML API reference, NVML_FI_DEV_GET_GPU_RECOVERY_ACTION; Xid 154; table xid.
    """
    from envcheck.compat import xid

    for gpu in working_gpus(facts):
        row = xid.recovery_action(gpu.recovery_action)
        if row is None or not row.value:
            continue
        remedies = [Remedy(action=row.action, commands=["sudo reboot"], changes="ends every running program")]
        if "Reset" in row.name:
            remedies = [reworded(reset_gpu(gpu), row.action)]
        elif "Reboot" not in row.name:
            remedies = [Remedy(action=row.action, changes="programs on this GPU")]
        yield Finding(
            cause=row.cause or "gpu-hardware-fault",
            severity=Severity.ERROR if row.severity == "error" else Severity.WARNING,
            title=f"The driver asks for a recovery of {named(gpu)}: {row.name}",
            evidence=[Evidence(f"GPU recovery action: {row.name}", source_of(nvml))],
            explains=["kernel-log-shows-no-*", "*-computes"],
            remedies=remedies,
        )


def reworded(remedy: Remedy, action: str) -> Remedy:
    """Return a remedy with another sentence."""
    return Remedy(action=action, commands=remedy.commands, safe=remedy.safe, changes=remedy.changes)


@check(area="gpu health", causes=["gpu-hardware-fault"])
def gpu_readings_are_sound(nvml: Nvml, facts: Facts) -> Iterator[Finding]:
    """The board's own record is intact, and readings that the card supports do not fail.

    Why: a corrupt InfoROM means that error counts and the ECC record cannot be trusted; a sensor that answers with an
    unknown error may be the first sign of a failing board.
    If not: restart; when it stays, the vendor can repair the record. A reading that a card does not have is no fault.
    Source: NVML API reference, nvmlDeviceValidateInforom; DCGM errors DCGM_FR_CORRUPT_INFOROM and
    DCGM_FR_POWER_UNREADABLE.
    """
    for gpu in working_gpus(facts):
        if gpu.inforom_valid is False:
            yield Finding(
                cause="gpu-hardware-fault",
                severity=Severity.WARNING,
                title=f"The InfoROM of {named(gpu)} is corrupt: its error counts cannot be trusted",
                evidence=[Evidence("InfoROM: corrupt", source_of(nvml))],
                remedies=[
                    Remedy(
                        action="Restart; when it stays, ask the vendor for a repair",
                        commands=["sudo reboot"],
                        changes="ends every running program",
                    )
                ],
            )
        broken = sorted(
            field
            for field, code in gpu.unreadable.items()
            if code == "NVML_ERROR_UNKNOWN"
            and field in {"power_watts", "temperature_celsius", "memory_total_bytes", "utilization_percent"}
        )
        if broken:
            yield Finding(
                cause="gpu-hardware-fault",
                severity=Severity.WARNING,
                confidence=Confidence.POSSIBLE,
                title=f"{named(gpu)} does not tell {', '.join(broken).replace('_', ' ')}: unknown error",
                evidence=[Evidence(f"{field}: NVML_ERROR_UNKNOWN", source_of(nvml)) for field in broken],
                remedies=[
                    Remedy(
                        action="Read the kernel log for an Xid of this GPU",
                        commands=["sudo dmesg | grep -i xid"],
                        changes="nothing",
                    )
                ],
            )
