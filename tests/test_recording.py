"""A machine is recorded, written, read and played back."""

from __future__ import annotations

import json

import pytest

from envcheck import recording
from envcheck.intent import UsageError
from envcheck.interpreter import Interpreter
from envcheck.redact import Redactor
from envcheck.system import Recorder
from envcheck.testing import machine

ALICE = Redactor(user="alice", hosts=["gpu-box7"], homes=["/home/alice"])


@pytest.fixture
def recorded(tmp_path):
    seen = machine(
        files={"/home/alice/.condarc": "channels: [https://alice:hunter2hunter2@conda.example.com]"},
        answers={"home": "/home/alice"},
        variables={"HF_TOKEN": "hunter2hunter2", "VIRTUAL_ENV": "/home/alice/.venv", "UNRELATED": "gpu-box7"},
    )
    recorder = Recorder(seen, ALICE)
    recorder.read("/home/alice/.condarc")
    recorder.ask("home")
    recorder.getenv("HF_TOKEN")
    recorder.variables()
    path = tmp_path / "machine.json"
    recording.save(str(path), recorder, Interpreter("/home/alice/.venv/bin/python", "VIRTUAL_ENV is set"), "a note")
    return path


def test_a_recording_holds_no_name_home_or_secret(recorded):
    text = recorded.read_text()
    for trace in ("alice", "gpu-box7", "hunter2hunter2"):
        assert trace not in text


def test_a_recording_is_played_back_with_its_own_home(recorded):
    loaded = recording.load(str(recorded))
    assert loaded.note == "a note"
    assert loaded.interpreter.path == "/home/user/.venv/bin/python"
    home = loaded.system.ask("home")
    assert loaded.system.read(f"{home}/.condarc").outcome == "ok"
    assert loaded.system.variables() == {"VIRTUAL_ENV": "/home/user/.venv"}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "no recording of envcheck"),
        ("[1, 2]", "no recording of envcheck"),
        ("{}", "no recording of envcheck"),
        (json.dumps({"format": 99, "observations": {}}), "update it"),
        (json.dumps({"format": 1, "observations": []}), "no recording of envcheck"),
    ],
)
def test_a_damaged_or_later_file_is_refused_in_one_line(tmp_path, content, said):
    path = tmp_path / "machine.json"
    path.write_text(content)
    with pytest.raises(UsageError, match=said) as refused:
        recording.load(str(path))
    assert str(path) in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_file_of_arbitrary_bytes_is_refused_in_one_line(tmp_path):
    path = tmp_path / "machine.json"
    path.write_bytes(b'{"format": "\xff\xfe')
    with pytest.raises(UsageError):
        recording.load(str(path))


def test_a_place_that_cannot_be_written_is_a_usage_error(tmp_path):
    with pytest.raises(UsageError, match="cannot be written"):
        recording.save(str(tmp_path / "missing" / "m.json"), Recorder(machine(), ALICE), Interpreter("python", "given"))


def test_a_file_that_is_not_there_is_a_usage_error(tmp_path):
    with pytest.raises(UsageError, match="No such file"):
        recording.load(str(tmp_path / "missing.json"))
