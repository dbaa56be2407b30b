"""Whether NVIDIA's driver answers: through its library NVML, and through nvidia-smi."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from envcheck.check import check
from envcheck.checks.nvidia_context import (
    GPU_UNUSABLE,
    answers,
    gravity,
    in_container,
    in_wsl,
    no_gpu_on_bus,
    working_gpus,
)
from envcheck.checks.nvidia_remedies import (
    RESTART,
    after_hang,
    install_driver,
    remedies_of,
)
from envcheck.facts import (
    Facts,
    NvidiaDriver,
    Nvml,
    need,
)
from envcheck.intent import Intent
from envcheck.report import Confidence, Evidence, Finding, Remedy, Severity, seen

if TYPE_CHECKING:
    from envcheck.compat.nvml import NvmlReturn


SHALLOWER = [name for name in GPU_UNUSABLE if not name.startswith(("no-message-", "driver-module-", "device-nodes-"))]
"""What follows from a return code alone: it names a layer, and whatever says more than it is no consequence of it."""

COUNTS_NONE = {"NVML_ERROR_NOT_FOUND", "NVML_ERROR_GPU_NOT_FOUND", "NVML_ERROR_NO_PERMISSION"}
"""Codes with which nvidia-smi says that the driver runs and that it may see no GPU."""

UNKNOWN_STATUS = 255
"""Exit status of nvidia-smi for every return code that has none of its own."""


SMI_WORDS = (
    ("couldn't communicate with the NVIDIA driver", "DRIVER_NOT_LOADED"),
    ("couldn't find libnvidia-ml", "LIBRARY_NOT_FOUND"),
    ("readable by current user", "NO_PERMISSION"),
    ("No devices", "NOT_FOUND"),
    ("reset must occur", "RESET_REQUIRED"),
    ("insufficiently powered", "INSUFFICIENT_POWER"),
    ("issue with GPU interrupts", "IRQ_ISSUE"),
    ("infoROM is corrupted", "CORRUPTED_INFOROM"),
    ("Mismatch in versions between nvidia-smi and NVML", "LIB_RM_VERSION_MISMATCH"),
)
"""What nvidia-smi prints in its own words instead of the text of a return code (nvidia-smi 340 to 555)."""


def code_of_smi(driver: NvidiaDriver) -> NvmlReturn | None:
    """Return the NVML return code that nvidia-smi's words or exit status stand for; None where they name none."""
    from envcheck.compat import nvml as codes

    message = (driver.smi_message or "").strip()
    for words, name in SMI_WORDS:
        if words in message:
            return codes.nvml_return(f"NVML_ERROR_{name}")
    lowered = message.lower()
    known = sorted(codes.nvml_returns(), key=lambda row: len(row.text or ""), reverse=True)
    for row in known:
        if row.value and row.text and len(row.text) > 3 and row.text.lower() in lowered:  # noqa: PLR2004 - not "N/A"
            return row
    return next(
        (row for row in known if row.value and row.smi_exit == driver.smi_exit_code and row.smi_exit != UNKNOWN_STATUS),
        None,
    )


def cause_of_code(row: NvmlReturn | None, facts: Facts) -> str:
    """Return the likeliest cause of a return code where this is: causes of containers and WSL hold only inside."""
    candidates = [*(row.causes or []), row.cause] if row else []
    candidates = [cause for cause in candidates if cause]
    inside = [cause for cause in candidates if cause.startswith(("container-", "rootless-"))]
    if in_container(facts) and inside:
        return inside[0]
    fitting = [
        cause
        for cause in candidates
        if not cause.startswith(("container-", "rootless-")) and (in_wsl(facts) or not cause.startswith("wsl-"))
    ]
    if in_wsl(facts) and any(cause.startswith("wsl-") for cause in fitting):
        return next(cause for cause in fitting if cause.startswith("wsl-"))
    return (fitting or inside or ["gpu-hardware-fault"])[0]


