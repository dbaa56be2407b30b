"""The hooks of pre-commit: which files they take, and, behind a mark, the real program."""

from __future__ import annotations

import os
import pathlib
import re
import shutil
import subprocess
import sys

import pytest
import yaml

ROOT = pathlib.Path(__file__).parent.parent.parent
HOOKS = {hook["id"]: hook for hook in yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text(encoding="utf-8"))}


def taken(name: str) -> bool:
    """Tell whether pre-commit would give a file to the hook."""
    hook = HOOKS["envcheck-image-lint"]
    return bool(re.search(hook["files"], name)) and not re.search(hook["exclude"], name)


@pytest.mark.parametrize(
    "name",
    ["Dockerfile", "docker/Dockerfile.gpu", "train.dockerfile", "Containerfile", "compose.yaml", "k8s/job.yml"],
)
def test_the_hook_takes_what_it_can_judge(name: str) -> None:
    assert taken(name)


@pytest.mark.parametrize("name", ["README.md", "dockerfiles/notes.txt", "src/dockerfile_parser.py", "entrypoint.sh"])
def test_the_hook_takes_nothing_else(name: str) -> None:
    assert not taken(name)


def test_the_hooks_call_commands_and_options_that_there_are() -> None:
    for hook in HOOKS.values():
        command = [sys.executable, "-m", *hook["entry"].split(), "--help"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        for option in re.findall(r"--[a-z-]+", hook["entry"]):
            assert option in done.stdout


def git(folder: pathlib.Path, *arguments: str) -> str:
    identity = ["-c", "user.name=A", "-c", "user.email=a@example.com", "-c", "protocol.file.allow=always"]
    command = ["git", *identity, "-C", str(folder), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout.strip()


@pytest.mark.hooks
@pytest.mark.timeout(900)
def test_pre_commit_runs_the_hooks_from_a_clone(tmp_path: pathlib.Path) -> None:
    assert shutil.which("pre-commit") or (pathlib.Path(sys.executable).parent / "pre-commit").exists(), "make hooks"
    clone = tmp_path / "envcheck"
    subprocess.run([shutil.which("git") or "git", "clone", "-q", str(ROOT), str(clone)], check=True, timeout=120)
    for name in (".pre-commit-hooks.yaml", "pyproject.toml"):
        shutil.copy(ROOT / name, clone / name)
    shutil.copytree(ROOT / "envcheck", clone / "envcheck", dirs_exist_ok=True)
    git(clone, "add", "-A")
    git(clone, "commit", "-q", "--allow-empty", "-m", "as it stands")
    project = tmp_path / "project"
    project.mkdir()
    git(project, "init", "-q")
    (project / "Dockerfile").write_text("FROM python:3.12-alpine\nRUN pip install torch\n")
    (project / "values.yaml").write_text("a: {{ b }}\n")
    (project / ".pre-commit-config.yaml").write_text(
        f"repos:\n  - repo: {clone}\n    rev: {git(clone, 'rev-parse', 'HEAD')}\n    hooks:\n"
        f"      - id: envcheck-image-lint\n      - id: envcheck-doctor\n        args: [--python, {sys.executable}]\n"
    )
    git(project, "add", ".")
    command = [sys.executable, "-m", "pre_commit", "run", "--all-files"]
    environment = {**os.environ, "PRE_COMMIT_HOME": str(tmp_path / "home")}
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=project, env=environment, timeout=800, check=False
    )
    assert "Dockerfile:2: error: torch has no wheels for musl" in done.stdout, done.stdout + done.stderr
    assert done.returncode == 1
    (project / "Dockerfile").write_text("FROM python:3.12-slim\nRUN pip install torch==2.6.0\n")
    git(project, "add", ".")
    done = subprocess.run(
        [*command, "envcheck-image-lint"],
        capture_output=True,
        text=True,
        cwd=project,
        env=environment,
        timeout=800,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
