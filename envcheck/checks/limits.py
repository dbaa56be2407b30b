"""Does the operating system let a training program have what it needs?"""

from __future__ import annotations

from collections.abc import Iterator

from envcheck.check import check
from envcheck.describe import gibibytes
from envcheck.facts import Limits, NvidiaDriver, Nvml, Platform, need
from envcheck.report import Confidence, Evidence, Finding, Remedy, Severity, seen

FEW_FILES = 1024
"""The limit that Linux distributions give a login: less was set by somebody."""

FEW_PROCESSES = 256
LITTLE_ADDRESS_SPACE_BYTES = 32 * 2**30


@check(area="limits", causes=["open-files-limit"])
def open_files_are_enough(limits: Limits, platform: Platform | None = None) -> Iterator[Finding]:
    """A process may open enough files.

    Why: each worker of a data loader holds pipes and, with PyTorch's default sharing, one descriptor for each tensor
    in flight; when they run out: "Too many open files", or workers that die without a word.
    If not: raise the soft limit up to the hard one, or where it is set.
    Source: PyTorch's documentation of torch.multiprocessing, "Sharing strategies"; getrlimit(2). macOS gives 256 to
    every login, which is enough for a few workers and is no finding.
    """
    soft = need(limits.open_files_soft, "limits.open_files_soft")
    enough = 256 if platform and platform.system == "Darwin" else FEW_FILES
    if soft < 0 or soft >= enough:
        return
    hard = limits.open_files_hard
    target = 4096 if hard is None or hard < 0 else min(4096, hard)
    remedies = []
    if target > soft:
        remedies.append(
            Remedy(
                action="Raise it in the shell that starts the training",
                commands=[f"ulimit -n {target}"],
                changes="this shell and what it starts",
            )
        )
    if platform and platform.container in {"docker", "podman"}:
        remedies.append(
            Remedy(
                action="Start the container with a higher limit, on the host",
                commands=[f"{platform.container} run --ulimit nofile=65536:65536 …"],
                changes="the new container's limit",
            )
        )
    elif target < FEW_FILES and (platform is None or platform.system == "Linux"):
        remedies.append(
            Remedy(
                action="Raise the hard limit for this user, then log in again",
                commands=['echo "$USER - nofile 65536" | sudo tee /etc/security/limits.d/90-nofile.conf'],
                changes="the limit of every later login of this user",
            )
        )
    remedies.append(
        Remedy(
            action="Or share tensors through files: torch.multiprocessing.set_sharing_strategy('file_system')",
            changes="the program",
        )
    )
    yield Finding(
        cause="open-files-limit",
        severity=Severity.WARNING,
        title=f"A process may open only {soft} files",
        evidence=seen(limits, "open_files_soft", "open_files_hard"),
        remedies=remedies,
    )


@check(area="limits", causes=["thread-oversubscription", "cgroup-limit"])
def processes_are_enough(limits: Limits, platform: Platform | None = None) -> Iterator[Finding]:
    """Enough processes and threads may be started.

    Why: frameworks start a thread a core for several pools, and data loaders a process a worker; at the limit they
    fail with "can't start new thread" or "Resource temporarily unavailable".
    If not: raise the limit (of the user, or of the container), or use fewer threads.
    Source: getrlimit(2), RLIMIT_NPROC (which does not bind root); Linux kernel documentation, "Process Number
    Controller" (pids.max).
    """
    limit, used = limits.cgroup_processes_limit, limits.cgroup_processes_used
    if limit and (limit < FEW_PROCESSES / 2 or (used is not None and limit - used < FEW_PROCESSES / 4)):
        yield Finding(
            cause="cgroup-limit",
            severity=Severity.WARNING,
            title=f"The container or job may have only {limit} processes and threads"
            + (f", {used} of which are used" if used is not None else ""),
            evidence=seen(limits, "cgroup_processes_limit", "cgroup_processes_used"),
            remedies=[
                Remedy(
                    action="Start the container with a higher limit, on the host",
                    commands=[f"{platform.container} run --pids-limit 4096 …"],
                    changes="the new container's limit",
                )
                if platform and platform.container in {"docker", "podman"}
                else Remedy(action="Raise pids.max where this process's control group is set up"),
                _fewer_threads(),
            ],
        )
    soft = limits.processes_soft
    bound = not (platform and platform.user_id == 0)
    if soft is not None and 0 <= soft < FEW_PROCESSES and bound:
        yield Finding(
            cause="thread-oversubscription",
            severity=Severity.WARNING,
            confidence=Confidence.LIKELY,
            title=f"This user may have only {soft} processes and threads",
            evidence=seen(limits, "processes_soft"),
            remedies=[
                Remedy(
                    action="Raise it in the shell that starts the training",
                    commands=["ulimit -u 4096"],
                    changes="this shell and what it starts",
                ),
                _fewer_threads(),
            ],
        )


