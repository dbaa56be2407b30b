"""Memory of the machine, and what the control group leaves of it."""

from __future__ import annotations

import re

from envcheck.cgroups import ControlGroup, control_group, number_in
from envcheck.facts import Memory
from envcheck.probe import probe
from envcheck.system import System

MEMORY_INFORMATION = "/proc/meminfo"

NO_LIMIT_BYTES = 2**60
"""Version 1 writes a missing limit as the largest multiple of a page that fits 63 bits."""


@probe(fills=["memory"], deadline=2)
def memory(system: System) -> Memory:
    """Read /proc/meminfo (elsewhere: ask psutil) and the memory controller's files."""
    text = system.read(MEMORY_INFORMATION).text
    total, available, swap_total, swap_free = (
        _kibibytes(text, name) for name in ("MemTotal", "MemAvailable", "SwapTotal", "SwapFree")
    )
    source = MEMORY_INFORMATION
    if total is None:
        answer = system.ask("memory") or {}
        total, available = answer.get("total"), answer.get("available")
        swap_total, swap_free = answer.get("swap_total"), answer.get("swap_free")
        source = "operating system"
    group = control_group(system, "memory")
    limit, folder = _limit(system, group) if group else (None, "")
    return Memory(
        total_bytes=total,
        available_bytes=available,
        swap_total_bytes=swap_total,
        swap_free_bytes=swap_free,
        cgroup_version=group.version if group else None,
        cgroup_limit_bytes=limit,
        cgroup_used_bytes=number_in(system, f"{folder}/{_names(group)['used']}") if group and folder else None,
        cgroup_reclaimable_bytes=_reclaimable(system, group, folder) if group and folder else None,
        cgroup_out_of_memory_kills=_kills(system, group) if group else None,
        sources={
            "total_bytes": source,
            "available_bytes": source,
            "swap_total_bytes": source,
            "swap_free_bytes": source,
            "cgroup_limit_bytes": f"{folder}/{_names(group)['limit']}" if group and folder else "control group",
            "cgroup_used_bytes": f"{folder}/{_names(group)['used']}" if group and folder else "control group",
            "cgroup_reclaimable_bytes": f"{folder}/memory.stat",
            "cgroup_out_of_memory_kills": "memory.oom_control" if group and group.version == 1 else "memory.events",
        },
    )


def _kibibytes(text: str, name: str) -> int | None:
    found = re.search(rf"^{name}:\s+(\d+) kB$", text, re.MULTILINE)
    return int(found[1]) * 1024 if found else None


def _names(group: ControlGroup) -> dict[str, str]:
    if group.version == 1:
        return {"limit": "memory.limit_in_bytes", "used": "memory.usage_in_bytes", "cache": "total_inactive_file"}
    return {"limit": "memory.max", "used": "memory.current", "cache": "inactive_file"}


def _limit(system: System, group: ControlGroup) -> tuple[int, str]:
    """Return the least limit on the group and all above it, and the folder that sets it (the group's own without)."""
    limits = []
    for folder in group.folders:
        limit = number_in(system, f"{folder}/{_names(group)['limit']}")
        if limit is not None and limit < NO_LIMIT_BYTES:
            limits.append((limit, folder))
    return min(limits) if limits else (0, group.folders[0] if group.folders else "")


def _reclaimable(system: System, group: ControlGroup, folder: str) -> int | None:
    text = system.read(f"{folder}/memory.stat").text
    found = re.search(rf"^{_names(group)['cache']} (\d+)$", text, re.MULTILINE)
    return int(found[1]) if found else None


def _kills(system: System, group: ControlGroup) -> int | None:
    if not group.folders:
        return None
    name = "memory.oom_control" if group.version == 1 else "memory.events"
    found = re.search(r"^oom_kill (\d+)$", system.read(f"{group.folders[0]}/{name}").text, re.MULTILINE)
    return int(found[1]) if found else None
