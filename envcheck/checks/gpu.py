"""NVIDIA's GPUs: present, reported, answering, and free for a program."""

from __future__ import annotations

from collections.abc import Iterator

from envcheck.check import check
from envcheck.checks.driver_answers import cause_of_code, code_of_smi
from envcheck.checks.nvidia_context import (
    FRAMEWORK_GPU_UNUSABLE,
    NVIDIA_XID_GUIDE,
    gpus_on_bus,
    gravity,
    in_container,
    in_wsl,
    named,
    requires_gpu,
    working_gpus,
)
from envcheck.checks.nvidia_remedies import POWER_CYCLE, RESTART_PLAIN, reset_gpu
from envcheck.describe import gibibytes
from envcheck.facts import Facts, Gpu, Nvml, Pci, PciDevice, need
from envcheck.intent import Intent
from envcheck.report import Confidence, Evidence, Finding, Remedy, Severity


@check(area="gpu", causes=["no-gpu-present"])
def required_gpu_present(pci: Pci, facts: Facts, intent: Intent) -> Iterator[Finding]:
    """Where an NVIDIA GPU is required, the machine has one.

    Why: without a card no driver or framework can help. A machine of which no GPU is required is healthy without one.
    If not: use another machine or instance type, or attach the card; in a virtual machine, have the host pass it
    through.
    Source: PCI bus in /sys/bus/pci/devices; class codes 03xx and 12xx.
    """
    if not requires_gpu(intent) or in_wsl(facts) or in_container(facts) or working_gpus(facts):
        return
    devices = need(pci.devices, "pci.devices")
    if not pci.complete or gpus_on_bus(pci):
        return
    passed = [device for device in devices if device.vendor_id == "10de"]
    others = ", ".join(device.name or f"{device.vendor_id}:{device.device_id}" for device in devices)
    machine = facts.platform.virtual_machine if facts.platform else None
    title = "A GPU is required, and this machine has no NVIDIA GPU"
    if passed:
        title = "A GPU is required, and the only NVIDIA GPU is reserved for a virtual machine (vfio-pci)"
    yield Finding(
        cause="no-gpu-present",
        severity=Severity.ERROR,
        title=title,
        required=True,
        evidence=[
            Evidence(f"display and accelerator devices: {others or 'none'}", pci.sources.get("devices", "")),
            *([Evidence(f"virtual machine: {machine}", "platform")] if machine else []),
        ],
        explains=["required-gpu-properties-hold", *FRAMEWORK_GPU_UNUSABLE],
        remedies=[
            Remedy(
                action="Pass a GPU through to this virtual machine, or choose an instance type that has one"
                if machine
                else "Use a machine that has an NVIDIA GPU, or check that the card is seated and powered",
                changes="the hardware that this machine has",
            )
        ],
    )


@check(area="gpu", causes=["gpu-fell-off-bus", "driver-dropped-gpu", "visible-devices-masked"])
def gpus_on_bus_are_reported(pci: Pci, nvml: Nvml, facts: Facts, intent: Intent) -> Iterator[Finding]:
    """Every NVIDIA GPU on the PCI bus is reported by the driver.

    Why: a card that the bus shows and the driver does not has been lost, refused (its branch no longer drives it), or
    failed to start.
    If not: the kernel log says which (RmInitAdapter, Xid 79, "is not supported by"). A container or a job may have been
    given some of the host's cards only; nothing is asked there.
    Source: NVML API reference, nvmlDeviceGetCount; DCGM error DCGM_FR_DEVICE_COUNT_MISMATCH.
    """
    if nvml.state != "ok" or in_container(facts) or in_wsl(facts) or not nvml.gpus_complete or _in_job(facts):
        return
    gpus = need(nvml.gpus, "nvml.gpus")
    reported = {gpu.pci_address for gpu in gpus if gpu.pci_address}
    devices = gpus_on_bus(pci) if pci.complete else _listed_on_bus(pci, reported, facts)
    if len(devices) <= len(gpus):
        return
    missing = [device for device in devices if device.address not in reported]
    unbound = [device for device in missing if device.driver == ""]
    names = ", ".join(f"{device.address} {device.name}".strip() for device in missing[:4])
    yield Finding(
        cause="driver-dropped-gpu" if unbound else "gpu-fell-off-bus",
        severity=gravity(facts, intent)
        if not gpus
        else Severity.WARNING
        if not requires_gpu(intent)
        else Severity.ERROR,
        confidence=Confidence.LIKELY if gpus else Confidence.POSSIBLE,
        title=f"The bus has {len(devices)} NVIDIA GPUs, the driver reports {len(gpus)}: {names} is missing",
        evidence=[
            Evidence(
                f"on the bus: {device.address} {device.name}"
                + ("" if device.driver is None else f" driver {device.driver or 'none'}"),
                pci.sources.get("devices", "sysfs"),
            )
            for device in devices[:8]
        ]
        + [Evidence(f"reported: {', '.join(sorted(reported)) or 'none'}", nvml.sources.get("gpus", "NVML"))],
        explains=[] if gpus else ["nvidia-smi-answers", *FRAMEWORK_GPU_UNUSABLE],
        remedies=[
            Remedy(
                action="Read what the kernel says of that device",
                commands=[f"sudo dmesg | grep -iE 'nvrm|xid|{missing[0].address if missing else 'nvidia'}'"],
                changes="nothing",
            ),
            *POWER_CYCLE,
        ],
        links=[NVIDIA_XID_GUIDE],
    )


