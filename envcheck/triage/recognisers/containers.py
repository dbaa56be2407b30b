"""Containers: docker and podman commands, compose files, Dockerfiles, `docker info`, daemon.json, prompts inside."""

from __future__ import annotations

import re
from collections.abc import Iterator

from envcheck.triage.paste import Paste
from envcheck.triage.pieces import Piece
from envcheck.triage.rules import Rule, always, apply, taking

RUN = r"(?:^|[\s$#;&|])(?P<tool>docker|podman|nerdctl)(?:\.exe)? (?:container )?(?:run|create)\b(?P<rest>.{0,2000})"
ASKS = (
    r"--gpus\b|--runtime[= ]\"?nvidia|--device[= ]\"?(?:nvidia\.com/gpu|/dev/nvidia|/dev/dxg"
    r"|/dev/kfd)|\bnvidia-docker\b"
)
IMAGE = (
    r"(?<![\w./-])(?P<image>(?:[\w.-]{1,60}(?::\d{2,5})?/){0,4}[a-z0-9][\w.-]{0,60}:(?P<tag>[\w][\w.-]{0,80}))"
    r"(?=[\s'\"]|$)"
)
CUDA_TAG = r"(?:cuda[:-]?|^)(?P<version>\d{1,2}\.\d{1,2})(?:\.\d{1,2})?(?=-|$)"
CONTINUED = r"\s\\$|\s`$"


def recognise(paste: Paste) -> Iterator[Piece]:
    """Yield how containers were started, and how Docker is configured."""
    yield from apply(RULES, paste)
    yield from _runs(paste)
    yield from _files(paste)


def _runs(paste: Paste) -> Iterator[Piece]:
    lines = paste.lines
    for place, line in enumerate(lines):
        if " run" not in line.text and " create" not in line.text:
            continue
        found = re.search(RUN, line.text)
        if not found:
            continue
        text, after = line.text, place + 1
        while re.search(CONTINUED, text) and after < min(len(lines), place + 40):
            text = text[:-1] + " " + lines[after].text.strip()
            after += 1
        values: dict[str, object] = {"gpu_requested": re.search(ASKS, text) is not None}
        if image := re.search(IMAGE, text[found.start("rest") :].replace("=", " ")):
            values |= {"image": image["image"], "image_cuda": _cuda(image["image"])}
        yield Piece("containers", values, line.source)


def _cuda(image: str) -> str | None:
    """Return the CUDA version that an image's tag names, such as `12.4` of nvidia/cuda:12.4.1-base-ubuntu22.04."""
    name, _, tag = image.rpartition(":")
    found = re.search(
        CUDA_TAG, tag if re.search(r"(?:^|/)cuda$", name) else tag[tag.find("cuda") :] if "cuda" in tag else ""
    )
    return found["version"] if found else None


RESERVATION = (
    r"^\s+(?:- )?(?:capabilities:.{0,40}gpu|driver: [\"']?nvidia|runtime: [\"']?nvidia|gpus: |- gpu$)"
    r"|nvidia\.com/gpu[\"']?: ?[\"']?[1-9]"
)
SERVICES = r"^services:\s*$"
IMAGE_LINE = r"^\s*(?:image: |FROM (?:--platform=\S+ )?)[\"']?(?P<image>[\w./:@-]{3,160})"


def _files(paste: Paste) -> Iterator[Piece]:
    """Read compose files and Dockerfiles: the image, and whether the GPU is reserved."""
    services = next((line.source for line in paste.lines if re.match(SERVICES, line.text)), "")
    if services:
        asked = any(re.search(RESERVATION, line.text) for line in paste.lines)
        yield Piece("containers", {"gpu_requested": asked}, services)
    for line in paste.lines:
        if ("image: " in line.text or "FROM " in line.text) and (found := re.match(IMAGE_LINE, line.text)):
            values = {"image": found["image"], "image_cuda": _cuda(found["image"])}
            yield Piece("containers", values, line.source)


RULES = (
    Rule(
        "Runtimes:",
        r"^\s*Runtimes: (?P<names>[\w. -]{3,200})$",
        "containers",
        lambda found: {"runtimes": found["names"].split()},
    ),
    Rule("Default Runtime:", r"^\s*Default Runtime: (?P<name>\S{2,60})", "containers", taking(default_runtime="name")),
    Rule(
        "default-runtime",
        r"\"default-runtime\": ?\"(?P<name>[\w.-]{2,60})\"",
        "containers",
        taking(default_runtime="name"),
    ),
    Rule(
        "nvidia-container-runtime",
        r"\"path\": ?\"(?:/usr/bin/)?nvidia-container-runtime\"",
        "containers",
        always(runtimes=["nvidia"]),
    ),
    Rule("nvidia-ctk: command not found", r"nvidia-ctk: command not found", "containers", always(toolkit_path="")),
    Rule("docker: command not found", r"docker: command not found", "containers", always(docker_path="")),
    Rule(
        "NVIDIA Container Toolkit CLI version",
        r"^NVIDIA Container Toolkit CLI version",
        "containers",
        always(toolkit_path="nvidia-ctk"),
    ),
    Rule("/.dockerenv", r"^/\.dockerenv$", "platform", always(container="docker")),
    Rule("root@", r"^(?:\([\w.-]{1,40}\) ?)?root@[0-9a-f]{12}:", "platform", always(container="docker")),
    Rule("KUBERNETES_SERVICE_HOST=", r"^KUBERNETES_SERVICE_HOST=", "platform", always(container="kubernetes")),
    Rule("== CUDA ==", r"^== CUDA ==$", "platform", always(container="docker")),
    Rule("NVIDIA Release", r"^NVIDIA Release \d\d\.\d\d \(build", "platform", always(container="docker")),
    Rule("Apptainer> ", r"^Apptainer> ", "platform", always(container="apptainer")),
    Rule("Singularity> ", r"^Singularity> ", "platform", always(container="apptainer")),
)
