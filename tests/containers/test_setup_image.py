"""`envcheck setup --installer docker` with a real daemon: solved, built, trained inside, rolled back, removed."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys

import container_engines as engines


def setup(docker: engines.Docker, project: pathlib.Path, *arguments: str) -> str:
    variables = {**docker.variables, "PATH": f"{pathlib.Path(docker.client).parent}:{os.environ['PATH']}"}
    command = [sys.executable, "-m", "envcheck", "setup", "--directory", str(project), *arguments]
    ended = subprocess.run(command, env=variables, capture_output=True, text=True, check=False, timeout=1100)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


def test_one_command_ends_in_an_image_that_trains_and_the_one_before_comes_back(
    docker: engines.Docker, tmp_path: pathlib.Path
) -> None:
    project = tmp_path / "Digits"
    project.mkdir()
    how = ("--installer", "docker", "--base-image", engines.BASE, "--build-option=--network=host", "--json")
    wish = ("--framework", "torch==2.13", "--accelerator", "cpu", *how)
    report = json.loads(setup(docker, project, *wish))
    assert report["environment"] == "digits:current"
    assert report["verified"][0]["trained"] is True
    assert report["verified"][0]["version"].startswith("2.13.0")
    assert report["verified"][0]["test_accuracy"] > 0.6

    # From the same lock: all layers but the last are there.
    second = json.loads(setup(docker, project, "--no-training", *wish))
    assert (second["generation"], second["locked_by"]) == (2, "generation 1")

    def current() -> str:
        return docker.run("image", "inspect", "--format", "{{.Id}}", "digits:current", check=True).stdout

    def image(number: int) -> str:
        return docker.run("image", "inspect", "--format", "{{.Id}}", f"digits:gen-{number}", check=True).stdout

    assert current() == image(2)
    setup(docker, project, "--rollback", "--installer", "docker")
    assert current() == image(1)
    code = "import torch; print(int((torch.ones(2, 2) @ torch.ones(2, 2)).sum()))"
    said = docker.run("run", "--rm", "--network", "none", "digits:current", "python", "-c", code, check=True).stdout
    assert said.strip() == "8"
    setup(docker, project, "--remove", "--installer", "docker")
    assert "digits" not in docker.run("image", "ls", check=True).stdout
