"""A System whose answers come from inside a container that has Python 3.6 or later.

A stdlib-only script (`inside/container_door.py`) runs in there and answers requests over its standard streams, so that
nothing is mounted, nothing but a temporary folder is written, and it works through any engine, on this host or another.
It ends, and takes what it wrote with it, as soon as its standard input is closed: also where envcheck is killed.
"""

from __future__ import annotations

import importlib.util
import itertools
import os
import queue
import subprocess
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from envcheck.interpreter import INSIDE
from envcheck.system import GRACE_SECONDS, Completed, Reading, Space, Status, kill_group

SCRIPT = "container_door"

START_SECONDS = 30.0
"""How long a container may take to start its Python; the first start of a large image reads from a cold disk."""

ANSWER_SECONDS = 10.0
"""How long an answer may take that needs no program to be run."""

SLACK_SECONDS = 3.0
"""How much longer than its deadline a program's answer may take."""


class ClosedError(Exception):
    """The door did not open; the text is what the engine and the program in the container printed."""


class Door:
    """A container, as a System."""

    def __init__(self, argv: list[str]) -> None:
        """Start a program that answers, and give it the scripts that it is to run.

        Args:
            argv: the engine's command, up to the interpreter in the container.

        Raises:
            ClosedError: there is no such interpreter in there, or the container could not be started.
        """
        text = Path(INSIDE, f"{SCRIPT}.py").read_text("utf-8")
        self._process = subprocess.Popen(
            [*argv, "-c", text],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=os.name == "posix",
        )
        self._numbers = itertools.count()
        self._lock = threading.Lock()
        self._waiting: dict[int, queue.SimpleQueue[Any]] = {}
        self._printed = bytearray()
        self._ended = threading.Event()
        self._listening = [
            threading.Thread(target=self._hear, daemon=True),
            threading.Thread(target=collect, args=(self._process, self._printed), daemon=True),
        ]
        for thread in self._listening:
            thread.start()
        answer = self._request("scripts", [scripts()], START_SECONDS)
        if not isinstance(answer, dict) or not answer.get("folder"):
            self.close()
            reason = answer.get("reason", "") if isinstance(answer, dict) else ""
            raise ClosedError(f"no folder in the container can be written to: {reason}" if reason else self.printed())

    def printed(self) -> str:
        """Return what the engine and the program printed beside the answers."""
        return bytes(self._printed).decode("utf-8", "replace").strip()

    def _hear(self) -> None:
        """Hand each answer to who waits for it."""
        for line in lines(self._process):
            try:
                said = msgspec.json.decode(line)
            except msgspec.DecodeError:
                continue
            waiting = self._waiting.get(int(said.get("id", -1))) if isinstance(said, dict) else None
            if waiting:
                waiting.put(said.get("value"))
        self._ended.set()
        for waiting in list(self._waiting.values()):
            waiting.put(None)

    def _request(self, operation: str, arguments: list[Any], deadline: float = ANSWER_SECONDS) -> Any:  # noqa: ANN401
        """Return an answer; None where there is none in time, or no more."""
        number, waiting = next(self._numbers), queue.SimpleQueue[Any]()
        self._waiting[number] = waiting
        line = msgspec.json.encode({"id": number, "operation": operation, "arguments": arguments}) + b"\n"
        try:
            if self._ended.is_set() or self._process.stdin is None:
                return None
            with self._lock:
                self._process.stdin.write(line)
                self._process.stdin.flush()
            return waiting.get(timeout=deadline)
        except (OSError, ValueError, queue.Empty):
            return None
        finally:
            self._waiting.pop(number, None)

    def read(self, path: str) -> Reading:
        """See System."""
        answer = self._request("read", [path])
        return msgspec.convert(answer, Reading) if answer else Reading("garbled", reason=SILENT)

    def entries(self, path: str) -> list[str] | None:
        """See System."""
        return msgspec.convert(self._request("entries", [path]), list[str] | None)

    def status(self, path: str) -> Status:
        """See System."""
        answer = self._request("status", [path])
        return msgspec.convert(answer, Status) if answer else Status(outcome="denied")

    def link(self, path: str) -> str | None:
        """See System."""
        return msgspec.convert(self._request("link", [path]), str | None)

    def space(self, path: str) -> Space:
        """See System."""
        answer = self._request("space", [path])
        return msgspec.convert(answer, Space) if answer else Space(outcome="denied")

    def run(
        self,
        argv: list[str],
        deadline: float,
        *,
        key: str = "",  # noqa: ARG002 - a recording's
        variables: Mapping[str, str] | None = None,
        stdin: str = "",
    ) -> Completed:
        """See System; scripts of `inside/` are those that were written in the container."""
        # The folder of the scripts has another name in there, which the door itself fills in.
        argv = [part.replace(INSIDE + os.sep, "{inside}/") for part in argv]
        answer = self._request("run", [argv, deadline, dict(variables or {}), stdin], deadline + SLACK_SECONDS)
        return msgspec.convert(answer, Completed) if answer else Completed(outcome="timeout", reason=SILENT)

    def which(self, program: str) -> str | None:
        """See System."""
        return msgspec.convert(self._request("which", [program]), str | None)

    def getenv(self, name: str) -> str | None:
        """See System."""
        return msgspec.convert(self._request("getenv", [name]), str | None)

    def variables(self) -> dict[str, str]:
        """See System."""
        return msgspec.convert(self._request("variables", []) or {}, dict[str, str])

    def ask(self, question: str) -> Any:  # noqa: ANN401
        """See System."""
        return self._request("ask", [question])

    def close(self) -> None:
        """Let the program in the container end, and see that the engine's client does."""
        end(self._process)
        for thread in self._listening:
            # What it printed last is the reason, where it could not be started.
            thread.join(GRACE_SECONDS)


SILENT = "the container does not answer"

END_SECONDS = 5.0
"""How long an engine may take to notice that a program has ended, and to remove its container."""


def end(process: subprocess.Popen[bytes]) -> None:
    """Close a program's standard input, which ends it; kill it with what it started where that does not."""
    try:
        if process.stdin:
            process.stdin.close()
    except OSError:
        pass
    try:
        process.wait(END_SECONDS)
    except subprocess.TimeoutExpired:
        kill_group(process)
        process.wait()


def lines(process: subprocess.Popen[bytes]) -> Iterator[bytes]:
    """Yield the lines of a program's standard output to its end."""
    if process.stdout:
        with process.stdout as stream:
            yield from stream


KEPT_BYTES = 8000
"""How much is kept, from its end, of what an engine prints beside the answers."""


def collect(process: subprocess.Popen[bytes], into: bytearray) -> None:
    """Read a program's standard error to its end, so that a full pipe never stops it."""
    if process.stderr:
        with process.stderr as stream:
            for line in stream:
                into += line
                del into[:-KEPT_BYTES]


def scripts() -> dict[str, str]:
    """Return the scripts that are run inside, and NVIDIA's binding, which they need there: name → text."""
    found = {path.name: path.read_text("utf-8") for path in Path(INSIDE).glob("*.py") if path.stem != SCRIPT}
    binding = importlib.util.find_spec("pynvml")
    if binding and binding.origin:
        found["pynvml.py"] = Path(binding.origin).read_text("utf-8")
    return found
