"""The GitHub Action's steps, carried out by bash as a runner carries them out."""

from __future__ import annotations

import json
import os
import pathlib
import re
import shutil
import subprocess
import sys

import pytest
import yaml

ROOT = pathlib.Path(__file__).parent.parent.parent
ACTION = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))
FAULTY = "FROM python:3.12-alpine\nRUN pip install torch\n"
pytestmark = pytest.mark.skipif(os.name != "posix", reason="the steps are bash's")


class Job:
    """A job of a runner: its folders, its files for outputs, and the steps of the action one after another."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.workspace = folder / "workspace"
        self.temporary = folder / "runner temp"
        for path in (self.workspace, self.temporary):
            path.mkdir()
        self.files = {name: folder / name for name in ("GITHUB_ENV", "GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY")}
        for path in self.files.values():
            path.touch()

    def install(self) -> None:
        """Put a command where the first step would install one: the installation has a test of its own."""
        programs = self.temporary / "envcheck" / "bin"
        programs.mkdir(parents=True)
        command = programs / "envcheck"
        command.write_text(f'#!/bin/sh\nPYTHONPATH="{ROOT}" exec "{sys.executable}" -m envcheck "$@"\n')
        command.chmod(0o755)

    def run(self, **inputs: str) -> tuple[int, str]:
        """Carry out the steps; return the status of the first that failed, and what was printed."""
        values = {name: str(described["default"]) for name, described in ACTION["inputs"].items()}
        values |= {name.replace("_", "-"): value for name, value in inputs.items()}
        printed = ""
        for step in ACTION["runs"]["steps"]:
            if not self._applies(step.get("if", ""), values):
                continue
            done = subprocess.run(
                [shutil.which("bash") or "bash", "--noprofile", "--norc", "-e", "-o", "pipefail", "-c", step["run"]],
                capture_output=True,
                text=True,
                cwd=self.workspace,
                env=self._environment(step.get("env", {}), values),
                timeout=300,
                check=False,
            )
            printed += done.stdout + done.stderr
            if done.returncode:
                return done.returncode, printed
        return 0, printed

    def _applies(self, condition: str, values: dict[str, str]) -> bool:
        match = re.fullmatch(r"inputs\.([a-z-]+) != '([a-z]*)'", condition)
        return match is None or values[match[1]] != match[2]

    def _environment(self, wanted: dict[str, str], values: dict[str, str]) -> dict[str, str]:
        known = {"github.action_path": str(ROOT), **{f"inputs.{name}": value for name, value in values.items()}}
        given = {
            name: re.sub(r"\$\{\{ ([a-z._-]+) \}\}", lambda match: known[match[1]], text)
            for name, text in wanted.items()
        }
        exported = dict(line.split("=", 1) for line in self.files["GITHUB_ENV"].read_text().splitlines())
        files = {name: str(path) for name, path in self.files.items()}
        return {**os.environ, **files, "RUNNER_TEMP": str(self.temporary), "RUNNER_OS": "Linux", **exported, **given}

    def output(self) -> dict[str, str]:
        return dict(line.split("=", 1) for line in self.files["GITHUB_OUTPUT"].read_text().splitlines())


@pytest.fixture
def job(tmp_path: pathlib.Path) -> Job:
    found = Job(tmp_path)
    found.install()
    return found


def test_a_faulty_dockerfile_fails_the_job_and_is_written_for_code_scanning(job: Job) -> None:
    (job.workspace / "Dockerfile").write_text(FAULTY)
    status, printed = job.run()
    assert status == 1
    assert "::add-matcher::" in printed
    assert "Dockerfile:2: error: " in printed
    assert job.output() == {"verdict": "error", "sarif-file": "envcheck.sarif"}
    log = json.loads((job.workspace / "envcheck.sarif").read_text())
    assert log["runs"][0]["results"][0]["ruleId"] == "base-has-glibc"
    assert "Dockerfile:2: error: " in job.files["GITHUB_STEP_SUMMARY"].read_text()


def test_paths_strictness_and_the_driver_are_passed_on(job: Job) -> None:
    (job.workspace / "a b").mkdir()
    (job.workspace / "one.Dockerfile").write_text("FROM nvidia/cuda:12.4.1-runtime-ubuntu22.04\n")
    (job.workspace / "two.Dockerfile").write_text("FROM debian:12\n")
    chosen = {"paths": "one.Dockerfile\ntwo.Dockerfile", "driver": "535.129.03"}
    assert job.run(**chosen)[0] == 0
    assert job.run(**chosen, strict="true")[0] == 1


def test_the_environment_of_the_job_is_examined_where_that_is_asked_for(job: Job) -> None:
    status, printed = job.run(paths="", doctor="quick", python=sys.executable, require="cores>=1\npython>=3.99\n")
    assert status == 1
    assert "python>=3.99" in printed
    assert job.output() == {}


def test_wrong_inputs_fail_with_the_sentence_that_says_why(job: Job) -> None:
    status, printed = job.run(paths="nowhere")
    assert status == 2
    assert "There is no file 'nowhere'." in printed


def test_no_input_is_put_into_the_text_of_a_script() -> None:
    for step in ACTION["runs"]["steps"]:
        assert "${{" not in step["run"], "inputs reach scripts as variables: their text must never be run"


def test_every_input_has_a_description_and_is_used() -> None:
    text = (ROOT / "action.yml").read_text(encoding="utf-8")
    for name, described in ACTION["inputs"].items():
        assert described["description"]
        assert f"inputs.{name}" in text


@pytest.mark.hooks
def test_the_action_installs_envcheck_in_an_environment_of_its_own(tmp_path: pathlib.Path) -> None:
    job = Job(tmp_path)
    (job.workspace / "Dockerfile").write_text(FAULTY)
    status, printed = job.run()
    assert (status, job.output()["verdict"]) == (1, "error"), printed
