"""`envcheck image lint` as users type it, rightly and wrongly."""

from __future__ import annotations

import contextlib
import io
import json
import os
import pathlib
import re
import subprocess
import sys
from collections.abc import Iterator
from typing import Any, NamedTuple
from unittest import mock

import click
import jsonschema
import pytest

from envcheck.causes import meaning
from envcheck.commands.image import image
from envcheck.imagelint import sarif
from envcheck.imagelint.faults import Fault
from envcheck.imagelint.lint import Options, documents_of
from envcheck.imagelint.lint import lint as judge
from envcheck.imagelint.rule import SUBJECTS, Rule, all_rules

ROOT = pathlib.Path(__file__).parent.parent.parent
ALPINE = "FROM python:3.12-alpine\nRUN pip install torch\n"
COMPOSE = "services:\n  a:\n    image: nvidia/cuda:12.4.1-base-ubuntu22.04\n"


class Typed(NamedTuple):
    """How a command ended."""

    returncode: int
    stdout: str
    stderr: str


def lint(folder: pathlib.Path, *arguments: str, given: bytes = b"") -> Typed:
    """Run the command in this process: starting Python a hundred times would take most of the tests' time."""
    stdout = io.StringIO()
    stdin = io.TextIOWrapper(io.BytesIO(given))
    try:
        with changed(folder), contextlib.redirect_stdout(stdout), mock.patch.object(sys, "stdin", stdin):
            code = image.main(["lint", *arguments], standalone_mode=False)
    except click.ClickException as error:
        return Typed(2, stdout.getvalue(), error.format_message())
    return Typed(code, stdout.getvalue(), "")


@contextlib.contextmanager
def changed(folder: pathlib.Path) -> Iterator[None]:
    before = pathlib.Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def typed(folder: pathlib.Path, *arguments: str, given: bytes = b"") -> Typed:
    """Run the command as a program of its own."""
    command = [sys.executable, "-m", "envcheck", *arguments]
    done = subprocess.run(command, capture_output=True, cwd=folder, input=given, timeout=60, check=False)
    return Typed(done.returncode, done.stdout.decode(), done.stderr.decode())


def test_a_fault_is_one_line_that_editors_know_and_its_cure_below(tmp_path: pathlib.Path) -> None:
    (tmp_path / "Dockerfile").write_text(ALPINE)
    done = typed(tmp_path, "image", "lint", "Dockerfile")
    assert done.returncode == 1
    lines = done.stdout.splitlines()
    assert lines[0].startswith("Dockerfile:2: error: torch has no wheels for musl")
    assert lines[0].endswith("[base-has-glibc]")
    assert "    cure  Take a base with glibc" in lines
    assert lines[-1] == "ERROR  1 error in 1 file"
    assert lint(tmp_path, "Dockerfile", "-q").stdout.splitlines() == [lines[0], lines[-1]]


def test_warnings_fail_only_where_that_is_asked_for(tmp_path: pathlib.Path) -> None:
    (tmp_path / "compose.yaml").write_text(COMPOSE)
    assert lint(tmp_path, ".").returncode == 0
    assert lint(tmp_path, ".", "--strict").returncode == 1


def test_a_healthy_file_is_ok_and_a_folder_is_searched(tmp_path: pathlib.Path) -> None:
    (tmp_path / "docker").mkdir()
    (tmp_path / "docker" / "Dockerfile.cpu").write_text("FROM python:3.12-slim\nRUN pip install torch==2.6.0\n")
    (tmp_path / "values.yaml").write_text("a: {{ .Values.b }}\n")
    (tmp_path / "node_modules").mkdir()
    (tmp_path / "node_modules" / "Dockerfile").write_text(ALPINE)
    done = lint(tmp_path, ".")
    assert done.returncode == 0
    assert done.stdout.splitlines()[-1] == "OK  nothing wrong in 1 file"


@pytest.mark.parametrize(
    ("given", "rule"),
    [
        (ALPINE, "base-has-glibc"),
        (COMPOSE, "service-with-cuda-asks-for-a-gpu"),
        (
            (
                "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\n"
                "spec: {containers: [{name: a, image: b, resources: {limits: {nvidia.com/gpu: '0.5'}}}]}\n"
            ),
            "gpu-limit-is-whole-and-set",
        ),
    ],
)
def test_standard_input_is_read_and_its_kind_is_seen(given: str, rule: str, tmp_path: pathlib.Path) -> None:
    done = lint(tmp_path, "-", "--format", "json", given=given.encode())
    (fault,) = json.loads(done.stdout)["faults"]
    assert (fault["rule"], fault["place"]["path"]) == (rule, "-")