@check(
    area="driver",
    causes=[
        "driver-not-loaded",
        "driver-missing",
        "driver-hung",
        "driver-library-mismatch",
        "libcuda-stub-or-duplicate",
        "device-permission",
        "device-nodes-missing",
        "gpu-fell-off-bus",
        "gpu-hardware-fault",
        "gpu-in-use",
        "bar-or-iommu-setting",
        "fabric-manager-down",
        "no-gpu-present",
        "host-out-of-memory",
        "visible-devices-masked",
        "user-code",
        "container-lost-gpu",
        "container-toolkit-missing",
        "rootless-or-cgroup-config",
        "wsl-driver-misinstalled",
    ],
)
def nvml_answers(nvml: Nvml, facts: Facts, intent: Intent) -> Iterator[Finding]:
    """NVIDIA's management library starts and comes back.

    Why: NVML is the driver's own account of itself, and nvidia-smi is built on it; each of its return codes points to
    a layer. It is asked in a child process with a deadline, so that a driver which hangs or crashes is evidence.
    If not: the return code names the cause; where a deeper check explains it, this finding is folded under that one.
    Source: NVML API reference, nvmlReturn_t; table nvml_returns.
    """
    state = need(nvml.state, "nvml.state")
    if state == "ok":
        return
    if (state == "library-missing" or state.endswith("DRIVER_NOT_LOADED")) and (
        in_container(facts) or (no_gpu_on_bus(facts.pci) and not in_wsl(facts))
    ):
        # A container that was given no GPU, or packages of the driver on a machine without a card.
        return
    evidence = [
        Evidence(f"NVML: {state}" + (f" ({nvml.message})" if nvml.message else ""), nvml.sources.get("state", "NVML")),
        *(seen(nvml, "stage", "library_path")),
    ]
    if state == "timeout":
        yield Finding(
            cause="driver-hung",
            severity=Severity.ERROR,
            title=f"The NVIDIA driver does not come back from {nvml.stage or 'NVML'}",
            evidence=evidence,
            explains=[*GPU_UNUSABLE, "every-gpu-answers"],
            remedies=after_hang(facts),
        )
        return
    if state == "crash":
        odd = bool(nvml.library_path) and not (nvml.library_path or "").startswith(
            ("/usr/lib", "/lib", "/usr/local/nvidia")
        )
        yield Finding(
            cause="libcuda-stub-or-duplicate" if odd else "driver-library-mismatch",
            severity=Severity.ERROR,
            confidence=Confidence.LIKELY if odd else Confidence.POSSIBLE,
            title=f"NVIDIA's management library crashes in {nvml.stage or 'its first call'}",
            evidence=evidence,
            explains=GPU_UNUSABLE,
            remedies=[RESTART, *install_driver(facts)] if not odd else [_own_library(nvml.library_path or "")],
            detail="The library that was loaded does not fit the kernel module, or its file is damaged.",
        )
        return
    from envcheck.compat import nvml as codes

    row = codes.nvml_return("NVML_ERROR_LIBRARY_NOT_FOUND" if state == "library-missing" else state)
    cause = cause_of_code(row, facts)
    several = len(row.causes) > 1 if row else True
    yield Finding(
        cause=cause,
        severity=Severity.ERROR if row is None or row.severity == "error" else gravity(facts, intent),
        confidence=Confidence.LIKELY if several else Confidence.CERTAIN,
        title=_title_of_code(state, row),
        evidence=evidence,
        explains=[name for name in SHALLOWER if name != "nvml-answers"],
        remedies=remedies_of(cause, facts),
        detail=row.meaning if row else "",
    )


def _title_of_code(state: str, row: NvmlReturn | None) -> str:
    if state == "library-missing":
        return "The driver's library libnvidia-ml.so.1 is not found"
    return f"NVIDIA's management library does not start: {row.text or row.name if row else state}"


def _own_library(path: str) -> Remedy:
    folder = path.rpartition("/")[0]
    return Remedy(
        action=f"Take {folder} out of LD_LIBRARY_PATH, so that the driver's own library is found",
        safe=True,
        changes="LD_LIBRARY_PATH of this shell",
    )


@check(area="driver", causes=["nvidia-smi-missing"])
def nvidia_smi_is_on_path(driver: NvidiaDriver, facts: Facts) -> Iterator[Finding]:
    """Where the driver works, its tool nvidia-smi is on PATH.

    Why: people and scripts ask nvidia-smi first; a missing nvidia-smi is no missing driver. It comes in a package of
    its own on some distributions, and in containers with the driver capability `utility`.
    If not: install the package, or put its folder on PATH. CUDA programs do not need it.
    Source: NVIDIA Container Toolkit documentation, "Driver capabilities"; packages of Debian and Ubuntu.
    """
    if not answers(facts.nvml) or need(driver.smi_path, "driver.smi_path"):
        return
    distribution = (facts.platform.distribution if facts.platform else None) or ""
    branch = ((facts.nvml.driver_version if facts.nvml else None) or "").partition(".")[0]
    if in_wsl(facts):
        remedy = Remedy(
            action="Put the folder of WSL's driver on PATH",
            commands=['export PATH="$PATH:/usr/lib/wsl/lib"'],
            safe=True,
            changes="PATH of this shell",
        )
    elif in_container(facts):
        remedy = Remedy(
            action="Start the container with the driver capabilities compute and utility",
            commands=["docker run --gpus all -e NVIDIA_DRIVER_CAPABILITIES=compute,utility IMAGE"],
            changes="how the container is started",
        )
    else:
        packages = {"ubuntu": f"nvidia-utils-{branch}", "debian": "nvidia-smi", "arch": "nvidia-utils"}
        installer = "sudo pacman -S" if distribution == "arch" else "sudo apt install"
        name = packages.get(distribution)
        remedy = Remedy(
            action="Install the driver's tools",
            commands=[f"{installer} {name}"] if name else [],
            changes="a system package",
        )
    yield Finding(
        cause="nvidia-smi-missing",
        severity=Severity.NOTE,
        title="The driver works, but nvidia-smi is not on PATH",
        evidence=[*(seen(facts.nvml, "driver_version") if facts.nvml else []), *seen(driver, "smi_path")],
        explains=["nvidia-smi-answers"],
        remedies=[remedy],
    )


