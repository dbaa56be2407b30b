"""An image of a plan: the folder that it is built from, and the commands that build and prove it.

The folder is a checkout in small: docker/Dockerfile installs environments/STACK from its lock with hashes, and puts
envcheck beside it as the gate (docker/README.md).  What the plan adds stands in one more stage at the end.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from pathlib import Path

import msgspec
from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename

import envcheck
from envcheck.install import docker, uv
from envcheck.install.generations import Place
from envcheck.install.pip_configuration import PipConfiguration, local_folders
from envcheck.install.uv import Command, Places
from envcheck.install.verify import QUESTION, TRAINING
from envcheck.plan import Choice, Plan

BASE_IMAGE = "python:3.11-slim-bookworm"
"""The default of docker/Dockerfile."""

GLIBC = "2.36"
"""The C library of Debian 12, which the default base image is (Debian's package libc6)."""

STAGE = "environment"
"""The stage that is added."""

PLATFORMS = {"linux_x86_64": "x86_64-manylinux_2_28", "linux_aarch64": "aarch64-manylinux_2_28"}
"""Platform of the tables → what uv calls it; wheels for glibc 2.28 install on every base image that is supported."""

IN_WHEEL_ALONE = ("docker", "environments", "project")
"""Folders that a wheel holds inside the package (envcheck/build_wheel.py); in a checkout they stand beside it."""


class Image(msgspec.Struct, frozen=True, kw_only=True):
    """How an image is built.

    Attributes:
        docker: path of docker.
        repository: name without tag; the generations are its tags.
        base: the image that it is built on.
        options: handed to `docker build` as they are.
    """

    docker: str
    repository: str
    base: str = BASE_IMAGE
    options: tuple[str, ...] = ()

    def tag(self, number: int) -> str:
        """Return the name of a generation's image."""
        return f"{self.repository}:gen-{number}"

    @property
    def current(self) -> str:
        """The name of the image in use."""
        return f"{self.repository}:current"


def repository(place: Place, default_name: str) -> str:
    """Return the repository of a name: the name itself, or for the default one that of the project's folder.

    Source of the characters: Docker's documentation, "docker image tag".
    """
    text = place.directory.resolve().name if place.name == default_name else place.name
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-") or "envcheck"


def owner(place: Place) -> str:
    """Return the value of the label that says whose an image is."""
    return hashlib.sha256(os.fsencode(place.directory.resolve() / place.name)).hexdigest()[:12]


def stack_name(plan: Plan, image: Image) -> str:
    """Return the name of the folder in environments/ that the image installs."""
    return plan.stack or image.repository


def target(plan: Plan) -> str:
    """Return the stage of docker/Dockerfile that the plan needs."""
    if any(choice.accelerator == "cuda" for choice in plan.choices):
        return "cuda"
    return "jupyter" if plan.kernel else "cpu"


def dockerfile(plan: Plan) -> str:
    """Return docker/Dockerfile with the stage that is added."""
    text = (_docker_folder() / "Dockerfile").read_text("utf-8").rstrip("\n")
    frameworks = ", ".join(f"{choice.framework} {choice.version}" for choice in plan.choices)
    lines = [f"FROM {target(plan)} AS {STAGE}", f'LABEL envcheck.frameworks="{frameworks}"']
    lines += [f'ENV {name}="{value}"' for name, value in sorted(plan.variables.items())]
    return "\n".join([text, "", "# What `envcheck setup` planned for this project.", *lines, ""])


def _docker_folder() -> Path:
    package = Path(envcheck.__file__).parent
    return next(folder for folder in (package / "docker", package.parent / "docker") if folder.is_dir())


def _project_folder() -> Path:
    package = Path(envcheck.__file__).parent
    return package / "project" if (package / "project").is_dir() else package.parent


def write_folder(plan: Plan, image: Image, lock: Path, folder: Path, places: Places) -> None:
    """Write the folder that an image is built from.

    Args:
        plan: what is in the image.
        image: how it is built.
        lock: with the checksums of all packages.
        folder: to write; it must not be there yet.
        places: wheels in its folders that the lock names go along.

    Raises:
        OSError: something cannot be written.
    """
    package = Path(envcheck.__file__).parent
    shutil.copytree(_docker_folder(), folder / "docker", ignore=shutil.ignore_patterns("__pycache__", "*.whl"))
    (folder / "docker" / "Dockerfile").write_text(dockerfile(plan), "utf-8")
    shutil.copytree(
        package,
        folder / "envcheck",
        ignore=lambda path, _: {"__pycache__", *(IN_WHEEL_ALONE if Path(path) == package else ())},
    )
    for name in ("pyproject.toml", "README.md"):
        shutil.copyfile(_project_folder() / name, folder / name)
    stack = folder / "environments" / stack_name(plan, image)
    stack.mkdir(parents=True)
    machine = plan.platform.removeprefix("linux_")
    shutil.copyfile(lock, stack / f"lock.linux-{machine}.txt")
    (stack / "requirements.txt").write_text("".join(f"{one.text}\n" for one in plan.requirements), "utf-8")
    index = next((wanted.index for wanted in plan.requirements if wanted.index), "")
    if index:
        (stack / "index.txt").write_text(f"{index}\n", "utf-8")
    _add_wheels(lock, folder / "docker" / "wheelhouse", places)


def _add_wheels(lock: Path, folder: Path, places: Places) -> None:
    """Put wheels of the user's own folders that the lock names beside it: a build does not see this machine's disk."""
    pins = {
        (canonicalize_name(name), version)
        for name, version in re.findall(r"^([A-Za-z0-9][\w.-]*)==([^\s;\\]+)", lock.read_text("utf-8"), re.MULTILINE)
    }
    folder.mkdir(exist_ok=True)
    for place in [*([places.wheelhouse] if places.wheelhouse else []), *local_folders(places.configuration)]:
        for path in sorted(Path(place).glob("*.whl")):
            try:
                name, version, _, _ = parse_wheel_filename(path.name)
            except InvalidWheelFilename:
                continue
            if (name, str(version)) in pins and not (folder / path.name).exists():
                shutil.copyfile(path, folder / path.name)


def pip_configuration(configuration: PipConfiguration, *, offline: bool) -> str:
    """Return a pip.conf for the inside of a build: what of the user's has a meaning there; empty where nothing has."""
    extra = [url for url in configuration.extra_index_urls if not url.startswith("file:")]
    lines = {
        "index-url": "" if configuration.index_url.startswith("file:") else configuration.index_url,
        "extra-index-url": " ".join(extra),
        "proxy": configuration.proxy,
        "trusted-host": " ".join(configuration.trusted_hosts),
        "timeout": configuration.timeout,
        "retries": configuration.retries,
        "no-index": "true" if configuration.no_index or offline else "",
    }
    text = "".join(f"{key} = {value}\n" for key, value in lines.items() if value)
    return f"[global]\n{text}" if text else ""


def solve(plan: Plan, record: Path, program: str) -> Command:
    """Return the command that locks a plan for the inside of an image."""
    exclusive = uv.is_exclusive(plan)
    return Command(
        step="solve",
        argv=(
            *(program, "pip", "compile", "--generate-hashes", "--no-header", "--only-binary", ":all:"),
            *("--python-version", plan.python.series, "--python-platform", PLATFORMS[plan.platform]),
            *("--output-file", str(record / uv.LOCK)),
            *([] if exclusive else uv.every_index(plan)),
            *(str(record / "pyproject.toml"), *plan.files),
        ),
    )


def build(plan: Plan, image: Image, place: Place, number: int, places: Places) -> Command:
    """Return the command that builds a generation's image from its folder."""
    configuration, record = places.configuration, place.record(number)
    secrets = []
    if pip_configuration(configuration, offline=places.offline):
        secrets.append(f"id=pip.conf,src={record / 'pip.conf'}")
    if configuration.cert:
        secrets.append(f"id=ca-certificates,src={configuration.cert}")
    folder = place.generation(number)
    return Command(
        step="image",
        argv=(
            *(image.docker, "build", "--progress", "plain", "--file", str(folder / "docker" / "Dockerfile")),
            *("--target", STAGE, "--tag", image.tag(number), "--label", f"{docker.OWNER}={owner(place)}"),
            *("--build-arg", f"BASE_IMAGE={image.base}", "--build-arg", f"STACK={stack_name(plan, image)}"),
            *("--build-arg", f"VERSION={number}"),
            *(part for secret in secrets for part in ("--secret", secret)),
            *(("--network", "none") if places.offline else ()),
            *image.options,
            str(folder),
        ),
    )


def proof(plan: Plan, choice: Choice, image: Image, number: int, *, train: bool) -> tuple[str, ...]:
    """Return the command that proves a framework inside an image, through the image's own gate."""
    train_it = ("envcheck", "smoke", "--framework", "tf" if choice.framework == "tensorflow" else choice.framework)
    settings = ("--epochs", TRAINING.epochs, "--batch-size", TRAINING.batch_size, "--samples", TRAINING.samples)
    inside: tuple[str, ...] = ("python", "-c", QUESTION, choice.framework)
    if train:
        timeout = ("--timeout", f"{TRAINING.timeout_seconds:g}")
        inside = (*train_it, *map(str, settings), *timeout, "--json")
    gpus = ("--gpus", "all") if target(plan) == "cuda" else ()
    # Nothing inside needs a network.
    start = (image.docker, "run", "--rm", "--name", container(image), "--network", "none", "--shm-size", "1g")
    return (*start, *gpus, image.tag(number), *inside)


def container(image: Image) -> str:
    """Return the name of the container that proves an image; two set-ups at once have one each."""
    return f"envcheck-{image.repository}-{os.getpid()}"