def test_a_kind_can_be_said_where_the_name_does_not_say_it(tmp_path: pathlib.Path) -> None:
    (tmp_path / "image.txt").write_text(ALPINE)
    assert lint(tmp_path, "image.txt", "--kind", "dockerfile").returncode == 1


UNEXAMINED = {
    "a text of no kind": ("notes.txt", b"hello\n", "neither a Dockerfile nor a compose file"),
    "a YAML file of no kind": ("values.yaml", b"a: 1\n", "neither a Dockerfile nor a compose file"),
    "broken YAML": ("compose.yaml", b"services:\n  a: [\n", "line 3: broken YAML:"),
    "a template": ("deployment.yaml", b"kind: {{ .Values.kind }}\nb: [\n", "a template, not YAML yet: render it first"),
    "an unknown instruction": ("Dockerfile", b"FROM a\nINSTALL b\n", "line 2: 'INSTALL' is no instruction"),
    "half a Dockerfile": ("Dockerfile.part", b"RUN pip install torch\n", "no FROM in it: not a whole Dockerfile"),
    "a picture": ("Dockerfile", b"\x89PNG\0", "not a text file"),
    "another encoding": ("Dockerfile", b"FROM a\n# \xff\xfe\n", "not UTF-8"),
}


@pytest.mark.parametrize("name", UNEXAMINED)
def test_what_cannot_be_examined_is_one_clear_line(name: str, tmp_path: pathlib.Path) -> None:
    path, content, sentence = UNEXAMINED[name]
    (tmp_path / path).write_bytes(content)
    done = lint(tmp_path, path)
    assert done.returncode == 3
    first, last = done.stdout.splitlines()
    assert first.startswith(f"{path}: not examined: ")
    assert sentence in first
    assert last == "UNKNOWN  nothing wrong in 0 files; 1 could not be examined"
    assert done.stderr == ""


def test_files_of_other_kinds_are_passed_over_where_that_is_asked_for(tmp_path: pathlib.Path) -> None:
    (tmp_path / "values.yaml").write_text("a: 1\n")
    (tmp_path / "part.Dockerfile").write_text("RUN a\n")
    done = lint(tmp_path, "values.yaml", "part.Dockerfile", "--ignore-unknown")
    assert (done.returncode, done.stdout) == (0, "OK  nothing wrong in 0 files\n")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["nowhere"], "There is no file 'nowhere'."),
        (["."], "No Dockerfile, compose file or Kubernetes manifest in ."),
        ([".", "--driver", "new"], "--driver takes a version such as 570.124.06, not 'new'."),
        ([".", "--platform", "windows"], "--platform takes linux/amd64 or linux/arm64, not 'windows'."),
        ([".", "--only", "nothing-*"], "No rule is left"),
        ([".", "--build-arg", "NOWHERE_SET"], "--build-arg takes NAME=VALUE, not 'NOWHERE_SET'."),
        ([], "Missing argument"),
    ],
)
def test_wrong_usage_is_one_line(arguments: list[str], sentence: str, tmp_path: pathlib.Path) -> None:
    done = lint(tmp_path, *arguments)
    assert done.returncode == 2
    assert done.stdout == ""
    assert sentence in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_file_that_is_not_there_is_named_on_standard_error(tmp_path: pathlib.Path) -> None:
    done = typed(tmp_path, "image", "lint", "nowhere")
    assert done == (2, "", "envcheck: There is no file 'nowhere'.\n")


