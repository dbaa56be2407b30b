"""Real engines: a Docker daemon that the tests start as root and take away again; images really built and run."""

from __future__ import annotations

import functools
import os
import pathlib
import shutil
import sys
from collections.abc import Callable, Iterator
from typing import Any

import container_engines as engines
import fake_driver
import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark everything here: the default run leaves it out."""
    for item in items:
        if pathlib.Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.docker)
            item.add_marker(pytest.mark.timeout(1200))


PROGRAMS = {
    "/usr/sbin/dockerd": "docker.io",
    "/usr/sbin/debootstrap": "debootstrap",
    "/bin/busybox": "busybox-static",
    "/usr/bin/gcc": "gcc",
}
"""Program → Debian's package that has it."""


def lacking() -> str:
    """Return why no daemon can be started here; empty where one can."""
    if sys.platform != "linux":
        return "a Docker daemon is started on Linux only"
    if os.geteuid() != 0:
        return "only root can start a Docker daemon"
    missing = [package for program, package in PROGRAMS.items() if not pathlib.Path(program).exists()]
    return f"Debian's {', '.join(missing)} missing: apt-get install {' '.join(missing)}" if missing else ""


@pytest.fixture(scope="session")
def work(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    return tmp_path_factory.mktemp("containers")


@pytest.fixture(scope="session")
def nvidia(work: pathlib.Path) -> pathlib.Path:
    """The folder of the mock runtime hook: what the fake driver answers is in its `gpu.txt`."""
    folder = work / "nvidia"
    folder.mkdir()
    shutil.copy(fake_driver.library(), folder)
    hook = folder / "nvidia-container-runtime-hook"
    script = pathlib.Path(__file__).with_name("nvidia_hook.py")
    hook.write_text(f'#!/bin/sh\nexec {sys.executable} -S {script} "$@"\n')
    hook.chmod(0o755)
    return folder


@pytest.fixture(scope="session")
def docker(work: pathlib.Path, nvidia: pathlib.Path) -> Iterator[engines.Docker]:
    """A daemon that knows `--gpus` through the mock hook, with the base image in it."""
    why = lacking()
    if why:
        pytest.skip(f"NO CONTAINER WAS TESTED: {why}")
    variables = {"PATH": f"{nvidia}:{os.environ['PATH']}", "MOCK_NVIDIA": str(nvidia)}
    before = engines.network()
    try:
        with engines.daemon(variables, kept=True) as started:
            started.load(engines.BASE, engines.base_archive())
            started.load("busybox:test", engines.busybox_archive(work), "--change", 'CMD ["sh"]')
            yield started
    except engines.StartError as error:
        pytest.skip(f"NO CONTAINER WAS TESTED: the Docker daemon does not start here:\n{error}")
    assert engines.network() == before, "the tests have changed this machine's network"


@pytest.fixture(scope="session")
def torch_image(docker: engines.Docker, work: pathlib.Path) -> str:
    return engines.build(docker, work, "envcheck/torch-cpu:test", "torch-cpu", "cpu")


@pytest.fixture(scope="session")
def cuda_image(docker: engines.Docker, work: pathlib.Path, torch_image: str) -> str:
    """The target `cuda` on the layers of the torch image: what is tested in it is the gate."""
    assert torch_image
    return engines.build(docker, work, "envcheck/cuda:test", "torch-cpu", "cuda")


@pytest.fixture(scope="session")
def torch_named(docker: engines.Docker, work: pathlib.Path, cuda_image: str) -> Callable[..., str]:
    """Return a function that makes an image of ours in whose metadata torch is another release.

    The wheels for CUDA are several gigabytes; the gate judges by the metadata, and imports nothing.
    """

    @functools.cache
    def named(version: str, *requires: str) -> str:
        folder = work / f"torch-{version}"
        folder.mkdir()
        lines = [f"Requires-Dist: {line}" for line in requires]
        (folder / "METADATA").write_text(
            "\n".join(["Metadata-Version: 2.1", "Name: torch", f"Version: {version}", *lines, ""])
        )
        site = "/opt/stack/lib/python3.11/site-packages"
        (folder / "Dockerfile").write_text(
            f"FROM {cuda_image}\nUSER root\nRUN rm -r {site}/torch-*.dist-info\n"
            f"COPY METADATA {site}/torch-{version}.dist-info/METADATA\nUSER 1000:1000\n"
        )
        tag = f"envcheck/torch-named:{version.replace('+', '-')}"
        docker.run("build", "--network", "none", "--tag", tag, str(folder), check=True)
        return tag

    return named


@pytest.fixture
def gpu(nvidia: pathlib.Path) -> Any:
    """Say what the container's fake GPU answers beside what a healthy one does, or how the hook fails."""

    def answer(answers: dict[str, str] | None = None, fails: str = "") -> None:
        lines = {**fake_driver.HEALTHY, **(answers or {})}
        (nvidia / "gpu.txt").write_text("".join(f"{key} {value}\n" for key, value in lines.items()))
        (nvidia / "fails").unlink(missing_ok=True)
        if fails:
            (nvidia / "fails").write_text(fails)

    answer()
    yield answer
    answer()


@pytest.fixture
def podman() -> Iterator[engines.Podman]:
    """Podman as a user who is not root, with storage in a folder of its own."""
    if not pathlib.Path("/usr/bin/podman").exists():
        pytest.skip("PODMAN WAS NOT TESTED: Debian's podman is missing; `make containers` gets it as root")
    with engines.podman() as started:
        said = started.run("info")
        if said.returncode:
            pytest.skip(f"PODMAN WAS NOT TESTED: it does not run without root here: {said.stderr[-500:]}")
        yield started
