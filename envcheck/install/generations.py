"""Environments of one name: each set-up makes a new generation beside the ones that are there.

    .envs/NAME/gen-3           the environment, at the path where it stays: environments cannot be moved
    .envs/NAME/gen-3.record/   state.json, plan.json, pyproject.toml, lock.txt, report.json
    .envs/NAME/current         link to the generation in use
    .envs/NAME/lock            held while a set-up is at work
    .venv                      link to .envs/venv/current, for the name `venv`

Where a generation is an image, `gen-3` is the folder that it was built from.

A generation counts only when its state.json says `ready`, which is written last, after everything else has reached the
disk.  What else is there was left by a set-up that was killed, and the next one clears it away.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec

DEFAULT_NAME = "venv"
"""The name whose environment is at ./.venv, where tools look for one."""

ADOPTED = "adopted"
"""State of an environment that envcheck did not make and was told to take over."""


class HeldError(Exception):
    """Another set-up of the same name is at work."""


class NotOursError(Exception):
    """At the place of the environment is something that envcheck did not make."""


class Generation(msgspec.Struct, frozen=True, kw_only=True):
    """One generation.

    Attributes:
        number: from 1; 0 is an environment that was taken over.
        path: its folder.
        state: `ready`, `building`, `adopted`; empty where its record is torn.
        current: whether it is the one in use.
        made: when, seconds since 1970; 0 where it is not known.
        frameworks: framework → version.
        python: version of its interpreter.
        image: the image that it is, such as `myproject:gen-3`; empty = an environment in a folder.
    """

    number: int
    path: str
    state: str
    current: bool = False
    made: float = 0.0
    frameworks: dict[str, str] = {}
    python: str = ""
    image: str = ""

    @property
    def usable(self) -> bool:
        """Whether it may be swapped in."""
        return self.state in {"ready", ADOPTED}


class State(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What state.json holds; see Generation."""

    state: str
    made: float = 0.0
    frameworks: dict[str, str] = {}
    python: str = ""
    image: str = ""


class Place(msgspec.Struct, frozen=True):
    """Where the environments of a name are.

    Attributes:
        directory: the project's folder.
        name: the name.
    """

    directory: Path
    name: str = DEFAULT_NAME

    @property
    def folder(self) -> Path:
        """The folder of the name."""
        return self.directory / ".envs" / self.name

    @property
    def pointer(self) -> Path:
        """The link to the generation in use."""
        return self.folder / "current"

    @property
    def link(self) -> Path:
        """What the user activates."""
        return self.directory / ".venv" if self.name == DEFAULT_NAME else self.pointer

    def generation(self, number: int) -> Path:
        """Return the folder of a generation."""
        return self.folder / f"gen-{number}"

    def record(self, number: int) -> Path:
        """Return the folder with the record of a generation."""
        return self.folder / f"gen-{number}.record"


def listed(place: Place) -> list[Generation]:
    """Return the generations that are there, the oldest first."""
    current = _pointed(place)
    found = []
    names = [entry.name for entry in place.folder.iterdir()] if place.folder.is_dir() else []
    numbers = {int(match[1]) for name in names if (match := re.fullmatch(r"gen-(\d+)(?:\.record)?", name))}
    for number in sorted(numbers):
        state = state_of(place, number)
        found.append(
            Generation(
                number=number,
                path=str(place.generation(number)),
                state=state.state if state and place.generation(number).is_dir() else "",
                current=number == current,
                made=state.made if state else 0.0,
                frameworks=state.frameworks if state else {},
                python=state.python if state else "",
                image=state.image if state else "",
            )
        )
    return found


def state_of(place: Place, number: int) -> State | None:
    """Return what a generation's record says; None where there is none, or it is torn."""
    try:
        return msgspec.json.decode((place.record(number) / "state.json").read_bytes(), type=State)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return None


