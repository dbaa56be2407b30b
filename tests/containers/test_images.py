"""The images, really built."""

from __future__ import annotations

import json
import pathlib
import shutil
import subprocess
from typing import Any

import container_engines as engines
import pytest


def inspected(docker: engines.Docker, image: str) -> dict[str, Any]:
    (found,) = json.loads(docker.run("image", "inspect", image, check=True).stdout)
    return dict(found["Config"])


def inside(docker: engines.Docker, image: str, *command: str, options: tuple[str, ...] = ()) -> str:
    return docker.run(
        "run", "--rm", "--network", "none", "-e", "ENVCHECK_MODE=off", *options, image, *command, check=True
    ).stdout


def test_the_image_computes_as_a_user_who_is_not_root(docker: engines.Docker, torch_image: str) -> None:
    code = "import os, torch; print(os.getuid(), os.getcwd(), int((torch.ones(2, 2) @ torch.ones(2, 2)).sum()))"
    assert inside(docker, torch_image, "python", "-c", code).split() == ["1000", "/workspace", "8"]
    assert inspected(docker, torch_image)["User"] == "1000:1000"


def test_the_image_says_what_it_is_how_it_is_gated_and_how_its_health_is_asked(
    docker: engines.Docker, torch_image: str
) -> None:
    configuration = inspected(docker, torch_image)
    assert configuration["Labels"]["org.opencontainers.image.version"] == "1.2.3"
    assert configuration["Labels"]["envcheck.stack"] == "torch-cpu"
    assert configuration["Entrypoint"] == ["envcheck", "entrypoint", "--"]
    assert configuration["Healthcheck"]["Test"][:3] == ["CMD", "envcheck", "doctor"]


def test_scanners_see_every_package_and_every_version_is_the_lock_s(docker: engines.Docker, torch_image: str) -> None:
    listed = json.loads(inside(docker, torch_image, "python", "-m", "pip", "list", "--format", "json"))
    lock = (engines.ROOT / "environments/torch-cpu/lock.linux-x86_64.txt").read_text()
    versions = {item["name"].lower().replace("_", "-"): item["version"] for item in listed}
    pins = dict(line.split(" ")[0].split("==") for line in lock.splitlines() if "==" in line and line[0] != "#")
    assert {name: versions.get(name) for name in pins} == pins
    assert "python3" in inside(docker, torch_image, "dpkg-query", "--show")
    metadata = inside(docker, torch_image, "sh", "-c", "ls /opt/envcheck/lib/python3.11/site-packages")
    assert "envcheck_ml-" in metadata


def test_what_a_build_was_given_in_secret_is_in_no_layer(docker: engines.Docker, torch_image: str) -> None:
    files = inside(docker, torch_image, "sh", "-c", "ls /run/secrets /etc/pip.conf /wheelhouse 2>&1 || true")
    assert "ca-certificates" not in files
    history = docker.run("history", "--no-trunc", torch_image, check=True).stdout
    assert "BEGIN CERTIFICATE" not in history


def test_only_the_stack_is_on_path_and_envcheck_examines_it(docker: engines.Docker, torch_image: str) -> None:
    report = json.loads(inside(docker, torch_image, "envcheck", "doctor", "--quick", "--json", "--skip", "*shared*"))
    assert report["facts"]["python"]["prefix"] == "/opt/stack"
    assert report["facts"]["torch"]["metadata_version"] == "2.13.0+cpu"
    assert inside(docker, torch_image, "sh", "-c", "command -v click || echo none").strip() == "none"


@pytest.mark.parametrize(
    ("stack", "target", "command", "words"),
    [
        ("tf-cpu", "cpu", ("python", "-c", "import tensorflow as tf; print(int(tf.ones([2, 2]).numpy().sum()))"), "4"),
        ("jupyter", "jupyter", ("jupyter", "lab", "--version"), "."),
    ],
)
def test_the_other_images_are_built_and_do_what_they_are_for(
    docker: engines.Docker, work: pathlib.Path, stack: str, target: str, command: tuple[str, ...], words: str
) -> None:
    image = engines.build(docker, work, f"envcheck/{stack}:test", stack, target)
    assert words in inside(docker, image, *command)


def test_a_stack_that_is_not_there_is_named_with_those_that_are(docker: engines.Docker, work: pathlib.Path) -> None:
    with pytest.raises(AssertionError, match=r"there is no stack tf-gpu; there are: .*torch-cpu"):
        engines.build(docker, work, "envcheck/none:test", "tf-gpu", "cpu")


def test_a_base_with_another_python_is_refused_with_what_to_take(docker: engines.Docker, work: pathlib.Path) -> None:
    folder = work / "other-python"
    folder.mkdir()
    (folder / "python3").write_text('#!/bin/sh\ncase "$1" in --version) echo Python 3.9.2;; *venv*) ;; esac\nexit 0\n')
    (folder / "Dockerfile").write_text(
        f'FROM {engines.BASE}\nCOPY --chmod=755 python3 /usr/local/bin/python3\nRUN sed -i \'s/^exit 0/case "$*" in '
        f"*version_info*) exit 1;; esac/' /usr/local/bin/python3\n"
    )
    docker.run("build", "--network", "none", "--tag", "other-python:test", str(folder), check=True)
    done = docker.run(
        *("build", "--network", "host", "--file", "docker/Dockerfile", "--build-arg", "BASE_IMAGE=other-python:test"),
        str(engines.context(work)),
    )
    assert done.returncode != 0
    assert "the locks are made for Python 3.11, and BASE_IMAGE has Python 3.9.2" in done.stderr


def test_hadolint_has_nothing_to_say() -> None:
    hadolint = engines.CACHE / "tools" / "bin" / "hadolint"
    if not hadolint.exists():
        pytest.skip("hadolint is not here; `make containers` installs it")
    done = subprocess.run(
        [str(hadolint), str(engines.ROOT / "docker" / "Dockerfile")], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "")


def test_compose_starts_a_service_behind_the_gate(docker: engines.Docker, torch_image: str) -> None:
    compose = shutil.which("docker-compose")
    if compose is None:
        pytest.skip("docker-compose is not here; `make containers` installs it")
    docker.run("tag", torch_image, "envcheck/torch-cpu", check=True)
    file = str(engines.ROOT / "docker" / "compose.yaml")

    def composed(*args: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [compose, "--file", file, "--project-name", "envcheck-test", *args],
            env=docker.variables,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    shown = composed("config")
    assert shown.returncode == 0, shown.stderr
    assert "capabilities:\n          - gpu" in shown.stdout.replace("            - gpu", "          - gpu")
    done = composed(
        "run", "--rm", "-T", "torch-cpu", "sh", "-c", "df -k /dev/shm | tail -1; cat /tmp/envcheck/ready.json"
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.split()[1]) >= 2 * 2**20
    assert '"verdict":"ok"' in done.stdout
