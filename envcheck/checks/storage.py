"""Is there room, and may it be used?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from envcheck.check import check
from envcheck.describe import gibibytes
from envcheck.facts import Framework, Packages, Place, Platform, Storage, need
from envcheck.report import Evidence, Finding, Remedy, Severity

FULL_BYTES = 512 * 2**20
LOW_BYTES = 2 * 2**30
FULL_SHARE = 0.05
"""A disk is judged by both: a percent of a large disk is a lot of room, and a small tmpfs may be meant to be small."""

FULL_INODES = 1000
LOW_INODES = 20_000
"""Files: torch 2.13 has 15,000, TensorFlow 2.21 has 18,000 (counted in their wheels for Linux)."""

NAMES = {
    "environment": "the environment",
    "home": "the home folder",
    "temporary": "the temporary folder",
    "cache": "the cache",
    "working directory": "the working directory",
}
"""Purpose of a place → its name in a sentence."""

DOCKER_DEFAULT_SHM_BYTES = 64 * 2**20

READ_ONLY_IMAGES = {"squashfs", "erofs", "iso9660", "cramfs", "overlayroot"}


@check(area="storage", causes=["disk-full"])
def disk_has_room(storage: Storage, platform: Platform | None = None) -> Iterator[Finding]:
    """The file systems of the environment, home, temporary and cache folders have room.

    Why: on a full disk installations stop half-way, checkpoints are cut off, and imports fail with "No space left on
    device"; the message often names another file than the one that filled the disk.
    If not: empty the package caches, remove what is not needed, or point the folder at a larger disk.
    Source: an installation of torch for CUDA with its libraries takes 5 to 8 GiB; statvfs(3).
    """
    for places in _by_file_system(storage):
        free, total = places[0].free_bytes or 0, places[0].total_bytes or 0
        full = free < FULL_BYTES / 8 or (free < FULL_BYTES and free < FULL_SHARE * total)
        low = free < LOW_BYTES and free < FULL_SHARE * total
        if not full and not low:
            continue
        what = "is full" if full else "is nearly full"
        yield Finding(
            cause="disk-full",
            severity=Severity.ERROR if full else Severity.WARNING,
            title=f"The disk that holds {_purposes(places)} {what}: {gibibytes(free)} left of {gibibytes(total)}",
            evidence=[_room(place, storage) for place in places],
            explains=["disk-has-inodes", "places-are-writable"],
            remedies=_make_room(places, platform),
        )


@check(area="storage", causes=["disk-full"])
def disk_has_inodes(storage: Storage) -> Iterator[Finding]:
    """The file systems can hold more files.

    Why: a file system has a fixed number of inodes; when they are used up, "No space left on device" is said although
    there is room.  Package caches, small image files and old environments use them.
    If not: remove folders with many small files.
    Source: statvfs(3); torch 2.13 alone has 15,000 files, TensorFlow 2.21 has 18,000.
    """
    for places in _by_file_system(storage):
        free, total = places[0].free_inodes, places[0].total_inodes
        # btrfs and most network file systems make inodes as they are needed, and count none.
        if not total or free is None or free >= LOW_INODES or free >= 0.02 * total:
            continue
        yield Finding(
            cause="disk-full",
            severity=Severity.ERROR if free < FULL_INODES else Severity.WARNING,
            title=f"The file system that holds {_purposes(places)} can take only {free:,} more files",
            evidence=[
                Evidence(f"{place.purpose}: {free:,} of {total:,} inodes free at {place.path}", "statvfs")
                for place in places
            ],
            remedies=[
                Remedy(
                    action="Find the folders with the most files",
                    commands=[f"du --inodes -xS {places[0].path} | sort -n | tail"],
                ),
                *_empty_caches(),
            ],
        )


@check(area="storage", causes=["install-permission"])
def places_are_writable(storage: Storage) -> Iterator[Finding]:
    """Temporary files, and what is kept in the home folder, can be written.

    Why: data-loader workers, compilers (torch.compile, XLA) and installers need a temporary folder; model hubs, pip,
    Triton and matplotlib keep caches in the home folder and fail, or start slowly, where they cannot.
    If not: point TMPDIR, and XDG_CACHE_HOME, at a folder that this user may write.
    Source: Python's documentation of tempfile; XDG Base Directory Specification.
    """
    for place in storage.places or []:
        if place.writable is not False or place.purpose not in {"temporary", "home"}:
            continue
        temporary = place.purpose == "temporary"
        yield Finding(
            cause="install-permission",
            severity=Severity.WARNING if temporary else Severity.NOTE,
            title=f"The {place.purpose} folder {place.path} cannot be written by this user",
            evidence=[_room(place, storage), Evidence(f"{place.path} is not writable", "access")],
            remedies=[
                Remedy(
                    action="Use a temporary folder that can be written",
                    commands=['mkdir -p "$HOME/tmp"', 'export TMPDIR="$HOME/tmp"'],
                    changes="this shell only",
                )
                if temporary
                else Remedy(
                    action="Keep caches in a folder that can be written",
                    commands=['export XDG_CACHE_HOME="${TMPDIR:-/tmp}/cache"', 'mkdir -p "$XDG_CACHE_HOME"'],
                    changes="this shell only; caches there do not last",
                )
            ],
        )


@check(area="storage", causes=["shm-too-small"])
def shared_memory_is_large_enough(
    storage: Storage,
    platform: Platform | None = None,
    torch: Framework | None = None,
    packages: Packages | None = None,
) -> Iterator[Finding]:
    """Shared memory (/dev/shm) is large enough for the workers of a PyTorch data loader.

    Why: a DataLoader with workers hands batches over through /dev/shm, and NCCL uses it between the GPUs of one node;
    when it is full a worker dies with "Bus error".  Docker, Podman and Kubernetes give a container 64 MiB.
    If not: start the container with --shm-size or --ipc=host, or load data without workers.
    Source: PyTorch's README, "Docker Image"; Docker's reference of `docker run --shm-size`.
    """
    place = next((place for place in need(storage.places, "storage.places") if place.purpose == "shared memory"), None)
    if place is None or place.total_bytes is None:
        return
    without_torch = torch is None and packages is not None and packages.complete and packages.installed is not None
    full = place.free_bytes is not None and place.free_bytes < min(16 * 2**20, place.total_bytes)
    small = place.total_bytes <= DOCKER_DEFAULT_SHM_BYTES
    if without_torch or not (small or full):
        return
    evidence = [
        Evidence(f"/dev/shm: {gibibytes(place.free_bytes)} free of {gibibytes(place.total_bytes)}", "statvfs /dev/shm")
    ]
    if platform and platform.container:
        evidence.append(Evidence(f"this is a {platform.container} container", platform.sources.get("container", "")))
    title = f"/dev/shm has only {gibibytes(place.total_bytes)}: data-loader workers will die with a bus error"
    if full and not small:
        title = f"/dev/shm is full: {gibibytes(place.free_bytes)} left of {gibibytes(place.total_bytes)}"
    yield Finding(
        cause="shm-too-small",
        severity=Severity.WARNING,
        title=title,
        evidence=evidence,
        remedies=_more_shared_memory(platform, full=full and not small),
        links=["https://github.com/pytorch/pytorch#using-pre-built-images"],
    )


@check(area="storage", causes=["slow-data-path"])
def environment_is_on_a_fast_file_system(storage: Storage, platform: Platform) -> Iterator[Finding]:
    """Inside WSL, the environment and the working directory are on Linux's own file system.

    Why: folders under /mnt/c are reached through a network protocol (9P); imports and reading many small files take
    several times as long as on the Linux side.
    If not: keep the environment and the data under the home folder of the Linux distribution.
    Source: Microsoft's documentation, "Working across Windows and Linux file systems".
    """
    if not platform.wsl:
        return
    slow = [
        place
        for place in storage.places or []
        if place.purpose in {"environment", "working directory"} and place.filesystem in {"9p", "drvfs"}
    ]
    if slow:
        yield Finding(
            cause="slow-data-path",
            severity=Severity.NOTE,
            title=f"On a Windows drive, which WSL reaches slowly: {_purposes(slow)}",
            evidence=[_room(place, storage) for place in slow],
            remedies=[Remedy(action="Move it under the home folder of the Linux distribution, such as ~/project")],
            links=["https://learn.microsoft.com/windows/wsl/filesystems"],
        )


def _by_file_system(storage: Storage) -> list[list[Place]]:
    """Return the places that can be filled, those on one file system together."""
    groups: dict[tuple[int, int, str | None], list[Place]] = {}
    for place in need(storage.places, "storage.places"):
        if place.purpose == "shared memory" or place.free_bytes is None or not place.total_bytes:
            continue
        if place.filesystem in READ_ONLY_IMAGES or (place.writable is False and place.free_bytes == 0):
            continue
        groups.setdefault((place.total_bytes, place.free_bytes, place.filesystem), []).append(place)
    return list(groups.values())


def _purposes(places: Sequence[Place]) -> str:
    names = [NAMES.get(place.purpose, place.purpose) for place in places]
    return names[0] if len(names) == 1 else ", ".join(names[:-1]) + " and " + names[-1]


def _room(place: Place, storage: Storage) -> Evidence:
    kind = f" ({place.filesystem})" if place.filesystem else ""
    return Evidence(
        f"{place.purpose}: {gibibytes(place.free_bytes)} free of {gibibytes(place.total_bytes)} at {place.path}{kind}",
        storage.sources.get("places", ""),
    )


def _empty_caches() -> list[Remedy]:
    return [
        Remedy(
            action="Empty pip's cache",
            commands=["python -m pip cache purge"],
            changes="pip's cache; packages are downloaded again when they are needed",
        )
    ]


def _make_room(places: Sequence[Place], platform: Platform | None) -> list[Remedy]:
    remedies = []
    if any(place.purpose in {"home", "cache"} for place in places):
        remedies += _empty_caches()
    if platform is None or platform.system != "Windows":
        remedies.append(
            Remedy(
                action="Find what fills the disk",
                commands=[f"du -xh --max-depth=2 {places[0].path} | sort -h | tail"]
                if platform is None or platform.system == "Linux"
                else [f"du -xh -d 2 {places[0].path} | sort -h | tail"],
            )
        )
    else:
        remedies.append(Remedy(action="Find what fills the disk: Settings, System, Storage"))
    if [place.purpose for place in places] == ["temporary"]:
        remedies.insert(
            0,
            Remedy(
                action="Use another folder for temporary files",
                commands=['mkdir -p "$HOME/tmp"', 'export TMPDIR="$HOME/tmp"'],
                changes="this shell only",
            ),
        )
    return remedies


def _more_shared_memory(platform: Platform | None, *, full: bool) -> list[Remedy]:
    container = platform.container if platform else None
    remedies = []
    if full:
        remedies.append(
            Remedy(
                action="See which files are left over there, and remove those of ended programs",
                commands=["ls -lh /dev/shm"],
            )
        )
    if container == "kubernetes":
        remedies.append(
            Remedy(
                action="Mount a memory-backed volume at /dev/shm",
                commands=[
                    "volumes:",
                    "- name: shm",
                    "  emptyDir: {medium: Memory, sizeLimit: 8Gi}",
                    "volumeMounts:  # of the container",
                    "- {name: shm, mountPath: /dev/shm}",
                ],
                shell="yaml",
                changes="the pod, which is made anew; the volume counts against its memory limit",
            )
        )
    elif container in {"docker", "podman", "other"}:
        program = "podman" if container == "podman" else "docker"
        remedies += [
            Remedy(
                action="Start the container with more shared memory, on the host",
                commands=[f"{program} run --shm-size=8g …"],
                changes="the memory that the new container may use",
            ),
            Remedy(
                action="With compose, add it to the service",
                commands=["shm_size: 8gb"],
                shell="yaml",
                changes="the container, which is made anew",
            ),
        ]
    elif not full:
        remedies.append(
            Remedy(
                action="Enlarge it",
                commands=["sudo mount -o remount,size=8G /dev/shm"],
                changes="the size of /dev/shm until the next boot",
            )
        )
    remedies.append(Remedy(action="Until then load data without workers: DataLoader(…, num_workers=0)"))
    return remedies
