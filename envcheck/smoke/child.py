"""Run a script of `envcheck/inside/` in the interpreter under test and hand on what it reports, as it comes.

The child has a session of its own and a deadline; whatever way this ends, the child goes with everything that it has
started.  Its standard error is kept (the first and the last part), its standard output is one JSON object a line.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import FrameType
from typing import IO, Any

import msgspec

from envcheck.system import kill_group, signal_name

INSIDE = Path(__file__).parent.parent / "inside"

KEPT_BYTES = 64 * 1024
"""Of standard error: the first and the last so many bytes."""

LINE_LIMIT = 1024 * 1024
"""Bytes of one line of events; a child that writes more without a line's end is no script of ours."""

GRACE_SECONDS = 1.0
"""How long a stream may stay open after its program has ended, held by a grandchild."""

STACK_SECONDS = 1.0
"""How long before the deadline the child is asked to print where it is."""

# Runs in any Python, 2.7 too, to say which one it is.  A script run by its path would have its own folder in front of
# sys.path; so the path stays the one of a user who types `python train.py` in this directory, ./torch.py included.
# While our own files and the standard library's modules that they need are loaded the directory is left out, so that
# a ./json.py there breaks what it breaks for the user, and not this script.
LOADER = r"""
import os, sys
descriptor = os.dup(1)
os.dup2(2, 1)
if sys.version_info < (3, 6):
    too_old = '{"event": "python", "too_old": true, "version": "%d.%d.%d"}\n' % sys.version_info[:3]
    os.write(descriptor, too_old.encode())
    sys.exit(0)
path = sys.path[:]
sys.path[:] = [folder for folder in path if folder not in ("", os.getcwd())]
import importlib.util, json
writes_bytecode, sys.dont_write_bytecode = sys.dont_write_bytecode, True
def load_sibling(name):
    path = os.path.join(sys.argv[1], *name.split("/")) + ".py"
    specification = importlib.util.spec_from_file_location(name.rpartition("/")[2], path)
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module
driver = load_sibling(sys.argv[2])
module = load_sibling(sys.argv[3]) if sys.argv[3] else None
sys.dont_write_bytecode = writes_bytecode
sys.path[:] = path
driver.walk(module, json.loads(sys.argv[4]), descriptor, load_sibling)
"""


_HALTED = threading.Event()


class Ending(msgspec.Struct, frozen=True, kw_only=True):
    """How the child ended.

    Attributes:
        outcome: `ok` (it ended by itself), `signal`, `timeout`, `unstartable`, `garbled` (what it wrote is not ours),
            `stopped` (it was asked for).
        exit_code: its exit status, where it ended by itself.
        signal: name of the signal that ended it.
        stderr: what it wrote to standard error, the middle left out, without terminal escapes.
        reason: the operating system's words where it could not be started.
        seconds: wall time.
    """

    outcome: str
    exit_code: int | None = None
    signal: str = ""
    stderr: str = ""
    reason: str = ""
    seconds: float = 0.0


def run(
    interpreter: str,
    script: str,
    settings: Mapping[str, Any],
    deadline: float,
    receive: Callable[[dict[str, Any]], None],
    variables: Mapping[str, str] | None = None,
    *,
    driver: str = "smoke_training",
    stop: Callable[[], bool] | None = None,
) -> Ending:
    """Run a script to its end or to its deadline.

    Args:
        interpreter: path of the interpreter under test.
        script: name of a file in `envcheck/inside/`, without its suffix, that the driver is handed as a module; empty
            where it needs none.
        settings: what the script is told.
        deadline: seconds of wall time.
        receive: called with each event, in this thread; text in it has no terminal escapes, `at` says after how many
            seconds it came.
        variables: environment variables to set beside the present ones.
        driver: name of a file in `envcheck/inside/`, likewise, whose `walk(module, settings, descriptor, load_sibling)`
            does the work; `load_sibling("workloads/residual_data")` gives it one more of these files.
        stop: asked ten times a second; the child is ended as soon as it says so.

    Raises:
        KeyboardInterrupt: Ctrl-C, SIGTERM or SIGHUP, or `halted` in another thread; the child is gone by then.
    """
    if _HALTED.is_set():
        raise KeyboardInterrupt
    began = time.monotonic()
    settings = {**settings, "stack_after": max(deadline - STACK_SECONDS, deadline / 2)}
    argv = [interpreter, "-c", LOADER, str(INSIDE), driver, script, json.dumps(settings)]
    process: subprocess.Popen[bytes] | None = None
    with signals_interrupt() as hold:
        try:
            with hold():
                # A Ctrl-C between the start and this assignment would leave a child that nobody knows of.
                process = _start(argv, variables)
            ending = _attend(process, began, deadline, receive, stop)
        except OSError as error:
            if process is not None:
                raise
            return Ending(outcome="unstartable", reason=error.strerror or str(error))
        except ValueError as error:
            if process is not None:
                raise
            return Ending(outcome="unstartable", reason=str(error))
        finally:
            if process is not None:
                kill_group(process)
                process.wait()
    if _HALTED.is_set():
        raise KeyboardInterrupt
    return ending


def _start(argv: list[str], variables: Mapping[str, str] | None) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        argv,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, **variables} if variables else None,
        start_new_session=os.name == "posix",
        creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
    )


