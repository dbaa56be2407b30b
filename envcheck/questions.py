"""Questions that the machine answers through Python and psutil: the fixed list behind `System.ask`.

Each answer is JSON-like, so that a recording can keep it.  A question that this system cannot answer gives None.
"""

from __future__ import annotations

import os
import platform
import sys
import tempfile
from collections.abc import Callable
from typing import Any


def uname() -> dict[str, str]:
    """Return `system`, `release`, `version`, `machine`; the host's name is left out."""
    found = platform.uname()
    return {"system": found.system, "release": found.release, "version": found.version, "machine": found.machine}


def libc() -> list[str]:
    """Return the C library and its version as the interpreter's binary says, such as `["glibc", "2.36"]`."""
    return list(platform.libc_ver())


def macos_version() -> str:
    """Return the product version of macOS; empty elsewhere."""
    return platform.mac_ver()[0]


def windows_version() -> list[str]:
    """Return release, version, service pack and kind of Windows; empty strings elsewhere."""
    return list(platform.win32_ver())


def home() -> str:
    """Return the user's home folder."""
    return os.path.expanduser("~")  # noqa: PTH111 - no error where HOME is missing


def working_directory() -> str:
    """Return the current folder."""
    return os.getcwd()  # noqa: PTH109


def temporary_folder() -> str:
    """Return the folder for temporary files."""
    return tempfile.gettempdir()


def own_interpreter() -> str:
    """Return the interpreter that runs envcheck."""
    return sys.executable


def user_id() -> int | None:
    """Return the numeric user id; None on Windows."""
    return os.getuid() if hasattr(os, "getuid") else None


def user_groups() -> list[str]:
    """Return the names (numbers where nameless) of the groups that this process is in."""
    import grp  # noqa: PLC0415 - not on Windows

    names = []
    for number in os.getgroups():
        try:
            names.append(grp.getgrgid(number).gr_name)
        except KeyError:  # noqa: PERF203 - each may lack a name
            names.append(str(number))
    return names


def affinity_cores() -> int | None:
    """Return how many hardware threads the scheduler may put this process on; None where it cannot be asked."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None


def logical_cores() -> int | None:
    """Return the machine's hardware threads."""
    return os.cpu_count()


def physical_cores() -> int | None:
    """Return the machine's cores."""
    import psutil  # noqa: PLC0415

    return psutil.cpu_count(logical=False)


def processor_megahertz() -> float | None:
    """Return the mean clock of the cores, in MHz."""
    import psutil  # noqa: PLC0415

    found = psutil.cpu_freq()
    return found.current if found and found.current else None


def temperatures() -> dict[str, float]:
    """Return sensor → degrees Celsius, such as `coretemp Package id 0`; empty where none may be read."""
    import psutil  # noqa: PLC0415

    sensors = psutil.sensors_temperatures() if hasattr(psutil, "sensors_temperatures") else {}
    return {f"{chip} {part.label}".strip(): part.current for chip, parts in sensors.items() for part in parts}


def load_average() -> float | None:
    """Return the one-minute load average."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else None


def memory() -> dict[str, int]:
    """Return `total`, `available`, `swap_total`, `swap_free` in bytes."""
    import psutil  # noqa: PLC0415

    ram, swap = psutil.virtual_memory(), psutil.swap_memory()
    return {"total": ram.total, "available": ram.available, "swap_total": swap.total, "swap_free": swap.free}


def resource_limits() -> dict[str, list[int]]:
    """Return limit → `[soft, hard]`; -1 is unlimited."""
    import resource  # noqa: PLC0415 - not on Windows

    names = {
        "open_files": "RLIMIT_NOFILE",
        "locked_memory": "RLIMIT_MEMLOCK",
        "processes": "RLIMIT_NPROC",
        "stack": "RLIMIT_STACK",
        "address_space": "RLIMIT_AS",
        "file_size": "RLIMIT_FSIZE",
    }
    found = {}
    for name, constant in names.items():
        if hasattr(resource, constant):
            limits = resource.getrlimit(getattr(resource, constant))
            found[name] = [-1 if limit == resource.RLIM_INFINITY else limit for limit in limits]
    return found


QUESTIONS: dict[str, Callable[[], Any]] = {
    question.__name__: question
    for question in (
        uname,
        libc,
        macos_version,
        windows_version,
        home,
        working_directory,
        temporary_folder,
        own_interpreter,
        user_id,
        user_groups,
        affinity_cores,
        logical_cores,
        physical_cores,
        processor_megahertz,
        temperatures,
        load_average,
        memory,
        resource_limits,
    )
}
