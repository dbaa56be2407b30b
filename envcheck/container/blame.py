"""Who has to change something: the host, the image, or whoever started the container.

A cause says by itself who that is, but for those that depend on the host: a container without a GPU was started
wrongly where the host's GPU works, and suffers from its host where that has none.
"""

from __future__ import annotations

import fnmatch

import msgspec

from envcheck.causes import CAUSES
from envcheck.checks.containers import GPU_CONSEQUENCES
from envcheck.report import Confidence, Evidence, Finding, Remedy, Report, Severity, Verdict

HOST, IMAGE, START = "host", "image", "start"

SIDES = {
    "Driver and kernel": HOST,
    "Hardware": HOST,
    "CUDA user space": IMAGE,
    "Python environment": IMAGE,
}
"""Family of causes → the side that has to change."""

EXCEPTIONS = {
    "libcuda-stub-or-duplicate": IMAGE,
    "nvidia-smi-missing": START,
    "device-permission": START,
    "device-nodes-missing": START,
    "visible-devices-masked": START,
    "cpu-instructions-missing": HOST,
    "platform-unsupported": IMAGE,
    "gpu-out-of-memory": HOST,
    "gpu-memory-fragmented": IMAGE,
    "host-out-of-memory": HOST,
    "cgroup-limit": START,
    "shm-too-small": START,
    "disk-full": HOST,
    "open-files-limit": START,
    "locked-memory-limit": START,
    "thread-oversubscription": START,
    "container-toolkit-missing": HOST,
    "container-gpu-not-requested": START,
    "container-lost-gpu": HOST,
    "container-capabilities-missing": START,
    "container-image-cuda-too-new": IMAGE,
    "rootless-or-cgroup-config": HOST,
    "container-wrong-platform": IMAGE,
    "docker-daemon-unavailable": HOST,
    "entrypoint-failed": IMAGE,
    "kubernetes-device-plugin": HOST,
    "scheduler-allocation": START,
    "user-code": IMAGE,
}
"""Cause → the side that has to change, where its family does not say or says otherwise."""

SENTENCES = {
    HOST: "the host is at fault",
    IMAGE: "the image is at fault",
    START: "the way in which the container was started is at fault",
}

ON_THE_HOST = "On the host: "

GPU_AREAS = {"accelerators", "driver", "gpu", "gpu health", "kernel log", "containers", "messages"}
"""Areas of checks whose findings on the host keep its GPU from every container."""


ABOUT_GPUS = [*GPU_CONSEQUENCES, "container-*", "required-gpu-*"]
"""Checks whose findings may have their cause on the host."""


def is_about_gpus(report: Report) -> bool:
    """Tell whether a container lacks something of a GPU, so that its host's state of health matters."""
    return any(fnmatch.fnmatchcase(finding.check, glob) for finding in report.findings for glob in ABOUT_GPUS)


def side_of(cause: str) -> str:
    """Return who has to change something about a cause; empty where that cannot be said."""
    if cause in EXCEPTIONS:
        return EXCEPTIONS[cause]
    return next((SIDES.get(family, "") for family, members in CAUSES.items() if cause in members), "")


def judged(report: Report, host: Report) -> Report:
    """Return the container's report with the side at fault in every finding, the host's own faults compared.

    Args:
        report: of what the container sees.
        host: of the same machine, seen from outside.
    """
    on_host = {(finding.check, finding.cause) for finding in report.findings if finding.title.startswith(ON_THE_HOST)}
    findings = [
        _with_side(finding, host)
        for finding in report.findings
        # What the host's own examination says need not be said a second time from inside.
        if finding.title.startswith(ON_THE_HOST) or (finding.check, finding.cause) not in on_host
    ]
    first = next((finding for finding in findings if finding.severity is Severity.ERROR and not finding.muted), None)
    summary = report.summary
    if first and first.at_fault and report.verdict is Verdict.ERROR:
        summary = f"{SENTENCES[first.at_fault]}: {first.title}"
    return msgspec.structs.replace(report, findings=findings, summary=summary)


def _with_side(finding: Finding, host: Report) -> Finding:
    if finding.cause == "container-gpu-not-requested" and not host_gpus(host):
        finding = _nothing_to_give(finding)
    on_host = any(finding.cause == other.cause for other in host.findings)
    consequences = [_with_side(consequence, host) for consequence in finding.consequences]
    side = HOST if on_host else side_of(finding.cause)
    return msgspec.structs.replace(finding, at_fault=side, consequences=consequences)


def _nothing_to_give(finding: Finding) -> Finding:
    """Return the finding that a container has no GPU, on a host whose driver reports none that works."""
    return msgspec.structs.replace(
        finding,
        cause="no-gpu-present",
        confidence=Confidence.CERTAIN,
        title="This container has no GPU, and its host has none that works to give to it",
        evidence=[*finding.evidence, Evidence("the host's NVIDIA driver reports no working GPU", "NVML, on the host")],
        remedies=[
            Remedy(
                action="Run it on a host with an NVIDIA GPU; where this one should have one, see what is wrong with it",
                commands=["envcheck doctor --require 'gpus>=1'"],
                safe=True,
            )
        ],
        links=[],
    )


def host_gpus(host: Report) -> int:
    """Return how many NVIDIA GPUs the host's driver reports as working."""
    nvml = host.facts.nvml
    if nvml is None or nvml.state != "ok":
        return 0
    return sum(gpu.state == "ok" for gpu in nvml.gpus or [])


def of_the_host(host: Report) -> list[Finding]:
    """Return what keeps the host's GPU from every container: its findings on driver, hardware and toolkit.

    They explain whatever the container lacks of a GPU.
    """
    areas = {result.check: result.area for result in host.checks}
    return [
        msgspec.structs.replace(
            finding,
            title=f"{ON_THE_HOST}{finding.title}",
            explains=[*finding.explains, *ABOUT_GPUS],
        )
        for finding in host.findings
        if finding.severity is not Severity.NOTE and not finding.muted and areas.get(finding.check) in GPU_AREAS
    ]
