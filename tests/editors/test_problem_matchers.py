"""The problem matchers of VS Code and GitHub, on what the command really prints."""

from __future__ import annotations

import json
import pathlib
import re
import shutil
import subprocess
from typing import Any

import pytest
from linting import report_on

from envcheck.imagelint import text

NODE = shutil.which("node") or ""
ROOT = pathlib.Path(__file__).parent.parent.parent
TASKS = json.loads((ROOT / "editors" / "vscode" / "tasks.json").read_text(encoding="utf-8"))["tasks"]
VSCODE = [task["problemMatcher"]["pattern"] for task in TASKS if task["problemMatcher"]]
GITHUB = json.loads((ROOT / "editors" / "github" / "problem-matcher.json").read_text(encoding="utf-8"))[
    "problemMatcher"
]


def matched(pattern: dict[str, Any], line: str) -> dict[str, str] | None:
    """Return the fields that a pattern finds in a line; both programs use regular expressions of JavaScript."""
    match = re.search(pattern["regexp"], line)
    return match and {name: match[number] for name, number in pattern.items() if name != "regexp"}


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    files = {
        "docker/Dockerfile": "FROM python:3.12-alpine\nRUN pip install torch\n",
        "compose.yaml": "services:\n  a:\n    image: nvidia/cuda:12.4.1-base-ubuntu22.04\n"
        "  b:\n    image: nvidia/cuda:12.4.1-base-ubuntu22.04\n    runtime: nvidia\n",
        "docker-compose.bad.yml": "services: [\n",
    }
    return text.page(report_on(tmp_path_factory.mktemp("lint"), files), colour=False).splitlines()


@pytest.mark.parametrize("pattern", VSCODE, ids=["workspace", "file"])
def test_vs_code_finds_every_fault_and_nothing_else(pattern: dict[str, Any], page: list[str]) -> None:
    found = [fields for line in page if (fields := matched(pattern, line))]
    assert [(f["file"], f["line"], f["severity"], f["code"]) for f in found] == [
        ("compose.yaml", "6", "note", "gpu-is-asked-for-in-the-present-way"),
        ("docker/Dockerfile", "2", "error", "base-has-glibc"),
    ]
    assert found[1]["message"].startswith("torch has no wheels for musl")


def test_github_annotates_every_fault(page: list[str]) -> None:
    found = [
        (matcher["owner"], fields["file"], fields["line"])
        for line in page
        for matcher in GITHUB
        if (fields := matched(matcher["pattern"][0], line))
    ]
    assert found == [("envcheck-notes", "compose.yaml", "6"), ("envcheck", "docker/Dockerfile", "2")]


@pytest.mark.skipif(not NODE, reason="no node here to read the patterns")
def test_javascript_reads_the_patterns_as_these_tests_do(page: list[str]) -> None:
    patterns = [*VSCODE, *(matcher["pattern"][0] for matcher in GITHUB)]
    program = (
        "const [patterns, lines] = JSON.parse(require('fs').readFileSync(0));"
        "const found = patterns.map(p => lines.map(l => { const m = new RegExp(p).exec(l); return m && [...m]; }));"
        "console.log(JSON.stringify(found));"
    )
    asked = json.dumps([[pattern["regexp"] for pattern in patterns], page])
    answer = subprocess.run([NODE, "-e", program], input=asked, capture_output=True, text=True, check=True, timeout=60)
    for pattern, found in zip(patterns, json.loads(answer.stdout), strict=True):
        for line, groups in zip(page, found, strict=True):
            match = re.search(pattern["regexp"], line)
            assert groups == (match and [match[0], *match.groups()])


def test_tasks_use_options_that_there_are() -> None:
    from envcheck.commands.doctor import doctor
    from envcheck.commands.image import lint

    for task in TASKS:
        command = {"image": lint, "doctor": doctor}[task["args"][0]]
        known = {option for parameter in command.params for option in parameter.opts}
        assert {word for word in task["args"] if word.startswith("--")} <= known
