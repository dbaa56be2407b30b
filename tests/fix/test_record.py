"""The undo record and the copy: written before anything is changed, found again, never in the way."""

from __future__ import annotations

import os
import pathlib

import msgspec
import pytest

from envcheck.facts import Python
from envcheck.fix import environment, record
from envcheck.fix.carry_out import as_before
from envcheck.fix.environment import NotPossibleError


def python_in(folder: pathlib.Path) -> Python:
    packages = folder / "lib" / "site-packages"
    packages.mkdir(parents=True)
    (folder / "bin").mkdir()
    (packages / "numpy.py").write_text("version 1")
    return Python(path=str(folder / "bin" / "python"), prefix=str(folder), site_packages=str(packages))


def test_the_record_is_readable_by_its_user_alone_and_found_again(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    python = python_in(tmp_path / "e")
    path, written = record.new(python, ["numpy==1.0"])
    assert path.stat().st_mode & 0o077 == 0
    assert record.latest(python) is None
    changed = msgspec.structs.replace(written, after=["numpy==2.0"])
    record.write(path, changed)
    assert record.latest(python) == (path, changed)
    assert record.latest(python_in(tmp_path / "other")) is None
    record.write(path, msgspec.structs.replace(changed, undone=record.now()))
    assert record.latest(python) is None


def test_an_environment_in_a_folder_whose_name_is_no_utf_8_has_a_record_too(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    python = python_in(tmp_path / "caf\udce9")
    path, written = record.new(python, [])
    record.write(path, msgspec.structs.replace(written, after=["numpy==2.0"]))
    assert record.latest(python)[1].prefix == str(tmp_path / "caf\udce9")


def test_where_the_state_folder_cannot_be_written_the_record_lies_in_the_environment(tmp_path, monkeypatch) -> None:
    (tmp_path / "state").write_text("a file where a folder should be")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    python = python_in(tmp_path / "e")
    path, _ = record.new(python, [])
    assert path.is_relative_to(tmp_path / "e")


def test_where_no_record_can_be_written_nothing_may_be_changed(tmp_path, monkeypatch) -> None:
    (tmp_path / "state").write_text("")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    (tmp_path / "e").write_text("")
    with pytest.raises(NotPossibleError, match="no place for the undo record"):
        record.new(Python(prefix=str(tmp_path / "e")), [])


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b"\xff", b'{"format": 99, "python": "p"}'])
def test_a_damaged_record_is_passed_over(tmp_path, monkeypatch, damage) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    python = python_in(tmp_path / "e")
    path, _ = record.new(python, [])
    path.write_bytes(damage)
    assert record.latest(python) is None


def test_a_run_whose_process_is_there_is_under_way(tmp_path) -> None:
    ours = record.Record(
        python="p", prefix=str(tmp_path), started="", before=[], after=[], copy="c", process=os.getpid()
    )
    parent = msgspec.structs.replace(ours, process=os.getppid())
    gone = msgspec.structs.replace(ours, process=0x7FFFFFFF)
    assert [record.under_way(one) for one in (ours, parent, gone)] == [False, True, False]


def test_the_copy_brings_back_what_was_changed_added_and_removed(tmp_path) -> None:
    python = python_in(tmp_path / "e")
    packages = pathlib.Path(python.site_packages)
    place = environment.copy(python)
    (packages / "numpy.py").unlink()
    (packages / "numpy.py").write_text("version 2")
    (packages / "added.py").write_text("")
    environment.bring_back(python, place)
    assert {path.name: path.read_text() for path in packages.iterdir()} == {"numpy.py": "version 1"}
    assert sorted(path.name for path in (tmp_path / "e").iterdir()) == ["bin", "lib"]


def test_packages_outside_of_the_environment_are_not_copied_into_it(tmp_path) -> None:
    python = python_in(tmp_path / "e")
    assert environment.copy(msgspec.structs.replace(python, site_packages=str(tmp_path))) is None


def test_undoing_concerns_what_the_run_changed_and_nothing_that_came_later() -> None:
    written = record.Record(
        python="p", prefix="e", started="", before=["alpha==1", "gone==1"], after=["alpha==2", "added==1"]
    )
    present = ["added==1", "alpha==3", "later==1"]
    assert as_before(present, written) == ["alpha==1", "gone==1", "later==1"]