def _in_job(facts: Facts) -> bool:
    """Tell whether a scheduler runs this: it shows a job the GPUs of its own. Source: Slurm, cgroup.conf."""
    values = (facts.variables.values if facts.variables else None) or {}
    return "SLURM_JOB_ID" in values


FEWEST_REPORTED = 2
"""GPUs of a paste that must be reported for each that is missing: of a pod or a job, which does not say that it is one,
more are missing."""


def _listed_on_bus(pci: Pci, reported: set[str], facts: Facts) -> list[PciDevice]:
    """Return the NVIDIA GPUs of a listing that may be a part, where it is of the machine whose driver reports.

    A part can only show too few. Every GPU that is reported must be in it, else the two are not of one machine; virtual
    functions, which share the bus of their card, are left out. Source: PCI-SIG, SR-IOV; NVIDIA vGPU, "lspci".
    """
    devices = gpus_on_bus(pci)
    addresses = {device.address for device in devices}
    shared = facts.containers is not None and facts.containers.gpu_requested is not None
    if shared or not reported or not reported <= addresses:
        return []
    buses = {address.rpartition(":")[0] for address in reported} - {"0000:00"}
    listed = [
        device for device in devices if device.address in reported or device.address.rpartition(":")[0] not in buses
    ]
    return listed if len(reported) >= FEWEST_REPORTED * (len(listed) - len(reported)) else []


@check(
    area="gpu",
    causes=[
        "gpu-fell-off-bus",
        "gpu-hardware-fault",
        "device-permission",
        "bar-or-iommu-setting",
        "driver-hung",
        "container-lost-gpu",
        "rootless-or-cgroup-config",
        "wsl-driver-misinstalled",
        "driver-not-loaded",
        "driver-missing",
        "device-nodes-missing",
        "no-gpu-present",
        "gpu-in-use",
        "driver-library-mismatch",
        "libcuda-stub-or-duplicate",
        "visible-devices-masked",
        "fabric-manager-down",
        "host-out-of-memory",
        "user-code",
    ],
)
def every_gpu_answers(nvml: Nvml, facts: Facts, intent: Intent) -> Iterator[Finding]:
    """Every GPU that the driver counts answers it.

    Why: one card that is lost or waits for a reset makes nvidia-smi print only its error, and CUDA may refuse to start
    on all of them.
    If not: the return code says whether the card is gone (15), must be reset (16), lacks power (8), or is closed to
    this user (4).
    Source: NVML API reference, nvmlReturn_t; nvidia-smi(1).
    """
    from envcheck.compat import nvml as codes

    gpus = nvml.gpus or []
    for gpu in gpus:
        if gpu.state == "ok":
            continue
        row = codes.nvml_return(gpu.state)
        if gpu.state == "NVML_ERROR_UNKNOWN" and facts.driver is not None:
            # nvidia-smi has words of its own for some codes.
            row = code_of_smi(facts.driver) or row
        cause = cause_of_code(row, facts)
        remedies = {
            "gpu-fell-off-bus": POWER_CYCLE,
            "gpu-hardware-fault": [reset_gpu(gpu), RESTART_PLAIN],
        }.get(cause, [RESTART_PLAIN])
        if row is not None and row.name == "NVML_ERROR_INSUFFICIENT_POWER":
            remedies = [
                Remedy(
                    action="Power off and attach every power cable of the card",
                    commands=["sudo poweroff"],
                    changes="hardware",
                )
            ]
        lost = cause in {"gpu-fell-off-bus", "gpu-hardware-fault"}
        yield Finding(
            cause=cause,
            severity=Severity.ERROR if lost or len(gpus) == 1 else gravity(facts, intent),
            confidence=Confidence.LIKELY if row and len(row.causes) > 1 else Confidence.CERTAIN,
            title=f"{named(gpu)} does not answer: {row.text or row.name if row else gpu.state}",
            evidence=[Evidence(f"{named(gpu)}: {gpu.state}", "NVML")],
            explains=[
                "required-gpu-*",
                "gpus-on-bus-are-reported",
                "nvidia-smi-answers",
                *FRAMEWORK_GPU_UNUSABLE,
                *([] if row is None or row.name == "NVML_ERROR_UNKNOWN" else ["no-message-tells-of-a-hardware-fault"]),
            ],
            remedies=remedies,
            detail=row.meaning if row else "",
            links=[NVIDIA_XID_GUIDE],
        )


