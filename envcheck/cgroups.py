"""Where the kernel keeps the limits of this process's control group, version 1 and 2; for probes.

Source: Linux kernel documentation, "Control Group v2" and "Control Groups version 1"; cgroups(7).
"""

from __future__ import annotations

import msgspec

from envcheck.mounts import mounts
from envcheck.system import System

MEMBERSHIP = "/proc/self/cgroup"


class ControlGroup(msgspec.Struct, frozen=True):
    """The control group that one controller has put this process in.

    Attributes:
        version: 1 or 2; 0 where the controller has no group.
        folders: its folder and those above it up to the root that can be seen: a limit on any of them holds.
    """

    version: int
    folders: list[str] = []


def control_group(system: System, controller: str) -> ControlGroup | None:
    """Return the group of a controller: `cpu`, `memory`, `pids`; None where the kernel does not tell."""
    membership = system.read(MEMBERSHIP)
    if membership.outcome != "ok":
        return None
    first: str | None = None
    second: str | None = None
    for line in membership.text.splitlines():
        number, _, rest = line.partition(":")
        controllers, _, folder = rest.partition(":")
        if number == "0" and not controllers:
            second = folder
        elif controller in controllers.split(","):
            first = folder
    mounted = mounts(system)
    if first is not None:
        for mount in mounted:
            if mount.filesystem == "cgroup" and controller in mount.options:
                return ControlGroup(1, _folders(mount.point, mount.root, first))
        return ControlGroup(1, _folders(f"/sys/fs/cgroup/{controller}", "/", first))
    if second is not None:
        point, root = next(
            ((mount.point, mount.root) for mount in mounted if mount.filesystem == "cgroup2"), ("/sys/fs/cgroup", "/")
        )
        return ControlGroup(2, _folders(point, root, second))
    return ControlGroup(0)


def _folders(point: str, root: str, folder: str) -> list[str]:
    """Return the folders to look at, deepest first.

    A container that shares its host's cgroup namespace sees the path of the host, of which only a part is mounted.
    """
    if root != "/" and (folder + "/").startswith(root.rstrip("/") + "/"):
        folder = folder[len(root.rstrip("/")) :]
    parts = [part for part in folder.split("/") if part and part != ".."]
    return ["/".join([point.rstrip("/"), *parts[:depth]]) for depth in range(len(parts), -1, -1)]


def number_in(system: System, path: str) -> int | None:
    """Return the number that a control file holds; None where it is `max`, or not there."""
    text = system.read(path).text.strip()
    return int(text) if text.isdigit() else None