def test_escapes_in_a_file_never_reach_the_terminal(tmp_path: pathlib.Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM python:3.12-alpine\nRUN pip install torch \x1b[31m\x1b]0;x\x07\n")
    done = lint(tmp_path, "Dockerfile")
    assert "\x1b" not in done.stdout
    assert "\x07" not in done.stdout


@pytest.mark.parametrize("form", ["text", "json", "sarif"])
def test_a_password_in_a_file_is_in_no_report(form: str, tmp_path: pathlib.Path) -> None:
    secret = "Zq7vXw9Lk2Rt5Yb8Nm3P"  # noqa: S105 - planted
    index = f"https://someone:{secret}@index.example.com/simple"
    (tmp_path / "Dockerfile").write_text(
        f"FROM python:3.12-alpine\nRUN pip install torch==2.6.0 -i {index}\n"
        f"RUN API_TOKEN={secret} pip install torchvision -i {index}\n"
    )
    (tmp_path / "b.Dockerfile").write_text(f"FROM {index} b c\n")
    done = lint(tmp_path, ".", "--format", form)
    assert "base-has-glibc" in done.stdout
    assert "index.example.com" in done.stdout
    assert secret not in done.stdout


def test_only_and_skip_choose_rules(tmp_path: pathlib.Path) -> None:
    (tmp_path / "Dockerfile").write_text(ALPINE)
    assert lint(tmp_path, "Dockerfile", "--skip", "base-*").returncode == 0
    assert lint(tmp_path, "Dockerfile", "--only", "base-has-glibc").returncode == 1


def test_the_json_says_all_that_the_page_says(tmp_path: pathlib.Path) -> None:
    (tmp_path / "Dockerfile").write_text(ALPINE)
    report = json.loads(lint(tmp_path, ".", "--format", "json", "--driver", "570.86").stdout)
    assert report["schema_version"] == 1
    assert report["verdict"] == "error"
    assert report["driver"] == "570.86"
    assert report["files"] == [{"path": "Dockerfile", "kind": "dockerfile", "problem": "", "images": []}]
    (fault,) = report["faults"]
    assert fault["place"] == {"path": "Dockerfile", "line": 2, "end_line": 2}
    assert fault["cause"] == "platform-unsupported"
    assert fault["remedies"][0]["commands"] == ["FROM python:3.12-slim"]


def test_a_rule_that_breaks_is_named_and_harms_no_other(tmp_path: pathlib.Path) -> None:
    def breaks(image: object) -> Iterator[Fault]:  # noqa: ARG001 - a rule's parameter says what it judges
        raise ZeroDivisionError("by zero")

    (tmp_path / "a.Dockerfile").write_text("FROM debian:12\n")
    (tmp_path / "b.Dockerfile").write_text(ALPINE)
    broken = Rule(id="breaks", subject="image", wants_machine=False, causes=[], judge=breaks, manual="It breaks.")
    documents = documents_of([str(tmp_path)], None)
    report = judge(documents, [broken, *RULES], Options())
    assert [fault.rule for fault in report.faults] == ["base-has-glibc"]
    assert "rule breaks could not judge it: ZeroDivisionError: by zero" in report.crashed[0]
    assert judge(documents[:1], [broken, *RULES], Options()).verdict.value == "unknown"
    jsonschema.validate(sarif.log(report, RULES), SARIF)


TEXT = {"type": "object", "required": ["text"], "properties": {"text": {"type": "string", "minLength": 1}}}
LOCATION = {
    "type": "object",
    "required": ["physicalLocation"],
    "properties": {
        "physicalLocation": {
            "type": "object",
            "required": ["artifactLocation"],
            "properties": {
                "artifactLocation": {
                    "type": "object",
                    "required": ["uri"],
                    "properties": {"uri": {"type": "string", "pattern": "^[^ ]+$"}},
                },
                "region": {
                    "type": "object",
                    "additionalProperties": False,
                    "properties": {
                        "startLine": {"type": "integer", "minimum": 1},
                        "endLine": {"type": "integer", "minimum": 1},
                    },
                },
            },
        }
    },
}
LEVEL = {"enum": ["none", "note", "warning", "error"]}
SARIF = {
    "type": "object",
    "required": ["version", "runs"],
    "additionalProperties": False,
    "properties": {
        "$schema": {"type": "string", "format": "uri"},
        "version": {"const": "2.1.0"},
        "runs": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["tool", "results"],
                "additionalProperties": False,
                "properties": {
                    "columnKind": {"enum": ["utf16CodeUnits", "unicodeCodePoints"]},
                    "tool": {
                        "type": "object",
                        "required": ["driver"],
                        "properties": {
                            "driver": {
                                "type": "object",
                                "required": ["name", "rules"],
                                "additionalProperties": False,
                                "properties": {
                                    "name": {"const": "envcheck"},
                                    "version": {"type": "string"},
                                    "rules": {
                                        "type": "array",
                                        "uniqueItems": True,
                                        "items": {
                                            "type": "object",
                                            "required": ["id", "shortDescription"],
                                            "additionalProperties": False,
                                            "properties": {
                                                "id": {"type": "string"},
                                                "name": {"type": "string"},
                                                "shortDescription": TEXT,
                                                "fullDescription": TEXT,
                                                "help": TEXT,
                                                "properties": {
                                                    "type": "object",
                                                    "properties": {"tags": {"type": "array", "uniqueItems": True}},
                                                },
                                            },
                                        },
                                    },
                                },
                            }
                        },
                    },
                    "invocations": {
                        "type": "array",
                        "items": {
                            "type": "object",
                            "required": ["executionSuccessful"],
                            "properties": {
                                "toolExecutionNotifications": {
                                    "items": {
                                        "type": "object",
                                        "required": ["message"],
                                        "properties": {
                                            "message": TEXT,
                                            "level": LEVEL,
                                            "locations": {"type": "array", "items": LOCATION},
                                        },
                                    }
                                }
                            },
                        },
                    },
                    "results": {
                        "type": "array",
                        "items": {
                            "type": "object",
                            "required": ["message", "ruleId", "locations"],
                            "additionalProperties": False,
                            "properties": {
                                "ruleId": {"type": "string"},
                                "ruleIndex": {"type": "integer", "minimum": 0},
                                "level": LEVEL,
                                "message": TEXT,
                                "locations": {"type": "array", "items": LOCATION},
                                "partialFingerprints": {"type": "object", "additionalProperties": {"type": "string"}},
                                "properties": {"type": "object"},
                            },
                        },
                    },
                },
            },
        },
    },
}
"""The part of SARIF 2.1.0 that is used here, stricter than the standard: nothing else may stand in it."""


