"""Running an installer: in a session of its own, heard line by line, ended with everything that it started.

Should envcheck itself be killed, the operating system ends the installer too (Linux), so that nothing goes on writing
into an environment that the next set-up may want to clear away.
"""

from __future__ import annotations

import contextlib
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from typing import IO

import msgspec

from envcheck.smoke.child import without_escapes
from envcheck.system import kill_group, signal_name

KEPT_LINES = 2000
"""Of what the installer says: the last so many lines."""

LAUNCHER = (
    "import ctypes,os,sys;"
    "ctypes.CDLL(None).prctl(1,9);"
    "os.getppid()==int(sys.argv[1]) or os._exit(1);"
    "os.execvp(sys.argv[2],sys.argv[2:])"
)
"""Asks Linux to kill this process when its parent ends (PR_SET_PDEATHSIG = 1, SIGKILL = 9), makes sure that the parent
had not ended before, and becomes the program.  A function between fork and exec would not be safe with threads."""

GRACE_SECONDS = 1.0


class Ended(msgspec.Struct, frozen=True, kw_only=True):
    """How a program ended.

    Attributes:
        outcome: `ok` (by itself), `signal`, `timeout`, `unstartable`.
        exit_code: its exit status where it ended by itself.
        output: the last lines of both its streams, without terminal escapes.
        seconds: wall time.
    """

    outcome: str
    exit_code: int | None = None
    output: str = ""
    seconds: float = 0.0

    @property
    def good(self) -> bool:
        """Whether it did what it was to do."""
        return self.outcome == "ok" and self.exit_code == 0


def run(
    argv: list[str],
    variables: Mapping[str, str],
    hear: Callable[[str], None],
    deadline: float,
    folder: str | None = None,
) -> Ended:
    """Run a program to its end or to its deadline.

    Args:
        argv: program and arguments; no shell.
        variables: environment variables to set beside the present ones.
        hear: called with each line that it says, in this thread.
        deadline: seconds of wall time.
        folder: its working directory.

    Raises:
        KeyboardInterrupt: the user wants to stop; the program is gone by then.
    """
    began = time.monotonic()
    try:
        process = subprocess.Popen(
            _launched(argv),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**os.environ, **variables},
            cwd=folder,
            start_new_session=os.name == "posix",
            creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
        )
    except (OSError, ValueError) as error:
        return Ended(outcome="unstartable", output=f"{argv[0]}: {getattr(error, 'strerror', None) or error}")
    kept: list[str] = []
    try:
        timed_out = _listen(process, began + deadline, kept, hear)
    finally:
        kill_group(process)
        process.wait()
    code = process.returncode
    return Ended(
        outcome="timeout" if timed_out else "signal" if code < 0 else "ok",
        exit_code=None if timed_out or code < 0 else code,
        output="\n".join([*kept, *([f"ended by {signal_name(-code)}"] if code < 0 and not timed_out else [])]),
        seconds=time.monotonic() - began,
    )


def _launched(argv: list[str]) -> list[str]:
    if not sys.platform.startswith("linux"):
        return argv
    return [sys.executable, "-I", "-S", "-c", LAUNCHER, str(os.getpid()), *argv]


def _listen(process: subprocess.Popen[bytes], until: float, kept: list[str], hear: Callable[[str], None]) -> bool:
    """Hand on lines until the program ends; tell whether its time ran out."""
    lines: queue.Queue[str | None] = queue.Queue(maxsize=1000)
    threading.Thread(target=_read, args=(process.stdout, lines), daemon=True).start()
    ended: float | None = None
    while True:
        now = time.monotonic()
        if ended is None and process.poll() is not None:
            ended = now
        if ended is None and now >= until:
            return True
        if ended is not None and now - ended > GRACE_SECONDS:
            return False
        try:
            line = lines.get(timeout=0.1)
        except queue.Empty:
            continue
        if line is None:
            break
        kept.append(line)
        del kept[:-KEPT_LINES]
        hear(line)
    while process.poll() is None:
        if time.monotonic() >= until:
            return True
        time.sleep(0.01)
    return False


def _read(pipe: IO[bytes] | None, lines: queue.Queue[str | None]) -> None:
    with contextlib.suppress(OSError, ValueError):
        while pipe and (line := pipe.readline(65536)):
            lines.put(without_escapes(line.decode("utf-8", "replace")).rstrip())
        if pipe:
            pipe.close()
    lines.put(None)
