"""The one door to the machine.

`System` is what probes may ask.  `Live` asks the machine, `Recorder` wraps a system and keeps what was seen,
`Recording` plays it back.  Nothing else in envcheck opens a file of the machine's, runs a program or reads the
environment in order to learn about the machine.

Every answer is data: a file that is not there, a program that hangs and output that is no text are answers too.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from typing import IO, Any, Protocol

import msgspec

READ_LIMIT = 4 * 1024 * 1024
"""Bytes of one file that are read; /proc and metadata stay far below."""

OUTPUT_LIMIT = 512 * 1024
"""Bytes kept of each stream of a program: the first half and the last half of what it prints."""

GRACE_SECONDS = 0.3
"""How long a stream may stay open after its program has ended, held by a grandchild."""


class Reading(msgspec.Struct, frozen=True):
    """What reading a file gave.

    Attributes:
        outcome: `ok`, `absent`, `denied`, `garbled`.
        text: the content, decoded as UTF-8 with replacement characters; empty where the outcome is not `ok`.
        reason: the operating system's words where the outcome is not `ok`.
    """

    outcome: str
    text: str = ""
    reason: str = ""


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """What is at a path, links followed.

    Attributes:
        outcome: `ok`, `absent`, `denied`; `broken-link` for a link to nothing.
        kind: `file`, `folder`, `device`, `socket`, `other`.
        real_path: the path with links resolved.
        mode: permission bits, octal, such as `0666`.
        group: name or number of the owning group.
        size: bytes.
        readable: whether this user may read it.
        writable: whether this user may write it.
        executable: whether this user may run it, or enter the folder.
    """

    outcome: str
    kind: str = ""
    real_path: str = ""
    mode: str = ""
    group: str = ""
    size: int = 0
    readable: bool = False
    writable: bool = False
    executable: bool = False


class Space(msgspec.Struct, frozen=True, kw_only=True):
    """Room in a file system, for this user.

    Attributes:
        outcome: `ok`, `absent`, `denied`.
        total_bytes: its size.
        free_bytes: room left.
        total_inodes: files that it can hold; 0 where it does not count.
        free_inodes: files that can still be made.
    """

    outcome: str
    total_bytes: int = 0
    free_bytes: int = 0
    total_inodes: int = 0
    free_inodes: int = 0


class Completed(msgspec.Struct, frozen=True, kw_only=True):
    """How a program ended.

    Attributes:
        outcome: `ok` (it ended by itself, whatever its exit code), `signal`, `timeout`, `absent`, `denied`, `garbled`
            (not a program that this system can run).
        exit_code: its exit status; None where it has none.
        signal: name of the signal that ended it, such as `SIGSEGV`.
        stdout: what it printed, UTF-8 with replacement characters; the middle is left out beyond `OUTPUT_LIMIT`.
        stderr: likewise.
        seconds: wall time.
        reason: the operating system's words where it could not be started.
    """

    outcome: str
    exit_code: int | None = None
    signal: str = ""
    stdout: str = ""
    stderr: str = ""
    seconds: float = 0.0
    reason: str = ""


class System(Protocol):
    """What a probe may ask of a machine."""

    def read(self, path: str) -> Reading:
        """Return the content of a file."""
        ...

    def entries(self, path: str) -> list[str] | None:
        """Return the sorted names in a folder; None where it is not there or may not be read."""
        ...

    def status(self, path: str) -> Status:
        """Return what is at a path."""
        ...

    def link(self, path: str) -> str | None:
        """Return the target of a symbolic link as it is written; None where there is no link."""
        ...

    def space(self, path: str) -> Space:
        """Return the room in the file system that holds a path."""
        ...

    def run(
        self,
        argv: list[str],
        deadline: float,
        *,
        key: str = "",
        variables: Mapping[str, str] | None = None,
        stdin: str = "",
    ) -> Completed:
        """Run a program to its end or to its deadline, in seconds; then it is killed with all that it started.

        Args:
            argv: program and arguments; no shell.
            deadline: seconds of wall time.
            key: name under which a recording keeps the answer; the arguments, joined, where it is empty.
            variables: environment variables to set beside the present ones.
            stdin: text on its standard input.
        """
        ...

    def which(self, program: str) -> str | None:
        """Return the path of a program that PATH finds; None where it finds none."""
        ...

    def getenv(self, name: str) -> str | None:
        """Return an environment variable; None where it is not set."""
        ...

    def variables(self) -> dict[str, str]:
        """Return all environment variables, secrets masked."""
        ...

    def ask(self, question: str) -> Any:  # noqa: ANN401 - JSON-like; each question documents its answer
        """Return the answer to one of `envcheck.questions.QUESTIONS`; None where the machine has none."""
        ...


LIVES: list[Live] = []
"""Every Live of this process: what has to be closed when it ends in a hurry."""


class Live:
    """The machine that envcheck runs on."""

    def __init__(self) -> None:
        """Start with no program running."""
        self._running: set[subprocess.Popen[bytes]] = set()
        LIVES.append(self)
        self._lock = threading.Lock()
        self._closed = False

    def read(self, path: str) -> Reading:
        """See System."""
        try:
            with open(path, "rb") as file:  # noqa: PTH123 - a Path costs more than the read
                data = file.read(READ_LIMIT)
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
            return Reading("absent", reason=_words(error))
        except PermissionError as error:
            return Reading("denied", reason=_words(error))
        except (OSError, ValueError) as error:
            return Reading("garbled", reason=_words(error))
        return Reading("ok", data.decode("utf-8", "replace"))

    def entries(self, path: str) -> list[str] | None:
        """See System."""
        try:
            return sorted(os.listdir(path))  # noqa: PTH208 - names are all that is needed
        except (OSError, ValueError):
            return None

    def status(self, path: str) -> Status:
        """See System."""
        import stat  # noqa: PLC0415

        try:
            found = os.stat(path)  # noqa: PTH116
        except (FileNotFoundError, NotADirectoryError):
            return Status(outcome="broken-link" if os.path.islink(path) else "absent")  # noqa: PTH114
        except (OSError, ValueError):
            return Status(outcome="denied")
        kinds = (
            (stat.S_ISREG, "file"),
            (stat.S_ISDIR, "folder"),
            (stat.S_ISCHR, "device"),
            (stat.S_ISBLK, "device"),
            (stat.S_ISSOCK, "socket"),
        )
        return Status(
            outcome="ok",
            kind=next((kind for test, kind in kinds if test(found.st_mode)), "other"),
            real_path=os.path.realpath(path),
            mode=f"{stat.S_IMODE(found.st_mode):04o}",
            group=_group_name(found.st_gid),
            size=found.st_size,
            readable=os.access(path, os.R_OK),
            writable=os.access(path, os.W_OK),
            executable=os.access(path, os.X_OK),
        )

    def link(self, path: str) -> str | None:
        """See System."""
        try:
            return os.readlink(path)  # noqa: PTH115
        except (OSError, ValueError):
            return None

    def space(self, path: str) -> Space:
        """See System."""
        try:
            if sys.platform == "win32":
                import shutil  # noqa: PLC0415

                usage = shutil.disk_usage(path)
                return Space(outcome="ok", total_bytes=usage.total, free_bytes=usage.free)
            found = os.statvfs(path)
        except PermissionError:
            return Space(outcome="denied")
        except (OSError, ValueError):
            return Space(outcome="absent")
        return Space(
            outcome="ok",
            total_bytes=found.f_blocks * found.f_frsize,
            free_bytes=found.f_bavail * found.f_frsize,
            total_inodes=found.f_files,
            free_inodes=found.f_favail,
        )

    def run(
        self,
        argv: list[str],
        deadline: float,
        *,
        key: str = "",  # noqa: ARG002 - a recording's
        variables: Mapping[str, str] | None = None,
        stdin: str = "",
    ) -> Completed:
        """See System."""
        began = time.monotonic()
        try:
            process = subprocess.Popen(
                argv,
                stdin=subprocess.PIPE if stdin else subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env={**os.environ, **variables} if variables else None,
                start_new_session=os.name == "posix",
                creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
            )
        except (FileNotFoundError, NotADirectoryError) as error:
            return Completed(outcome="absent", reason=_words(error))
        except PermissionError as error:
            return Completed(outcome="denied", reason=_words(error))
        except (OSError, ValueError) as error:
            return Completed(outcome="garbled", reason=_words(error))
        with self._lock:
            self._running.add(process)
            closed = self._closed
        if closed:
            kill_group(process)
        try:
            streams = [_Stream(process.stdout), _Stream(process.stderr)]
            if process.stdin:
                _feed(process.stdin, stdin)
            timed_out = False
            try:
                process.wait(deadline)
            except subprocess.TimeoutExpired:
                timed_out = True
            # Whatever the program started goes with it, also where it ended in time and left something behind.
            kill_group(process)
            process.wait()
            for stream in streams:
                stream.thread.join(GRACE_SECONDS)
        finally:
            with self._lock:
                self._running.discard(process)
        code = process.returncode
        return Completed(
            outcome="timeout" if timed_out else "signal" if code < 0 else "ok",
            exit_code=None if timed_out or code < 0 else code,
            signal="" if timed_out or code >= 0 else signal_name(-code),
            stdout=streams[0].text(),
            stderr=streams[1].text(),
            seconds=time.monotonic() - began,
        )

    def which(self, program: str) -> str | None:
        """See System."""
        import shutil  # noqa: PLC0415

        return shutil.which(program)

    def getenv(self, name: str) -> str | None:
        """See System."""
        return os.environ.get(name)

    def variables(self) -> dict[str, str]:
        """See System."""
        return dict(os.environ)

    def ask(self, question: str) -> Any:  # noqa: ANN401
        """See System."""
        from envcheck.questions import QUESTIONS  # noqa: PLC0415 - psutil is loaded only where it is asked

        try:
            return QUESTIONS[question]()
        except (OSError, AttributeError, ImportError, ValueError, NotImplementedError, RuntimeError):
            return None

    def close(self) -> None:
        """Kill every program that is still running, and each one that would still be started."""
        with self._lock:
            self._closed = True
            running = list(self._running)
        for process in running:
            kill_group(process)


def kill_group(process: subprocess.Popen[bytes]) -> None:
    """End a program and everything in its session that it started; a program that has gone is no error."""
    with contextlib.suppress(OSError):
        if os.name == "posix":
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()


def signal_name(number: int) -> str:
    """Return the name of a signal, such as `SIGSEGV`; `signal N` where it has none."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


