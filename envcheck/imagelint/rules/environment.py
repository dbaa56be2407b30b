"""Variables and platforms of images."""

from __future__ import annotations

import re
from collections.abc import Iterator

from envcheck.imagelint import base_image, settings
from envcheck.imagelint.faults import Fault
from envcheck.imagelint.image import Image, machine_of_platform
from envcheck.imagelint.rule import Machine, rule
from envcheck.imagelint.source import Place
from envcheck.report import Evidence, Remedy, Severity

_ARCHITECTURE_WORDS = {
    "x86_64": re.compile(
        r"Linux-x86_64\.sh|linux-64\b|[-_/]amd64\.(?:deb|tar|zip)|x86_64\.(?:deb|rpm|tar|sh|run)|linux-x64\b"
    ),
    "aarch64": re.compile(
        r"Linux-aarch64\.sh|linux-aarch64\b|[-_/]arm64\.(?:deb|tar|zip)|aarch64\.(?:deb|rpm|tar|sh|run)|linux-arm64\b"
    ),
}
"""Names of downloads that are for one architecture."""
_PUBLISHED_AS = {"x86_64": "linux/amd64", "aarch64": "linux/arm64"}


@rule(causes=["container-capabilities-missing", "visible-devices-masked"])
def image_lets_the_gpu_in(image: Image) -> Iterator[Fault]:
    """The variables that choose GPUs and driver libraries let both into the container.

    Why: NVIDIA_DRIVER_CAPABILITIES chooses which driver libraries are mounted, NVIDIA_VISIBLE_DEVICES which GPUs, and
    CUDA_VISIBLE_DEVICES what CUDA sees of them; a wrong word in one of them leaves the program on the CPU, or keeps
    the container from starting.
    If not: `compute,utility` and `all` are right for training; leave CUDA_VISIBLE_DEVICES out.
    Source: NVIDIA Container Toolkit documentation, "Specialized configurations with Docker"; CUDA C++ Programming
    Guide, "CUDA environment variables".
    """
    if not image.final:
        return
    environment = {
        name: (variable.value, Place(image.path, variable.line, variable.line))
        for name, variable in image.stage.environment.items()
    }
    yield from settings.faults_of(environment, gpu=image.for_nvidia())


@rule(causes=["container-wrong-platform"])
def image_is_for_one_platform(image: Image, machine: Machine) -> Iterator[Fault]:
    """Base, downloads, copied stages and the machine are of one architecture.

    Why: a program for another architecture ends in "exec format error", or runs many times slower under emulation.
    If not: leave `--platform` out, or give it everywhere; choose downloads by TARGETARCH.
    Source: Docker's documentation, "Multi-platform builds".
    """
    here = image.machine
    if here is None:
        return
    wanted = machine_of_platform(machine.platform or "")
    if wanted and image.final and wanted != here:
        yield Fault(
            cause="container-wrong-platform",
            severity=Severity.ERROR,
            place=image.base_place,
            title=f"the image is for {_PUBLISHED_AS[here]}, it shall run on {_PUBLISHED_AS[wanted]}",
            evidence=[
                Evidence(_from_text(image), f"{image.base_place.path}:{image.base_place.line}"),
                Evidence(f"--platform {machine.platform}"),
            ],
            remedies=[Remedy(action="Leave the platform out of FROM, and build with --platform for what is needed")],
        )
    other = "aarch64" if here == "x86_64" else "x86_64"
    for _, command in image.commands():
        # A script that asks for its own architecture takes the right one; wheels have a rule of their own.
        if not _ARCHITECTURE_WORDS[other].search(command.text) or re.search(
            r"\$|uname|dpkg --print|\.whl\b", command.text
        ):
            continue
        yield Fault(
            cause="container-wrong-platform",
            severity=Severity.ERROR,
            place=Place(image.path, command.line, command.end_line),
            title=f"fetches what is for {_PUBLISHED_AS[other]} into an image for {_PUBLISHED_AS[here]}",
            evidence=[
                Evidence(command.text[:200], f"{image.path}:{command.line}"),
                Evidence(_from_text(image), f"{image.base_place.path}:{image.base_place.line}"),
            ],
            remedies=[
                Remedy(
                    action="Choose it by the architecture that is built for",
                    commands=["ARG TARGETARCH"],
                    shell="dockerfile",
                )
            ],
        )
    yield from _copied_from_another(image, here, other)


def _copied_from_another(image: Image, here: str, other: str) -> Iterator[Fault]:
    for name, place, words in image.from_stages:
        platform = image.stage_platforms.get(name, "")
        source = machine_of_platform(platform) or base_image.read(image.stage_bases.get(name, name)).machine
        if source == other:
            yield Fault(
                cause="container-wrong-platform",
                severity=Severity.ERROR,
                place=place,
                title=f"copies from a stage for {_PUBLISHED_AS[other]} into an image for {_PUBLISHED_AS[here]}",
                evidence=[Evidence(f"COPY --from={name} {' '.join(words)}", f"{place.path}:{place.line}")],
                remedies=[Remedy(action="Give both stages one platform")],
            )


def _from_text(image: Image) -> str:
    platform = image.stage.lineage[0].platform
    return f"FROM {f'--platform={platform} ' if platform else ''}{image.base.reference}"


@rule(causes=["virtualenv-broken"])
def copied_environment_keeps_its_python(image: Image) -> Iterator[Fault]:
    """An environment that is copied from another stage finds the same Python there.

    Why: packages lie in a folder named after the Python (`lib/python3.11/site-packages`), compiled ones load in that
    series alone, and a virtual environment points at the interpreter that made it.
    If not: build both stages from the same Python.
    Source: Python's documentation, venv ("not portable"); PEP 3149.
    """
    here = image.base.python or (image.base.distribution.python3 if image.base.distribution else None)
    if here is None or not image.final:
        return
    for name, place, words in image.from_stages:
        text = " ".join(words)
        named = re.search(r"python(\d\.\d+)/(?:site|dist)-packages", text)
        if named is None and not re.search(r"venv|virtualenv", text):
            continue
        other = base_image.read(image.stage_bases.get(name, name))
        there = named[1] if named else other.python
        # A Python that is installed besides the base's may be the one that is meant.
        brought = any(re.fullmatch(rf"python{there}(?:-.*)?", package.name) for package in image.system_packages())
        uv = any(command.program in {"uv", "pyenv"} for _, command in image.commands()) or "uv" in words[0:1]
        if there and there != here and not brought and not uv:
            yield Fault(
                cause="virtualenv-broken",
                severity=Severity.ERROR,
                place=place,
                title=f"copies packages of Python {there} into an image with Python {here}: they will not be found",
                evidence=[
                    Evidence(f"COPY --from={name} {text}", f"{place.path}:{place.line}"),
                    Evidence(f"FROM {image.base.reference}", f"{image.base_place.path}:{image.base_place.line}"),
                ],
                remedies=[Remedy(action="Build both stages from the same Python")],
            )
