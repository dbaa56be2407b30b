"""Become the container's command: the same process, its signals and its exit status, and nothing of ours left."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import signal
import sys
import time
from typing import NoReturn

from envcheck.interpreter import INSIDE

NOT_EXECUTABLE, NOT_FOUND = 126, 127
"""Exit statuses of a shell for a command that cannot be run, and for one that is not there (POSIX, 2.8.2)."""

REAP_SECONDS = 0.5
"""How long children that were killed may take to be gone."""


class NotStartedError(Exception):
    """The command could not be started; the text says why and what cures it."""

    def __init__(self, sentence: str, status: int) -> None:
        """Keep the exit status that a shell would give."""
        super().__init__(sentence)
        self.status = status


def hand_over(command: list[str], ready: str, *, init: bool) -> NoReturn:
    """Become the command, or with `init` a minimal init that starts it, forwards signals and reaps.

    Args:
        command: name and arguments.
        ready: path of the readiness file; the init removes it where the command cannot be run.
        init: whether to stay as an init.

    Raises:
        NotStartedError: there is no such command, or it cannot be run.
    """
    program = found(command[0])
    problem = of_first_line(program)
    if problem:
        raise NotStartedError(problem, NOT_EXECUTABLE)
    leave_nothing()
    if init:
        # An interpreter anew, without site-packages: a process that stays should be small.
        script = os.path.join(INSIDE, "minimal_init.py")  # noqa: PTH118
        words = of_error(program, OSError(errno.ENOEXEC, os.strerror(errno.ENOEXEC)))
        argv = [sys.executable, "-I", "-S", script, ready, words, program, *command]
        os.execv(sys.executable, argv)  # noqa: S606 - becoming the command is what this is for
    try:
        os.execv(program, command)  # noqa: S606 - likewise
    except OSError as error:
        raise NotStartedError(of_error(program, error), NOT_EXECUTABLE) from error


def found(name: str) -> str:
    """Return the path of a command, as a shell would find it.

    Raises:
        NotStartedError: there is none, or it may not be run.
    """
    program = shutil.which(name)
    if program:
        return program
    if "/" in name and os.path.exists(name):  # noqa: PTH110
        kind = "a folder" if os.path.isdir(name) else "not executable"  # noqa: PTH112
        cure = "" if kind == "a folder" else f"; in the Dockerfile: RUN chmod +x {name}"
        raise NotStartedError(f"{name} is {kind}{cure}", NOT_EXECUTABLE)
    where = "" if "/" in name else f" on PATH ({os.environ.get('PATH', '')})"
    raise NotStartedError(f"{name}: there is no such command{where}", NOT_FOUND)


def of_first_line(program: str) -> str:
    """Return why a script cannot be run that its first line gives away; empty where there is nothing to say."""
    first = b""
    with contextlib.suppress(OSError), open(program, "rb") as file:  # noqa: PTH123 - as cheap as it gets
        first = file.readline(256)
    if not first.startswith(b"#!"):
        return ""
    if first.endswith(b"\r\n"):
        return (
            f"{program} has Windows line ends, so that its interpreter is looked for under a name that ends in a "
            f"carriage return; sed -i 's/\\r$//' mends the file, `*.sh text eol=lf` in .gitattributes keeps it so"
        )
    words = first[2:].split()
    interpreter = words[0].decode("utf-8", "replace") if words else ""
    return "" if os.path.exists(interpreter) else f"{program} asks for {interpreter}, which is not in this image"  # noqa: PTH110


def of_error(program: str, error: OSError) -> str:
    """Return why the kernel refuses a program, and what cures it."""
    with contextlib.suppress(OSError), open(program, "rb") as file:  # noqa: PTH123 - as cheap as it gets
        if file.read(4) == b"\x7fELF":
            return (
                f"{program}: {error.strerror}; it is built for another processor (this one is {os.uname().machine}) "
                f"or another C library: build the image for this platform (docker build --platform)"
            )
    return f"{program}: {error.strerror}; a script needs a first line such as #!/bin/sh"


def leave_nothing() -> None:
    """Give the command what a process has that nobody was in before: usual signals, no children."""
    sys.stdout.flush()
    sys.stderr.flush()
    # Python ignores these two, and what is ignored stays so in the program that follows.
    for name in ("SIGPIPE", "SIGXFSZ"):
        signal.signal(getattr(signal, name), signal.SIG_DFL)
    until = time.monotonic() + REAP_SECONDS
    with contextlib.suppress(ChildProcessError):
        # Those that were killed at their deadline, and, as process 1, whatever they had started.
        while time.monotonic() < until:
            if os.waitpid(-1, os.WNOHANG) == (0, 0):
                time.sleep(0.01)