def _pointed(place: Place) -> int | None:
    with contextlib.suppress(OSError):
        match = re.fullmatch(r"gen-(\d+)", Path(place.pointer.readlink()).name)
        return int(match[1]) if match else None
    return None


def write(path: Path, content: bytes) -> None:
    """Write a file so that after a power cut it holds either what it held before or all of the new content."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f"{path.name}.new")
    with beside.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)
    _sync_folder(path.parent)


def write_state(place: Place, number: int, state: State) -> None:
    """Write the state of a generation."""
    write(place.record(number) / "state.json", msgspec.json.format(msgspec.json.encode(state)))


def _sync_folder(folder: Path) -> None:
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_back(folder: Path) -> None:
    """Let everything that was written on the file system of a folder reach the disk."""
    if sys.platform.startswith("linux"):
        with contextlib.suppress(AttributeError, OSError):
            # os.sync would wait for every file system of the machine, the slowest network mount among them.
            call = ctypes.CDLL(None, use_errno=True).syncfs
            descriptor = os.open(folder, os.O_RDONLY)
            try:
                if call(descriptor) == 0:
                    return
            finally:
                os.close(descriptor)
    if hasattr(os, "sync"):
        os.sync()


@contextlib.contextmanager
def locked(place: Place) -> Iterator[None]:
    """Hold the name for one set-up; the operating system lets go of it however this process ends.

    Raises:
        HeldError: another set-up holds it; the text says which.
        OSError: the folder cannot be made or written.
    """
    place.folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(place.folder / "lock", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        if not _take(descriptor):
            owner = os.read(descriptor, 200).decode("utf-8", "replace").strip()
            raise HeldError(f"another set-up of {place.name!r} is at work ({owner or 'unknown process'})")
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"process {os.getpid()}, since {time.strftime('%H:%M:%S')}\n".encode())
        yield
    finally:
        os.close(descriptor)


def _take(descriptor: int) -> bool:
    if sys.platform == "win32":
        import msvcrt  # noqa: PLC0415

        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True
    import fcntl  # noqa: PLC0415 - not on Windows

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def clear_unfinished(place: Place) -> list[int]:
    """Remove what set-ups that were killed have left, and finish a swap that was cut short; needs the lock.

    Returns:
        Numbers of the generations that were removed.
    """
    _finish_taking_over(place)
    for left in (*place.folder.glob("*.new"), _beside(place.link), _aside(place.link)):
        if left.is_symlink() or left.is_file():
            left.unlink()
    removed = []
    for generation in listed(place):
        if not generation.usable:
            remove(place, generation.number)
            removed.append(generation.number)
    return removed


def _finish_taking_over(place: Place) -> None:
    """Finish the exchange of an environment that was taken over, or undo it, so that it is whole in one place."""
    state = state_of(place, 0)
    if state is None or state.state != ADOPTED:
        return
    kept = place.generation(0)
    for left in (_beside(place.link), _aside(place.link)):
        if left.is_dir() and not left.is_symlink() and not kept.exists():
            left.rename(kept)
    if not os.path.lexists(place.link) and kept.exists():
        kept.rename(place.link)
    if not kept.exists():
        shutil.rmtree(place.record(0), ignore_errors=True)


def _beside(link: Path) -> Path:
    return link.with_name(f"{link.name}.new")


def _aside(link: Path) -> Path:
    return link.with_name(f"{link.name}.aside")


def remove(place: Place, number: int) -> None:
    """Remove a generation: first its record, so that half of it never counts."""
    shutil.rmtree(place.record(number), ignore_errors=True)
    shutil.rmtree(place.generation(number), ignore_errors=True)


def next_number(place: Place) -> int:
    """Return the number of the next generation; none is used twice while a later one is there."""
    return max((generation.number for generation in listed(place)), default=0) + 1


def check_link(place: Place, *, adopt: bool) -> None:
    """Make sure that the place of the environment is free, ours, or given up by its owner.

    Raises:
        NotOursError: something else is there.
    """
    link = place.link
    if link == place.pointer or not os.path.lexists(link) or _is_ours(place):
        return
    if not adopt:
        kind = "is an environment that envcheck did not make" if (link / "pyvenv.cfg").is_file() else "is there already"
        raise NotOursError(
            f"{link} {kind}; --adopt takes it over (and --rollback brings it back), --name NAME builds beside it"
        )
    if link.is_symlink() or not link.is_dir():
        raise NotOursError(f"{link} is no folder, so it cannot be taken over; move it away, or use --name NAME")


def _is_ours(place: Place) -> bool:
    """Tell whether the link leads into the folder of the name."""
    with contextlib.suppress(OSError):
        return place.link.is_symlink() and place.link.parent / place.link.readlink() == place.pointer
    return False


def swap(place: Place, number: int) -> None:
    """Make a generation the one in use; after a kill or a power cut it is either the old one or the new one.

    What stood at the place of the environment and is not ours is taken over as generation 0.
    """
    with _undisturbed():
        if number == 0:
            _give_back(place)
            return
        _point(place.pointer, Path(f"gen-{number}"))
        if place.link == place.pointer or _is_ours(place):
            return
        target = Path(os.path.relpath(place.pointer, place.link.parent))
        if os.path.lexists(place.link):
            write_state(place, 0, State(state=ADOPTED, made=time.time()))
            beside = _beside(place.link)
            beside.symlink_to(target, target_is_directory=True)
            _exchange(place.link, beside)
            beside.rename(place.generation(0))
        else:
            _point(place.link, target)


def _give_back(place: Place) -> None:
    """Put the environment that was taken over back to its place: only there do its scripts find their Python."""
    beside = _beside(place.link)
    place.generation(0).rename(beside)
    if os.path.lexists(place.link):
        _exchange(place.link, beside)
        beside.unlink()
    else:
        beside.rename(place.link)
    place.pointer.unlink(missing_ok=True)
    shutil.rmtree(place.record(0), ignore_errors=True)


def _point(link: Path, target: Path) -> None:
    """Let a link lead somewhere else, in one step."""
    beside = _beside(link)
    with contextlib.suppress(FileNotFoundError):
        beside.unlink()
    beside.symlink_to(target, target_is_directory=True)
    beside.replace(link)
    _sync_folder(link.parent)


RENAME_EXCHANGE = 2
AT_CURRENT_FOLDER = -100


def _exchange(first: Path, second: Path) -> None:
    """Exchange two names in one step where Linux can (renameat2); else in three, which `clear_unfinished` finishes."""
    if sys.platform.startswith("linux"):
        with contextlib.suppress(AttributeError, OSError):
            call = ctypes.CDLL(None, use_errno=True).renameat2
            names = (os.fsencode(first), os.fsencode(second))
            if call(AT_CURRENT_FOLDER, names[0], AT_CURRENT_FOLDER, names[1], RENAME_EXCHANGE) == 0:
                return
    third = _aside(first)
    first.rename(third)
    second.rename(first)
    third.rename(second)


@contextlib.contextmanager
def _undisturbed() -> Iterator[None]:
    """Let Ctrl-C wait until the swap is done."""
    if os.name != "posix":
        yield
        return
    numbers = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def previous(place: Place) -> Generation | None:
    """Return the newest usable generation before the one in use; None where there is none."""
    current = _pointed(place)
    older = [one for one in listed(place) if one.usable and (current is None or one.number < current)]
    return older[-1] if older else None


def prunable(place: Place, keep: int) -> list[Generation]:
    """Return what may go: all but the one in use, the newest `keep` others, and one that was taken over."""
    others = [one for one in listed(place) if not one.current and one.state != ADOPTED]
    usable = [one for one in others if one.usable]
    kept = usable[len(usable) - keep :] if keep else []
    return [one for one in others if one not in kept]