@check(
    area="driver",
    causes=[
        "driver-hung",
        "driver-not-loaded",
        "driver-missing",
        "driver-library-mismatch",
        "libcuda-stub-or-duplicate",
        "device-permission",
        "gpu-fell-off-bus",
        "gpu-hardware-fault",
        "bar-or-iommu-setting",
        "no-gpu-present",
        "container-lost-gpu",
        "container-toolkit-missing",
        "rootless-or-cgroup-config",
        "wsl-driver-misinstalled",
        "fabric-manager-down",
        "gpu-in-use",
        "visible-devices-masked",
        "host-out-of-memory",
        "user-code",
    ],
)
def nvidia_smi_answers(driver: NvidiaDriver, facts: Facts, intent: Intent) -> Iterator[Finding]:
    """nvidia-smi, where it is there, prints its table in time.

    Why: it is the second witness beside NVML. Where NVML works and nvidia-smi does not, the tool is at fault and CUDA
    programs are not; where both fail, its words help to name the layer.
    If not: with a working NVML, a foreign program of that name or one of another driver version is on PATH.
    Source: nvidia-smi(1), "Return value"; table nvml_returns.
    """
    state = need(driver.smi_state, "driver.smi_state")
    if state in {"ok", "absent"}:
        return
    evidence = seen(driver, "smi_path", "smi_exit_code", "smi_message")
    row = code_of_smi(driver) if state == "failed" else None
    if (
        row
        and row.name.endswith(("DRIVER_NOT_LOADED", "LIBRARY_NOT_FOUND"))
        and (in_container(facts) or (no_gpu_on_bus(facts.pci) and not in_wsl(facts)))
    ):
        return
    counts_none = row is not None and row.name in COUNTS_NONE and not working_gpus(facts)
    if answers(facts.nvml) and not counts_none:
        words = {"timeout": "hangs", "crash": "crashes", "garbled": "prints what is no table of GPUs"}.get(
            state, "fails"
        )
        yield Finding(
            cause="driver-hung" if state == "timeout" else "libcuda-stub-or-duplicate",
            severity=Severity.WARNING,
            confidence=Confidence.POSSIBLE,
            title=f"nvidia-smi {words}, although the driver answers through NVML",
            evidence=[*evidence, Evidence(f"NVML: driver {facts.nvml.driver_version if facts.nvml else ''}", "NVML")],
            remedies=[
                Remedy(
                    action="See which nvidia-smi this is; it must be the one of the installed driver",
                    commands=["type -a nvidia-smi", "ls -l $(command -v nvidia-smi)"],
                    changes="nothing",
                )
            ],
        )
        return
    if state == "garbled" and facts.nvml is not None:
        # NVML has said what is wrong; a tool that prints nonsense adds nothing to it.
        return
    cause = "driver-hung" if state == "timeout" else cause_of_code(row, facts)
    yield Finding(
        cause=cause,
        severity=gravity(facts, intent) if row and row.name in COUNTS_NONE else Severity.ERROR,
        confidence=Confidence.LIKELY if row or state == "timeout" else Confidence.POSSIBLE,
        title={
            "timeout": "nvidia-smi does not come back",
            "crash": "nvidia-smi crashes",
            "garbled": "nvidia-smi prints what is no table of GPUs",
        }.get(state, f"nvidia-smi fails: {(driver.smi_message or '').partition('. ')[0] or 'no words'}"),
        evidence=evidence,
        explains=[name for name in SHALLOWER if name not in {"nvidia-smi-answers", "nvml-answers"}],
        remedies=remedies_of(cause, facts),
        detail=row.meaning if row else "",
    )
