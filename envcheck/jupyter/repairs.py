"""A kernel whose interpreter is gone: which interpreter it should run, and whether it may be removed."""

from __future__ import annotations

import posixpath

from envcheck.interpreter import program_of
from envcheck.jupyter.interpreters import looks_like_python
from envcheck.jupyter.model import Environment, Kernel
from envcheck.system import System

MOUNTS = ("/mnt/", "/media/", "/run/media/", "/Volumes/", "/net/", "/nfs/", "/gpfs/", "/lustre/")
"""Folders under which drives and shares are mounted: what is not there now may be there tomorrow.

Source: Filesystem Hierarchy Standard 3.0 (/mnt, /media), udisks (/run/media), macOS (/Volumes), and usual names of
automounted and cluster file systems.
"""

MARKS = ("pyvenv.cfg", "conda-meta")
"""What an environment's folder holds, whether its interpreter is there or not."""


def right_interpreter(system: System, kernel: Kernel, environment: Environment) -> str:
    """Return the interpreter that a kernel without one should run; empty where that is not beyond doubt.

    Three signs count: another interpreter lies in the same folder (the environment was made anew for another Python);
    the description lies in an environment's own folder (the environment was moved, and the description with it); the
    environment under test has the names of the one that is gone, project and folder (the project was moved).
    """
    one = kernel.specification
    gone = one.argv[0].replace("\\", "/") if one.argv else ""
    if kernel.state != "missing" or kernel.wrapper or "/" not in gone or not looks_like_python(gone):
        return ""
    folder = posixpath.dirname(posixpath.dirname(gone))
    holder, inside, _ = one.folder.replace("\\", "/").partition("/share/jupyter/kernels/")
    # The system's own interpreter is no sign: every kernel's folder in /usr/share would name it.
    holders = [holder] if inside and any(system.status(f"{holder}/{mark}").outcome == "ok" for mark in MARKS) else []
    under_test = (environment.python.prefix or "").replace("\\", "/").rstrip("/")
    if environment.chosen and under_test and under_test.split("/")[-2:] == folder.split("/")[-2:]:
        holders.append(under_test)
    for places in ([folder] if folder else [], holders):
        found = {program_of(system, place) for place in places}
        found = {program for program in found if system.status(program).outcome == "ok"}
        if found:
            return found.pop() if len(found) == 1 else ""
    return ""


def why_kept(system: System, kernel: Kernel) -> str:
    """Say why a kernel that does not work may not be removed by a program; empty where it may."""
    one = kernel.specification
    if one.problem or not one.argv:
        return ""
    if kernel.wrapper:
        return f"{kernel.wrapper} is to find its environment, and may do so elsewhere"
    gone = one.argv[0].replace("\\", "/")
    if "/" not in gone:
        return f"{gone} is not on PATH here, and may be elsewhere"
    mount = next((root for root in MOUNTS if gone.startswith(root)), "")
    if mount:
        drive = mount + gone.removeprefix(mount).split("/")[0]
        if system.status(drive).outcome != "ok" or not system.entries(drive):
            return f"it lies on {drive}, which is not there now"
    folder = posixpath.dirname(posixpath.dirname(gone))
    if any(system.status(f"{folder}/{mark}").outcome == "ok" for mark in MARKS):
        return f"its environment {folder} is there, without an interpreter"
    return ""


def runs_nothing(kernel: Kernel) -> bool:
    """Tell whether a kernel can never start: a damaged description, or an interpreter that is gone."""
    one = kernel.specification
    return not one.denied and (bool(one.problem) or kernel.state == "missing")
