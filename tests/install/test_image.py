"""`envcheck setup --installer docker`: images as generations, with a docker that fails as the test says."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
from conftest import plan_of, request_of
from msgspec import structs
from package_index import Index

from envcheck import stacks
from envcheck.install.build import Report, Request, build
from envcheck.install.build_image import build_image
from envcheck.install.faults import Fault, FaultError
from envcheck.install.generations import Place
from envcheck.install.image import Image, repository
from envcheck.install.pip_configuration import PipConfiguration
from envcheck.install.uv import Places
from envcheck.plan import PythonChoice, Wanted
from envcheck.system import Live

pytestmark = [
    pytest.mark.usefixtures("index"),
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the made-up wheels are named for Linux"),
]


class Fake(NamedTuple):
    """The folder of the docker that stands in for one."""

    folder: Path

    def fails(self, fault: str) -> None:
        (self.folder / "fault").write_text(fault)

    def images(self) -> dict[str, str]:
        path = self.folder / "images.json"
        return {name: one["id"] for name, one in json.loads(path.read_text()).items()} if path.exists() else {}

    def edit(self, change: Callable[[dict[str, object]], object]) -> None:
        path = self.folder / "images.json"
        images = json.loads(path.read_text())
        change(images)
        path.write_text(json.dumps(images))

    def asked(self) -> list[str]:
        return (self.folder / "asked").read_text().splitlines()


@pytest.fixture
def docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fake:
    folder = tmp_path / "docker"
    folder.mkdir()
    program = folder / "docker"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -S "{Path(__file__).with_name("fake_docker.py")}" "$@"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    monkeypatch.setenv("FAKE_DOCKER", str(folder))
    return Fake(folder)


@pytest.fixture
def request_it(project: Path, tmp_path: Path) -> Request:
    """What to build, locked already: nothing is solved."""
    lock = tmp_path / "lock.txt"
    lock.write_text("torch==2.13.0+cpu --hash=sha256:00\n")
    plan = plan_of(Wanted(text="torch==2.13.0+cpu", why="PyTorch"), stack="house", lock=str(lock))
    python = PythonChoice(series=stacks.PYTHON)
    return request_of(structs.replace(plan, python=python), project, places=Places())


def made(request: Request, docker: Fake) -> Report:
    request = structs.replace(request, place=Place(request.place.directory, "image"))
    program = str(docker.folder / "docker")
    image = Image(docker=program, repository=repository(request.place, "image"))
    return build_image(request, image, Live(), lambda *_: None)


def fault_of(request: Request, docker: Fake) -> Fault:
    with pytest.raises(FaultError) as caught:
        made(request, docker)
    return caught.value.fault


@pytest.fixture
def wish(index: Index) -> tuple[str, ...]:
    torch = ("--framework", "torch==2.13", "--accelerator", "cpu", "--pytorch-index", index.pytorch)
    return (*torch, "--installer", "docker", "--no-training")


def command(project: Path, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "envcheck", "setup", "--directory", str(project), *arguments]


def call(project: Path, *arguments: str, code: int = 0) -> str:
    ended = subprocess.run(command(project, *arguments), check=False, capture_output=True, text=True, timeout=100)
    assert ended.returncode == code, ended.stdout + ended.stderr
    return ended.stdout


def image_files(project: Path, number: int) -> Path:
    return project / ".envs" / "image" / f"gen-{number}"


def test_an_image_is_built_proved_and_called_the_current_one(
    project: Path, wish: tuple[str, ...], docker: Fake
) -> None:
    said = call(project, *wish)
    assert "PyTorch 2.13.0+cpu imports" in said
    assert "docker run --rm --interactive --tty mein-projekt:current python" in said.replace("\n  ", " ")
    images = docker.images()
    assert images["mein-projekt:current"] == images["mein-projekt:gen-1"]
    folder = image_files(project, 1)
    dockerfile = (folder / "docker" / "Dockerfile").read_text()
    assert "FROM cpu AS environment" in dockerfile
    lock = (folder / "environments" / "mein-projekt" / f"lock.linux-{os.uname().machine}.txt").read_text()
    assert "torch==2.13.0+cpu" in lock
    assert "--hash=sha256:" in lock
    assert (folder / "envcheck" / "__init__.py").is_file()
    assert not list(folder.rglob("__pycache__"))
    assert not (project / ".venv").exists()
    [built] = [line for line in docker.asked() if line.startswith("build ")]
    assert "--build-arg STACK=mein-projekt" in built
    assert "--build-arg BASE_IMAGE=python:3.11-slim-bookworm" in built


def test_images_are_listed_rolled_back_pruned_and_removed_as_folders_are(
    project: Path, request_it: Request, docker: Fake
) -> None:
    made(request_it, docker)
    report = made(request_it, docker)
    assert (report.generation, report.replaced, report.environment) == (2, 1, "mein-projekt:current")
    images = docker.images()
    assert images["mein-projekt:current"] == images["mein-projekt:gen-2"]
    assert "* 2" in call(project, "--list", "--installer", "docker")
    said = call(project, "--rollback", "--name", "image")
    assert said.strip() == "generation 1 is in use: mein-projekt:current"
    assert docker.images()["mein-projekt:current"] == images["mein-projekt:gen-1"]
    call(project, "--prune", "--keep", "0", "--name", "image")
    assert set(docker.images()) == {"mein-projekt:gen-1", "mein-projekt:current"}
    call(project, "--remove", "--name", "image")
    assert not docker.images()
    assert not list(project.iterdir())


def test_a_proof_by_training_goes_through_the_gate_of_the_image(request_it: Request, docker: Fake) -> None:
    report = made(structs.replace(request_it, train=True), docker)
    assert report.verified[0].test_accuracy == 0.97
    [run] = [line for line in docker.asked() if line.startswith("run ")]
    assert "mein-projekt:gen-1 envcheck smoke --framework torch" in run


def test_a_dry_run_prints_dockerfile_and_commands_and_changes_nothing(
    project: Path, wish: tuple[str, ...], docker: Fake
) -> None:
    page = call(project, *wish, "--dry-run")
    assert "FROM cpu AS environment" in page
    assert "docker build" in page
    assert "docker tag mein-projekt:gen-1 mein-projekt:current" in page
    assert not list(project.iterdir())
    assert not (docker.folder / "asked").exists()


def test_without_a_daemon_the_folder_stays_and_the_command_is_named(
    project: Path, request_it: Request, docker: Fake
) -> None:
    docker.fails("down")
    found = fault_of(request_it, docker)
    assert found.sentence == "Docker's daemon does not answer"
    folder = image_files(project, 1)
    assert f"All that the image is made from is in {folder}" in found.change
    assert "docker build --progress plain" in found.evidence[0]
    assert (folder / "docker" / "Dockerfile").is_file()
    docker.fails("forbidden")
    assert "you may not talk to Docker's daemon" in fault_of(request_it, docker).sentence
    docker.fails("")
    assert made(request_it, docker).removed == [1]


def test_without_docker_one_sentence_says_so(
    project: Path, wish: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "there is no docker on PATH" in call(project, *wish, code=1)
    assert not (project / ".envs").exists()


def test_a_build_that_fails_leaves_the_current_image_as_it_was_and_nothing_half_built(
    project: Path, request_it: Request, docker: Fake
) -> None:
    made(request_it, docker)
    before = docker.images()
    for fault, words in {
        "build": "filelock==3.20.0",
        "disk": "the disk of Docker's images is full",
        "base": "the base image nowhere.example/python:3.11 cannot be had",
        "crash": "does not import there",
    }.items():
        docker.fails(fault)
        assert words in fault_of(request_it, docker).sentence
        assert docker.images() == before
        assert [path.name for path in (project / ".envs" / "image").glob("gen-?")] == ["gen-1"]


def test_a_gpu_that_docker_cannot_give_is_named(request_it: Request, docker: Fake) -> None:
    docker.fails("gpu")
    plan = request_it.plan
    choices = tuple(structs.replace(choice, accelerator="cuda") for choice in plan.choices)
    found = fault_of(structs.replace(request_it, plan=structs.replace(plan, choices=choices)), docker)
    assert found.sentence == "Docker cannot give containers the GPU"
    assert "nvidia-ctk runtime configure" in found.change
    assert any("--gpus all" in line for line in docker.asked())
    assert "FROM cuda AS environment" not in "".join(docker.images())


@pytest.mark.parametrize(("fault", "words"), [("slow", "collecting torch"), ("slow run", "importing in PyTorch")])
def test_ctrl_c_in_the_middle_of_a_build_or_a_proof_keeps_the_current_image_and_leaves_nothing_running(
    project: Path, request_it: Request, wish: tuple[str, ...], docker: Fake, fault: str, words: str
) -> None:
    made(request_it, docker)
    before = docker.images()
    docker.fails(fault)
    process = subprocess.Popen(
        command(project, *wish), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    for line in process.stdout:
        if words in line:
            break
    until = time.monotonic() + 30
    while fault == "slow run" and sum(line.startswith("run ") for line in docker.asked()) < 2:
        assert time.monotonic() < until
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "generation 1 is in use as before: mein-projekt:current" in errors
    assert docker.images() == before
    assert not image_files(project, 2).exists()
    gone = any(line.startswith("rm --force envcheck-mein-projekt-") for line in docker.asked())
    assert gone is (fault == "slow run")


def test_a_set_up_that_was_killed_in_the_middle_of_a_build_is_cleared_away_by_the_next(
    project: Path, wish: tuple[str, ...], docker: Fake
) -> None:
    docker.fails("slow")
    process = subprocess.Popen(command(project, *wish), stdout=subprocess.PIPE, text=True, start_new_session=True)
    for line in process.stdout:
        if "collecting torch" in line:
            break
    process.kill()
    process.communicate()
    docker.fails("")
    report = json.loads(call(project, *wish, "--json"))
    assert (report["removed"], report["generation"]) == ([1], 1)
    assert not (project / ".envs" / "image" / "gen-1.record" / "pip.conf").exists()


def test_the_name_of_the_current_image_follows_what_is_in_use_whatever_happened_to_the_images(
    project: Path, request_it: Request, docker: Fake
) -> None:
    made(request_it, docker)
    made(request_it, docker)
    # As a swap leaves it that was cut short between the two names.
    docker.edit(lambda images: images.update({"mein-projekt:current": images["mein-projekt:gen-1"]}))
    call(project, "--prune", "--keep", "1", "--name", "image")
    assert docker.images()["mein-projekt:current"] == docker.images()["mein-projekt:gen-2"]
    # As a user leaves it who has removed an image by hand.
    docker.edit(lambda images: images.pop("mein-projekt:gen-1"))
    said = call(project, "--rollback", "--name", "image", code=1)
    assert "mein-projekt:gen-1 cannot be tagged" in said
    assert "* 2" in call(project, "--list", "--name", "image")


def test_an_image_of_another_project_is_not_taken_over(
    project: Path, request_it: Request, docker: Fake, tmp_path: Path
) -> None:
    other = tmp_path / "elsewhere" / project.name
    other.mkdir(parents=True)
    made(structs.replace(request_it, place=Place(other, "image")), docker)
    before = docker.images()
    assert "mein-projekt:current that is not of this project" in fault_of(request_it, docker).sentence
    assert docker.images() == before


def test_images_and_environments_do_not_share_a_name(request_it: Request, docker: Fake) -> None:
    made(request_it, docker)
    with pytest.raises(FaultError, match="the generations of 'image' are images"):
        build(structs.replace(request_it, place=Place(request_it.place.directory, "image")), Live(), lambda *_: None)


def test_another_python_than_that_of_the_images_is_refused_in_one_sentence(
    project: Path, wish: tuple[str, ...], docker: Fake
) -> None:
    del docker
    said = call(project, *wish, "--python", "3.13", code=1).replace("\n  ", " ")
    assert said.startswith("cannot: an image has Python 3.11, and ==3.13.* is asked for (--python)")
    assert "--installer uv" in said


def test_credentials_of_pip_go_into_a_build_as_a_secret_and_do_not_stay(
    project: Path, request_it: Request, docker: Fake
) -> None:
    places = Places(configuration=PipConfiguration(index_url="https://somebody:geheim@mirror.example/simple"))
    request = structs.replace(request_it, places=places)
    docker.fails("down")
    found = fault_of(request, docker)
    secret = project / ".envs" / "image" / "gen-1.record" / "pip.conf"
    assert "geheim" in secret.read_text()
    assert secret.stat().st_mode & 0o077 == 0
    assert "geheim" not in str(found)
    files = [path for path in image_files(project, 1).rglob("*") if path.is_file()]
    assert not [path for path in files if b"geheim" in path.read_bytes()]
    docker.fails("")
    made(request, docker)
    assert not list((project / ".envs").rglob("pip.conf"))


def test_a_stack_as_an_image_is_built_from_its_own_lock(project: Path, docker: Fake) -> None:
    page = call(project, "--stack", "tf-cpu", "--installer", "docker", "--dry-run")
    lock = stacks.BUILT_IN / "tf-cpu" / "lock.linux-x86_64.txt"
    assert f"cp {lock}" in page
    assert "--build-arg STACK=tf-cpu" in page
    docker.fails("down")
    call(project, "--stack", "tf-cpu", "--installer", "docker", code=1)
    written = image_files(project, 1) / "environments" / "tf-cpu" / "lock.linux-x86_64.txt"
    assert written.read_bytes() == lock.read_bytes()


def test_options_for_docker_without_docker_are_wrong_usage(project: Path) -> None:
    call(project, "--framework", "torch", "--base-image", "x", code=2)
    call(project, "--framework", "torch", "--build-option=--pull", code=2)