def _attend(
    process: subprocess.Popen[bytes],
    began: float,
    deadline: float,
    receive: Callable[[dict[str, Any]], None],
    stop: Callable[[], bool] | None,
) -> Ending:
    """Hand on events until the child ends, the deadline comes, it is to stop or what it writes is not ours."""
    lines: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
    kept = _Kept()
    threads = [
        threading.Thread(target=_read_lines, args=(process.stdout, lines), daemon=True),
        threading.Thread(target=_read_all, args=(process.stderr, kept), daemon=True),
    ]
    for thread in threads:
        thread.start()
    outcome = "ok"
    ended: float | None = None
    while True:
        now = time.monotonic()
        if ended is None and process.poll() is not None:
            ended = now
        left = deadline - (now - began) if ended is None else GRACE_SECONDS - (now - ended)
        over = _over(left, ended, stop)
        if over:
            outcome = over
            break
        try:
            line = lines.get(timeout=min(left, 0.1))
        except queue.Empty:
            continue
        if line is None:
            break
        event = _decoded(line)
        if event is None:
            outcome = "garbled"
            break
        event["at"] = time.monotonic() - began
        receive(event)
    if outcome == "ok":
        # Its standard output is closed; its end is due.
        try:
            process.wait(max(deadline - (time.monotonic() - began), 0))
        except subprocess.TimeoutExpired:
            outcome = "timeout"
    stopped_by_us = process.poll() is None
    kill_group(process)
    code = process.wait()
    threads[1].join(GRACE_SECONDS)
    killed = code < 0 and not stopped_by_us
    return Ending(
        outcome="signal" if killed and outcome == "ok" else outcome,
        exit_code=None if code < 0 or stopped_by_us else code,
        signal=signal_name(-code) if killed else "",
        stderr=kept.text(),
        seconds=time.monotonic() - began,
    )


def _over(left: float, ended: float | None, stop: Callable[[], bool] | None) -> str:
    """Return why there is no more to wait for, as an outcome; empty where there is."""
    if _HALTED.is_set() or (stop is not None and stop()):
        return "stopped"
    if left > 0:
        return ""
    return "timeout" if ended is None else "ok"


@contextlib.contextmanager
def halted() -> Iterator[None]:
    """End the children that run in other threads, and let none begin there, while this lasts."""
    _HALTED.set()
    try:
        yield
    finally:
        _HALTED.clear()


@contextlib.contextmanager
def signals_interrupt() -> Iterator[Callable[[], contextlib.AbstractContextManager[None]]]:
    """Make SIGTERM and SIGHUP end this program as Ctrl-C does; gives a context in which all three wait.

    Only the main thread receives signals; in another one nothing is changed.
    """
    numbers = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
    waiting: list[int] = []
    held = False

    def handle(number: int, _frame: FrameType | None) -> None:
        if held:
            waiting.append(number)
        else:
            raise KeyboardInterrupt

    @contextlib.contextmanager
    def hold() -> Iterator[None]:
        nonlocal held
        held = True
        try:
            yield
        finally:
            held = False
            if waiting:
                raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield contextlib.nullcontext
        return
    # A signal that is ignored (nohup) stays ignored.
    before = {number: signal.getsignal(number) for number in numbers if signal.getsignal(number) != signal.SIG_IGN}
    for number in before:
        signal.signal(number, handle)
    try:
        yield hold
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _read_lines(pipe: IO[bytes] | None, lines: queue.SimpleQueue[bytes | None]) -> None:
    with contextlib.suppress(OSError, ValueError), pipe or contextlib.nullcontext():
        while pipe and (line := pipe.readline(LINE_LIMIT)):
            lines.put(line)
    lines.put(None)


class _Kept:
    """The first and the last bytes of a stream."""

    def __init__(self) -> None:
        self.head = b""
        self.tail = b""
        self.left_out = 0

    def text(self) -> str:
        middle = f"\n[{self.left_out} bytes left out]\n".encode() if self.left_out else b""
        return without_escapes((self.head + middle + self.tail).decode("utf-8", "replace"))


def _read_all(pipe: IO[bytes] | None, kept: _Kept) -> None:
    with contextlib.suppress(OSError, ValueError), pipe or contextlib.nullcontext():
        while pipe and (chunk := os.read(pipe.fileno(), 65536)):
            room = KEPT_BYTES - len(kept.head)
            kept.head += chunk[: max(room, 0)]
            tail = kept.tail + chunk[max(room, 0) :]
            kept.left_out += max(len(tail) - KEPT_BYTES, 0)
            kept.tail = tail[-KEPT_BYTES:]


def _decoded(line: bytes) -> dict[str, Any] | None:
    """Return an event; None where the line is none."""
    try:
        event = msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    if not isinstance(event, dict) or not isinstance(event.get("event"), str):
        return None
    cleaned: dict[str, Any] = _cleaned(event)
    return cleaned


def _cleaned(value: Any) -> Any:  # noqa: ANN401 - JSON
    if isinstance(value, str):
        return without_escapes(value)
    if isinstance(value, list):
        return [_cleaned(item) for item in value]
    if isinstance(value, dict):
        return {without_escapes(key): _cleaned(item) for key, item in value.items()}
    return value


def without_escapes(text: str) -> str:
    """Return text without control characters other than line ends and tabs, so that it cannot steer a terminal."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    return "".join(character for character in text if character.isprintable() or character in "\n\t")
