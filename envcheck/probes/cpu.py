"""The processor and how much of it this process may use."""

from __future__ import annotations

import math
import re

from envcheck.facts import Cpu
from envcheck.probe import probe
from envcheck.system import System


@probe(fills=["cpu"], deadline=2)
def cpu(system: System) -> Cpu:
    """Read /proc/cpuinfo, the affinity and the cgroup's quota."""
    text = system.read("/proc/cpuinfo").text
    logical = system.ask("logical_cores")
    affinity = system.ask("affinity_cores")
    quota = cgroup_quota_cores(system)
    limits = [limit for limit in (affinity or logical, quota) if limit]
    return Cpu(
        model=_field(text, "model name|Model|cpu model|Hardware"),
        vendor=_field(text, "vendor_id|CPU implementer"),
        instructions=(_field(text, "flags|Features") or "").split() or None,
        physical_cores=system.ask("physical_cores"),
        logical_cores=logical,
        affinity_cores=affinity,
        quota_cores=quota,
        allowed_cores=math.ceil(min(limits)) if limits else None,
        load_average=system.ask("load_average"),
        sources={
            "model": "/proc/cpuinfo",
            "vendor": "/proc/cpuinfo",
            "instructions": "/proc/cpuinfo",
            "affinity_cores": "sched_getaffinity",
            "quota_cores": "cgroup cpu.max or cpu.cfs_quota_us",
            "allowed_cores": "affinity and cgroup quota",
            "load_average": "/proc/loadavg",
        },
    )


def _field(text: str, names: str) -> str | None:
    found = re.search(rf"^(?:{names})\s*:\s*(.+)$", text, re.MULTILINE)
    return found[1].strip() if found else None


def cgroup_quota_cores(system: System) -> float | None:
    """Return the CPU quota of this process's cgroup in cores; 0 without a quota, None where there is no cgroup.

    Source: Linux kernel documentation, "Control Group v2" (`cpu.max`) and "CFS Bandwidth Control" (`cpu.cfs_quota_us`).
    """
    membership = system.read("/proc/self/cgroup")
    if membership.outcome != "ok":
        return None
    quotas = []
    for line in membership.text.splitlines():
        number, _, rest = line.partition(":")
        controllers, _, folder = rest.partition(":")
        if number == "0":
            quotas += [_quota_v2(system, folder) for folder in _with_parents(folder)]
        elif "cpu" in controllers.split(","):
            quotas += [_quota_v1(system, folder) for folder in _with_parents(folder)]
    known = [quota for quota in quotas if quota]
    return min(known) if known else 0.0


def _with_parents(folder: str) -> list[str]:
    """Return a cgroup's folder and all above it: a limit on any of them holds."""
    parts = [part for part in folder.split("/") if part and part != ".."]
    return ["/" + "/".join(parts[:depth]) for depth in range(len(parts), -1, -1)]


def _quota_v2(system: System, folder: str) -> float | None:
    found = re.match(r"(\d+) (\d+)", system.read(f"/sys/fs/cgroup{folder.rstrip('/')}/cpu.max").text)
    return int(found[1]) / int(found[2]) if found else None


def _quota_v1(system: System, folder: str) -> float | None:
    root = f"/sys/fs/cgroup/cpu{folder.rstrip('/')}"
    quota, period = (system.read(f"{root}/cpu.cfs_{name}_us").text.strip() for name in ("quota", "period"))
    if quota.isdigit() and period.isdigit() and int(period):
        return int(quota) / int(period)
    return None
