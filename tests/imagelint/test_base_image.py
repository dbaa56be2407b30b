"""What the names of images say."""

from __future__ import annotations

import pytest

from envcheck.imagelint.base_image import read


@pytest.mark.parametrize(
    ("reference", "expected"),
    [
        (
            "nvidia/cuda:12.4.1-cudnn-devel-ubuntu22.04",
            {"cuda": "12.4.1", "flavour": "devel", "cudnn": "9", "distribution_id": "ubuntu", "requires_cuda": True},
        ),
        ("nvidia/cuda:11.8.0-cudnn8-runtime-ubuntu20.04", {"cudnn": "8", "flavour": "runtime"}),
        ("nvcr.io/nvidia/cuda:12.2.0-base-ubi8", {"cudnn": "", "flavour": "base", "distribution_id": "rhel"}),
        ("docker.io/nvidia/cuda:12.2.0-base-rockylinux9", {"distribution_id": "rocky", "repository": "nvidia/cuda"}),
        ("pytorch/pytorch:2.3.0-cuda12.1-cudnn8-runtime", {"torch": "2.3.0", "cuda": "12.1", "holds_torch": True}),
        ("tensorflow/tensorflow:2.13.0-gpu-jupyter", {"tensorflow": "2.13.0", "cuda": "11.8", "for_nvidia": True}),
        ("tensorflow/tensorflow:2.13.0", {"cuda": None, "for_nvidia": False}),
        ("python:3.11-slim-bookworm", {"python": "3.11", "libc": "glibc", "distribution_id": "debian"}),
        ("python:3.12.4-alpine3.20", {"python": "3.12", "libc": "musl"}),
        ("python:3.12-alpine", {"libc": "musl"}),
        ("python:3.11-slim", {"python": "3.11", "distribution_id": None}),
        ("python:3", {"python": None}),
        ("python:3.13.0t", {"python": "3.13t"}),
        ("ubuntu:jammy-20240808", {"distribution_id": "ubuntu", "libc": "glibc"}),
        ("debian:bookworm-slim", {"distribution_id": "debian"}),
        ("public.ecr.aws/docker/library/python:3.10", {"python": "3.10", "repository": "python"}),
        ("registry.example.com:5000/team/app:1.0", {"repository": "registry.example.com:5000/team/app", "tag": "1.0"}),
        ("arm64v8/python:3.11", {"machine": "aarch64", "python": "3.11"}),
        ("team/app:1.2-amd64", {"machine": "x86_64"}),
        ("team/app:v3-cu118", {"cuda": None}),
        ("ghcr.io/team/app:cuda12.1-v2", {"cuda": "12.1"}),
        ("python@sha256:abc", {"python": None, "digest": "sha256:abc"}),
        ("nvidia/cuda:${TAG}", {"cuda": None, "for_nvidia": True}),
        ("registry.access.redhat.com/ubi9/ubi:9.4", {"distribution_id": "rhel"}),
    ],
)
def test_a_name_says_this_much_and_no_more(reference: str, expected: dict[str, object]) -> None:
    image = read(reference)
    assert {name: getattr(image, name) for name in expected} == expected
