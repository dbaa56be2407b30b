"""Answers that are given again for a while: `doctor --max-age`, for health checks."""

from __future__ import annotations

import json
import os
import pathlib
import time
from typing import Any

import pytest
from running import MARK, run_cli

from envcheck import answers
from envcheck.doctor import diagnose
from envcheck.facts import Facts
from envcheck.intent import Intent
from envcheck.report import Report, Requirement
from envcheck.system import Recording

KEY = "a" * 64

HEALTHY = diagnose(Facts(), [], [], Intent())
BLIND = diagnose(Facts(), [], [], Intent(requirements=[Requirement(text="gpus>=1")]))


@pytest.fixture(autouse=True)
def folder(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    """A cache of the test's own."""
    monkeypatch.setattr(answers, "folder", lambda: str(tmp_path / "answers"))
    return tmp_path / "answers"


def kept(folder: pathlib.Path) -> pathlib.Path:
    answers.keep(KEY, HEALTHY)
    (path,) = folder.iterdir()
    return path


def again(max_age: float = 300) -> Report | None:
    found = answers.recall(KEY, max_age)
    return found[0] if found else None


def key(observations: dict[str, Any], requirements: list[str], **options: Any) -> str:
    return answers.key_of(Recording(observations), options, requirements)


def test_a_health_check_is_answered_from_what_was_examined_a_moment_ago(tmp_path: pathlib.Path) -> None:
    ask = ["doctor", "--quick", "--only", "*shared-memory*", "--json", "--max-age", "300"]
    env = {"XDG_CACHE_HOME": str(tmp_path), "VIRTUAL_ENV": None, MARK: None, "ENVCHECK_REQUIRE": None}
    first, second = (run_cli(ask, env=env, cwd=tmp_path) for _ in range(2))
    assert "age_seconds" not in first.report["options"]
    assert second.report["options"]["age_seconds"] < 60
    assert "(examined " in second.report["summary"]
    assert first.code == second.code == 0


def test_an_answer_is_for_its_user_alone(folder: pathlib.Path) -> None:
    path = kept(folder)
    assert path.stat().st_mode & 0o777 == 0o600
    assert folder.stat().st_mode & 0o777 == 0o700
    assert again() == HEALTHY


@pytest.mark.parametrize("seconds", [-301, 60])
def test_an_answer_that_is_too_old_or_from_the_future_is_none(folder: pathlib.Path, seconds: float) -> None:
    path = kept(folder)
    path.write_text(json.dumps({**json.loads(path.read_text()), "time": time.time() + seconds}))
    assert again() is None


def test_an_answer_no_older_than_nothing_is_never_given(folder: pathlib.Path) -> None:
    kept(folder)
    time.sleep(0.01)
    assert again(max_age=0) is None


@pytest.mark.parametrize("harm", ["torn", "empty", "of another question", "pipe", "link", "writable by others"])
def test_a_file_that_is_not_what_it_should_be_is_no_answer(folder: pathlib.Path, harm: str) -> None:
    path = kept(folder)
    content = path.read_bytes()
    if harm == "torn":
        path.write_bytes(content[: len(content) // 2])
    elif harm == "empty":
        path.write_bytes(b"")
    elif harm == "of another question":
        path.write_bytes(json.dumps({**json.loads(content), "key": "0" * 64}).encode())
    elif harm == "pipe":
        path.unlink()
        os.mkfifo(path)
    elif harm == "link":
        elsewhere = path.rename(folder.parent / "elsewhere.json")
        path.symlink_to(elsewhere)
    else:
        path.chmod(0o666)
    assert again() is None
    kept(folder)
    assert again() == HEALTHY


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can give a file away")
def test_somebody_else_s_file_is_no_answer(folder: pathlib.Path) -> None:
    os.chown(kept(folder), 65534, 65534)
    assert again() is None


def test_a_fault_is_not_told_for_longer_than_it_lasts(folder: pathlib.Path) -> None:
    kept(folder)
    answers.keep(KEY, BLIND)
    assert list(folder.iterdir()) == []


def test_where_nothing_can_be_kept_nothing_breaks(folder: pathlib.Path) -> None:
    folder.write_text("a file where the folder should be")
    answers.keep(KEY, HEALTHY)
    assert again() is None


def test_answers_of_changing_surroundings_do_not_fill_the_disk(folder: pathlib.Path) -> None:
    for number in range(answers.KEPT + 5):
        answers.keep(f"{number:064}", HEALTHY)
    assert len(list(folder.iterdir())) == answers.KEPT


def test_other_requirements_options_variables_and_starts_are_other_questions() -> None:
    stat = "1 (a name) S 0 1 1 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 {} 1 2"
    here = {"variables": {"PATH": "/bin", "SHLVL": "1"}, "read /proc/1/stat": {"outcome": "ok", "text": stat.format(7)}}
    same = {**here, "variables": {"PATH": "/bin", "SHLVL": "2"}}
    restarted = {**here, "read /proc/1/stat": {"outcome": "ok", "text": stat.format(8)}}
    masked = {**here, "variables": {"PATH": "/bin", "CUDA_VISIBLE_DEVICES": ""}}
    first = key(here, ["gpus>=1"], quick=True)
    assert key(same, ["gpus>=1"], quick=True) == first
    others = [
        key(here, ["gpus>=2"], quick=True),
        key(here, ["gpus>=1"], quick=False),
        key(restarted, ["gpus>=1"], quick=True),
        key(masked, ["gpus>=1"], quick=True),
    ]
    assert len({first, *others}) == 5


def test_max_age_is_refused_where_it_has_no_meaning() -> None:
    ran = run_cli(["doctor", "--max-age", "60", "--from", "-"])
    assert ran.code == 2
    assert "--max-age is for this machine" in ran.stderr
