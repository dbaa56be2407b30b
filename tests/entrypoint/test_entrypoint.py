"""The gate in front of a container's command, as process and as page; a real container is in tests/containers."""

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
from collections.abc import Iterator
from typing import Any

import pytest
from running import Ran, left_running, run_cli, start_cli

pytestmark = pytest.mark.skipif(os.name != "posix", reason="containers run Linux")

HARD = "memory>=900TiB"
"""What no machine has."""


def gate(tmp_path: pathlib.Path, *args: str, **variables: str | None) -> Ran:
    """Run `envcheck entrypoint` with a readiness file of the test's own."""
    env = {"ENVCHECK_READY_FILE": str(tmp_path / "ready.json"), "ENVCHECK_REQUIRE": None, **variables}
    return run_cli(["entrypoint", *args], env=env, cwd=tmp_path)


def ready(tmp_path: pathlib.Path) -> dict[str, Any] | None:
    path = tmp_path / "ready.json"
    return json.loads(path.read_text()) if path.exists() else None


def test_a_command_whose_requirements_hold_runs_and_gives_its_own_output_and_exit_status(
    tmp_path: pathlib.Path,
) -> None:
    ran = gate(tmp_path, "--require", "memory>=1MiB", "--", "sh", "-c", "echo out; echo err >&2; exit 7")
    assert (ran.code, ran.stdout) == (7, "out\n")
    assert ran.stderr.endswith("err\n")
    said = ready(tmp_path)
    assert said is not None
    assert said["mode"] == "strict"
    assert [item["state"] for item in said["requirements"]] == ["holds"]


def test_a_requirement_that_fails_keeps_the_command_from_starting_and_says_cause_and_cure(
    tmp_path: pathlib.Path,
) -> None:
    ran = gate(tmp_path, "--", "echo", "started", ENVCHECK_REQUIRE=HARD)
    assert (ran.code, ran.stdout) == (78, "")
    assert f"Required is {HARD}" in ran.stderr
    assert "cure " in ran.stderr
    assert "ENVCHECK_REQUIRE" in ran.stderr
    assert ready(tmp_path) is None


def test_what_the_working_folder_s_pyproject_declares_is_judged_too(tmp_path: pathlib.Path) -> None:
    (tmp_path / "pyproject.toml").write_text(f'[tool.envcheck]\nrequire = ["{HARD}"]\n')
    assert gate(tmp_path, "--", "true").code == 78


def test_a_requirement_that_cannot_be_examined_is_no_reason_to_start(tmp_path: pathlib.Path) -> None:
    silent = tmp_path / "silent.py"
    silent.write_text("#!/bin/sh\nexec sleep 60\n")
    silent.chmod(0o755)
    folder = tmp_path / "environment" / "bin"
    folder.mkdir(parents=True)
    (folder / "python").symlink_to(silent)
    ran = gate(tmp_path, "--timeout", "0.5", "--", "true", ENVCHECK_REQUIRE="python>=3", VIRTUAL_ENV=str(folder.parent))
    assert ran.code == 78
    assert "UNKNOWN" in ran.stderr


def test_in_warn_mode_the_fault_is_said_and_the_command_runs(tmp_path: pathlib.Path) -> None:
    ran = gate(tmp_path, "--", "echo", "started", ENVCHECK_REQUIRE=HARD, ENVCHECK_MODE="warn")
    assert (ran.code, ran.stdout) == (0, "started\n")
    assert f"Required is {HARD}" in ran.stderr
    said = ready(tmp_path)
    assert said is not None
    assert (said["mode"], said["verdict"]) == ("warn", "error")


def test_in_warn_mode_not_even_a_requirement_that_makes_no_sense_stops_the_command(tmp_path: pathlib.Path) -> None:
    ran = gate(tmp_path, "--mode", "warn", "--", "echo", "started", ENVCHECK_REQUIRE="gpuz>=1")
    assert (ran.code, ran.stdout) == (0, "started\n")
    assert "ENVCHECK_REQUIRE: 'gpuz>=1' is no requirement" in ran.stderr


def test_in_strict_mode_a_requirement_that_makes_no_sense_stops_the_command(tmp_path: pathlib.Path) -> None:
    ran = gate(tmp_path, "--", "echo", "started", ENVCHECK_REQUIRE="gpuz>=1")
    assert (ran.code, ran.stdout) == (78, "")
    assert "ENVCHECK_REQUIRE: 'gpuz>=1' is no requirement" in ran.stderr


