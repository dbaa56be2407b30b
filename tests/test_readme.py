"""The README says what is so: its commands exist, and its pages are those of recorded machines."""

from __future__ import annotations

import pathlib
import re

import pytest

from envcheck.commands import COMMANDS
from envcheck.intent import NAMES

ROOT = pathlib.Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = re.findall(r"<!-- machine: (\S+) -->\n```\n(.*?)```", README, re.DOTALL)


def test_every_command_is_in_the_table() -> None:
    for name in COMMANDS:
        assert f"`envcheck {name}" in README


def test_every_requirement_is_named() -> None:
    for name in NAMES:
        assert f"`{name}`" in README


@pytest.mark.parametrize(("name", "page"), PAGES)
def test_a_page_is_what_a_recorded_machine_gets_to_read(name: str, page: str) -> None:
    assert page == (ROOT / "tests" / "machines" / f"{name}.txt").read_text(encoding="utf-8")


def test_continuous_integration_runs_the_readme_s_test_command() -> None:
    assert "    make test " in README
    assert "\nmake test\n" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")


def test_linked_pages_are_there() -> None:
    for target in re.findall(r"\]\(([\w./-]+)\)", README):
        assert (ROOT / target).is_file(), target