@check(area="limits", causes=["cgroup-limit"])
def address_space_is_unlimited(
    limits: Limits, nvml: Nvml | None = None, driver: NvidiaDriver | None = None
) -> Iterator[Finding]:
    """The address space of a process is not limited (`ulimit -v`).

    Why: CUDA reserves address space for all memory of the machine and of every GPU when it starts, far more than it
    uses; under a limit cuInit fails with "out of memory".  Frameworks without a GPU map gigabytes of libraries too.
    If not: lift the limit; a limit on memory belongs into a control group.
    Source: CUDA programming guide, "Unified Virtual Address Space"; setrlimit(2), RLIMIT_AS.
    """
    soft = need(limits.address_space_soft_bytes, "limits.address_space_soft_bytes")
    has_gpu = bool((nvml and nvml.state == "ok") or (driver and driver.module_loaded))
    if soft < 0 or (soft >= LITTLE_ADDRESS_SPACE_BYTES and not has_gpu):
        return
    yield Finding(
        cause="cgroup-limit",
        severity=Severity.WARNING,
        confidence=Confidence.LIKELY,
        title=f"The address space of a process is limited to {gibibytes(soft)} (ulimit -v)",
        evidence=[Evidence(f"address space: {gibibytes(soft)}", limits.sources.get("address_space_soft_bytes", ""))],
        explains=["torch-sees-gpu", "tensorflow-sees-gpu", "*-imports"],
        remedies=[
            Remedy(
                action="Lift it in the shell that starts the training",
                commands=["ulimit -v unlimited"],
                changes="this shell and what it starts",
            )
        ],
    )


@check(area="limits", causes=["locked-memory-limit"])
def locked_memory_is_enough(limits: Limits, platform: Platform) -> Iterator[Finding]:
    """Where there is InfiniBand or RoCE, memory may be pinned without limit (`ulimit -l`).

    Why: RDMA pins the buffers that it sends from; under a limit NCCL fails with "ibv_reg_mr" or "ibv_create_cq …
    Cannot allocate memory", or falls back to slow sockets.
    If not: lift the limit where the job or container is started.
    Source: NCCL's documentation, "Troubleshooting", InfiniBand; getrlimit(2), RLIMIT_MEMLOCK. Machines without
    such a device need nothing.
    """
    devices = need(platform.infiniband_devices, "platform.infiniband_devices")
    soft = need(limits.locked_memory_soft_bytes, "limits.locked_memory_soft_bytes")
    # Root outside a container may pin what it likes (CAP_IPC_LOCK).
    exempt = platform.user_id == 0 and not platform.container
    if not devices or soft < 0 or exempt or soft >= 2**34:
        return
    remedies = [
        Remedy(
            action="Lift it for this user, then log in again",
            commands=[
                'echo "* - memlock unlimited" | sudo tee /etc/security/limits.d/90-rdma.conf',
            ],
            changes="the limit of every later login",
        )
    ]
    if platform.container in {"docker", "podman"}:
        remedies = [
            Remedy(
                action="Start the container without the limit, on the host",
                commands=[f"{platform.container} run --ulimit memlock=-1 …"],
                changes="the memory that the new container may pin",
            )
        ]
    yield Finding(
        cause="locked-memory-limit",
        severity=Severity.WARNING,
        confidence=Confidence.LIKELY,
        title=f"Only {gibibytes(soft)} of memory may be pinned, and {devices[0]} needs more for RDMA",
        evidence=[
            Evidence(f"locked memory: {gibibytes(soft)}", limits.sources.get("locked_memory_soft_bytes", "")),
            *seen(platform, "infiniband_devices"),
        ],
        remedies=remedies,
    )


@check(area="limits", causes=["disk-full"])
def file_size_is_unlimited(limits: Limits) -> Iterator[Finding]:
    """One file may be as large as the disk allows (`ulimit -f`).

    Why: a checkpoint or a downloaded wheel that grows beyond the limit ends the process with SIGXFSZ, "File size
    limit exceeded".
    If not: lift the limit.
    Source: setrlimit(2), RLIMIT_FSIZE.
    """
    soft = need(limits.file_size_soft_bytes, "limits.file_size_soft_bytes")
    if soft < 0 or soft >= 16 * 2**30:
        return
    yield Finding(
        cause="disk-full",
        severity=Severity.WARNING,
        title=f"A file may not grow beyond {gibibytes(soft)} (ulimit -f)",
        evidence=[Evidence(f"file size: {gibibytes(soft)}", limits.sources.get("file_size_soft_bytes", ""))],
        remedies=[
            Remedy(
                action="Lift it in the shell that starts the training",
                commands=["ulimit -f unlimited"],
                changes="this shell and what it starts",
            )
        ],
    )


def _fewer_threads() -> Remedy:
    return Remedy(
        action="Or use fewer threads and data-loader workers",
        commands=["export OMP_NUM_THREADS=1"],
        changes="this shell and what it starts",
    )
