"""Processor, memory, storage and limits, with the control groups that narrow them."""

from __future__ import annotations

import msgspec
import pytest

from envcheck.interpreter import Interpreter
from envcheck.probes.cpu import cpu
from envcheck.probes.limits import limits
from envcheck.probes.memory import memory
from envcheck.probes.storage import storage
from envcheck.system import Completed, Space, Status
from envcheck.testing import machine

CPU = (
    "processor\t: {}\nvendor_id\t: AuthenticAMD\nmodel name\t: AMD EPYC 7763\nphysical id\t: 0\ncore id\t: {}\n"
    "flags\t\t: fpu avx avx2 fma\n"
)
FOUR_THREADS = "\n".join(CPU.format(thread, thread // 2) for thread in range(4))

SECOND = "30 24 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw,nsdelegate\n"
FIRST = "".join(
    f"{number} 24 0:{number} {{root}} /sys/fs/cgroup/{name} rw - cgroup cgroup rw,{name}\n"
    for number, name in enumerate(["cpu,cpuacct", "memory", "pids"], 30)
)


def test_cores_are_counted_from_the_kernels_own_list():
    seen = cpu(machine(files={"/proc/cpuinfo": FOUR_THREADS}, answers={"logical_cores": 4, "affinity_cores": 3}))
    assert (seen.model, seen.vendor, seen.instructions) == (
        "AMD EPYC 7763",
        "AuthenticAMD",
        ["fpu", "avx", "avx2", "fma"],
    )
    assert (seen.physical_cores, seen.logical_cores, seen.affinity_cores, seen.allowed_cores) == (2, 4, 3, 3)
    assert seen.quota_cores is None


def test_a_quota_on_a_parent_group_holds_for_the_child():
    seen = cpu(
        machine(
            files={
                "/proc/self/cgroup": "0::/pod/container\n",
                "/proc/self/mountinfo": SECOND,
                "/sys/fs/cgroup/pod/container/cpu.max": "max 100000\n",
                "/sys/fs/cgroup/pod/cpu.max": "150000 100000\n",
            },
            answers={"logical_cores": 64, "affinity_cores": 64},
        )
    )
    assert (seen.quota_cores, seen.allowed_cores) == (1.5, 2)


def test_no_quota_is_zero_and_not_unknown():
    files = {"/proc/self/cgroup": "0::/\n", "/proc/self/mountinfo": SECOND}
    assert cpu(machine(files=files)).quota_cores == 0.0


def test_a_quota_of_the_first_version_is_read_where_only_a_part_is_mounted():
    seen = cpu(
        machine(
            files={
                "/proc/self/cgroup": "4:cpu,cpuacct:/docker/abc\n",
                "/proc/self/mountinfo": FIRST.format(root="/docker/abc"),
                "/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "200000\n",
                "/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000\n",
            },
            answers={"logical_cores": 8},
        )
    )
    assert (seen.quota_cores, seen.allowed_cores) == (2.0, 2)


def test_a_mac_names_its_instructions_as_linux_would():
    names = "machdep.cpu.brand_string machdep.cpu.vendor machdep.cpu.features machdep.cpu.leaf7_features"
    said = (
        "machdep.cpu.brand_string: Intel(R) Core(TM) i7\nmachdep.cpu.vendor: GenuineIntel\n"
        "machdep.cpu.features: FPU AVX1.0 FMA\nmachdep.cpu.leaf7_features: AVX2\n"
    )
    seen = cpu(
        machine(
            answers={"uname": {"system": "Darwin"}, "physical_cores": 4, "logical_cores": 8},
            runs={f"sysctl -i {names}": Completed(outcome="ok", exit_code=0, stdout=said)},
        )
    )
    assert (seen.model, seen.instructions) == ("Intel(R) Core(TM) i7", ["fpu", "avx", "fma", "avx2"])
    assert seen.physical_cores == 4


MEMORY = "MemTotal:       16384000 kB\nMemAvailable:    8192000 kB\nSwapTotal: 0 kB\nSwapFree: 0 kB\n"


def test_memory_without_a_limit_says_so():
    seen = memory(
        machine(files={"/proc/meminfo": MEMORY, "/proc/self/cgroup": "0::/\n", "/proc/self/mountinfo": SECOND})
    )
    assert (seen.total_bytes, seen.available_bytes) == (16384000 * 1024, 8192000 * 1024)
    assert (seen.swap_total_bytes, seen.cgroup_version, seen.cgroup_limit_bytes) == (0, 2, 0)


def test_the_least_memory_limit_of_a_nest_of_groups_counts():
    seen = memory(
        machine(
            files={
                "/proc/meminfo": MEMORY,
                "/proc/self/cgroup": "0::/a/b\n",
                "/proc/self/mountinfo": SECOND,
                "/sys/fs/cgroup/a/b/memory.max": "max\n",
                "/sys/fs/cgroup/a/b/memory.events": "low 0\nhigh 0\nmax 9\noom 4\noom_kill 3\n",
                "/sys/fs/cgroup/a/memory.max": "2147483648\n",
                "/sys/fs/cgroup/a/memory.current": "1000000\n",
                "/sys/fs/cgroup/a/memory.stat": "anon 5\ninactive_file 400000\nactive_file 7\n",
            }
        )
    )
    assert (seen.cgroup_limit_bytes, seen.cgroup_used_bytes) == (2147483648, 1000000)
    assert (seen.cgroup_reclaimable_bytes, seen.cgroup_out_of_memory_kills) == (400000, 3)
    assert seen.sources["cgroup_limit_bytes"] == "/sys/fs/cgroup/a/memory.max"


@pytest.mark.parametrize(("text", "expected"), [("9223372036854771712", 0), ("536870912", 536870912)])
def test_the_first_version_writes_no_limit_as_a_huge_number(text, expected):
    seen = memory(
        machine(
            files={
                "/proc/meminfo": MEMORY,
                "/proc/self/cgroup": "5:memory:/\n",
                "/proc/self/mountinfo": FIRST.format(root="/"),
                "/sys/fs/cgroup/memory/memory.limit_in_bytes": f"{text}\n",
                "/sys/fs/cgroup/memory/memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 1\n",
            }
        )
    )
    assert (seen.cgroup_version, seen.cgroup_limit_bytes, seen.cgroup_out_of_memory_kills) == (1, expected, 1)


def test_memory_is_asked_from_the_system_where_there_is_no_proc():
    answer = {"total": 8, "available": 4, "swap_total": 2, "swap_free": 1}
    seen = memory(machine(answers={"memory": answer}))
    assert (seen.total_bytes, seen.available_bytes, seen.swap_total_bytes, seen.swap_free_bytes) == (8, 4, 2, 1)
    assert seen.cgroup_limit_bytes is None


def test_an_unreadable_proc_leaves_memory_unknown():
    assert memory(machine()).total_bytes is None


def status(path, **fields):
    described = {"outcome": "ok", "kind": "folder", "real_path": path, "writable": True, **fields}
    return msgspec.to_builtins(Status(**described))


def space(total, free, inodes=0, free_inodes=0):
    return msgspec.to_builtins(
        Space(outcome="ok", total_bytes=total, free_bytes=free, total_inodes=inodes, free_inodes=free_inodes)
    )


def test_each_place_has_its_room_its_rights_and_its_file_system():
    seen = storage(
        machine(
            files={
                "/proc/self/mountinfo": "1 0 8:1 / / rw - ext4 /dev/sda1 rw\n"
                "2 1 0:40 / /home\\040dirs rw - nfs4 nas:/h rw\n"
                "3 1 0:41 / /dev/shm rw - tmpfs tmpfs rw\n",
            },
            answers={"home": "/home dirs/u", "temporary_folder": "/tmp", "working_directory": "/home dirs/u/p"},
            more={
                "status /env": status("/env"),
                "space /env": space(100, 50, 10, 5),
                "status /home dirs/u": status("/home dirs/u", writable=False),
                "space /home dirs/u": space(200, 20),
                "status /tmp": status("/tmp"),
                "status /dev/shm": status("/dev/shm"),
                "space /dev/shm": space(64, 64),
            },
        ),
        Interpreter("/env/bin/python", "given", folder="/env"),
    )
    places = {place.purpose: place for place in seen.places or []}
    assert (places["environment"].free_bytes, places["environment"].free_inodes) == (50, 5)
    assert places["environment"].filesystem == "ext4"
    assert (places["home"].writable, places["home"].filesystem) == (False, "nfs4")
    assert places["temporary"].free_bytes is None
    assert (places["shared memory"].filesystem, places["shared memory"].total_bytes) == ("tmpfs", 64)
    # A cache that does not exist yet has the room of the folder in which it will be made.
    assert (places["cache"].path, places["cache"].free_bytes) == ("/home dirs/u", 20)


def test_the_environment_of_a_bare_interpreter_is_the_folder_above_its_programs():
    seen = storage(machine(more={"status /usr": status("/usr")}), Interpreter("/usr/bin/python3", "own"))
    assert seen.places
    assert seen.places[0].path == "/usr"


def test_limits_are_the_users_and_the_groups():
    seen = limits(
        machine(
            files={
                "/proc/self/cgroup": "0::/job/step\n",
                "/proc/self/mountinfo": SECOND,
                "/sys/fs/cgroup/job/step/pids.max": "max\n",
                "/sys/fs/cgroup/job/pids.max": "100\n",
                "/sys/fs/cgroup/job/pids.current": "12\n",
            },
            answers={"resource_limits": {"open_files": [1024, 4096], "address_space": [-1, -1]}},
        )
    )
    assert (seen.open_files_soft, seen.open_files_hard, seen.address_space_soft_bytes) == (1024, 4096, -1)
    assert (seen.cgroup_processes_limit, seen.cgroup_processes_used) == (100, 12)
    assert seen.processes_soft is None


def test_windows_has_no_such_limits_and_that_is_no_crash():
    assert limits(machine()).open_files_soft is None
