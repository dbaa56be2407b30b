"""Faulty Dockerfiles: each fault is named, with its line and how grave it is."""

from __future__ import annotations

import pathlib

import pytest
from linting import faults, report_on, seen

E, W, N = "error", "warning", "note"
CUDA_11 = "FROM nvidia/cuda:11.8.0-runtime-ubuntu22.04\nRUN apt-get update && apt-get install -y python3-pip\n"
CUDA_12 = "FROM nvidia/cuda:12.4.1-cudnn-runtime-ubuntu22.04\nRUN apt-get update && apt-get install -y python3-pip\n"
INDEX = "https://download.pytorch.org/whl"

FAULTY: dict[str, tuple[str, list[tuple[str, int, str]]]] = {
    "a wheel for CUDA 13 on a base of CUDA 11.8": (
        f"{CUDA_11}RUN pip3 install torch==2.11.0 --index-url {INDEX}/cu130\n",
        [("cuda-of-base-suits-torch", 3, W)],
    ),
    "a newest torch that nobody pinned on a base of CUDA 11.8": (
        f"{CUDA_11}RUN pip3 install \\\n  torch\n",
        [("cuda-of-base-suits-torch", 4, W)],
    ),
    "an extension compiled with CUDA 11 for a torch of CUDA 12": (
        (
            "FROM nvidia/cuda:11.8.0-devel-ubuntu22.04\nRUN apt-get install -y python3-pip\n"
            f"RUN pip install torch==2.6.0 --index-url {INDEX}/cu124\nRUN pip install flash-attn --no-build-isolation\n"
        ),
        [("cuda-of-base-suits-torch", 3, E)],
    ),
    "tensorflow 2.13 on CUDA 12": (
        f"{CUDA_12}RUN pip install tensorflow==2.13.0\n",
        [("tensorflow-finds-its-cuda-libraries", 3, E)],
    ),
    "tensorflow on an image without CUDA's libraries": (
        "FROM nvidia/cuda:12.3.2-base-ubuntu22.04\nRUN pip install tensorflow==2.17.0\n",
        [("tensorflow-finds-its-cuda-libraries", 2, E)],
    ),
    "tensorflow without cuDNN": (
        "FROM nvidia/cuda:12.3.2-runtime-ubuntu22.04\nRUN pip install tensorflow==2.17.0\n",
        [("tensorflow-finds-its-cuda-libraries", 2, E)],
    ),
    "tensorflow for cuDNN 8 beside cuDNN 9": (
        f"{CUDA_12}RUN pip install tensorflow==2.17.0\n",
        [("tensorflow-finds-its-cuda-libraries", 3, E)],
    ),
    "the processor build on a base with CUDA": (
        f"{CUDA_12}RUN pip install torch==2.6.0 --index-url {INDEX}/cpu\n",
        [("cuda-base-gets-a-cuda-build", 3, W)],
    ),
    "tensorflow-cpu on a base with CUDA": (
        f"{CUDA_12}RUN pip install tensorflow-cpu==2.17.0\n",
        [("cuda-base-gets-a-cuda-build", 3, W)],
    ),
    "stages of two CUDA versions": (
        (
            "FROM nvidia/cuda:12.4.1-devel-ubuntu22.04 AS build\nRUN make\n"
            "FROM nvidia/cuda:11.8.0-runtime-ubuntu22.04\nCOPY --from=build /app /app\n"
        ),
        [("stages-share-a-cuda-version", 4, W)],
    ),
    "nvidia/cuda without a tag": ("FROM nvidia/cuda\n", [("cuda-image-is-named-with-a-tag", 1, E)]),
    "nvidia/cuda with a tag that was removed": (
        "FROM nvidia/cuda:11.0-base\n",
        [("cuda-image-is-named-with-a-tag", 1, W)],
    ),
    "stub libraries under the name that every program opens": (
        (
            "FROM nvidia/cuda:12.4.1-devel-ubuntu22.04\nENV LD_LIBRARY_PATH=/usr/local/cuda/lib64/stubs\n"
            "RUN ln -s /usr/local/cuda/lib64/stubs/libcuda.so /usr/local/cuda/lib64/stubs/libcuda.so.1\n"
        ),
        [("library-path-has-no-stubs", 2, E)],
    ),
    "an older wheel than the base": (
        f"{CUDA_12}RUN pip3 install torch==2.0.0 --index-url {INDEX}/cu117\n",
        [("cuda-of-base-suits-torch", 3, N)],
    ),
    "an extra index that is overruled on an older Python": (
        f"{CUDA_11}RUN pip3 install torch --extra-index-url {INDEX}/cu118\n",
        [("torch-build-is-on-its-index", 3, W)],
    ),
    "a driver in the image": (
        "FROM ubuntu:22.04\nRUN apt-get update && \\\n  apt-get install -y curl \\\n  nvidia-driver-535\n",
        [("image-brings-no-driver", 4, W)],
    ),
    "the whole of CUDA, with its driver, in the image": (
        "FROM ubuntu:22.04\nRUN apt-get install -y cuda\n",
        [("image-brings-no-driver", 2, W)],
    ),
    "stub libraries on the library path": (
        "FROM nvidia/cuda:12.4.1-devel-ubuntu22.04\nENV A=1 \\\n  LD_LIBRARY_PATH=/usr/local/cuda/lib64/stubs:/x\n",
        [("library-path-has-no-stubs", 3, W)],
    ),
    "tensorflow-gpu": ("FROM python:3.11\nRUN pip install tensorflow-gpu\n", [("packages-are-named-rightly", 2, E)]),
    "sklearn": ("FROM python:3.11\nRUN pip install sklearn\n", [("packages-are-named-rightly", 2, E)]),
    "a name that usually means another package": (
        "FROM python:3.11\nRUN pip install docx\n",
        [("packages-are-named-rightly", 2, N)],
    ),
    "torchvision left open after torch": (
        f"FROM python:3.11\nRUN pip install torch==2.6.0 --index-url {INDEX}/cu124\nRUN pip install torchvision\n",
        [("torch-companions-fit", 3, W)],
    ),
    "torchvision left open beside torch": (
        "FROM python:3.11\nRUN pip install torch==2.6.0 torchvision\n",
        [("torch-companions-fit", 2, N)],
    ),
    "torchvision of another torch": (
        "FROM python:3.11\nRUN pip install torch==2.6.0 torchvision==0.20.0\n",
        [("torch-companions-fit", 2, E)],
    ),
    "torchvision from another index than torch": (
        (
            "FROM python:3.11\n"
            f"RUN pip install torch==2.6.0 --index-url {INDEX}/cu118\nRUN pip install torchvision==0.21.0\n"
        ),
        [("torch-companions-fit", 3, W)],
    ),
    "a base whose torch is replaced": (
        "FROM pytorch/pytorch:2.3.0-cuda12.1-cudnn8-runtime\nRUN pip install torch==2.1.0\n",
        [("base-keeps-its-torch", 2, W)],
    ),
    "a local version that the default index does not have": (
        "FROM python:3.11\nRUN pip install torch==2.6.0+cu124\n",
        [("torch-build-is-on-its-index", 2, E)],
    ),
    "a release that has no build for that CUDA": (
        f"FROM python:3.11\nRUN pip install torch==2.9.0 --index-url {INDEX}/cu118\n",
        [("torch-build-is-on-its-index", 2, E)],
    ),
    "an extra index that is overruled": (
        f"FROM python:3.12\nRUN pip install torch --extra-index-url {INDEX}/cu118\n",
        [("torch-build-is-on-its-index", 2, W)],
    ),
    "a Python that the release has no wheels for": (
        "FROM python:3.14-slim\nRUN pip install torch==2.3.0\n",
        [("framework-has-a-wheel-for-the-base", 2, E)],
    ),
    "a Python that no release has wheels for": (
        "FROM python:3.14-slim\nRUN pip install 'tensorflow>=2.15'\n",
        [("framework-has-a-wheel-for-the-base", 2, E)],
    ),
    "conda's PyTorch for CUDA 12 on a base of CUDA 11": (
        "FROM nvidia/cuda:11.8.0-runtime-ubuntu22.04\nRUN conda install -y pytorch=2.3 pytorch-cuda=12.1 -c pytorch\n",
        [("cuda-of-base-suits-torch", 2, W)],
    ),
    "a distribution's Python that the release has no wheels for": (
        (
            "FROM nvidia/cuda:12.4.1-runtime-ubuntu20.04\n"
            "RUN apt-get install -y python3-pip\nRUN pip3 install torch==2.6.0\n"
        ),
        [("framework-has-a-wheel-for-the-base", 3, E)],
    ),
    "a C library that is too old": (
        "FROM ubuntu:18.04\nRUN apt-get install -y python3.11\nRUN python3.11 -m pip install torch==2.8.0\n",
        [("framework-has-a-wheel-for-the-base", 3, E)],
    ),
    "Alpine": ("FROM python:3.11-alpine\nRUN pip install torch\n", [("base-has-glibc", 2, E)]),
    "a wheel's file for another Python": (
        f"FROM python:3.12\nRUN pip install {INDEX}/cu121/torch-2.3.0%2Bcu121-cp310-cp310-linux_x86_64.whl\n",
        [("wheel-file-fits-the-base", 2, E)],
    ),
    "a wheel's file for another architecture": (
        (
            f"FROM --platform=linux/arm64 python:3.10\n"
            f"RUN pip install {INDEX}/cu121/torch-2.3.0%2Bcu121-cp310-cp310-linux_x86_64.whl\n"
        ),
        [("wheel-file-fits-the-base", 2, E)],
    ),
    "pip in Ubuntu 24.04": (
        "FROM ubuntu:24.04\nRUN apt-get install -y python3-pip\nRUN pip install numpy\n",
        [("pip-may-change-the-system-python", 3, E)],
    ),
    "requirements that are copied too late": (
        "FROM python:3.11\nWORKDIR /app\nRUN pip install \\\n -r requirements.txt\nCOPY requirements.txt .\n",
        [("requirements-are-there-when-installed", 4, E)],
    ),
    "requirements that are never copied": (
        "FROM python:3.11\nRUN pip install -r requirements.txt\n",
        [("requirements-are-there-when-installed", 2, E)],
    ),
    "everything copied before torch is installed": (
        "FROM python:3.11\nCOPY . /app\nRUN pip install torch==2.6.0\n",
        [("frameworks-are-installed-before-the-code-is-copied", 3, N)],
    ),
    "capabilities without compute": (
        f"{CUDA_12}ENV NVIDIA_DRIVER_CAPABILITIES=graphics,utility\n",
        [("image-lets-the-gpu-in", 3, E)],
    ),
    "capabilities that there are none of": (
        f"{CUDA_12}ENV NVIDIA_DRIVER_CAPABILITIES=compute,cuda\n",
        [("image-lets-the-gpu-in", 3, E)],
    ),
    "no devices": (f"{CUDA_12}ENV NVIDIA_VISIBLE_DEVICES=none\n", [("image-lets-the-gpu-in", 3, W)]),
    "devices that there are none of": (
        f"{CUDA_12}ENV NVIDIA_VISIBLE_DEVICES=gpu0\n",
        [("image-lets-the-gpu-in", 3, E)],
    ),
    "every GPU hidden": (f'{CUDA_12}ENV CUDA_VISIBLE_DEVICES=""\n', [("image-lets-the-gpu-in", 3, W)]),
    "a download for another architecture": (
        "FROM --platform=linux/arm64 ubuntu:22.04\nRUN curl -O https://x/Miniconda3-latest-Linux-x86_64.sh\n",
        [("image-is-for-one-platform", 2, E)],
    ),
    "a stage of another architecture": (
        "FROM --platform=linux/arm64 debian:12 AS b\nFROM --platform=linux/amd64 debian:12\nCOPY --from=b /x /x\n",
        [("image-is-for-one-platform", 3, E)],
    ),
    "packages of another Python": (
        (
            "FROM python:3.11 AS b\nRUN pip install numpy\nFROM python:3.12-slim\n"
            "COPY --from=b /usr/local/lib/python3.11/site-packages /usr/local/lib/python3.11/site-packages\n"
        ),
        [("copied-environment-keeps-its-python", 4, E)],
    ),
}