def sarif_of(folder: pathlib.Path, *arguments: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(lint(folder, *arguments, "--format", "sarif").stdout)
    jsonschema.validate(found, SARIF, format_checker=jsonschema.FormatChecker())
    return found


def test_code_hosts_get_sarif_with_places_and_rules(tmp_path: pathlib.Path) -> None:
    (tmp_path / "with space").mkdir()
    (tmp_path / "with space" / "Dockerfile").write_text(ALPINE)
    (tmp_path / "compose.yaml").write_text(COMPOSE)
    (tmp_path / "docker-compose.broken.yml").write_text("services: [\n")
    (run,) = sarif_of(tmp_path, ".")["runs"]
    first, second = run["results"]
    assert first["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] == "compose.yaml"
    assert (first["level"], second["level"]) == ("warning", "error")
    assert second["locations"][0]["physicalLocation"] == {
        "artifactLocation": {"uri": "with%20space/Dockerfile"},
        "region": {"startLine": 2, "endLine": 2},
    }
    rules = run["tool"]["driver"]["rules"]
    assert rules[second["ruleIndex"]]["id"] == second["ruleId"] == "base-has-glibc"
    (invocation,) = run["invocations"]
    assert not invocation["executionSuccessful"]
    assert "broken YAML" in invocation["toolExecutionNotifications"][0]["message"]["text"]


def test_a_fault_keeps_its_fingerprint_while_lines_move(tmp_path: pathlib.Path) -> None:
    (tmp_path / "Dockerfile").write_text(ALPINE)
    before = sarif_of(tmp_path, "Dockerfile")["runs"][0]["results"][0]
    (tmp_path / "Dockerfile").write_text(f"# a comment\n\n{ALPINE}")
    after = sarif_of(tmp_path, "Dockerfile")["runs"][0]["results"][0]
    assert before["partialFingerprints"] == after["partialFingerprints"]
    assert before["locations"] != after["locations"]


def test_a_file_written_with_output_holds_the_report_and_the_terminal_nothing(tmp_path: pathlib.Path) -> None:
    (tmp_path / "Dockerfile").write_text(ALPINE)
    done = lint(tmp_path, "Dockerfile", "--format", "sarif", "-o", "out.sarif")
    assert (done.returncode, done.stdout) == (1, "")
    assert json.loads((tmp_path / "out.sarif").read_text())["version"] == "2.1.0"


def test_absolute_paths_become_file_addresses() -> None:
    assert sarif.uri("/a b/Dockerfile") == "file:///a%20b/Dockerfile"
    assert sarif.uri("./a/Dockerfile") == "a/Dockerfile"


RULES = all_rules()


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.id)
def test_every_rule_has_a_manual_with_reason_cure_and_source(rule: Any) -> None:
    assert rule.subject in SUBJECTS
    for word in ("Why:", "If not:", "Source:"):
        assert word in rule.manual, rule.id
    assert all(meaning(cause) for cause in rule.causes), rule.id


def test_every_rule_is_shown_to_find_something() -> None:
    tests = "".join(path.read_text(encoding="utf-8") for path in pathlib.Path(__file__).parent.glob("test_*_rules.py"))
    assert [rule.id for rule in RULES if f'"{rule.id}"' not in tests] == []


def test_a_rule_is_explained_and_a_cause_names_its_rules(tmp_path: pathlib.Path) -> None:
    def explain(name: str) -> str:
        return typed(tmp_path, "explain", name).stdout

    assert "PEP 656" in explain("base-has-glibc")
    assert "base-has-glibc" in explain("platform-unsupported")


def test_the_rules_are_listed(tmp_path: pathlib.Path) -> None:
    listed = typed(tmp_path, "image", "rules").stdout
    assert len(re.findall(r"^  [a-z0-9-]+ ", listed, re.MULTILINE)) == len(RULES)


def test_the_project_s_own_images_are_healthy() -> None:
    done = lint(ROOT, "docker", "--strict", "--ignore-unknown")
    assert done.returncode == 0, done.stdout
