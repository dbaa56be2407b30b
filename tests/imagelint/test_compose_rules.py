"""Faulty compose files: each fault is named, with its line and how grave it is."""

from __future__ import annotations

import pathlib

import pytest
from linting import faults, seen

E, W, N = "error", "warning", "note"
GPU = """\
    deploy:
      resources:
        reservations:
          devices:
            - driver: nvidia
              count: 1
              capabilities: [gpu]
"""
TRAIN = "services:\n  train:\n    image: pytorch/pytorch:2.6.0-cuda12.4-cudnn9-runtime\n"
HEALTHY = f"{TRAIN}    shm_size: 8gb\n{GPU}"

FAULTY: dict[str, tuple[str, list[tuple[str, int, str]]]] = {
    "no GPU asked for": (
        "services:\n  a:\n    image: redis\n  b:\n    image: nvidia/cuda:12.4.1-runtime-ubuntu22.04\n",
        [("service-with-cuda-asks-for-a-gpu", 4, W)],
    ),
    "a GPU that a variable alone is to bring": (
        "services:\n  a:\n    image: team/app\n    environment: [NVIDIA_VISIBLE_DEVICES=all]\n",
        [("service-with-cuda-asks-for-a-gpu", 2, W)],
    ),
    "a GPU for an image that cannot use it": (
        f"services:\n  a:\n    image: tensorflow/tensorflow:2.17.0-jupyter\n{GPU}",
        [("gpu-of-a-service-is-used", 3, W)],
    ),
    "too little shared memory": (f"{TRAIN}{GPU}", [("service-has-enough-shared-memory", 2, W)]),
    "shared memory that is no more than the default": (
        f"{TRAIN}    shm_size: 64m\n{GPU}",
        [("service-has-enough-shared-memory", 4, W)],
    ),
    "a reservation without capabilities": (
        HEALTHY.replace("              capabilities: [gpu]\n", ""),
        [("gpu-reservation-is-complete", 9, E)],
    ),
    "a capability that there is none of": (
        HEALTHY.replace("[gpu]", "[cuda]"),
        [("gpu-reservation-is-complete", 11, E)],
    ),
    "capabilities that are no list": (HEALTHY.replace("[gpu]", "gpu"), [("gpu-reservation-is-complete", 11, E)]),
    "count and ids at once": (
        HEALTHY.replace("count: 1\n", 'count: 1\n              device_ids: ["0"]\n'),
        [("gpu-reservation-is-complete", 11, E)],
    ),
    "ids that are numbers": (
        HEALTHY.replace("count: 1\n", "device_ids: [0]\n"),
        [("gpu-reservation-is-complete", 10, E)],
    ),
    "a count that is a word": (HEALTHY.replace("count: 1", "count: one"), [("gpu-reservation-is-complete", 10, E)]),
    "devices under limits": (
        HEALTHY.replace("reservations:", "limits:"),
        [("service-with-cuda-asks-for-a-gpu", 2, W), ("gpu-reservation-is-complete", 8, E)],
    ),
    "the old runtime": (
        f"{TRAIN}    shm_size: 8gb\n    runtime: nvidia\n",
        [("gpu-is-asked-for-in-the-present-way", 5, N)],
    ),
    "device files alone": (
        f"{TRAIN}    ipc: host\n    devices:\n      - /dev/nvidia0:/dev/nvidia0\n",
        [("gpu-is-asked-for-in-the-present-way", 6, W)],
    ),
    "more shared memory than memory": (
        f"{HEALTHY}    mem_limit: 4g\n",
        [("shared-memory-fits-the-memory-limit", 12, W)],
    ),
    "capabilities without compute": (
        f"{HEALTHY}    environment:\n      - NVIDIA_DRIVER_CAPABILITIES=video\n",
        [("service-lets-the-gpu-in", 13, E)],
    ),
    "a GPU that is counted from the host's zero": (
        f'{HEALTHY}    environment:\n      CUDA_VISIBLE_DEVICES: "1"\n',
        [("service-lets-the-gpu-in", 13, E)],
    ),
    "a platform that the image is not for": (
        "services:\n  a:\n    image: team/app:1-amd64\n    platform: linux/arm64\n",
        [("service-is-for-one-platform", 4, E)],
    ),
    "a GPU for Swarm alone": (
        (
            f"{TRAIN}    ipc: host\n    gpus: all\n  b:\n    image: x\n    deploy:\n      resources:\n"
            "        reservations:\n"
            "          generic_resources: [{discrete_resource_spec: {kind: NVIDIA-GPU, value: 1}}]\n"
        ),
        [("service-file-is-for-one-machine", 11, N)],
    ),
}


@pytest.mark.parametrize("name", FAULTY)
def test_a_faulty_compose_file_is_told_its_fault(name: str, tmp_path: pathlib.Path) -> None:
    text, expected = FAULTY[name]
    found = faults(tmp_path, {"compose.yaml": text})
    assert seen(found) == expected
    for fault in found:
        assert fault.remedies, fault.rule