def test_switched_off_it_examines_nothing_and_still_says_that_it_is_ready(tmp_path: pathlib.Path) -> None:
    ran = gate(tmp_path, "--", "true", ENVCHECK_REQUIRE=HARD, ENVCHECK_MODE="off")
    assert (ran.code, ran.stderr) == (0, "")
    said = ready(tmp_path)
    assert said is not None
    assert said["verdict"] == "not-examined"


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"ENVCHECK_MODE": "loose"}, "ENVCHECK_MODE: 'loose' is no mode; modes are strict, warn, off"),
        ({}, "no command was given"),
    ],
)
def test_wrong_usage_is_one_line(tmp_path: pathlib.Path, variables: dict[str, str], words: str) -> None:
    command = ["--", "true"] if variables else []
    ran = gate(tmp_path, *command, **variables)
    assert ran.code == 2
    assert words in ran.stderr
    assert ran.stderr.count("\n") == 1


def test_options_of_the_command_are_the_command_s(tmp_path: pathlib.Path) -> None:
    assert gate(tmp_path, "--mode", "off", "echo", "--mode", "strict", "--help").stdout == "--mode strict --help\n"


def test_the_command_is_the_same_process_and_nothing_of_the_gate_is_left(tmp_path: pathlib.Path) -> None:
    mark = uuid.uuid4().hex
    command = "import os, time; print(os.getpid(), flush=True); time.sleep(30)"
    with start_cli(
        ["entrypoint", "--", sys.executable, "-S", "-c", command],
        mark=mark,
        env={"ENVCHECK_READY_FILE": str(tmp_path / "ready.json"), "ENVCHECK_REQUIRE": "python>=3"},
    ) as process:
        assert process.stdout is not None
        assert int(process.stdout.readline()) == process.pid
        assert len(left_running(mark, 0)) == 1
        children = pathlib.Path(f"/proc/{process.pid}/task/{process.pid}/children")
        assert not children.exists() or children.read_text() == ""
        process.send_signal(signal.SIGTERM)
        assert process.wait(5) == -signal.SIGTERM


def test_the_command_gets_the_usual_signals_and_no_open_files_of_the_gate(tmp_path: pathlib.Path) -> None:
    """Python ignores SIGPIPE, and what is ignored is inherited: `yes | head` would never end."""
    show = "grep -E '^Sig(Ign|Blk)' /proc/self/status; ls /proc/self/fd | wc -l"
    bare = subprocess.run(["/bin/sh", "-c", show], capture_output=True, text=True, check=True, stdin=subprocess.DEVNULL)
    gated = gate(tmp_path, "--require", "python>=3", "--", "sh", "-c", show)
    ignored = int(gated.stdout.splitlines()[1].split()[1], 16)
    assert not ignored & (1 << (signal.SIGPIPE - 1))
    assert not ignored & (1 << (signal.SIGXFSZ - 1))
    assert gated.stdout.splitlines()[0] == bare.stdout.splitlines()[0]
    assert gated.stdout.splitlines()[-1] == bare.stdout.splitlines()[-1]


def test_a_command_that_is_not_there_ends_as_in_a_shell(tmp_path: pathlib.Path) -> None:
    ran = gate(tmp_path, "--", "no-such-command")
    assert ran.code == 127
    assert "no-such-command: there is no such command on PATH" in ran.stderr
    assert ready(tmp_path) is None


@pytest.mark.parametrize("options", [[], ["--init"]])
def test_a_script_with_windows_line_ends_is_named_with_its_cure(tmp_path: pathlib.Path, options: list[str]) -> None:
    script = tmp_path / "start.sh"
    script.write_bytes(b"#!/bin/sh\r\necho hello\r\n")
    script.chmod(0o755)
    ran = gate(tmp_path, *options, "--", str(script))
    assert ran.code == 126
    assert "Windows line ends" in ran.stderr
    assert r"sed -i 's/\r$//'" in ran.stderr


def test_a_script_that_may_not_be_run_is_named_with_its_cure(tmp_path: pathlib.Path) -> None:
    script = tmp_path / "start.sh"
    script.write_text("#!/bin/sh\n")
    ran = gate(tmp_path, "--", str(script))
    assert ran.code == 126
    assert f"RUN chmod +x {script}" in ran.stderr


@pytest.mark.parametrize("options", [[], ["--init"]])
def test_a_program_for_another_processor_is_named_and_nothing_is_ready(
    tmp_path: pathlib.Path, options: list[str]
) -> None:
    program = tmp_path / "program"
    program.write_bytes(b"\x7fELF\x02\x01\x01" + b"\0" * 9 + b"\x02\0\xb7\0" + b"\0" * 44)
    program.chmod(0o755)
    ran = gate(tmp_path, *options, "--", str(program))
    assert ran.code == 126
    assert "built for another processor" in ran.stderr
    assert ready(tmp_path) is None


