"""What PyTorch and NCCL say about cards, drivers and versions in warnings and errors.

Source of the wordings: torch/cuda/__init__.py, c10/cuda/CUDACachingAllocator.cpp, and NCCL's init.cc.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from envcheck.facts import Gpu
from envcheck.triage.paste import Paste
from envcheck.triage.pieces import Piece
from envcheck.triage.recognisers.resources import size
from envcheck.triage.rules import Rule, Values, apply


def recognise(paste: Paste) -> Iterator[Piece]:
    """Yield what PyTorch and NCCL say of the machine."""
    yield from apply(RULES, paste)


def capability(digits: str) -> str:
    """Return `12.0` for the `120` of sm_120."""
    return f"{digits[:-1]}.{digits[-1]}"


def _incompatible(found: re.Match[str]) -> Values:
    gpu = Gpu(index=0, name=found["name"].strip(), compute_capability=capability(found["digits"]))
    # A card whose properties can be read has a driver that works.
    return {"gpus": [gpu], "gpus_complete": False, "state": "ok"}


def _architectures(found: re.Match[str]) -> Values:
    names = re.findall(r"(?:sm|compute)_\d{2,3}[af]?", found["names"])
    return {"name": "torch", "accelerator": "cuda", "architectures": names} if names else {}


def _old_card(found: re.Match[str]) -> Values:
    gpu = Gpu(index=int(found["index"]), name=found["name"].strip(), compute_capability=found["capability"])
    return {"gpus": [gpu], "gpus_complete": False, "state": "ok"}


def _driver_cuda(found: re.Match[str]) -> Values:
    number = int(found["number"])
    return {"cuda_version": f"{number // 1000}.{number // 10 % 100}"}


def _memory(found: re.Match[str]) -> Values:
    gpu = Gpu(index=int(found["index"]), memory_total_bytes=size(found["total"].replace(" ", "")))
    return {"gpus": [gpu], "gpus_complete": False}


def _nccl(found: re.Match[str]) -> Values:
    return {"name": "torch", "nccl": found["version"]}


def _built(found: re.Match[str]) -> Values:
    return {"name": "torch", "accelerator": "cuda", "cuda": found["version"]}


def _with_cudnn(found: re.Match[str]) -> Values:
    return {"name": "torch", "cudnn": found["version"]}


def _architectures_built(found: re.Match[str]) -> Values:
    """Read `-gencode;arch=compute_86,code=sm_86`, as `torch.__config__.show()` prints the build."""
    names = re.findall(r"code=((?:sm|compute)_\d{2,3}[af]?)", found["names"])
    return {"name": "torch", "accelerator": "cuda", "architectures": names} if names else {}


RULES = (
    Rule(
        "with CUDA capability sm_",
        r"(?P<name>[A-Z][\w .()/-]{3,60}?) with CUDA capability sm_(?P<digits>\d{2,3}) is not compatible",
        "nvml",
        _incompatible,
    ),
    Rule(
        "supports CUDA capabilities",
        r"supports CUDA capabilities (?P<names>(?:(?:sm|compute)_\d{2,3}[af]?[ .,]{0,2}){1,30})",
        "torch",
        _architectures,
    ),
    Rule(
        "which is of cuda capability",
        r"Found GPU(?P<index>\d{1,2}) (?P<name>.{3,60}?) which is of cuda capability (?P<capability>\d{1,2}\.\d)",
        "nvml",
        _old_card,
    ),
    Rule(
        "driver on your system is too old",
        r"driver on your system is too old \(found version (?P<number>\d{4,5})\)",
        "nvml",
        _driver_cuda,
    ),
    Rule(
        "has a total capa",
        r"GPU (?P<index>\d{1,2}) has a total capaci?ty of (?P<total>\d{1,4}\.\d{1,2} [GM])iB",
        "nvml",
        _memory,
    ),
    Rule(
        "total capacity;",
        r"\(GPU (?P<index>\d{1,2}); (?P<total>\d{1,4}\.\d{1,2} [GM])iB total capacity;",
        "nvml",
        _memory,
    ),
    Rule("CUDA Runtime ", r"^\s*- CUDA Runtime (?P<version>\d{1,2}\.\d)", "torch", _built),
    Rule("CuDNN ", r"^\s*- CuDNN (?P<version>\d{1,2}\.\d{1,2}(?:\.\d{1,2})?)", "torch", _with_cudnn),
    Rule("NVCC architecture flags", r"NVCC architecture flags: (?P<names>\S.{5,2000})", "torch", _architectures_built),
    Rule("NCCL version ", r"\bNCCL version (?P<version>\d\.\d{1,2}\.\d{1,2})(?:\+cuda\d+\.\d+)?", "torch", _nccl),
)