HEALTHY_FILES = {
    "a reservation and shared memory": HEALTHY,
    "the host's shared memory": f"{TRAIN}    ipc: host\n{GPU}",
    "a mounted shared memory": f"{TRAIN}    tmpfs: ['/dev/shm:size=8g']\n{GPU}",
    "the newer key for GPUs": f"{TRAIN}    shm_size: '8gb'\n    gpus: all\n",
    "capabilities of NVIDIA's driver": HEALTHY.replace("[gpu]", "[compute, utility]"),
    "a device of the container device interface": f"{TRAIN}    shm_size: 8gb\n    devices: ['nvidia.com/gpu=all']\n",
    "a service for the processor": "services:\n  app-cpu:\n    image: nvidia/cuda:12.4.1-base-ubuntu22.04\n",
    "an image that another service runs with the GPU": f"{HEALTHY}  board:\n"
    "    image: pytorch/pytorch:2.6.0-cuda12.4-cudnn9-runtime\n    ipc: host\n    command: tensorboard\n",
    "a shared part": f"x-gpu: &gpu\n{GPU}    shm_size: 8gb\nservices:\n  a:\n    <<: *gpu\n"
    "    image: pytorch/pytorch:2.6.0-cuda12.4-cudnn9-runtime\n",
    "a service that extends another": f"{HEALTHY}  more:\n    extends: train\n    command: python train.py\n",
    "nothing to do with GPUs": "services:\n  web:\n    image: nginx\n    shm_size: 64m\n",
    "visible devices within what is given": HEALTHY.replace("count: 1", "count: 2")
    + '    environment: {CUDA_VISIBLE_DEVICES: "0,1"}\n',
    "a chosen UUID": f"{HEALTHY}    environment: {{NVIDIA_VISIBLE_DEVICES: GPU-fef8089b}}\n",
    "a count from the shell": HEALTHY.replace("count: 1", "count: ${GPUS:-1}"),
}


@pytest.mark.parametrize("name", HEALTHY_FILES)
def test_a_healthy_compose_file_is_left_alone(name: str, tmp_path: pathlib.Path) -> None:
    assert seen(faults(tmp_path, {"compose.yaml": HEALTHY_FILES[name]})) == []


def test_shared_memory_of_the_build_alone_is_no_shared_memory(tmp_path: pathlib.Path) -> None:
    files = {
        "compose.yaml": f"services:\n  train:\n    build:\n      context: .\n      shm_size: 8gb\n{GPU}",
        "Dockerfile": "FROM python:3.11\nRUN pip install torch==2.6.0\nCMD python train.py\n",
    }
    (fault,) = faults(tmp_path, files, "compose.yaml")
    assert (fault.rule, fault.place.line) == ("service-has-enough-shared-memory", 5)


def test_the_dockerfile_beside_says_what_a_service_holds(tmp_path: pathlib.Path) -> None:
    files = {
        "compose.yaml": "services:\n  train:\n    build: ./app\n    command: torchrun train.py\n",
        "app/Dockerfile": "FROM nvidia/cuda:12.4.1-runtime-ubuntu22.04\nCOPY requirements.txt .\n"
        "RUN pip install -r requirements.txt\n",
        "app/requirements.txt": "torch==2.6.0\n",
    }
    rules = {fault.rule for fault in faults(tmp_path, files, "compose.yaml")}
    assert rules == {"service-with-cuda-asks-for-a-gpu", "service-has-enough-shared-memory"}


def test_a_dockerfile_elsewhere_and_its_stage_and_arguments_are_found(tmp_path: pathlib.Path) -> None:
    files = {
        "compose.yaml": "services:\n  a:\n    build:\n      context: .\n      dockerfile: docker/Dockerfile.gpu\n"
        "      target: run\n      args: {BASE: 'nvidia/cuda:12.4.1-base-ubuntu22.04'}\n",
        "docker/Dockerfile.gpu": "ARG BASE=debian:12\nFROM ${BASE} AS run\nFROM debian:12\n",
    }
    assert [fault.rule for fault in faults(tmp_path, files, "compose.yaml")] == ["service-with-cuda-asks-for-a-gpu"]


def test_a_gpu_that_is_asked_for_in_a_file_beside_is_seen(tmp_path: pathlib.Path) -> None:
    files = {
        "docker-compose.yml": f"{TRAIN}    ipc: host\n",
        "docker-compose.gpu.yml": f"services:\n  train:\n{GPU}",
    }
    assert faults(tmp_path, files) == []


def test_variables_come_from_the_file_of_the_folder_and_from_the_shell(tmp_path: pathlib.Path) -> None:
    files = {
        "compose.yaml": "services:\n  a:\n    image: nvidia/cuda:${TAG}\n",
        ".env": "TAG=12.4.1-base-ubuntu22.04\n",
    }
    assert faults(tmp_path, files, "compose.yaml", driver="550.54.15")[0].rule == "service-with-cuda-asks-for-a-gpu"
    old = faults(tmp_path, files, "compose.yaml", driver="550.54.15", environment={"TAG": "13.0.0-runtime-ubuntu24.04"})
    assert "driver-runs-the-service" in {fault.rule for fault in old}


def test_what_another_file_brings_by_extends_is_seen_and_not_judged_there(tmp_path: pathlib.Path) -> None:
    files = {
        "compose.yaml": "services:\n  train:\n    extends: {file: base.yml, service: gpu}\n"
        "    image: pytorch/pytorch:2.6.0-cuda12.4-cudnn9-runtime\n    ipc: host\n",
        "base.yml": f"services:\n  gpu:\n    environment: {{NVIDIA_VISIBLE_DEVICES: nothing}}\n{GPU}",
    }
    assert faults(tmp_path, files, "compose.yaml") == []


def test_a_script_that_is_mounted_and_started_is_read(tmp_path: pathlib.Path) -> None:
    files = {
        "compose.yaml": "services:\n  a:\n    image: debian:12\n    entrypoint: /run.sh\n    volumes:\n"
        "      - ./run.sh:/run.sh:ro\n",
        "run.sh": "#!/bin/sh\r\necho\r\n",
    }
    assert seen(faults(tmp_path, files)) == [("mounted-scripts-have-unix-line-ends", 6, E)]


def test_a_comment_silences_a_rule(tmp_path: pathlib.Path) -> None:
    text = TRAIN.replace("  train:", "  train:  # envcheck: ignore=service-*")
    assert faults(tmp_path, {"compose.yaml": text}) == []
