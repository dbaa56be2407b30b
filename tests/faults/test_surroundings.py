"""What a terminal, a shell and a file system can lack."""

from __future__ import annotations

import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest
from running import COMMAND, ROOT, doctor, left_running, run_cli, start_cli, variables_for


def test_a_home_that_cannot_be_written_to_is_no_obstacle(environment, tmp_path: pathlib.Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    home.chmod(0o500)
    ran = doctor("--python", environment.python, env={"HOME": str(home)})
    home.chmod(0o700)
    assert ran.code == 0
    assert list(home.iterdir()) == []


def test_no_home_at_all_is_no_obstacle(environment) -> None:
    assert doctor("--python", environment.python, env={"HOME": None}).code == 0
    assert doctor("--python", environment.python, env={"HOME": "/nowhere"}).code == 0


@pytest.mark.parametrize("path", ["", None])
def test_an_empty_path_is_no_obstacle(environment, path: str | None) -> None:
    ran = doctor("--python", environment.python, env={"PATH": path})
    assert ran.code == 0
    assert ran.report["facts"]["python"]["state"] == "ok"


@pytest.mark.parametrize("variables", [{"TERM": "dumb", "LANG": "C", "LC_ALL": "C"}, {"TERM": None, "LANG": None}])
def test_a_dumb_terminal_gets_plain_text(environment, variables: dict[str, str | None]) -> None:
    ran = run_cli(["doctor", "--python", environment.python], env=variables)
    assert ran.code == 0
    assert "\x1b" not in ran.stdout
    assert ran.stdout.strip()


def test_standard_output_that_takes_only_ascii_gets_only_ascii(environment) -> None:
    environment.install("torch", "raise ImportError('caf\\xe9 \\u2620')\n")
    variables = {"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0", "LC_ALL": "C"}
    for arguments in (["doctor"], ["doctor", "-v"], ["doctor", "--json"]):
        ran = run_cli([*arguments, "--python", environment.python], env=variables)
        assert ran.code == 1
        assert ran.stdout.isascii()


def test_a_reader_that_goes_away_early_ends_it_quietly(environment) -> None:
    with start_cli(["doctor", "-v", "--python", environment.python]) as process:
        process.stdout.close()
        stderr = process.stderr.read()
        code = process.wait(timeout=60)
    assert b"Traceback" not in stderr
    assert code in {0, 141}


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams_are_no_obstacle(environment, closed: str) -> None:
    line = f'exec "{sys.executable}" -c "{COMMAND}" doctor --quick --python "{environment.python}" {closed}'
    variables = variables_for({}, "closed")
    done = subprocess.run(["/bin/sh", "-c", line], capture_output=True, timeout=60, check=False, cwd="/", env=variables)
    assert done.returncode == 0, done.stderr
    assert b"Traceback" not in done.stderr


def test_a_working_directory_that_was_removed_is_no_obstacle(environment, tmp_path: pathlib.Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    code = "import sys; sys.path = [p for p in sys.path if p]; from envcheck.commands import main; main()"
    command = f'exec "{sys.executable}" -c "{code}" doctor --quick --python "{environment.python}"'
    line = f'cd "{gone}" && rmdir "{gone}" && {command}'
    done = subprocess.run(
        ["/bin/sh", "-c", line], capture_output=True, timeout=60, check=False, env=variables_for({}, "gone")
    )
    assert b"Traceback" not in done.stderr
    assert done.returncode in {0, 1}, done.stderr


HANGS = """
import subprocess, sys, time
subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(1000)'])
time.sleep(1000)
"""


@pytest.mark.parametrize("after", [0.0, 0.05, 0.15, 0.4, 1.2])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_at_any_moment_leaves_nothing_running(environment, here, after: float, number: int) -> None:
    environment.install("torch", HANGS)
    environment.install("tensorflow", HANGS)
    mark = f"interrupt-{os.getpid()}-{after}-{int(number)}"
    process = start_cli(["doctor", "--python", environment.python], cwd=here, mark=mark, start_new_session=True)
    time.sleep(after)
    process.send_signal(number)
    _, stderr = process.communicate(timeout=20)
    assert not left_running(mark, 1.0)
    assert b"Traceback" not in stderr or after < 0.2, stderr
    assert process.returncode != 0


SWALLOWS = """
import signal, threading, time
from envcheck import commands
from envcheck.system import Live
signal.signal(signal.SIGINT, commands.interrupted)
live = Live()
threading.Thread(target=live.run, args=(["sleep", "1000"], 1000), daemon=True).start()
while not live._running:
    time.sleep(0.01)
said = False
while True:
    try:
        said = said or print("ready", flush=True) is None
        time.sleep(0.1)
    except KeyboardInterrupt:
        pass
"""


def test_an_interrupt_that_is_dropped_on_its_way_ends_everything_all_the_same() -> None:
    mark = f"swallows-{os.getpid()}"
    variables = variables_for({"PYTHONPATH": str(ROOT)}, mark)
    with subprocess.Popen([sys.executable, "-c", SWALLOWS], stdout=subprocess.PIPE, env=variables) as process:
        assert process.stdout.readline() == b"ready\n"
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=20) == 130
    assert not left_running(mark, 1.0)