@pytest.mark.parametrize("name", FAULTY)
def test_a_faulty_dockerfile_is_told_its_fault(name: str, tmp_path: pathlib.Path) -> None:
    text, expected = FAULTY[name]
    found = faults(tmp_path, {"Dockerfile": text, "train.py": ""})
    assert seen(found) == expected
    for fault in found:
        assert fault.remedies, fault.rule
        assert fault.evidence, fault.rule


@pytest.mark.parametrize(
    ("driver", "expected"),
    [
        ("550.54.15", []),
        ("535.129.03", [("driver-runs-the-image", 1, W)]),
        ("470.57.02", [("driver-runs-the-image", 1, E)]),
    ],
)
def test_the_driver_of_the_machine_is_compared_with_the_image(
    driver: str, expected: list[tuple[str, int, str]], tmp_path: pathlib.Path
) -> None:
    text = "FROM nvidia/cuda:12.4.1-runtime-ubuntu22.04\n"
    assert seen(faults(tmp_path, {"Dockerfile": text}, driver=driver)) == expected


def test_the_driver_is_compared_with_the_framework_too(tmp_path: pathlib.Path) -> None:
    text = f"FROM python:3.11\nRUN pip install torch==2.11.0 --index-url {INDEX}/cu130\n"
    (fault,) = faults(tmp_path, {"Dockerfile": text}, driver="570.86.10")
    assert fault.cause == "driver-too-old"
    assert "580" in fault.title