class _Stream:
    """One stream of a program, read in a thread so that a full pipe never stops the program."""

    def __init__(self, pipe: IO[bytes] | None) -> None:
        self.head = bytearray()
        self.tail = bytearray()
        self.left_out = 0
        self.pipe = pipe
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()

    def _read(self) -> None:
        half = OUTPUT_LIMIT // 2
        with contextlib.suppress(OSError, ValueError):
            while self.pipe and (chunk := os.read(self.pipe.fileno(), 65536)):
                room = half - len(self.head)
                self.head += chunk[: max(room, 0)]
                self.tail += chunk[max(room, 0) :]
                if len(self.tail) > half:
                    self.left_out += len(self.tail) - half
                    del self.tail[:-half]
            if self.pipe:
                self.pipe.close()

    def text(self) -> str:
        middle = f"\n[{self.left_out} bytes left out]\n".encode() if self.left_out else b""
        return (bytes(self.head) + middle + bytes(self.tail)).decode("utf-8", "replace")


def _feed(pipe: IO[bytes], text: str) -> None:
    """Write a program's standard input in a thread: one that does not read must not stop us."""

    def write() -> None:
        with contextlib.suppress(OSError, ValueError), pipe:
            pipe.write(text.encode())

    threading.Thread(target=write, daemon=True).start()


