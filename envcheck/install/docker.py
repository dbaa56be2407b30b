"""Docker as a program: what it is asked, and what its failures mean."""

from __future__ import annotations

import re
from collections.abc import Callable

import msgspec

from envcheck.install import child, faults
from envcheck.install.faults import Fault, FaultError
from envcheck.plan import Plan
from envcheck.system import System

ANSWER_SECONDS = 30.0
"""What a daemon that is well needs to answer a question is far below a second."""

REMOVAL_SECONDS = 300.0
"""Images have gigabytes."""

OWNER = "envcheck.project"
"""Label with a digest of the project's folder: images have one name space for the whole machine."""


def program(system: System) -> str:
    """Return the path of docker.

    Raises:
        FaultError: it is not on PATH.
    """
    found = system.which("docker")
    if found is None:
        raise FaultError(
            Fault(
                kind="no-docker",
                step="prepare",
                sentence="there is no docker on PATH",
                change="Docker Engine (Debian and Ubuntu: docker.io), or --installer uv",
            )
        )
    return found


def ask(docker: str, *arguments: str, seconds: float = ANSWER_SECONDS) -> child.Ended:
    """Run docker and return how it ended; nothing of it is shown."""
    return child.run([docker, *arguments], {}, lambda _: None, seconds)


def check_daemon(docker: str, plan: Plan) -> None:
    """Make sure that the daemon answers.

    Raises:
        FaultError: it does not.
    """
    ended = ask(docker, "version", "--format", "{{.Server.Version}}")
    if ended.outcome == "timeout":
        raise FaultError(
            Fault(
                kind="no-daemon",
                step="image",
                sentence=f"Docker's daemon did not answer within {ANSWER_SECONDS:g} s",
                change="sudo systemctl restart docker",
            )
        )
    if not ended.good:
        raise FaultError(fault_of(ended.output, "image", plan))


def owner(docker: str, image: str) -> str | None:
    """Return whose an image is, as its label says; empty where it says nothing, None where there is no such image."""
    ended = ask(docker, "image", "inspect", "--format", f'{{{{index .Config.Labels "{OWNER}"}}}}', image)
    if not ended.good:
        return None
    said = ended.output.strip()
    return "" if said == "<no value>" else said


def tag(docker: str, image: str, name: str) -> None:
    """Give an image another name; in one step, as the daemon does it.

    Raises:
        FaultError: the daemon does not answer, or the image is gone.
    """
    ended = ask(docker, "tag", image, name)
    if not ended.good:
        raise FaultError(_failed(ended, f"{image} cannot be tagged {name}"))


def remove(docker: str, images: list[str]) -> None:
    """Remove images; one that is gone already is none the less gone.

    Raises:
        FaultError: the daemon does not answer, or a container still uses one.
    """
    for image in images:
        ended = ask(docker, "image", "rm", image, seconds=REMOVAL_SECONDS)
        if not ended.good and not re.search("no such image", ended.output, re.IGNORECASE):
            raise FaultError(_failed(ended, f"{image} cannot be removed"))


def _failed(ended: child.Ended, sentence: str) -> Fault:
    known = _known(ended.output, "image")
    last = ended.output.strip().splitlines()[-1:] or [ended.outcome]
    return known or Fault(
        kind="docker-failed", step="image", sentence=f"{sentence}: {last[0]}", change="docker's own words say what"
    )


def fault_of(output: str, step: str, plan: Plan) -> Fault:
    """Return the fault that docker's words stand for, or those of the installer that ran inside."""
    # BuildKit puts its step's number and the seconds before each line.
    text = re.sub(r"^#\d+ (?:\d+\.\d+ )?", "", output, flags=re.MULTILINE)
    known = _known(text, step)
    if known is not None:
        return known
    found = faults.of_output(text, step, plan)
    words = [line for line in found.evidence if line.startswith(("ERROR:", "error:", "envcheck:"))]
    if found.kind == "installer-failed" and words:
        return msgspec.structs.replace(found, sentence=f"the image could not be built: {words[0]}")
    return found


def _known(text: str, step: str) -> Fault | None:
    flat = re.sub(r"\s+", " ", text)
    evidence = tuple(line for line in text.splitlines() if line.strip())[-faults.KEPT_LINES :]
    for kind, pattern, explain in RULES:
        found = re.search(pattern, flat, re.IGNORECASE)
        if found:
            sentence, change = explain(found)
            return Fault(kind=kind, step=step, sentence=sentence, change=change, evidence=evidence)
    return None


def _base(found: re.Match[str]) -> tuple[str, str]:
    return f"the base image {found[1]} cannot be had", "--base-image with one that is here or that a registry gives you"


RULES: tuple[tuple[str, str, Callable[[re.Match[str]], tuple[str, str]]], ...] = (
    (
        "docker-forbidden",
        r"permission denied while trying to connect to the docker",
        lambda _: ("you may not talk to Docker's daemon", "sudo usermod -aG docker $USER, then log in anew"),
    ),
    (
        "no-daemon",
        r"cannot connect to the docker daemon|is the docker daemon running|failed to connect to the docker api",
        lambda _: ("Docker's daemon does not answer", "sudo systemctl start docker; or Docker Desktop, started"),
    ),
    (
        "no-buildkit",
        r"requires buildkit|buildx component is missing|unknown flag: --(?:secret|progress)",
        lambda _: ("this docker builds without BuildKit", "Docker 23 or newer with its plug-in buildx"),
    ),
    (
        "disk-full",
        r"no space left on device|disk quota exceeded",
        lambda _: (
            "the disk of Docker's images is full",
            "docker system df shows what takes the room; docker builder prune and docker image prune free it",
        ),
    ),
    ("no-base-image", r"([\w./:@-]+): failed to resolve source metadata", _base),
    ("no-base-image", r"failed to resolve source metadata for ([\w./:@-]+)", _base),
    ("no-base-image", r"pull access denied for ([\w./:@-]+)", _base),
    (
        "wrong-base-image",
        r"(the locks are made for python [\d.]+, and base_image has python [\d.]+|base_image lacks:[^,]*)",
        lambda found: (found[1], "--base-image with Python 3.11, such as python:3.11-slim-bookworm"),
    ),
    (
        "no-gpu-in-containers",
        r"could not select device driver|nvidia-container-cli",
        lambda _: (
            "Docker cannot give containers the GPU",
            "NVIDIA's container toolkit: sudo nvidia-ctk runtime configure --runtime=docker, then restart docker",
        ),
    ),
)
"""Kind, what docker says (Engine 20.10 to 28, BuildKit 0.8 to 0.21), what happened and what would change it; the first
fit counts."""
