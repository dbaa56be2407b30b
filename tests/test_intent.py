"""Declared intent: what users write in pyproject.toml and behind --require, and how it is judged."""

from __future__ import annotations

import pytest

from envcheck.configuration import read
from envcheck.facts import (
    ComputeDevice,
    Cpu,
    Facts,
    Framework,
    Gpu,
    Memory,
    Nvml,
    Packages,
    Pci,
    Place,
    Python,
    Storage,
)
from envcheck.intent import NAMES, UsageError, judge
from envcheck.report import Requirement
from envcheck.testing import machine

TWO_GPUS = Nvml(
    state="ok",
    driver_version="580.95.05",
    cuda_version="13.0",
    gpus=[
        Gpu(index=0, name="NVIDIA GeForce RTX 4090", compute_capability="8.9", memory_total_bytes=24 * 2**30),
        Gpu(index=1, name="NVIDIA GeForce GTX 1080", compute_capability="6.1", memory_total_bytes=8 * 2**30),
    ],
)
FACTS = Facts(
    nvml=TWO_GPUS,
    memory=Memory(total_bytes=64 * 2**30, cgroup_limit_bytes=16 * 2**30),
    cpu=Cpu(allowed_cores=8),
    python=Python(version="3.12.4"),
    storage=Storage(places=[Place(purpose="shared memory", path="/dev/shm", total_bytes=64 * 2**20)]),
    torch=Framework(
        name="torch",
        state="ok",
        version="2.9.0+cu126",
        devices=[
            ComputeDevice(name="cpu", kind="cpu", computed=True),
            ComputeDevice(name="cuda:0", kind="cuda", computed=True),
        ],
    ),
)


@pytest.mark.parametrize(
    ("text", "state"),
    [
        ("gpus", "holds"),
        ("gpus>=1", "holds"),
        ("gpus >= 3", "fails"),
        ("gpus==2", "holds"),
        ("gpu-memory>=8GiB", "holds"),
        ("gpu-memory>=20 GiB", "fails"),
        ("compute-capability>=7.0", "fails"),
        ("driver>=570", "holds"),
        ("cuda>=12.8", "holds"),
        ("memory>=32GiB", "fails"),
        ("cores>=4", "holds"),
        ("python~=3.12", "holds"),
        ("python<3.12", "fails"),
        ("shm>=1GiB", "fails"),
        ("torch", "holds"),
        ("torch>=2.10", "fails"),
        ("torch.cuda", "holds"),
        ("torch.mps", "fails"),
        ("tensorflow", "unknown"),
        ("disk>=10GiB", "unknown"),
    ],
)
def test_a_requirement_is_judged_by_what_is_known(text: str, state: str) -> None:
    judged = judge(Requirement(text=text), FACTS)
    assert judged.state == state
    assert judged.reason


def test_a_framework_that_is_not_installed_fails_its_requirement() -> None:
    assert judge(Requirement(text="torch.cuda"), Facts(packages=Packages(installed=[]))).state == "fails"


def test_a_machine_without_an_nvidia_card_has_no_gpus_and_one_that_could_not_be_asked_is_unknown() -> None:
    assert judge(Requirement(text="gpus>=1"), Facts(pci=Pci(devices=[]))).state == "fails"
    assert judge(Requirement(text="gpus>=1"), Facts()).state == "unknown"


def test_every_name_can_be_judged_on_a_machine_of_which_nothing_is_known() -> None:
    assert {judge(Requirement(text=name), Facts()).state for name in NAMES} == {"unknown"}


def test_the_nearest_pyproject_that_declares_something_counts_and_the_command_line_adds() -> None:
    system = machine(
        files={
            "/home/user/project/pyproject.toml": '[tool.envcheck]\nrequire = ["gpus>=1"]\nmute = ["shm-*"]\n',
            "/home/user/project/part/pyproject.toml": "[tool.other]\n",
        },
        answers={"working_directory": "/home/user/project/part"},
    )
    intent = read(system, ["torch.cuda"], ["a"])
    assert [requirement.text for requirement in intent.requirements] == ["gpus>=1", "torch.cuda"]
    assert intent.mute == ["shm-*", "a"]
    assert intent.source == "/home/user/project/pyproject.toml"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("[tool.envcheck]\nrequire = 'gpus>=1'\n", "list of strings"),
        ("[tool.envcheck]\nrequires = ['gpus>=1']\n", "no key 'requires'"),
        ("[tool.envcheck]\nrequire = ['gpsu>=1']\n", "no requirement"),
        ("[tool.envcheck\n", "not valid TOML"),
    ],
)
def test_a_wrong_configuration_is_one_sentence_that_names_the_file(content: str, words: str) -> None:
    system = machine(files={"/p/pyproject.toml": f"# tool.envcheck\n{content}"}, answers={"working_directory": "/p"})
    with pytest.raises(UsageError) as caught:
        read(system, [], [])
    assert words in str(caught.value)
    assert "/p/pyproject.toml" in str(caught.value)


@pytest.mark.parametrize("text", ["gpus>=x", "gpu-memory>=lots", "torch.cuda>=2", "python=3", ">=1", ""])
def test_a_wrong_requirement_on_the_command_line_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        read(machine(), [text], [])