def _words(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)


def _group_name(number: int) -> str:
    try:
        import grp  # noqa: PLC0415 - not on Windows

        return grp.getgrgid(number).gr_name
    except (ImportError, KeyError):
        return str(number)


NOT_RECORDED = "not in this recording"


class Recorder:
    """A system that asks another one and keeps every answer, made fit to be given away by `redact`."""

    def __init__(self, system: System, redact: Callable[[Any], Any]) -> None:
        """Wrap a system.

        Args:
            system: the one to ask.
            redact: takes a JSON-like value and returns it without secrets, user and host names.
        """
        self._system = system
        self.redact = redact
        self.observations: dict[str, Any] = {}

    def _keep(self, key: str, answer: Any) -> None:  # noqa: ANN401
        self.observations.update(self.redact({key: msgspec.to_builtins(answer)}))

    def read(self, path: str) -> Reading:
        """See System."""
        answer = self._system.read(path)
        self._keep(f"read {path}", answer)
        return answer

    def entries(self, path: str) -> list[str] | None:
        """See System."""
        answer = self._system.entries(path)
        self._keep(f"entries {path}", answer)
        return answer

    def status(self, path: str) -> Status:
        """See System."""
        answer = self._system.status(path)
        self._keep(f"status {path}", answer)
        return answer

    def link(self, path: str) -> str | None:
        """See System."""
        answer = self._system.link(path)
        self._keep(f"link {path}", answer)
        return answer

    def space(self, path: str) -> Space:
        """See System."""
        answer = self._system.space(path)
        self._keep(f"space {path}", answer)
        return answer

    def run(
        self,
        argv: list[str],
        deadline: float,
        *,
        key: str = "",
        variables: Mapping[str, str] | None = None,
        stdin: str = "",
    ) -> Completed:
        """See System."""
        answer = self._system.run(argv, deadline, key=key, variables=variables, stdin=stdin)
        self._keep(f"run {key or ' '.join(argv)}", answer)
        return answer

    def which(self, program: str) -> str | None:
        """See System."""
        answer = self._system.which(program)
        self._keep(f"which {program}", answer)
        return answer

    def getenv(self, name: str) -> str | None:
        """See System."""
        answer = self._system.getenv(name)
        self._keep(f"getenv {name}", answer)
        return answer

    def variables(self) -> dict[str, str]:
        """See System; of the whole environment only the variables that matter are kept."""
        from envcheck.variables import that_matter  # noqa: PLC0415

        answer = that_matter(self._system.variables())
        self._keep("variables", answer)
        return answer

    def ask(self, question: str) -> Any:  # noqa: ANN401
        """See System."""
        answer = self._system.ask(question)
        self._keep(f"ask {question}", answer)
        return answer