def test_the_least_driver_is_told_where_none_is_known(tmp_path: pathlib.Path) -> None:
    report = report_on(tmp_path, {"Dockerfile": "FROM pytorch/pytorch:2.6.0-cuda12.4-cudnn9-runtime\n"})
    assert report.files[0].images == [
        "needs an NVIDIA driver of 525.60.13 or later to use a GPU (pytorch/pytorch:2.6.0-cuda12.4-cudnn9-runtime)"
    ]


def test_a_platform_that_was_asked_for_is_compared_with_the_image(tmp_path: pathlib.Path) -> None:
    text = "FROM --platform=linux/arm64 debian:12\n"
    assert seen(faults(tmp_path, {"Dockerfile": text}, platform="linux/amd64")) == [("image-is-for-one-platform", 1, E)]


def test_an_arm_image_gets_no_build_that_is_published_for_intel_alone(tmp_path: pathlib.Path) -> None:
    text = "FROM python:3.9\nRUN pip install tensorflow==2.5.0\n"
    (fault,) = faults(tmp_path, {"Dockerfile": text}, platform="linux/arm64")
    assert (fault.rule, fault.cause) == ("framework-has-a-wheel-for-the-base", "platform-unsupported")


SCRIPT = "#!/bin/sh\necho hello\n"
STARTED = {
    "by its name": 'FROM debian:12\nCOPY run.sh /run.sh\nENTRYPOINT ["/run.sh"]\n',
    "by a shell": "FROM debian:12\nCOPY run.sh /opt/\nCMD sh /opt/run.sh\n",
    "from the working directory": 'FROM debian:12\nWORKDIR /app\nCOPY . .\nCMD ["./run.sh"]\n',
    "under an init": 'FROM debian:12\nCOPY . /app\nENTRYPOINT ["/usr/bin/tini", "--", "/app/run.sh"]\n',
    "while building": "FROM debian:12\nCOPY run.sh /tmp/run.sh\nRUN /tmp/run.sh\n",
    "by a name with a variable": 'FROM debian:12\nENV APP=/srv\nWORKDIR $APP\nCOPY run.sh $APP/\nCMD ["/srv/run.sh"]\n',
}


