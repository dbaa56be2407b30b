"""What is mounted where, as /proc/self/mountinfo tells it; for probes."""

from __future__ import annotations

import re

import msgspec

from envcheck.system import System

MOUNT_INFORMATION = "/proc/self/mountinfo"


class Mount(msgspec.Struct, frozen=True):
    """A mounted file system.

    Attributes:
        point: folder that it is mounted on.
        root: folder of the file system that is seen there; `/` where it is the whole.
        filesystem: its type, such as `ext4`, `overlay`, `nfs4`.
        options: options of the file system itself, such as `rw` or, of a cgroup, its controllers.
    """

    point: str
    root: str
    filesystem: str
    options: list[str] = []


def mounts(system: System) -> list[Mount]:
    """Return what is mounted, in the order of mounting; empty where the kernel does not tell.

    Source of the format: Linux manual, proc_pid_mountinfo(5).
    """
    found = []
    for line in system.read(MOUNT_INFORMATION).text.splitlines():
        left, separator, right = line.partition(" - ")
        fields, described = left.split(" "), right.split(" ")
        if separator and len(fields) > 4 and len(described) > 2:  # noqa: PLR2004 - see the manual
            found.append(Mount(_unescaped(fields[4]), _unescaped(fields[3]), described[0], described[2].split(",")))
    return found


def mount_of(path: str, mounted: list[Mount]) -> Mount | None:
    """Return the mount that a path lies on: the deepest, and of several on one folder the last."""
    best = None
    for mount in mounted:
        point = mount.point.rstrip("/")
        holds = path == mount.point or path.startswith(point + "/")
        if holds and (best is None or len(point) >= len(best.point.rstrip("/"))):
            best = mount
    return best


def _unescaped(text: str) -> str:
    """Return a path of mountinfo: blanks and the like are written as three octal digits."""
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), text)
