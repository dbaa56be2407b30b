"""Every recorded machine gets the report that was reviewed."""

from __future__ import annotations

import importlib.util
import json
import pathlib

import pytest

from envcheck.redact import Redactor

HERE = pathlib.Path(__file__).parent
RECORDINGS = sorted(HERE.glob("*.json"))


def program(name):
    description = importlib.util.spec_from_file_location(f"machines_{name}", HERE / f"{name}.py")
    assert description is not None
    assert description.loader is not None
    module = importlib.util.module_from_spec(description)
    description.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def refresh():
    return program("refresh")


@pytest.mark.parametrize("recording", RECORDINGS, ids=lambda path: path.stem)
def test_a_recorded_machine_gets_the_report_that_was_reviewed(recording, refresh):
    assert refresh.page_of(recording) == recording.with_suffix(".txt").read_text(encoding="utf-8"), (
        "the report of this machine changed: review it with `make machines` and git diff"
    )


def test_there_are_twenty_machines_and_each_has_its_page():
    assert len(RECORDINGS) >= 20
    assert [path.with_suffix(".txt") for path in RECORDINGS] == sorted(HERE.glob("*.txt"))


@pytest.mark.parametrize("recording", RECORDINGS, ids=lambda path: path.stem)
def test_a_recorded_machine_says_where_it_comes_from_and_names_nobody(recording):
    text = recording.read_text(encoding="utf-8")
    described = json.loads(text)
    assert described["note"].startswith(("Recorded", "Composed"))
    assert Redactor()(described) == described
    assert len(text) < 60_000


def test_composed_machines_are_what_the_composer_makes():
    compose = program("compose")
    for name, described in compose.machines().items():
        assert json.loads((HERE / f"{name}.json").read_text(encoding="utf-8")) == described, f"{name}: make machines"