HELD_SHARE = 0.5
"""Share of a GPU's memory from which it is worth saying who holds it."""

TIGHT_SHARE = 0.9
"""Share in use at which a framework that starts on the GPU is likely to run out of memory at once."""


@check(area="gpu", causes=["gpu-in-use"])
def gpu_memory_is_free(nvml: Nvml, facts: Facts) -> Iterator[Finding]:
    """The memory of the GPUs is not taken by other programs.

    Why: memory that another process holds cannot be had; TensorFlow takes nearly all of a card by default, and a
    crashed notebook or an orphaned worker keeps what it had.
    If not: end the process that holds it, or use another GPU. Where no process is shown, it runs in another container
    or under another user.
    Source: NVML API reference, nvmlDeviceGetMemoryInfo and nvmlDeviceGetComputeRunningProcesses.
    """
    gpus = working_gpus(facts)
    known = [gpu for gpu in gpus if gpu.memory_total_bytes and gpu.memory_used_bytes is not None]
    free_elsewhere = any(_share(gpu) < HELD_SHARE for gpu in known)
    for gpu in known:
        ours = sum(process.memory_bytes or 0 for process in gpu.processes or [] if process.ours)
        others = [process for process in gpu.processes or [] if not process.ours]
        if _share(gpu, ours) < HELD_SHARE:
            continue
        tight = _share(gpu, ours) >= TIGHT_SHARE
        holders = [
            f"process {process.process_id} {process.name}".strip()
            + (f" holds {gibibytes(process.memory_bytes)}" if process.memory_bytes else "")
            for process in sorted(others, key=lambda process: -(process.memory_bytes or 0))[:5]
        ]
        first = others[0].process_id if len(others) == 1 else "PID"
        yield Finding(
            cause="gpu-in-use",
            severity=Severity.WARNING if tight and not free_elsewhere else Severity.NOTE,
            confidence=Confidence.CERTAIN if holders else Confidence.LIKELY,
            title=f"{gibibytes(gpu.memory_used_bytes)} of {gibibytes(gpu.memory_total_bytes)} of {named(gpu)} "
            "are held by other programs",
            evidence=[
                Evidence(f"free: {gibibytes(gpu.memory_free_bytes)}", nvml.sources.get("gpus", "NVML")),
                *(Evidence(holder, "NVML") for holder in holders),
            ],
            explains=["*-computes"] if tight else [],
            remedies=[
                Remedy(
                    action="End the program if it is yours and no longer needed",
                    commands=["nvidia-smi", f"kill {first}"],
                    changes="ends that program",
                ),
                *_other_gpu(gpu, known),
            ],
        )


def _share(gpu: Gpu, ours: int = 0) -> float:
    return ((gpu.memory_used_bytes or 0) - ours) / (gpu.memory_total_bytes or 1)


