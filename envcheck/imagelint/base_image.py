"""What the name of an image says about what is in it.

Only repositories whose tags follow a published scheme are read; of any other image nothing is known but its name.
Sources: the image pages of python, ubuntu, debian, alpine, almalinux, rockylinux, fedora, amazonlinux and nvidia/cuda
on Docker Hub (schemes of tags); pytorch/pytorch's docker.Makefile and TensorFlow's documentation, "Docker" (schemes of
tags); code names as in each distribution's /etc/os-release (VERSION_CODENAME).
"""

from __future__ import annotations

import re
from typing import Literal

import msgspec

from envcheck.compat import python_wheels, tensorflow
from envcheck.compat.versions import parse

CODE_NAMES = {
    "stretch": ("debian", "9"),
    "buster": ("debian", "10"),
    "bullseye": ("debian", "11"),
    "bookworm": ("debian", "12"),
    "trixie": ("debian", "13"),
    "xenial": ("ubuntu", "16.04"),
    "bionic": ("ubuntu", "18.04"),
    "focal": ("ubuntu", "20.04"),
    "jammy": ("ubuntu", "22.04"),
    "noble": ("ubuntu", "24.04"),
}
_DISTRIBUTIONS = {
    "ubuntu": "ubuntu",
    "debian": "debian",
    "alpine": "alpine",
    "almalinux": "almalinux",
    "rockylinux": "rocky",
    "rockylinux/rockylinux": "rocky",
    "fedora": "fedora",
    "amazonlinux": "amzn",
    "centos": "centos",
    "oraclelinux": "ol",
    "opensuse/leap": "opensuse-leap",
    "opensuse/tumbleweed": "opensuse-tumbleweed",
    "archlinux": "arch",
    "redhat/ubi7": "rhel7",
    "redhat/ubi8": "rhel8",
    "redhat/ubi9": "rhel9",
    "redhat/ubi10": "rhel10",
    "ubi7": "rhel7",
    "ubi8": "rhel8",
    "ubi9": "rhel9",
    "ubi10": "rhel10",
    "ubi8/ubi": "rhel8",
    "ubi9/ubi": "rhel9",
    "ubi8-minimal": "rhel8",
    "ubi9-minimal": "rhel9",
}
_CUDA_SYSTEM = re.compile(r"-(ubuntu|centos|ubi|rockylinux|rhel|oraclelinux|opensuse)(\d+(?:\.\d+)?)")
_CUDA_SYSTEMS = {"ubi": "rhel", "rockylinux": "rocky", "oraclelinux": "ol"}
_ARCHITECTURES = {
    "amd64": "x86_64",
    "x86_64": "x86_64",
    "x86-64": "x86_64",
    "arm64": "aarch64",
    "arm64v8": "aarch64",
    "aarch64": "aarch64",
}
_CUDA_IN_TAG = re.compile(r"(?:^|[-_.])(?:cu|cuda)[-_]?(\d{1,2})[.-](\d{1,2})(?:\.\d+)?(?![\d])")

CONDA = frozenset(
    {
        "continuumio/miniconda3",
        "continuumio/anaconda3",
        "condaforge/miniforge3",
        "condaforge/mambaforge",
        "mambaorg/micromamba",
    }
)
WITH_TORCH = frozenset(
    {
        "pytorch/pytorch",
        "pytorch/torchserve",
        "nvcr.io/nvidia/pytorch",
        "huggingface/transformers-pytorch-gpu",
        "huggingface/text-generation-inference",
        "vllm/vllm-openai",
        "lmsysorg/sglang",
        "rocm/pytorch",
        "rocm/vllm",
        "jupyter/pytorch-notebook",
        "rayproject/ray-ml",
    }
)
"""Images that hold PyTorch, as their own pages say."""
FOR_GPU = frozenset(
    {
        "nvidia/cuda",
        "nvidia/cudagl",
        "nvcr.io/nvidia/cuda",
        "nvcr.io/nvidia/pytorch",
        "nvcr.io/nvidia/tensorflow",
        "nvcr.io/nvidia/tritonserver",
        "nvcr.io/nvidia/tensorrt",
        "nvcr.io/nvidia/nemo",
        "nvcr.io/nvidia/rapidsai/base",
        "nvcr.io/nvidia/rapidsai/notebooks",
        "rapidsai/base",
        "rapidsai/notebooks",
        "huggingface/transformers-pytorch-gpu",
        "vllm/vllm-openai",
        "lmsysorg/sglang",
    }
)
"""Images whose programs are built for NVIDIA GPUs, whatever the tag, as their own pages say."""


