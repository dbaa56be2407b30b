"""A System whose answers come from a POSIX shell in a container that has no Python.

One shell stays open and answers one question after the other; programs are run through the engine beside it. What
needs an interpreter in there (packages, frameworks, NVML) stays unknown.
"""

from __future__ import annotations

import os
import queue
import re
import secrets
import shlex
import subprocess
import threading
from collections.abc import Mapping
from typing import Any

from envcheck.container.door import ANSWER_SECONDS, START_SECONDS, ClosedError, collect, end, lines
from envcheck.system import GRACE_SECONDS, READ_LIMIT, Completed, Live, Reading, Space, Status, kill_group

ABSENT, DENIED, BROKEN = 44, 45, 43
"""Exit statuses of the snippets below: what is asked about is not there, may not be read, is a link to nothing."""

KINDS = {"f": "file", "d": "folder", "c": "device", "b": "device", "S": "socket"}
"""Test of the shell → kind of a Status."""


class Shell:
    """A container without Python, as a System."""

    def __init__(self, argv: list[str], run_prefix: list[str]) -> None:
        """Start a shell.

        Args:
            argv: the engine's command that starts `sh` with an open standard input.
            run_prefix: the engine's command that runs a program in the same container.

        Raises:
            ClosedError: there is no shell, or the container could not be started.
        """
        self._prefix = run_prefix
        self._mark = secrets.token_hex(16)
        self._lock = threading.Lock()
        self._lines: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._printed = bytearray()
        self._live = Live()
        self._variables: dict[str, str] | None = None
        self._process = subprocess.Popen(
            argv,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=os.name == "posix",
        )
        self._listening = [
            threading.Thread(target=self._hear, daemon=True),
            threading.Thread(target=collect, args=(self._process, self._printed), daemon=True),
        ]
        for thread in self._listening:
            thread.start()
        code, _ = self._do("true", START_SECONDS)
        if code != 0:
            self.close()
            raise ClosedError(bytes(self._printed).decode("utf-8", "replace").strip())

    def _hear(self) -> None:
        for line in lines(self._process):
            self._lines.put(line)
        self._lines.put(None)

    def _do(self, snippet: str, deadline: float = ANSWER_SECONDS) -> tuple[int | None, str]:
        """Return the exit status of a snippet and what it printed; None where there is no answer."""
        # The first line feed ends a last line that has none.
        line = f"{{ {snippet}\n}} 2>/dev/null </dev/null; printf '\\n%s %s\\n' {self._mark} $?\n"
        with self._lock:
            try:
                if self._process.stdin is None:
                    return None, ""
                self._process.stdin.write(line.encode())
                self._process.stdin.flush()
                said = bytearray()
                while (heard := self._lines.get(timeout=deadline)) is not None:
                    if heard.startswith(self._mark.encode()):
                        return int(heard.split()[1]), bytes(said[:-1]).decode("utf-8", "replace")
                    said += heard
            except (OSError, ValueError, queue.Empty):
                pass
            # What comes late would be taken for the next answer.
            kill_group(self._process)
        return None, ""

    def read(self, path: str) -> Reading:
        """See System."""
        name = shlex.quote(path)
        code, text = self._do(
            f"if [ ! -e {name} ] || [ -d {name} ]; then (exit {ABSENT}); elif [ ! -r {name} ]; then (exit {DENIED}); "
            f"else head -c {READ_LIMIT} {name}; fi"
        )
        outcomes = {0: "ok", ABSENT: "absent", DENIED: "denied"}
        outcome = outcomes.get(-1 if code is None else code, "garbled")
        return Reading(outcome, text if outcome == "ok" else "", "" if outcome == "ok" else f"status {code}")

    def entries(self, path: str) -> list[str] | None:
        """See System."""
        name = shlex.quote(path)
        code, text = self._do(f"if [ -d {name} ]; then ls -1A {name}; else (exit {ABSENT}); fi")
        return sorted(text.splitlines()) if code == 0 else None

    def status(self, path: str) -> Status:
        """See System."""
        name = shlex.quote(path)
        tests = " ".join([*KINDS, "r", "w", "x"])
        code, text = self._do(
            f"if [ -e {name} ]; then for test in {tests}; do [ -$test {name} ] && printf %s $test; done; echo; "
            f"readlink -f {name}; stat -L -c '%a %G %s' {name}; true; "
            f"elif [ -L {name} ]; then (exit {BROKEN}); else (exit {ABSENT}); fi"
        )
        if code != 0:
            return Status(outcome={BROKEN: "broken-link", ABSENT: "absent"}.get(code or 0, "denied"))
        held, real_path, rest = [*text.splitlines(), "", "", ""][:3]
        mode, group, size = [*rest.split(), "", "", ""][:3]
        return Status(
            outcome="ok",
            kind=next((kind for test, kind in KINDS.items() if test in held), "other"),
            real_path=real_path or path,
            mode=mode.zfill(4) if mode else "",
            group=group,
            size=int(size) if size.isdigit() else 0,
            readable="r" in held,
            writable="w" in held,
            executable="x" in held,
        )

    def link(self, path: str) -> str | None:
        """See System."""
        code, text = self._do(f"readlink {shlex.quote(path)}")
        return text.rstrip("\n") if code == 0 else None

    def space(self, path: str) -> Space:
        """See System; the number of files is not asked for."""
        code, text = self._do(f"df -Pk {shlex.quote(path)}")
        row = text.splitlines()[-1] if code == 0 and text else ""
        found = re.search(r"\s(\d+)\s+\d+\s+(\d+)\s+\S+%\s", row)
        if not found:
            return Space(outcome="absent")
        return Space(outcome="ok", total_bytes=int(found[1]) * 1024, free_bytes=int(found[2]) * 1024)

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
        settings = [f"{name}={value}" for name, value in (variables or {}).items()]
        # Ending the engine's client does not end what it has started.
        limit = ["timeout", "-s", "KILL", str(max(int(deadline), 1))] if self.which("timeout") else []
        prefix = [*limit, "env", *settings] if settings else limit
        ended = self._live.run([*self._prefix, *prefix, *argv], deadline + 1, key=key, stdin=stdin)
        if ended.exit_code in {126, 127} and not self.which(argv[0]):
            return Completed(outcome="absent", reason=f"{argv[0]} is not in the container")
        killed = ended.signal == "SIGKILL" or ended.exit_code == 137  # noqa: PLR2004 - 128 + SIGKILL
        if limit and killed and ended.seconds >= deadline:
            return Completed(outcome="timeout", stdout=ended.stdout, stderr=ended.stderr, seconds=ended.seconds)
        return ended

    def which(self, program: str) -> str | None:
        """See System."""
        code, text = self._do(f"command -v {shlex.quote(program)}")
        found = text.strip()
        return found if code == 0 and found.startswith("/") else None

    def getenv(self, name: str) -> str | None:
        """See System."""
        return self.variables().get(name)

    def variables(self) -> dict[str, str]:
        """See System; asked once, for they do not change."""
        if self._variables is None:
            _, text = self._do("env")
            found = re.findall(r"^([A-Za-z_]\w*)=(.*(?:\n(?![A-Za-z_]\w*=).*)*)", text, re.MULTILINE)
            self._variables = dict(found)
        return self._variables

    def ask(self, question: str) -> Any:  # noqa: ANN401
        """See System; what a shell cannot tell stays unknown."""
        if question == "uname":
            _, text = self._do("uname -s; uname -r; uname -v; uname -m")
            names = ("system", "release", "version", "machine")
            return dict(zip(names, text.splitlines(), strict=False)) or None
        if question not in QUESTIONS:
            return None
        snippet, kind = QUESTIONS[question]
        code, text = self._do(snippet)
        try:
            return kind(text.strip()) if code == 0 and text.strip() else None
        except ValueError:
            return None

    def close(self) -> None:
        """Let the shell end, and see that the engine's client does."""
        self._live.close()
        end(self._process)
        for thread in self._listening:
            # What it printed last is the reason, where it could not be started.
            thread.join(GRACE_SECONDS)


QUESTIONS: dict[str, tuple[str, Any]] = {
    "libc": ("getconf GNU_LIBC_VERSION", lambda text: text.split(" ", 1)),
    "home": ("echo ~", str),
    "working_directory": ("pwd", str),
    "temporary_folder": ("echo ${TMPDIR:-/tmp}", str),
    "user_id": ("id -u", int),
    "user_groups": ("id -Gn", str.split),
    "affinity_cores": ("nproc", int),
    "logical_cores": ("grep -c ^processor /proc/cpuinfo", int),
    "load_average": ("cut -d' ' -f1 /proc/loadavg", float),
}
"""Question of `envcheck/questions.py` → what the shell runs, and how its output is read."""
