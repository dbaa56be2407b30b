"""Run envcheck as a user runs it, in an environment that the test makes, and see what it leaves behind."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import psutil

ROOT = pathlib.Path(__file__).parent.parent
MARK = "ENVCHECK_TEST_MARK"

COMMAND = "import sys; sys.path.remove(''); from envcheck.commands import main; main()"
"""As the installed command does it: files of the working directory are none of envcheck's own modules."""


class Ran:
    """How the command ended: exit code, what it printed, how long it took."""

    def __init__(self, code: int, stdout: bytes, stderr: bytes, seconds: float) -> None:
        self.code = code
        self.stdout = stdout.decode("utf-8", "replace")
        self.stderr = stderr.decode("utf-8", "replace")
        self.seconds = seconds

    @property
    def report(self) -> dict[str, Any]:
        report: dict[str, Any] = json.loads(self.stdout)
        return report

    @property
    def first(self) -> dict[str, Any]:
        """The finding that the user reads first."""
        finding: dict[str, Any] = self.report["findings"][0]
        return finding


def finding(ran: Ran, check: str) -> dict[str, Any]:
    """Return the one finding of a check, wherever in the report it stands."""
    (found,) = [finding for finding in ran.report["findings"] if finding["check"] == check]
    return dict(found)


def variables_for(env: Mapping[str, str | None] | None, mark: str) -> dict[str, str]:
    """Return the variables of a plain shell: no active environment, nothing of the test's own interpreter."""
    kept = {
        name: value for name, value in os.environ.items() if name not in {"VIRTUAL_ENV", "CONDA_PREFIX", "PYTHONPATH"}
    }
    kept |= {MARK: mark}
    for name, value in (env or {}).items():
        if value is None:
            kept.pop(name, None)
        else:
            kept[name] = value
    return kept


def start_cli(
    args: Sequence[str],
    *,
    env: Mapping[str, str | None] | None = None,
    cwd: pathlib.Path | str = "/",
    mark: str = "",
    **options: Any,
) -> subprocess.Popen[bytes]:
    """Start envcheck and return at once, as a terminal would; the interpreter that runs the tests runs it."""
    if os.name == "posix":
        # A shell without job control lets what it puts into the background ignore interrupts; a terminal does not.
        options.setdefault("preexec_fn", lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
    options = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | options
    return subprocess.Popen(
        [sys.executable, "-c", COMMAND, *args], env=variables_for(env, mark or uuid.uuid4().hex), cwd=cwd, **options
    )


def run_cli(
    args: Sequence[str],
    *,
    env: Mapping[str, str | None] | None = None,
    cwd: pathlib.Path | str = "/",
    timeout: float = 60,
) -> Ran:
    """Run envcheck to its end; fail where it shows a traceback of its own or leaves a process behind.

    Args:
        args: arguments, such as `["doctor", "--json"]`.
        env: variables to set, or with None to unset.
        cwd: the folder that the user stands in.
        timeout: seconds after which the test fails.
    """
    mark = uuid.uuid4().hex
    began = time.monotonic()
    with start_cli(args, env=env, cwd=cwd, mark=mark) as process:
        try:
            stdout, stderr = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
    ran = Ran(process.returncode, stdout, stderr, time.monotonic() - began)
    assert "Traceback" not in ran.stderr, ran.stderr
    assert not left_running(mark, 1.0), "processes are left"
    return ran


def doctor(*args: str, **options: Any) -> Ran:
    """Run `envcheck doctor --json`."""
    return run_cli(["doctor", "--json", *args], **options)


def processes_with(mark: str) -> Iterator[psutil.Process]:
    """Yield the processes that carry a test's mark in their environment."""
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.status() != psutil.STATUS_ZOMBIE and process.environ().get(MARK) == mark:
                yield process


def left_running(mark: str, seconds: float) -> list[str]:
    """Return the command lines of processes that still carry a test's mark after some seconds."""
    deadline = time.monotonic() + seconds
    while True:
        left = []
        for process in processes_with(mark):
            with contextlib.suppress(psutil.Error):
                left.append(" ".join(process.cmdline())[:200])
        if not left or time.monotonic() > deadline:
            return left
        time.sleep(0.05)
