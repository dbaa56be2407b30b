"""CUDA for developers: nvcc, version.json, compilers, cuDNN libraries that were found on disk."""

from __future__ import annotations

import re
from collections.abc import Iterator

from envcheck.facts import Library, Toolkit
from envcheck.triage.paste import Paste
from envcheck.triage.pieces import Piece
from envcheck.triage.rules import Rule, Values, always, apply, taking


def recognise(paste: Paste) -> Iterator[Piece]:
    """Yield toolkits, compilers and cuDNN."""
    yield from apply(RULES, paste)
    for command in paste.commands:
        if re.fullmatch(r"which nvcc", command.text) and command.output:
            path = command.output[0].text.strip()
            if re.fullmatch(r"/\S{1,200}/nvcc", path):
                yield Piece("toolkits", {"nvcc_path": path}, command.output[0].source)


def _folder(found: re.Match[str]) -> Values:
    return {"toolkits": [Toolkit(path=found["path"], version=found["version"])]}


def _cudnn(found: re.Match[str]) -> Values:
    return {
        "cudnn": [
            Library(
                name=f"libcudnn.so.{found['version'].partition('.')[0]}", path=found["path"], version=found["version"]
            )
        ]
    }


RULES = (
    Rule(
        "Cuda compilation tools",
        r"Cuda compilation tools, release (?P<version>\d+\.\d+)",
        "toolkits",
        taking(nvcc_version="version"),
    ),
    Rule(
        "nvcc",
        r"(?:nvcc: (?:command )?not found|command not found: nvcc|Command 'nvcc' not found|'nvcc' is not recognized)",
        "toolkits",
        always(nvcc_path=""),
    ),
    Rule("CUDA Version ", r"^CUDA Version (?P<version>\d+\.\d+\.\d+)$", "containers", taking(image_cuda="version")),
    Rule("/usr/local/cuda-", r"(?P<path>/usr/local/cuda-(?P<version>\d{1,2}\.\d{1,2}))\b", "toolkits", _folder),
    Rule(
        "gcc",
        r"^gcc(?:-\d+)? \([^)]{1,80}\) (?P<version>\d+\.\d+(?:\.\d+)?)",
        "toolkits",
        lambda found: {"host_compiler": f"gcc {found['version']}"},
    ),
    Rule("libcudnn.so.", r"(?P<path>/\S{0,200}libcudnn\.so\.(?P<version>\d+\.\d+\.\d+))\b", "toolkits", _cudnn),
)
