"""The files beside the Dockerfile agree with it and with the project; images are built in tests/containers."""

from __future__ import annotations

import json
import pathlib
import re
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from envcheck.configuration import parse_toml

ROOT = pathlib.Path(__file__).parent.parent
DOCKERFILE = (ROOT / "docker" / "Dockerfile").read_text("utf-8")
TARGETS = set(re.findall(r"^FROM \S+ AS (\S+)", DOCKERFILE, re.MULTILINE))
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker" / "compose.yaml").read_text("utf-8"))
DEVELOPMENT = sorted((ROOT / ".devcontainer").glob("**/devcontainer.json"))


def without_comments(path: pathlib.Path) -> dict[str, Any]:
    text = re.sub(r"^\s*//.*$", "", path.read_text("utf-8"), flags=re.MULTILINE)
    found: dict[str, Any] = json.loads(text)
    return found


def test_the_lock_of_the_images_has_every_dependency_in_a_version_that_is_allowed() -> None:
    project = parse_toml((ROOT / "pyproject.toml").read_text("utf-8"), "pyproject.toml")
    lock = (ROOT / "docker" / "envcheck.lock.txt").read_text("utf-8")
    pins = dict(re.findall(r"^([\w.-]+)==(\S+)", lock, re.MULTILINE))
    needed = [Requirement(text) for text in project["project"]["dependencies"] + project["build-system"]["requires"]]
    environment = {"python_version": "3.11", "sys_platform": "linux"}
    wrong = [
        str(requirement)
        for requirement in needed
        if (requirement.marker is None or requirement.marker.evaluate(environment))
        and not requirement.specifier.contains(pins.get(canonicalize_name(requirement.name), "0"))
    ]
    assert wrong == [], "the command at the top of docker/envcheck.lock.txt makes it anew"
    assert all("--hash=sha256:" in entry for entry in re.split(r"\n(?=\w)", lock) if "==" in entry.split("\n", 1)[0])


@pytest.mark.parametrize("name", COMPOSE["services"])
def test_a_service_of_compose_is_of_a_stack_that_has_a_lock_and_of_a_target_that_there_is(name: str) -> None:
    service = COMPOSE["services"][name]
    assert service["build"]["target"] in TARGETS
    assert (ROOT / "environments" / service["build"]["args"]["STACK"] / "lock.linux-x86_64.txt").is_file()
    assert int(service["shm_size"].removesuffix("gb")) >= 4


@pytest.mark.parametrize("name", ["torch-cuda", "tf-cuda"])
def test_a_service_for_a_gpu_reserves_it_and_requires_it(name: str) -> None:
    service = COMPOSE["services"][name]
    (device,) = service["deploy"]["resources"]["reservations"]["devices"]
    assert (device["driver"], device["capabilities"]) == ("nvidia", ["gpu"])
    assert service["environment"]["ENVCHECK_REQUIRE"] == "${ENVCHECK_REQUIRE:-gpus>=1}"
    assert service["build"]["target"] == "cuda"


@pytest.mark.parametrize("path", DEVELOPMENT, ids=lambda path: path.parent.name)
def test_a_development_container_is_of_a_stack_and_a_target_that_there_are(path: pathlib.Path) -> None:
    build = without_comments(path)["build"]
    assert (path.parent / build["dockerfile"]).resolve() == ROOT / "docker" / "Dockerfile"
    assert (path.parent / build["context"]).resolve() == ROOT
    assert build["target"] in TARGETS
    assert (ROOT / "environments" / build["args"]["STACK"] / "lock.linux-x86_64.txt").is_file()


def test_every_stack_of_the_manual_has_a_lock() -> None:
    manual = (ROOT / "docker" / "README.md").read_text("utf-8")
    stacks = set(re.findall(r"STACK=([\w-]+)", manual))
    assert stacks == {"tf-cpu", "tf-cuda", "torch-cpu", "torch-cuda", "tf-torch", "jupyter"}
    for stack in stacks:
        assert (ROOT / "environments" / stack / "lock.linux-x86_64.txt").is_file()
