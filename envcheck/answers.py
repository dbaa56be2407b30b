"""Answers that may be given again for a while: for health checks, which ask every few seconds.

An answer is kept only where no error was found and nothing that is required is unknown, with its warnings, in a file of
this user's that is taken for what it is: one that is torn, too old, from the future, somebody else's or about other
surroundings is as good as none.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
import time
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

import envcheck
from envcheck import trusted
from envcheck.report import Report, Verdict
from envcheck.system import System

VOLATILE = {"_", "SHLVL", "OLDPWD"}
"""Variables that a shell changes from one command to the next."""


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What is kept.

    Attributes:
        key: what the answer is about; see `key_of`.
        time: seconds since 1970 at which it was given.
        report: the answer.
    """

    key: str
    time: float
    report: Report


def folder() -> str:
    """Return this user's folder for answers."""
    import platformdirs  # noqa: PLC0415 - only where an answer may be given again

    return os.path.join(platformdirs.user_cache_dir("envcheck", appauthor=False), "answers")  # noqa: PTH118


def key_of(system: System, options: Mapping[str, Any], requirements: Sequence[str]) -> str:
    """Return what an answer is about: this start of this machine or container, its variables, and what was asked.

    Process 1 of a container that is started again has begun at another time, also where the files are the same.
    """
    variables = {name: value for name, value in system.variables().items() if name not in VOLATILE}
    # Field 22 of /proc/1/stat, behind a name in brackets that may hold anything: ticks from boot to its start.
    first = system.read("/proc/1/stat").text.rpartition(")")[2].split()
    surroundings = [
        envcheck.__version__,
        system.read("/proc/sys/kernel/random/boot_id").text.strip(),
        first[19] if len(first) > 19 else "",  # noqa: PLR2004 - field 22, two of which stand before the bracket
        system.ask("user_id"),
        system.ask("working_directory"),
        sorted(variables.items()),
        sorted((name, str(value)) for name, value in options.items()),
        list(requirements),
    ]
    return hashlib.sha256(msgspec.json.encode(surroundings)).hexdigest()


def recall(key: str, max_age: float) -> tuple[Report, float] | None:
    """Return the answer of a key and its age in seconds; None where there is none that holds."""
    content = trusted.read(_path(key))
    if content is None:
        return None
    try:
        answer = msgspec.json.decode(content, type=Answer)
    except (ValueError, msgspec.MsgspecError):
        return None
    age = time.time() - answer.time
    if answer.key != key or not 0 <= age <= max_age:
        return None
    return answer.report, age


def keep(key: str, report: Report) -> None:
    """Keep an answer in one step; where it cannot be kept, the next question is simply examined anew.

    What went wrong is not kept: a fault that passes must not be told for longer than it lasts.
    """
    path = _path(key)
    if report.verdict not in {Verdict.OK, Verdict.WARNING}:
        with contextlib.suppress(OSError):
            os.unlink(path)  # noqa: PTH108
        return
    data = msgspec.json.encode(Answer(key=key, time=time.time(), report=report))
    temporary = ""
    try:
        os.makedirs(folder(), mode=0o700, exist_ok=True)  # noqa: PTH103
        handle, temporary = tempfile.mkstemp(dir=folder())
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        os.replace(temporary, path)  # noqa: PTH105
        _forget_old(path)
    except OSError:
        if temporary:
            with contextlib.suppress(OSError):
                os.unlink(temporary)  # noqa: PTH108


KEPT = 20
"""Answers kept side by side: as many different questions as health checks of one user may ask."""


def _forget_old(newest: str) -> None:
    """Remove the oldest answers, so that changing surroundings do not fill the disk."""
    with os.scandir(os.path.dirname(newest)) as entries:  # noqa: PTH120
        by_age = sorted(entries, key=lambda entry: entry.stat(follow_symlinks=False).st_mtime)
    for entry in by_age[:-KEPT]:
        with contextlib.suppress(OSError):
            os.unlink(entry.path)  # noqa: PTH108


def _path(key: str) -> str:
    return os.path.join(folder(), f"{key}.json")  # noqa: PTH118
