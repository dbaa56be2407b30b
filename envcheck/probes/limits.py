"""What the operating system lets one process have."""

from __future__ import annotations

from envcheck.cgroups import ControlGroup, control_group, number_in
from envcheck.facts import Limits
from envcheck.probe import probe
from envcheck.system import System


@probe(fills=["limits"], deadline=2)
def limits(system: System) -> Limits:
    """Ask for the resource limits and read the pids controller's files."""
    answer: dict[str, list[int]] = system.ask("resource_limits") or {}
    soft = {name: pair[0] for name, pair in answer.items()}
    group = control_group(system, "pids")
    limit, used, folder = _processes(system, group) if group else (None, None, "")
    return Limits(
        open_files_soft=soft.get("open_files"),
        open_files_hard=answer["open_files"][1] if "open_files" in answer else None,
        locked_memory_soft_bytes=soft.get("locked_memory"),
        processes_soft=soft.get("processes"),
        stack_soft_bytes=soft.get("stack"),
        address_space_soft_bytes=soft.get("address_space"),
        file_size_soft_bytes=soft.get("file_size"),
        cgroup_processes_limit=limit,
        cgroup_processes_used=used,
        sources={
            "open_files_soft": "ulimit -n",
            "open_files_hard": "ulimit -Hn",
            "locked_memory_soft_bytes": "ulimit -l",
            "processes_soft": "ulimit -u",
            "stack_soft_bytes": "ulimit -s",
            "address_space_soft_bytes": "ulimit -v",
            "file_size_soft_bytes": "ulimit -f",
            "cgroup_processes_limit": f"{folder}/pids.max",
            "cgroup_processes_used": f"{folder}/pids.current",
        },
    )


def _processes(system: System, group: ControlGroup) -> tuple[int, int | None, str]:
    """Return the limit that leaves the least room on the group and all above it, what is used of it, and its folder."""
    found = []
    for folder in group.folders:
        limit, used = number_in(system, f"{folder}/pids.max"), number_in(system, f"{folder}/pids.current")
        if limit is not None:
            found.append((limit - (used or 0), limit, used, folder))
    if not found:
        return 0, None, group.folders[0] if group.folders else ""
    return min(found)[1:]
