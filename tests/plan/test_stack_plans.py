"""Whether a stack fits a machine, and what is installed of it."""

from __future__ import annotations

import msgspec
import pytest

from envcheck import stacks
from envcheck.compat.target import Target
from envcheck.machine import Card, HeldWheel, InstalledPython, Machine
from envcheck.plan import Plan, Refusal, plan_of_stack

STACKS = stacks.available()
PYTHON_311 = InstalledPython("3.11.9", "/usr/bin/python3.11", preferred=True)


def machine(*cards: Card, system: str = "linux", architecture: str = "x86_64", **more: object) -> Machine:
    pythons = more.pop("pythons", (PYTHON_311,))
    held = more.pop("held", ())
    capabilities = tuple(card.compute_capability for card in cards)
    target = Target(system=system, machine=architecture, compute_capabilities=capabilities, **more)
    return Machine(target=target, cards=cards, pythons=pythons, downloads_python=False, held=held)


def planned(name: str, here: Machine, python: str = "") -> Plan | Refusal:
    stack = next(one for one in STACKS if one.name == name)
    return plan_of_stack(stack, STACKS, here, python)


def test_a_stack_that_fits_is_installed_from_its_own_lock_and_says_from_which() -> None:
    found = planned("tf-cpu", machine(glibc="2.36"))
    assert isinstance(found, Plan)
    assert found.lock.endswith("tf-cpu/lock.linux-x86_64.txt")
    assert any("packages from the lock of tf-cpu for linux-x86_64" in note for note in found.notes)
    assert [(choice.framework, choice.version, choice.accelerator) for choice in found.choices] == [
        ("tensorflow", "2.21.0", "cpu")
    ]


def test_a_cuda_stack_without_a_gpu_is_refused_and_the_processor_stack_is_named() -> None:
    found = planned("tf-cuda", machine(glibc="2.36"))
    assert isinstance(found, Refusal)
    assert "no NVIDIA GPU is visible here" in found.sentence
    assert "--stack tf-cpu" in found.change


def test_an_old_card_is_told_which_stack_has_code_for_it() -> None:
    here = machine(Card("GTX 1080", "6.1"), driver="580.95.05", glibc="2.36")
    found = planned("torch-cuda", here)
    assert isinstance(found, Refusal)
    assert "it has no code for your GTX 1080 (sm_61)" in found.sentence
    assert found.change.startswith("--stack torch-cuda-12.6")
    other = planned("torch-cuda-12.6", here)
    assert isinstance(other, Plan)
    assert "has code for your GTX 1080 (sm_61)" in other.choices[0].why


def test_an_old_driver_is_told_that_it_is_too_old_for_a_stack() -> None:
    found = planned("torch-cuda", machine(Card("RTX 3090", "8.6"), driver="535.274.02", glibc="2.36"))
    assert isinstance(found, Refusal)
    assert "needs driver 580" in found.sentence


def test_with_another_python_than_the_locks_a_stack_is_solved_anew_and_says_so() -> None:
    found = planned("torch-cpu", machine(glibc="2.36", pythons=(InstalledPython("3.12.4", "/usr/bin/python3.12"),)))
    assert isinstance(found, Plan)
    assert (found.lock, found.python.series) == ("", "3.12")
    assert any("is for Python 3.11: for 3.12 its requirements are solved" in note for note in found.notes)
    assert found.requirements[0].index == "https://download.pytorch.org/whl/cpu"


def test_a_python_that_the_build_has_no_wheel_for_is_named() -> None:
    found = planned("torch-cpu", machine(glibc="2.36", pythons=(InstalledPython("3.9.1", "/usr/bin/python3.9"),)))
    assert isinstance(found, Refusal)
    assert "no wheel for Python 3.9" in found.sentence


def test_a_stale_lock_is_not_installed() -> None:
    stack = next(one for one in STACKS if one.name == "torch-cpu")
    edited = msgspec.structs.replace(stack, inputs="something else")
    found = plan_of_stack(edited, STACKS, machine(glibc="2.36"))
    assert isinstance(found, Plan)
    assert not found.lock
    assert any("older than its requirements" in note for note in found.notes)


def test_whoever_wants_newer_packages_gets_the_requirements_of_a_stack_solved() -> None:
    stack = next(one for one in STACKS if one.name == "torch-cpu")
    found = plan_of_stack(stack, STACKS, machine(glibc="2.36"), upgrade=True)
    assert isinstance(found, Plan)
    assert not found.lock
    assert any("--upgrade: the requirements of torch-cpu are solved" in note for note in found.notes)


def test_a_platform_that_a_stack_is_not_for_is_named() -> None:
    found = planned("tf-cuda", machine(system="darwin", architecture="arm64", macos="15.0"))
    assert isinstance(found, Refusal)
    assert "it is for linux-x86_64, and this is darwin on arm64" in found.sentence


def test_a_mac_gets_the_lines_of_a_stack_that_are_for_macs() -> None:
    found = planned("torch-cpu", machine(system="darwin", architecture="arm64", macos="15.0"))
    assert isinstance(found, Plan)
    assert "torch==2.13.0" in [wanted.text for wanted in found.requirements]
    assert found.lock.endswith("lock.macos-arm64.txt")


def test_companions_of_torch_come_from_the_index_of_its_build() -> None:
    wanted = {one.text: one.index for one in planned("vision", machine(glibc="2.36")).requirements}
    assert wanted["torch==2.13.0+cpu"] == wanted["torchvision==0.28.0+cpu"] == "https://download.pytorch.org/whl/cpu"
    assert wanted["pillow"] == ""


def test_whoever_keeps_the_wheel_at_home_is_not_sent_elsewhere() -> None:
    held = HeldWheel("torch", "2.13.0+cpu", ("3.11",), ("linux_x86_64",), "/opt/kept")
    found = planned("torch-cpu", machine(glibc="2.36", held=(held,)))
    assert not any(wanted.index for wanted in found.requirements)


@pytest.mark.parametrize(
    ("name", "backend"), [("keras-jax", "jax"), ("keras-tf", "tensorflow"), ("keras-torch", "torch")]
)
def test_keras_computes_with_what_the_stack_says(name: str, backend: str) -> None:
    found = planned(name, machine(glibc="2.36"))
    assert isinstance(found, Plan)
    assert found.variables == {"KERAS_BACKEND": backend}
    assert f"computes with {backend}" in next(one.why for one in found.choices if one.framework == "keras")


def test_the_jupyter_stack_registers_a_kernel() -> None:
    assert planned("jupyter", machine(glibc="2.36")).kernel is True


@pytest.mark.parametrize("name", [stack.name for stack in STACKS])
def test_every_stack_fits_some_machine(name: str) -> None:
    here = machine(Card("RTX 4090", "8.9"), driver="580.95.05", glibc="2.36")
    assert isinstance(planned(name, here), Plan)
