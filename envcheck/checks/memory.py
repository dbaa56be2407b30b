"""Is there memory to work with?"""

from __future__ import annotations

from collections.abc import Iterator

from envcheck.check import check
from envcheck.describe import gibibytes
from envcheck.facts import Framework, Memory, Platform, Variables, need
from envcheck.report import Confidence, Evidence, Finding, Remedy, Severity, seen

IMPORT_BYTES = {"torch": 220 * 2**20, "tensorflow": 490 * 2**20}
"""Memory that `import` alone takes, measured with torch 2.13 and TensorFlow 2.21 for Linux (CPU builds)."""


@check(area="memory", causes=["host-out-of-memory"])
def memory_is_available(memory: Memory, platform: Platform | None = None) -> Iterator[Finding]:
    """The machine has memory left to start a training program.

    Why: importing TensorFlow takes about 490 MiB before any data is loaded; where less is left, Linux ends a process
    (exit status 137, "Killed") or the machine swaps and seems to hang.
    If not: end what holds the memory, load less at a time, or use a machine with more.
    Source: measured imports; Linux kernel documentation, "Out Of Memory handling".
    """
    available = need(memory.available_bytes, "memory.available_bytes")
    total = memory.total_bytes
    if available >= IMPORT_BYTES["tensorflow"] or (total and available >= total * 0.05):
        return
    listing = "ps aux --sort=-rss | head" if platform and platform.system == "Linux" else ""
    if platform and platform.system == "Darwin":
        listing = "ps aux -m | head"
    yield Finding(
        cause="host-out-of-memory",
        severity=Severity.WARNING,
        confidence=Confidence.LIKELY,
        title=f"Only {gibibytes(available)} of memory are left"
        + (f" of {gibibytes(total)}" if total else "")
        + "; a training program will be killed or swap",
        evidence=_sizes(memory, "total_bytes", "available_bytes", "swap_total_bytes", "swap_free_bytes"),
        remedies=[
            Remedy(
                action="Find the programs that hold the memory, and end those that are not needed", commands=[listing]
            )
            if listing
            else Remedy(action="Find the programs that hold the memory, and end those that are not needed"),
            Remedy(action="Load less at a time: a smaller batch, fewer data-loader workers, data read in pieces"),
        ],
    )


@check(area="memory", causes=["cgroup-limit"])
def cgroup_leaves_memory(
    memory: Memory, platform: Platform | None = None, variables: Variables | None = None
) -> Iterator[Finding]:
    """The memory limit of the container or job leaves room.

    Why: a limit set by Docker, Kubernetes, systemd or Slurm ends processes long before the machine's memory is used
    up, and programs that look at the machine's memory do not see it.  Page cache that can be given back is not counted.
    If not: raise the limit where the container or job is started, or use less memory.
    Source: Linux kernel documentation, "Control Group v2" (memory.max, memory.events).
    """
    limit = need(memory.cgroup_limit_bytes, "memory.cgroup_limit_bytes")
    if limit == 0:
        return
    kills = memory.cgroup_out_of_memory_kills or 0
    held = None
    if memory.cgroup_used_bytes is not None:
        held = memory.cgroup_used_bytes - (memory.cgroup_reclaimable_bytes or 0)
    full = held is not None and held >= 0.95 * limit
    if not kills and not full:
        return
    if kills:
        processes = "a process" if kills == 1 else f"{kills} processes"
        title = (
            f"The memory limit of {gibibytes(limit)} on this {_group_name(platform, variables)} has ended {processes}"
        )
    else:
        title = f"The memory limit of {gibibytes(limit)} on this {_group_name(platform, variables)} is nearly used up"
    yield Finding(
        cause="cgroup-limit",
        severity=Severity.WARNING,
        title=title,
        evidence=[
            *_sizes(memory, "cgroup_limit_bytes", "cgroup_used_bytes", "total_bytes"),
            *(seen(memory, "cgroup_out_of_memory_kills") if kills else []),
        ],
        explains=["memory-is-available", "no-process-was-ended-for-memory"],
        remedies=raise_memory_limit(platform, variables),
    )


@check(area="memory", causes=["cgroup-limit"])
def cgroup_limit_fits_the_frameworks(
    memory: Memory,
    platform: Platform | None = None,
    variables: Variables | None = None,
    torch: Framework | None = None,
    tensorflow: Framework | None = None,
) -> Iterator[Finding]:
    """The memory limit of the container or job is large enough to import what is installed.

    Why: `import torch` takes about 220 MiB and `import tensorflow` about 490 MiB; under a smaller limit the process is
    killed while it imports, with no message of its own.
    If not: raise the limit where the container or job is started.
    Source: measured with torch 2.13 and TensorFlow 2.21 (CPU builds); builds for GPUs take more.
    """
    limit = need(memory.cgroup_limit_bytes, "memory.cgroup_limit_bytes")
    # One that was imported fits, whatever its build.
    waiting = [
        (title, IMPORT_BYTES[name], framework)
        for title, name, framework in (("PyTorch", "torch", torch), ("TensorFlow", "tensorflow", tensorflow))
        if framework and framework.state != "ok" and limit and IMPORT_BYTES[name] > limit
    ]
    if not waiting:
        return
    title, size, framework = waiting[-1]
    killed = framework.signal == "SIGKILL"
    yield Finding(
        cause="cgroup-limit",
        severity=Severity.ERROR if killed else Severity.WARNING,
        confidence=Confidence.CERTAIN if killed and memory.cgroup_out_of_memory_kills else Confidence.LIKELY,
        title=f"The memory limit of {gibibytes(limit)} is less than what importing {title} takes",
        evidence=[
            *_sizes(memory, "cgroup_limit_bytes", "total_bytes"),
            *(seen(memory, "cgroup_out_of_memory_kills") if memory.cgroup_out_of_memory_kills else []),
            *seen(framework, "signal"),
            Evidence(f"importing {title} takes about {gibibytes(size)}", "measured"),
        ],
        explains=["*-imports", "cgroup-leaves-memory", "no-process-was-ended-for-memory"],
        remedies=raise_memory_limit(platform, variables),
    )


def _group_name(platform: Platform | None, variables: Variables | None) -> str:
    if platform and platform.container:
        return "container"
    return "job" if variables and "SLURM_JOB_ID" in (variables.values or {}) else "control group"


def raise_memory_limit(platform: Platform | None, variables: Variables | None) -> list[Remedy]:
    """Return how the memory limit is raised where this process was started."""
    container = platform.container if platform else None
    if container == "kubernetes":
        return [
            Remedy(
                action="Raise the container's memory limit in its pod's description",
                commands=["resources:", "  limits:", "    memory: 16Gi"],
                shell="yaml",
                changes="the pod, which is made anew",
            )
        ]
    if container in {"docker", "podman"}:
        return [
            Remedy(
                action="Start the container with a larger limit, on the host",
                commands=[f"{container} run --memory 16g …"],
                changes="the memory that the new container may use",
            )
        ]
    if variables and "SLURM_JOB_ID" in (variables.values or {}):
        return [Remedy(action="Ask for more memory in the job's script", commands=["#SBATCH --mem=32G"])]
    return [Remedy(action="Raise the limit where this process's control group is set up, or use less memory")]


def _sizes(memory: Memory, *fields: str) -> list[Evidence]:
    """Return sizes as evidence, in units that people read."""
    evidence = []
    for field in fields:
        value = getattr(memory, field)
        if value is not None:
            label = field.removesuffix("_bytes").replace("_", " ")
            evidence.append(Evidence(f"{label}: {gibibytes(value)}", memory.sources.get(field, "")))
    return evidence