def test_what_an_earlier_start_left_says_nothing_of_this_one(tmp_path: pathlib.Path) -> None:
    (tmp_path / "ready.json").write_text("{}")
    assert gate(tmp_path, "--require", HARD, "--", "true").code == 78
    assert ready(tmp_path) is None


def test_a_readiness_file_that_cannot_be_written_is_said_and_stops_nothing(tmp_path: pathlib.Path) -> None:
    (tmp_path / "file").write_text("")
    ran = gate(tmp_path, "--", "echo", "started", ENVCHECK_READY_FILE=str(tmp_path / "file" / "ready.json"))
    assert (ran.code, ran.stdout) == (0, "started\n")
    assert "the readiness file could not be written" in ran.stderr


def test_escapes_in_a_requirement_never_reach_the_terminal(tmp_path: pathlib.Path) -> None:
    ran = gate(tmp_path, "--", "true", ENVCHECK_REQUIRE="\x1b[31mgpus")
    assert "\x1b" not in ran.stderr


INIT = [sys.executable, "-I", "-S", str(pathlib.Path(__file__).parents[2] / "envcheck/inside/minimal_init.py")]


@contextlib.contextmanager
def under_init(*command: str) -> Iterator[subprocess.Popen[str]]:
    """Start a command under the minimal init; what a failing test leaves of it is killed, not waited for."""
    line = [*INIT, "", "", command[0], *command]
    piped: dict[str, Any] = {
        "stdout": subprocess.PIPE,
        "stderr": subprocess.PIPE,
        "text": True,
        "start_new_session": True,
    }
    with subprocess.Popen(line, **piped) as process:
        try:
            yield process
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def test_with_init_the_command_s_exit_status_is_the_gate_s(tmp_path: pathlib.Path) -> None:
    assert gate(tmp_path, "--mode", "off", "--init", "--", "sh", "-c", "echo $PPID; exit 41").code == 41
    assert gate(tmp_path, "--mode", "off", "--init", "--", "sh", "-c", "kill -KILL $$").code == 137


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP", "SIGINT", "SIGUSR1", "SIGWINCH", "SIGQUIT"])
def test_the_init_forwards_signals(name: str) -> None:
    number = getattr(signal, name)
    script = f"trap 'echo got; exit 9' {name.removeprefix('SIG')}; echo up; while :; do sleep 0.05; done"
    with under_init("/bin/sh", "-c", script) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        process.send_signal(number)
        assert process.stdout.readline() == "got\n"
        assert process.wait(5) == 9


def test_the_init_reaps_orphans_and_ends_with_the_command() -> None:
    """Each inner shell ends at once and leaves a child; the orphan falls to the init when it ends."""
    script = "for i in 1 2 3 4 5; do (sleep 0.05 &); done; sleep 0.4; cat /proc/$PPID/task/$PPID/children; exit 3"
    with under_init("/bin/sh", "-c", script) as process:
        stdout, _ = process.communicate(timeout=10)
    assert process.returncode == 3
    assert len(stdout.split()) == 1


def test_the_command_under_the_init_starts_with_no_signal_blocked_or_ignored() -> None:
    with under_init("/bin/sh", "-c", "grep -E '^Sig(Blk)' /proc/self/status") as process:
        stdout, _ = process.communicate(timeout=10)
    assert int(stdout.split()[1], 16) == 0


@pytest.mark.parametrize(("name", "status"), [("SIGTERM", 143), ("SIGINT", 130), ("SIGHUP", 129)])
def test_a_signal_while_it_examines_ends_the_gate_at_once_with_the_signal_s_status(
    tmp_path: pathlib.Path, name: str, status: int
) -> None:
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "python").write_text("#!/bin/sh\nexec sleep 60\n")
    (folder / "python").chmod(0o755)
    mark = uuid.uuid4().hex
    with start_cli(
        ["entrypoint", "--", "echo", "started"],
        mark=mark,
        env={
            "ENVCHECK_READY_FILE": str(tmp_path / "ready.json"),
            "ENVCHECK_REQUIRE": "python>=3",
            "VIRTUAL_ENV": str(tmp_path),
        },
    ) as process:
        time.sleep(1.0)
        began = time.monotonic()
        process.send_signal(getattr(signal, name))
        stdout, _ = process.communicate(timeout=10)
    assert time.monotonic() - began < 3
    assert (process.returncode, stdout) == (status, b"")
    assert ready(tmp_path) is None
    assert left_running(mark, 1.0) == []