@pytest.mark.parametrize("name", STARTED)
def test_a_script_with_windows_line_ends_is_found_however_it_is_started(name: str, tmp_path: pathlib.Path) -> None:
    found = faults(tmp_path, {"Dockerfile": STARTED[name], "run.sh": SCRIPT.replace("\n", "\r\n")})
    assert [(fault.rule, fault.cause) for fault in found] == [("scripts-have-unix-line-ends", "entrypoint-failed")]
    assert found[0].evidence[0].source == "run.sh:1"


@pytest.mark.parametrize("name", STARTED)
def test_a_script_with_unix_line_ends_is_left_alone(name: str, tmp_path: pathlib.Path) -> None:
    assert faults(tmp_path, {"Dockerfile": STARTED[name], "run.sh": SCRIPT}) == []


def test_line_ends_that_the_dockerfile_mends_are_left_alone(tmp_path: pathlib.Path) -> None:
    text = "FROM debian:12\nCOPY run.sh /\nRUN sed -i 's/\\r$//' /run.sh\nCMD [\"/run.sh\"]\n"
    assert faults(tmp_path, {"Dockerfile": text, "run.sh": SCRIPT.replace("\n", "\r\n")}) == []


def test_a_script_that_may_not_be_executed_is_found(tmp_path: pathlib.Path) -> None:
    (tmp_path / "run.sh").write_text(SCRIPT)
    text = STARTED["by its name"]
    assert [fault.rule for fault in faults(tmp_path, {"Dockerfile": text})] == ["started-scripts-can-be-executed"]
    mended = text.replace("COPY", "COPY --chmod=755")
    assert faults(tmp_path, {"Dockerfile": mended}) == []