class Recording:
    """A machine that was recorded: what was not asked then is unknown now."""

    def __init__(self, observations: Mapping[str, Any]) -> None:
        """Play back what `Recorder.observations` holds."""
        self._observations = observations

    def read(self, path: str) -> Reading:
        """See System."""
        return msgspec.convert(self._observations.get(f"read {path}", {"outcome": "absent"}), Reading)

    def entries(self, path: str) -> list[str] | None:
        """See System."""
        return msgspec.convert(self._observations.get(f"entries {path}"), list[str] | None)

    def status(self, path: str) -> Status:
        """See System."""
        return msgspec.convert(self._observations.get(f"status {path}", {"outcome": "absent"}), Status)

    def link(self, path: str) -> str | None:
        """See System."""
        return msgspec.convert(self._observations.get(f"link {path}"), str | None)

    def space(self, path: str) -> Space:
        """See System."""
        return msgspec.convert(self._observations.get(f"space {path}", {"outcome": "absent"}), Space)

    def run(
        self,
        argv: list[str],
        deadline: float,  # noqa: ARG002
        *,
        key: str = "",
        variables: Mapping[str, str] | None = None,  # noqa: ARG002
        stdin: str = "",  # noqa: ARG002
    ) -> Completed:
        """See System."""
        answer = self._observations.get(f"run {key or ' '.join(argv)}")
        return msgspec.convert(answer or {"outcome": "absent", "reason": NOT_RECORDED}, Completed)

    def which(self, program: str) -> str | None:
        """See System."""
        return msgspec.convert(self._observations.get(f"which {program}"), str | None)

    def getenv(self, name: str) -> str | None:
        """See System."""
        return msgspec.convert(self._observations.get(f"getenv {name}"), str | None)

    def variables(self) -> dict[str, str]:
        """See System."""
        return msgspec.convert(self._observations.get("variables", {}), dict[str, str])

    def ask(self, question: str) -> Any:  # noqa: ANN401
        """See System."""
        return self._observations.get(f"ask {question}")
