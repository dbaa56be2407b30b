"""Which interpreter is under test, and why."""

from __future__ import annotations

import pathlib
import sys

import pytest

from envcheck.interpreter import Interpreter, ask_inside, choose
from envcheck.system import Live
from envcheck.testing import machine

PYTHONS = {
    "/named/bin/python": "",
    "/active/bin/python": "",
    "/conda/bin/python": "",
    "/project/.venv/bin/python": "",
}
ANSWERS = {"working_directory": "/project", "own_interpreter": "/own/python"}


@pytest.mark.parametrize(
    ("option", "variables", "files", "path", "reason"),
    [
        ("/named/bin/python", {"VIRTUAL_ENV": "/active"}, PYTHONS, "/named/bin/python", "--python"),
        ("/named", {}, PYTHONS, "/named/bin/python", "--python"),
        (None, {"VIRTUAL_ENV": "/active", "CONDA_PREFIX": "/conda"}, PYTHONS, "/active/bin/python", "VIRTUAL_ENV"),
        (None, {"CONDA_PREFIX": "/conda"}, PYTHONS, "/conda/bin/python", "CONDA_PREFIX"),
        (None, {}, PYTHONS, "/project/.venv/bin/python", ".venv"),
        (None, {}, {}, "/own/python", "own interpreter"),
        (None, {"VIRTUAL_ENV": "/gone"}, {}, "/gone/bin/python", "VIRTUAL_ENV"),
        (None, {"VIRTUAL_ENV": "/hook", "PRE_COMMIT": "1"}, PYTHONS, "/project/.venv/bin/python", ".venv"),
        ("python3.12", {}, {}, "/usr/bin/python3.12", "--python"),
        ("sub/python", {}, {}, "/project/sub/python", "--python"),
    ],
)
def test_the_interpreter_is_chosen_in_this_order_and_says_why(
    option: str | None, variables: dict[str, str], files: dict[str, str], path: str, reason: str
) -> None:
    system = machine(files=files, variables=variables, answers=ANSWERS, programs={"python3.12": "/usr/bin/python3.12"})
    chosen = choose(system, option)
    assert chosen.path == path
    assert reason in chosen.reason


def test_windows_environments_have_their_interpreter_elsewhere() -> None:
    system = machine(files={"C:/env/Scripts/python.exe": ""}, variables={"VIRTUAL_ENV": "C:/env"})
    assert choose(system).path == "C:/env/Scripts/python.exe"


def test_a_script_inside_is_not_disturbed_by_files_of_the_working_directory(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "json.py").write_text("raise SystemExit('shadowed')")
    monkeypatch.chdir(tmp_path)
    script = tmp_path / "inside" / "script.py"
    script.parent.mkdir()
    script.write_text(
        "import envcheck_channel as channel, sys, os\n"
        "print('noise')\n"
        "channel.say('argument', value=sys.argv[1:], first=sys.path[0])\n"
        "channel.users_path()\n"
        "channel.say('path', first=sys.path[0])\n"
        "channel.end()\n"
    )
    (script.parent / "envcheck_channel.py").write_text(
        (pathlib.Path(sys.modules["envcheck"].__file__ or "").parent / "inside" / "envcheck_channel.py").read_text()
    )
    monkeypatch.setattr("envcheck.interpreter.INSIDE", str(script.parent))
    answer = ask_inside(Live(), Interpreter(sys.executable, "test"), "script", 20, ["one"])
    assert answer.completed.stderr == "noise\n"
    argument, path = answer.last("argument"), answer.last("path")
    assert argument is not None
    assert path is not None
    assert argument["value"] == ["one"]
    assert argument["first"] == f"{script.parent}/"
    assert path["first"] == ""