def test_a_script_without_an_interpreter_is_found(tmp_path: pathlib.Path) -> None:
    found = faults(tmp_path, {"Dockerfile": STARTED["by its name"], "run.sh": "echo hello\n"})
    assert [fault.title for fault in found] == [
        "run.sh does not name its interpreter in the first line: exec format error"
    ]


def test_requirements_beside_are_read_and_the_fault_is_named_there(tmp_path: pathlib.Path) -> None:
    files = {
        "Dockerfile": "FROM python:3.11\nCOPY requirements.txt /app/\nRUN pip install -r /app/requirements.txt\n",
        "requirements.txt": "numpy\ntensorflow-gpu\n",
    }
    (fault,) = faults(tmp_path, files)
    assert (fault.place.path, fault.place.line) == ("requirements.txt", 2)


def test_a_dockerfile_in_a_folder_of_its_own_is_built_from_the_folder_above(tmp_path: pathlib.Path) -> None:
    files = {
        "docker/Dockerfile": "FROM python:3.11\nCOPY requirements.txt src /app/\n"
        "RUN pip install -r /app/requirements.txt\n",
        "src/train.py": "",
        "requirements.txt": "sklearn\n",
    }
    assert [fault.place.path for fault in faults(tmp_path, files)] == ["requirements.txt"]


HEALTHY = {
    "requirements that name again what is there": f"{CUDA_11}RUN pip install torch==2.6.0 torchvision==0.21.0 "
    f"--index-url {INDEX}/cu118\nCOPY r.txt /\nRUN pip install -r /r.txt\n",
    "requirements on a base that brings PyTorch": "FROM pytorch/pytorch:2.6.0-cuda12.4-cudnn9-runtime\n"
    "COPY r.txt /\nRUN pip install -r /r.txt\n",
    "an extension compiled with the CUDA of PyTorch": "FROM nvidia/cuda:12.4.1-devel-ubuntu22.04\n"
    f"RUN apt-get install -y python3-pip\nRUN pip install torch==2.6.0 --index-url {INDEX}/cu124\n"
    "RUN pip install flash-attn --no-build-isolation\n",
    "a build of a page of files": "FROM nvidia/cuda:11.1.1-devel-ubuntu18.04\nRUN apt-get install -y python3-pip\n"
    f"RUN pip install torch==1.10.0 torchvision==0.11.1 -f {INDEX}/cu111/torch_stable.html\n"
    "RUN python setup.py install\n",
    "tensorflow with its own libraries": "FROM nvidia/cuda:12.4.1-base-ubuntu22.04\n"
    "RUN pip install 'tensorflow[and-cuda]==2.16.1'\n",
    "tensorflow as it was tested": "FROM nvidia/cuda:11.8.0-cudnn8-runtime-ubuntu22.04\n"
    "RUN pip install tensorflow==2.13.0\n",
    "a virtual environment in Ubuntu 24.04": "FROM nvidia/cuda:12.6.3-runtime-ubuntu24.04\n"
    "RUN apt-get install -y python3-venv && python3 -m venv /venv\nENV PATH=/venv/bin:$PATH\n"
    "RUN pip install torch==2.8.0\n",
    "the environment's own pip": "FROM ubuntu:24.04\nRUN python3 -m venv /venv\nRUN /venv/bin/pip install numpy\n",
    "a copied environment of the same Python": "FROM python:3.12 AS b\nRUN python -m venv /opt/venv\n"
    "FROM python:3.12-slim\nCOPY --from=b /opt/venv /opt/venv\n",
    "a processor build on a plain base": f"FROM python:3.12-slim\nRUN pip install torch --index-url {INDEX}/cpu\n",
    "a download that asks for its architecture": "FROM --platform=linux/arm64 debian:12\n"
    "RUN curl -O https://x/a-$(uname -m)-linux-amd64.tar.gz\n",
    "stubs for one command": "FROM nvidia/cuda:12.4.1-devel-ubuntu22.04\n"
    "RUN LIBRARY_PATH=/usr/local/cuda/lib64/stubs make\n",
    "an index from pip's own configuration": "FROM python:3.11\nCOPY pip.conf /etc/pip.conf\n"
    "RUN pip install torch==2.6.0+cu124\n",
    "a base with musl to which glibc is added": "FROM alpine:3.20\n"
    "RUN wget https://x/glibc-2.35.apk && apk add glibc.apk\nRUN pip install torch\n",
    "no frameworks at all": "FROM node:20-alpine\nCOPY . /app\nRUN npm ci\n",
}


