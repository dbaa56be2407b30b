"""The doors into a container, opened on this machine: they answer as the machine's own System does."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from pythons import pythons

from envcheck.container.door import ClosedError, Door
from envcheck.container.shell import Shell
from envcheck.interpreter import Interpreter, ask_inside
from envcheck.system import Live, System

pytestmark = pytest.mark.skipif(os.name != "posix", reason="containers run Linux")


@pytest.fixture(scope="module")
def door() -> Iterator[Door]:
    opened = Door([sys.executable, "-u"])
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def shell() -> Iterator[Shell]:
    opened = Shell(["/bin/sh"], [])
    yield opened
    opened.close()


@pytest.fixture(params=["door", "shell"])
def inside(request: pytest.FixtureRequest) -> Any:
    return request.getfixturevalue(request.param)


def test_files_folders_links_and_rights_are_told_alike(inside: System, tmp_path: pathlib.Path) -> None:
    (tmp_path / "it's a file").write_text("one\ntwo")
    (tmp_path / "empty").write_text("")
    (tmp_path / "ends").write_text("line\n\n")
    (tmp_path / "link").symlink_to("it's a file")
    (tmp_path / "broken").symlink_to("nothing")
    live = Live()
    names = ["it's a file", "empty", "ends", "link", "broken", "absent", "."]
    for path in [str(tmp_path / name) for name in names] + ["/dev/null", "/proc/self/mountinfo/no"]:
        assert inside.read(path).outcome == live.read(path).outcome, path
        assert inside.read(path).text == live.read(path).text, path
        assert inside.status(path) == live.status(path), path
        assert inside.link(path) == live.link(path), path
        assert inside.entries(path) == live.entries(path), path


def test_room_programs_and_variables_are_told_alike(inside: System) -> None:
    live = Live()
    assert inside.space("/").total_bytes == live.space("/").total_bytes
    assert inside.space("/no/such/folder").outcome == "absent"
    assert pathlib.Path(inside.which("sh") or "").name == "sh"
    assert inside.which("no-such-program") is None
    assert inside.getenv("PATH") == os.environ["PATH"]
    assert inside.getenv("NO_SUCH_VARIABLE") is None
    assert inside.variables()["HOME"] == os.environ["HOME"]


@pytest.mark.parametrize("question", ["uname", "user_id", "working_directory", "logical_cores", "home"])
def test_questions_are_answered_alike(inside: System, question: str) -> None:
    assert inside.ask(question) == Live().ask(question)


def test_what_a_door_cannot_tell_stays_unknown(inside: System) -> None:
    assert inside.ask("no_such_question") is None


def test_programs_run_to_their_end_or_to_their_deadline(inside: System) -> None:
    ended = inside.run(["sh", "-c", "echo out; echo err >&2; exit 3"], 10)
    assert (ended.outcome, ended.exit_code, ended.stdout, ended.stderr) == ("ok", 3, "out\n", "err\n")
    assert inside.run(["sleep", "30"], 1).outcome == "timeout"
    assert inside.run(["no-such-program"], 5).outcome == "absent"
    assert inside.run(["sh", "-c", "echo $SETTING"], 5, variables={"SETTING": "given"}).stdout == "given\n"


def test_a_door_gives_the_program_its_input_and_kills_its_descendants(door: Door) -> None:
    assert door.run(["cat"], 5, stdin="text").stdout == "text"
    mark = "31.4159"
    door.run(["sh", "-c", f"sleep {mark} & sleep {mark}"], 0.3)
    running = subprocess.run(["/bin/ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    assert f"sleep {mark}" not in running


def test_a_door_tells_which_signal_ended_a_program_and_keeps_both_ends_of_long_output(door: Door) -> None:
    assert door.run(["sh", "-c", "kill -SEGV $$"], 5).signal == "SIGSEGV"
    text = door.run(["sh", "-c", "echo first; yes | head -c 2000000; echo last"], 10).stdout
    assert text.startswith("first\n")
    assert text.endswith("last\n")
    assert len(text) < 600_000


def test_scripts_of_the_package_run_inside_and_are_gone_afterwards(tmp_path: pathlib.Path) -> None:
    opened = Door(["/usr/bin/env", f"TMPDIR={tmp_path}", sys.executable, "-u"])
    answer = ask_inside(opened, Interpreter(sys.executable, "the test's"), "interpreter_probe", 20)
    folders = list(tmp_path.iterdir())
    opened.close()
    assert answer.said, answer.completed
    assert len(folders) == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("version", ["3.6", "3.7", "3.13"])
def test_an_old_or_new_python_in_the_image_can_hold_the_door(version: str) -> None:
    python = pythons().get(version)
    if python is None:
        pytest.skip(f"no Python {version} is here")
    opened = Door([python, "-u"])
    told = opened.ask("uname"), opened.read("/etc/hostname").outcome
    opened.close()
    assert told == (Live().ask("uname"), "ok")


@pytest.mark.parametrize(
    ("argv", "words"), [(["/bin/sh", "-c", "echo no python here >&2; exit 127"], "no python here"), (["/bin/true"], "")]
)
def test_a_door_that_does_not_open_says_what_was_printed(argv: list[str], words: str) -> None:
    with pytest.raises(ClosedError) as caught:
        Door(argv)
    assert str(caught.value) == words


def test_a_shell_that_hangs_is_given_up_and_everything_after_it_is_unknown() -> None:
    opened = Shell(["/bin/sh"], [])
    assert opened._do("sleep 30", 0.3) == (None, "")
    assert opened.read("/etc/hostname").outcome == "garbled"
    opened.close()
