"""Room in the folders that training writes to."""

from __future__ import annotations

from envcheck.facts import Place, Storage
from envcheck.interpreter import Interpreter
from envcheck.mounts import MOUNT_INFORMATION, Mount, mount_of, mounts
from envcheck.probe import probe
from envcheck.system import System

SHARED_MEMORY = "/dev/shm"  # noqa: S108 - the folder that is asked about


@probe(fills=["storage"], deadline=3)
def storage(system: System, interpreter: Interpreter) -> Storage:
    """Ask for the room, the files and the rights in each place."""
    home = system.ask("home") or ""
    folders = {
        "environment": interpreter.folder or parent_of(parent_of(interpreter.path)),
        "home": home,
        "temporary": system.ask("temporary_folder") or system.getenv("TMPDIR") or "/tmp",  # noqa: S108
        "cache": cache_folder(system, home),
        "working directory": system.ask("working_directory") or "",
    }
    mounted = mounts(system)
    places = [_place(system, purpose, folder, mounted) for purpose, folder in folders.items() if folder]
    if system.status(SHARED_MEMORY).kind == "folder":
        places.append(_place(system, "shared memory", SHARED_MEMORY, mounted))
    return Storage(places=places, sources={"places": f"statvfs, {MOUNT_INFORMATION}"})


def cache_folder(system: System, home: str) -> str:
    """Return the folder under which pip, uv and model hubs keep what they downloaded; empty where no home is known.

    Source: XDG Base Directory Specification; documentation of pip, "Caching".
    """
    chosen = system.getenv("PIP_CACHE_DIR") or system.getenv("XDG_CACHE_HOME")
    if chosen or not home:
        return chosen or ""
    kind = (system.ask("uname") or {}).get("system")
    if kind == "Darwin":
        return f"{home}/Library/Caches"
    if kind == "Windows":
        return system.getenv("LOCALAPPDATA") or home
    return f"{home}/.cache"


def parent_of(path: str) -> str:
    """Return the folder that holds a path, of either kind of slash; empty for a bare name."""
    cut = max(path.rfind("/"), path.rfind("\\"))
    return path[:cut] if cut > 0 else ("/" if cut == 0 else "")


def _place(system: System, purpose: str, folder: str, mounted: list[Mount]) -> Place:
    path = folder
    status = system.status(path)
    # A folder that will only be made when it is needed has the room of its nearest parent.
    while status.outcome in {"absent", "broken-link"} and parent_of(path) and parent_of(path) != path:
        path = parent_of(path)
        status = system.status(path)
    known = status.outcome == "ok"
    space = system.space(path)
    measured = space.outcome == "ok"
    mount = mount_of(status.real_path or path, mounted)
    return Place(
        purpose=purpose,
        path=path,
        writable=status.writable if known else None,
        total_bytes=space.total_bytes if measured else None,
        free_bytes=space.free_bytes if measured else None,
        total_inodes=space.total_inodes if measured else None,
        free_inodes=space.free_inodes if measured else None,
        filesystem=mount.filesystem if mount else None,
    )
