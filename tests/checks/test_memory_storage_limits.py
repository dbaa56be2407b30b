"""Memory, disk and limits: what is said of a machine that runs short, and silence about one that does not."""

from __future__ import annotations

import pytest

from envcheck.checks.limits import (
    address_space_is_unlimited,
    file_size_is_unlimited,
    locked_memory_is_enough,
    open_files_are_enough,
    processes_are_enough,
)
from envcheck.checks.memory import cgroup_leaves_memory, cgroup_limit_fits_the_frameworks, memory_is_available
from envcheck.checks.storage import (
    disk_has_inodes,
    disk_has_room,
    environment_is_on_a_fast_file_system,
    places_are_writable,
    shared_memory_is_large_enough,
)
from envcheck.facts import Framework, Limits, Memory, Nvml, Packages, Place, Platform, Storage, Variables
from envcheck.report import CheckOutcome, Severity
from envcheck.testing import run_check

MIB, GIB = 2**20, 2**30
LINUX = Platform(system="Linux", container="", wsl=0, user_id=1000)
DOCKER = Platform(system="Linux", container="docker", wsl=0, user_id=0)
TORCH = Framework(name="torch", state="ok", version="2.9.0")


def found(check, **groups):
    outcome, findings = run_check(check, **groups)
    assert outcome in {CheckOutcome.PASS, CheckOutcome.FAIL}
    return findings


def commands(finding):
    return [command for remedy in finding.remedies for command in remedy.commands]


def test_a_machine_whose_memory_is_used_up_is_told_before_the_killer_comes():
    short = Memory(total_bytes=16 * GIB, available_bytes=120 * MIB)
    (finding,) = found(memory_is_available, memory=short, platform=LINUX)
    assert finding.cause == "host-out-of-memory"
    assert "120 MiB" in finding.title
    assert commands(finding)[0].startswith("ps aux")


@pytest.mark.parametrize(("total", "available"), [(16 * GIB, 8 * GIB), (4 * GIB, 400 * MIB), (None, 2 * GIB)])
def test_a_machine_with_memory_left_hears_nothing(total, available):
    assert not found(memory_is_available, memory=Memory(total_bytes=total, available_bytes=available))


def test_unknown_memory_is_not_called_enough():
    outcome, findings = run_check(memory_is_available, memory=Memory())
    assert (outcome, findings) == (CheckOutcome.SKIP, [])


def test_processes_that_a_containers_limit_has_ended_are_counted():
    memory = Memory(cgroup_limit_bytes=GIB, cgroup_used_bytes=100 * MIB, cgroup_out_of_memory_kills=2)
    (finding,) = found(cgroup_leaves_memory, memory=memory, platform=DOCKER)
    assert finding.cause == "cgroup-limit"
    assert "2 processes" in finding.title
    assert any("docker run --memory" in command for command in commands(finding))


