"""TensorFlow's log lines: devices, library versions, driver versions."""

from __future__ import annotations

import re
from collections.abc import Iterator

from envcheck.facts import ComputeDevice, Gpu
from envcheck.triage.paste import Paste
from envcheck.triage.pieces import Piece
from envcheck.triage.rules import Rule, Values, always, apply, taking


def recognise(paste: Paste) -> Iterator[Piece]:
    """Yield what TensorFlow logged about devices and libraries."""
    yield from apply(RULES, paste)


def _device(found: re.Match[str]) -> Values:
    device = ComputeDevice(
        name=f"/physical_device:GPU:{found['index']}",
        kind="cuda",
        model=found["name"],
        compute_capability=found["capability"],
    )
    return {"name": "tensorflow", "state": "ok", "sees_gpu": True, "accelerator": "cuda", "devices": [device]}


def _gpu(found: re.Match[str]) -> Values:
    gpu = Gpu(index=int(found["index"]), name=found["name"], compute_capability=found["capability"])
    # A card whose properties can be read has a driver that works.
    return {"gpus": [gpu], "gpus_complete": False, "state": "ok"}


def _properties(found: re.Match[str]) -> Values:
    return {"gpus": [Gpu(index=0, name=found["name"], compute_capability=found["capability"])], "gpus_complete": False}


def _cudnn(found: re.Match[str]) -> Values:
    number = int(found["number"])
    if number >= 90000:  # noqa: PLR2004 - 91002 is 9.10.2, 8907 is 8.9.7
        version = f"{number // 10000}.{number // 100 % 100}.{number % 100}"
    else:
        version = f"{number // 1000}.{number // 100 % 10}.{number % 100}"
    return {"name": "tensorflow", "cudnn": version}


CREATED = (
    r"Created (?:TensorFlow )?device \(?/(?:job:localhost/replica:0/task:0/)?device:GPU:\d+ with \d+ MB memory\)?:?"
    r"\s+-> (?:physical GPU \()?device: (?P<index>\d+), name: (?P<name>[^,]{2,60}), .{0,80}"
    r"compute capability: (?P<capability>\d+\.\d+)"
)

RULES = (
    Rule("Created ", CREATED, "tensorflow", _device),
    Rule("Created ", CREATED, "nvml", _gpu),
    Rule(
        "computeCapability",
        r"name: (?P<name>[A-Z][^:]{2,60}?) (?:major: \d+ .{0,40})?computeCapability: (?P<capability>\d+\.\d+)",
        "nvml",
        _properties,
    ),
    Rule("Loaded cuDNN version", r"Loaded cuDNN version (?P<number>\d{4,6})", "tensorflow", _cudnn),
    Rule(
        "opened dynamic library libcudart",
        r"opened dynamic library (?:libcudart\.so\.|cudart64_)(?P<version>1\d\.\d)",
        "tensorflow",
        lambda found: {"name": "tensorflow", "accelerator": "cuda", "cuda": found["version"]},
    ),
    Rule(
        "Skipping registering GPU devices",
        r"Skipping registering GPU devices",
        "tensorflow",
        always(name="tensorflow", state="ok", sees_gpu=False, accelerator="cuda"),
    ),
    Rule(
        "cuda_version",
        r"['\"]cuda_version['\"][:,] ['\"](?P<version>\d{1,2}\.\d)",
        "tensorflow",
        lambda found: {"name": "tensorflow", "accelerator": "cuda", "cuda": found["version"]},
    ),
    Rule(
        "is_cuda_build",
        r"['\"]is_cuda_build['\"][:,] (?P<is>True|False)",
        "tensorflow",
        lambda found: {"name": "tensorflow", "accelerator": "cuda" if found["is"] == "True" else "cpu", "state": "ok"},
    ),
    Rule(
        "Num GPUs Available",
        r"Num GPUs Available:\s+(?P<count>\d{1,3})\b",
        "tensorflow",
        lambda found: {"name": "tensorflow", "state": "ok", "sees_gpu": found["count"] != "0"},
    ),
    Rule(
        "Could not find cuda drivers on your machine",
        r"Could not find cuda drivers on your machine",
        "tensorflow",
        always(name="tensorflow", sees_gpu=False),
    ),
    Rule(
        "TensorFlow version",
        r"\bTensorFlow version:? +(?P<version>[12]\.\d{1,2}\.\d{1,2}\S{0,8})",
        "tensorflow",
        taking(version="version"),
    ),
)