@pytest.mark.parametrize("name", HEALTHY)
def test_a_healthy_dockerfile_is_left_alone(name: str, tmp_path: pathlib.Path) -> None:
    assert seen(faults(tmp_path, {"Dockerfile": HEALTHY[name], "r.txt": "torch\ntorchvision>=0.15\nnumpy\n"})) == []


def test_requirements_that_are_mounted_for_one_run_are_read_too(tmp_path: pathlib.Path) -> None:
    files = {
        "Dockerfile": "FROM python:3.11\nRUN --mount=type=cache,target=/var/cache/pip "
        "--mount=type=bind,source=requirements.txt,target=/tmp/r.txt pip install -r /tmp/r.txt\n",
        "requirements.txt": "sklearn\n",
    }
    assert [fault.place.path for fault in faults(tmp_path, files)] == ["requirements.txt"]


def test_a_build_argument_changes_the_answer(tmp_path: pathlib.Path) -> None:
    text = "ARG PYTHON=3.12\nFROM python:${PYTHON}-slim\nRUN pip install torch==2.3.0\n"
    assert faults(tmp_path, {"Dockerfile": text}) == []
    assert len(faults(tmp_path, {"Dockerfile": text}, build_arguments={"PYTHON": "3.14"})) == 1


def test_a_target_is_judged_without_the_stages_behind_it(tmp_path: pathlib.Path) -> None:
    text = "FROM python:3.12 AS a\nRUN pip install torch==2.6.0\nFROM python:3.12-alpine AS b\nRUN pip install torch\n"
    assert len(faults(tmp_path, {"Dockerfile": text})) == 1
    assert faults(tmp_path, {"Dockerfile": text}, target="a") == []


def test_a_fault_of_a_stage_is_told_once_however_many_are_built_from_it(tmp_path: pathlib.Path) -> None:
    text = "FROM python:3.12-alpine AS a\nRUN pip install torch\nFROM a AS b\nRUN x\nFROM a\nRUN y\n"
    assert seen(faults(tmp_path, {"Dockerfile": text})) == [("base-has-glibc", 2, E)]


@pytest.mark.parametrize(
    "comment", ["# envcheck: ignore", "# envcheck: ignore=base-has-*", "# envcheck: ignore=a,base-has-glibc"]
)
def test_a_comment_above_the_line_silences_a_rule(comment: str, tmp_path: pathlib.Path) -> None:
    report = report_on(tmp_path, {"Dockerfile": f"FROM python:3.12-alpine\n{comment}\nRUN pip install torch\n"})
    assert report.faults == []
    assert report.ignored == 1


def test_a_comment_about_another_rule_silences_nothing(tmp_path: pathlib.Path) -> None:
    text = "FROM python:3.12-alpine\n# envcheck: ignore=other\nRUN pip install torch\n"
    assert len(faults(tmp_path, {"Dockerfile": text})) == 1