def test_page_cache_that_can_be_given_back_does_not_fill_a_limit():
    memory = Memory(cgroup_limit_bytes=GIB, cgroup_used_bytes=GIB, cgroup_reclaimable_bytes=GIB // 2)
    assert not found(cgroup_leaves_memory, memory=memory, platform=DOCKER)
    full = Memory(cgroup_limit_bytes=GIB, cgroup_used_bytes=GIB, cgroup_reclaimable_bytes=0)
    assert found(cgroup_leaves_memory, memory=full, platform=DOCKER)


def test_a_slurm_job_is_told_the_line_for_its_script():
    memory = Memory(cgroup_limit_bytes=GIB, cgroup_out_of_memory_kills=1)
    (finding,) = found(
        cgroup_leaves_memory, memory=memory, platform=LINUX, variables=Variables(values={"SLURM_JOB_ID": "7"})
    )
    assert commands(finding) == ["#SBATCH --mem=32G"]


def test_a_limit_below_what_an_import_takes_explains_the_killed_import():
    memory = Memory(cgroup_limit_bytes=300 * MIB, total_bytes=64 * GIB, cgroup_out_of_memory_kills=1)
    tensorflow = Framework(name="tensorflow", state="crash", signal="SIGKILL")
    (finding,) = found(cgroup_limit_fits_the_frameworks, memory=memory, platform=DOCKER, tensorflow=tensorflow)
    assert finding.severity is Severity.ERROR
    assert "*-imports" in finding.explains
    imported = Framework(name="tensorflow", state="ok")
    assert not found(cgroup_limit_fits_the_frameworks, memory=memory, platform=DOCKER, tensorflow=imported)
    waiting = Framework(name="torch", state="not-imported")
    assert not found(cgroup_limit_fits_the_frameworks, memory=memory, platform=DOCKER, torch=waiting)


def place(purpose, free, total=100 * GIB, **fields):
    fields = {"writable": True, "filesystem": "ext4", "path": f"/{purpose}", **fields}
    return Place(purpose=purpose, free_bytes=free, total_bytes=total, **fields)


def test_one_full_disk_is_one_finding_however_many_folders_it_holds():
    storage = Storage(places=[place("environment", 12 * MIB), place("home", 12 * MIB), place("temporary", 50 * GIB)])
    (finding,) = found(disk_has_room, storage=storage, platform=LINUX)
    assert (finding.cause, finding.severity) == ("disk-full", Severity.ERROR)
    assert finding.title == "The disk that holds the environment and the home folder is full: 12 MiB left of 100.0 GiB"


@pytest.mark.parametrize(
    ("free", "total", "severity"),
    [
        (600 * MIB, 100 * GIB, Severity.WARNING),
        (100 * GIB, 20_000 * GIB, None),
        (300 * MIB, 400 * MIB, None),
        (30 * MIB, 400 * MIB, Severity.ERROR),
        (3 * GIB, 100 * GIB, None),
    ],
)
def test_a_disk_is_judged_by_its_room_and_by_its_size(free, total, severity):
    findings = found(disk_has_room, storage=Storage(places=[place("home", free, total)]), platform=LINUX)
    assert [finding.severity for finding in findings] == ([severity] if severity else [])


def test_a_read_only_image_that_is_full_by_nature_is_no_full_disk():
    snap = place("environment", 0, GIB, writable=False, filesystem="squashfs")
    assert not found(disk_has_room, storage=Storage(places=[snap]), platform=LINUX)
    empty = place("home", 0, 0, filesystem="autofs")
    assert not found(disk_has_room, storage=Storage(places=[empty]), platform=LINUX)


def test_a_full_temporary_folder_is_cured_by_another_one():
    storage = Storage(places=[place("temporary", 0, GIB, filesystem="tmpfs"), place("home", 50 * GIB)])
    (finding,) = found(disk_has_room, storage=storage, platform=LINUX)
    assert 'export TMPDIR="$HOME/tmp"' in commands(finding)


def test_a_disk_out_of_inodes_is_said_although_it_has_room():
    full = place("home", 50 * GIB, total_inodes=6_000_000, free_inodes=3)
    (finding,) = found(disk_has_inodes, storage=Storage(places=[full]))
    assert (finding.cause, finding.severity) == ("disk-full", Severity.ERROR)
    btrfs = place("home", 50 * GIB, total_inodes=0, free_inodes=0)
    assert not found(disk_has_inodes, storage=Storage(places=[btrfs]))


def test_a_temporary_folder_that_cannot_be_written_is_more_than_a_note():
    storage = Storage(places=[place("temporary", GIB, writable=False), place("home", GIB, writable=False)])
    findings = found(places_are_writable, storage=storage)
    assert [finding.severity for finding in findings] == [Severity.WARNING, Severity.NOTE]


def test_dockers_64_mib_of_shared_memory_are_too_small_for_torch():
    storage = Storage(places=[place("shared memory", 64 * MIB, 64 * MIB, filesystem="tmpfs")])
    (finding,) = found(shared_memory_is_large_enough, storage=storage, platform=DOCKER, torch=TORCH)
    assert (finding.cause, finding.severity) == ("shm-too-small", Severity.WARNING)
    assert "docker run --shm-size=8g …" in commands(finding)
    pod = Platform(system="Linux", container="kubernetes")
    (finding,) = found(shared_memory_is_large_enough, storage=storage, platform=pod, torch=TORCH)
    assert finding.remedies[0].shell == "yaml"


def test_shared_memory_matters_only_where_torch_can_use_it():
    storage = Storage(places=[place("shared memory", 64 * MIB, 64 * MIB)])
    assert not found(shared_memory_is_large_enough, storage=storage, platform=DOCKER, packages=Packages(installed=[]))
    large = Storage(places=[place("shared memory", 8 * GIB, 8 * GIB)])
    assert not found(shared_memory_is_large_enough, storage=large, platform=DOCKER, torch=TORCH)
    mac = Storage(places=[place("home", 8 * GIB)])
    assert not found(shared_memory_is_large_enough, storage=mac, torch=TORCH)


def test_shared_memory_that_is_full_is_told_apart_from_small():
    storage = Storage(places=[place("shared memory", MIB, 16 * GIB)])
    (finding,) = found(shared_memory_is_large_enough, storage=storage, platform=LINUX, torch=TORCH)
    assert "full" in finding.title
    assert commands(finding)[0] == "ls -lh /dev/shm"


def test_a_project_on_a_windows_drive_is_slow_inside_wsl_only():
    storage = Storage(places=[place("working directory", GIB, filesystem="9p", path="/mnt/c/project")])
    (finding,) = found(environment_is_on_a_fast_file_system, storage=storage, platform=Platform(system="Linux", wsl=2))
    assert (finding.cause, finding.severity) == ("slow-data-path", Severity.NOTE)
    assert not found(environment_is_on_a_fast_file_system, storage=storage, platform=LINUX)


def test_a_low_limit_on_open_files_is_raised_no_further_than_allowed():
    (finding,) = found(open_files_are_enough, limits=Limits(open_files_soft=64, open_files_hard=512), platform=LINUX)
    assert finding.cause == "open-files-limit"
    assert commands(finding)[0] == "ulimit -n 512"
    assert any("limits.d" in command for command in commands(finding))


@pytest.mark.parametrize(
    ("soft", "system"), [(1024, "Linux"), (-1, "Linux"), (1048576, "Linux"), (256, "Darwin"), (2560, "Darwin")]
)
def test_the_limits_that_systems_come_with_are_enough(soft, system):
    assert not found(open_files_are_enough, limits=Limits(open_files_soft=soft), platform=Platform(system=system))


def test_a_containers_limit_on_processes_is_the_containers_and_not_the_users():
    limits = Limits(cgroup_processes_limit=100, cgroup_processes_used=90, processes_soft=-1)
    (finding,) = found(processes_are_enough, limits=limits, platform=DOCKER)
    assert finding.cause == "cgroup-limit"
    assert "docker run --pids-limit 4096 …" in commands(finding)


def test_a_users_limit_on_processes_binds_everybody_but_root():
    limits = Limits(processes_soft=100, cgroup_processes_limit=0)
    (finding,) = found(processes_are_enough, limits=limits, platform=LINUX)
    assert finding.cause == "thread-oversubscription"
    assert not found(processes_are_enough, limits=limits, platform=DOCKER)
    assert not found(processes_are_enough, limits=Limits(processes_soft=-1), platform=LINUX)


def test_a_limit_on_address_space_stops_cuda_however_high_it_is():
    limits = Limits(address_space_soft_bytes=64 * GIB)
    assert not found(address_space_is_unlimited, limits=limits)
    (finding,) = found(address_space_is_unlimited, limits=limits, nvml=Nvml(state="ok"))
    assert commands(finding) == ["ulimit -v unlimited"]
    assert not found(address_space_is_unlimited, limits=Limits(address_space_soft_bytes=-1), nvml=Nvml(state="ok"))


def test_pinned_memory_matters_only_where_there_is_infiniband():
    limits = Limits(locked_memory_soft_bytes=64 * 1024)
    plain = Platform(system="Linux", container="", user_id=1000, infiniband_devices=[])
    assert not found(locked_memory_is_enough, limits=limits, platform=plain)
    cluster = Platform(system="Linux", container="", user_id=1000, infiniband_devices=["mlx5_0"])
    (finding,) = found(locked_memory_is_enough, limits=limits, platform=cluster)
    assert finding.cause == "locked-memory-limit"
    container = Platform(system="Linux", container="docker", user_id=0, infiniband_devices=["mlx5_0"])
    (finding,) = found(locked_memory_is_enough, limits=limits, platform=container)
    assert commands(finding) == ["docker run --ulimit memlock=-1 …"]
    free = Limits(locked_memory_soft_bytes=-1)
    assert not found(locked_memory_is_enough, limits=free, platform=cluster)


def test_a_limit_on_the_size_of_a_file_cuts_checkpoints():
    (finding,) = found(file_size_is_unlimited, limits=Limits(file_size_soft_bytes=100 * MIB))
    assert finding.cause == "disk-full"
    assert not found(file_size_is_unlimited, limits=Limits(file_size_soft_bytes=-1))