def _other_gpu(gpu: Gpu, known: list[Gpu]) -> list[Remedy]:
    other = min((found for found in known if found is not gpu), key=_share, default=None)
    if other is None or _share(other) >= HELD_SHARE:
        return []
    return [
        Remedy(
            action=f"Or use GPU {other.index}, which is free",
            commands=[f"export CUDA_DEVICE_ORDER=PCI_BUS_ID CUDA_VISIBLE_DEVICES={other.index}"],
            safe=True,
            changes="which GPU programs of this shell see",
        )
    ]


@check(area="gpu", causes=["gpu-not-in-compute-mode", "gpu-in-use"])
def gpu_admits_programs(nvml: Nvml, facts: Facts, intent: Intent) -> Iterator[Finding]:
    """The compute mode of the GPUs lets a program start on them.

    Why: `Prohibited` keeps every CUDA program out; `Exclusive_Process` admits one at a time, and the next one fails
    with "all CUDA-capable devices are busy or unavailable".
    If not: set the mode back, or wait for the program that has the GPU.
    Source: nvidia-smi(1), "compute-mode"; CUDA Runtime API, cudaErrorDevicesUnavailable.
    """
    gpus = working_gpus(facts)
    closed = [gpu for gpu in gpus if gpu.compute_mode == "Prohibited"]
    for gpu in gpus:
        holders = [process for process in gpu.processes or [] if process.kind == "compute" and not process.ours]
        exclusive = (gpu.compute_mode or "").startswith("Exclusive") and bool(holders)
        if gpu not in closed and not exclusive:
            continue
        holder = f"; process {holders[0].process_id} {holders[0].name} has it" if exclusive else ""
        yield Finding(
            cause="gpu-in-use" if exclusive else "gpu-not-in-compute-mode",
            severity=gravity(facts, intent) if len(closed) == len(gpus) or len(gpus) == 1 else Severity.WARNING,
            title=f"{named(gpu)} is in compute mode {gpu.compute_mode}{holder}",
            evidence=[Evidence(f"compute mode: {gpu.compute_mode}", nvml.sources.get("gpus", "NVML"))],
            explains=FRAMEWORK_GPU_UNUSABLE,
            remedies=[
                Remedy(
                    action="Set the compute mode back",
                    commands=[f"sudo nvidia-smi -i {gpu.index} -c DEFAULT"],
                    changes="who may start programs on this GPU, until the driver is loaded anew",
                )
            ],
        )


@check(area="gpu", causes=["gpu-not-in-compute-mode"])
def mig_has_instances(nvml: Nvml, facts: Facts, intent: Intent) -> Iterator[Finding]:
    """A GPU in MIG mode has at least one compute instance.

    Why: in MIG mode programs run on instances alone; with none made, CUDA sees no device at all.
    If not: make instances, or switch MIG off while nothing uses the GPU.
    Source: NVIDIA Multi-Instance GPU User Guide.
    """
    for gpu in working_gpus(facts):
        if not gpu.mig_enabled or gpu.mig_instances is None or gpu.mig_instances or in_container(facts):
            continue
        yield Finding(
            cause="gpu-not-in-compute-mode",
            severity=gravity(facts, intent),
            title=f"{named(gpu)} is in MIG mode and has no instance, so that CUDA sees no device",
            evidence=[Evidence("MIG mode: enabled; instances: none", nvml.sources.get("gpus", "NVML"))],
            explains=FRAMEWORK_GPU_UNUSABLE,
            remedies=[
                Remedy(
                    action="See which profiles the card offers and make one instance of the whole card (profile 0)",
                    commands=[
                        f"sudo nvidia-smi mig -i {gpu.index} -lgip",
                        f"sudo nvidia-smi mig -i {gpu.index} -cgi 0 -C",
                    ],
                    changes="how the card is divided",
                ),
                Remedy(
                    action="Or switch MIG off",
                    commands=[f"sudo nvidia-smi -i {gpu.index} -mig 0"],
                    changes="the card's mode; needs a reset of the GPU",
                ),
            ],
            links=["https://docs.nvidia.com/datacenter/tesla/mig-user-guide/"],
        )