class BaseImage(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of an image by its name; None is unknown.

    Attributes:
        reference: as it stands in the file.
        repository: without a tag; those of Docker Hub without "docker.io/" and "library/".
        tag: empty where there is none.
        digest: empty where there is none.
        cuda: CUDA version of the toolkit or framework in it: "12.4.1", "12.1".
        flavour: of nvidia/cuda: which part of the toolkit is in it.
        cudnn: of nvidia/cuda: "8" or "9"; empty where it has none.
        distribution: with its C library and default Python.
        distribution_id: such as "alpine", also where the release is not known.
        python: series of its Python: "3.11".
        torch: version of PyTorch in it.
        tensorflow: version of TensorFlow in it.
        holds_torch: whether PyTorch is in it.
        for_nvidia: whether its programs are built for NVIDIA GPUs.
        for_processor: whether its framework is the build for the processor alone, as its tag says.
        requires_cuda: whether it has NVIDIA_REQUIRE_CUDA, so that a driver whose CUDA is older refuses to start it.
        conda: whether its Python is conda's.
        machine: "x86_64" or "aarch64" where its name says so.
    """

    reference: str
    repository: str
    tag: str
    digest: str = ""
    cuda: str | None = None
    flavour: Literal["base", "runtime", "devel"] | None = None
    cudnn: str | None = None
    distribution: python_wheels.Distribution | None = None
    distribution_id: str | None = None
    python: str | None = None
    torch: str | None = None
    tensorflow: str | None = None
    holds_torch: bool = False
    for_nvidia: bool = False
    for_processor: bool = False
    requires_cuda: bool = False
    conda: bool = False
    machine: str | None = None

    @property
    def libc(self) -> str | None:
        """The C library: "glibc" or "musl"."""
        if self.distribution_id == "alpine":
            return "musl"
        return self.distribution.libc if self.distribution else None


def taken_apart(reference: str) -> tuple[str, str, str]:
    """Return repository, tag and digest of an image's name."""
    name, _, digest = reference.partition("@")
    head, slash, last = name.rpartition("/")
    last, _, tag = last.partition(":")
    repository = f"{head}{slash}{last}"
    for prefix in (
        "docker.io/",
        "index.docker.io/",
        "registry-1.docker.io/",
        "public.ecr.aws/docker/",
        "mirror.gcr.io/",
    ):
        repository = repository.removeprefix(prefix)
    return repository.removeprefix("library/"), tag, digest


def read(reference: str) -> BaseImage:
    """Return what an image's name says."""
    repository, tag, digest = taken_apart(reference)
    architecture, _, bare = repository.partition("/")
    machine = _ARCHITECTURES.get(architecture) if bare else None
    if machine:
        repository = bare
    tail = re.search(r"[-_](amd64|x86_64|x86-64|arm64v8|arm64|aarch64)$", tag)
    machine = machine or (_ARCHITECTURES[tail[1]] if tail else None)
    known = dict[str, object]()
    plain = repository.removeprefix("quay.io/").removeprefix("ghcr.io/").removeprefix("registry.access.redhat.com/")
    if "$" in tag:
        pass
    elif repository in {"nvidia/cuda", "nvcr.io/nvidia/cuda"}:
        known = _nvidia_cuda(tag)
    elif repository == "pytorch/pytorch":
        known = _pytorch(tag)
    elif repository == "tensorflow/tensorflow":
        known = _tensorflow(tag)
    elif repository == "python":
        known = _python(tag)
    elif plain in _DISTRIBUTIONS:
        known = _distribution(_DISTRIBUTIONS[plain], tag)
    elif match := _CUDA_IN_TAG.search(tag):
        known = {"cuda": f"{match[1]}.{match[2]}"}
    known.setdefault("for_nvidia", repository in FOR_GPU)
    known.setdefault("holds_torch", plain in WITH_TORCH or repository in WITH_TORCH)
    return msgspec.convert(
        {
            "reference": reference,
            "repository": repository,
            "tag": tag,
            "digest": digest,
            "machine": machine,
            "conda": repository in CONDA,
            **known,
        },
        BaseImage,
    )


def _nvidia_cuda(tag: str) -> dict[str, object]:
    """Read `12.4.1-cudnn-devel-ubuntu22.04` and `11.8.0-cudnn8-runtime-ubuntu20.04`.

    From 12.4.1 on the tag names no major version of cuDNN, and it is 9. Source: nvidia/cuda on Docker Hub.
    """
    version = re.match(r"\d+\.\d+(?:\.\d+)?", tag)
    flavour = re.search(r"-(base|runtime|devel)(?:-|$)", tag)
    cudnn = re.search(r"-cudnn(\d*)(?:-|$)", tag)
    system = _CUDA_SYSTEM.search(tag)
    found: dict[str, object] = {"for_nvidia": True, "requires_cuda": True}
    if version:
        found["cuda"] = version[0]
        found["cudnn"] = "" if cudnn is None else cudnn[1] or "9"
    if flavour:
        found["flavour"] = flavour[1]
    if system:
        found |= _distribution(_CUDA_SYSTEMS.get(system[1], system[1]), system[2])
    return found


def _pytorch(tag: str) -> dict[str, object]:
    """Read `2.3.0-cuda12.1-cudnn8-runtime`; its Python is conda's and not named."""
    match = re.match(r"(\d+\.\d+(?:\.\d+)?)-cuda(\d+\.\d+)(?:-cudnn(\d+))?-(runtime|devel)$", tag)
    found: dict[str, object] = {"for_nvidia": True, "holds_torch": True}
    if match:
        found |= {"torch": match[1], "cuda": match[2], "flavour": match[4]}
    return found


def _tensorflow(tag: str) -> dict[str, object]:
    """Read `2.13.0-gpu`, `2.13.0-gpu-jupyter` and `2.13.0`."""
    match = re.match(r"(\d+\.\d+\.\d+)(?:-|$)", tag)
    gpu = re.search(r"(?:^|-)gpu(?:-|$)", tag) is not None
    # Tags of other builds, such as `devel` or `nightly`, are left open.
    plain = re.fullmatch(r"(?:latest|\d+\.\d+\.\d+)?(?:-jupyter)?", tag) is not None
    found: dict[str, object] = {"for_nvidia": gpu, "for_processor": plain}
    row = tensorflow.release(match[1]) if match else None
    if match:
        found["tensorflow"] = match[1]
    if row and gpu:
        found["cuda"] = row.cuda_built or row.tested_cuda
    return found


def _python(tag: str) -> dict[str, object]:
    """Read `3.11-slim-bookworm`, `3.12-alpine3.20`, `3.11.4`; `latest` and `3` say no series."""
    found: dict[str, object] = {}
    match = re.match(r"(\d+)\.(\d+)", tag)
    if match:
        found["python"] = f"{match[1]}.{match[2]}" + ("t" if re.match(r"[\d.]+t(?:-|$)", tag) else "")
    alpine = re.search(r"alpine([\d.]*)", tag)
    if alpine:
        return found | _distribution("alpine", alpine[1])
    named = next((name for name in CODE_NAMES if name in tag), None)
    return found | (_distribution(*CODE_NAMES[named]) if named else {})


def _distribution(identifier: str, tag: str) -> dict[str, object]:
    match = re.fullmatch(r"rhel(\d+)", identifier)
    if match:
        identifier, tag = "rhel", match[1]
    named = next((CODE_NAMES[name] for name in CODE_NAMES if name in tag), None)
    version = re.match(r"(?:centos|[a-z]+-)?(\d+(?:\.\d+)*)", tag)
    identifier, release = named or (identifier, version[1] if version else None)
    row = python_wheels.distribution(identifier, release)
    return {"distribution_id": row.id if row else identifier, "distribution": row}


def cuda_series(image: BaseImage) -> str | None:
    """Return "12.4" of an image with CUDA 12.4.1; None where it has none, or it is not known."""
    version = parse(image.cuda)
    return None if version is None else f"{version.major}.{version.minor}"
