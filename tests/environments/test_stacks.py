"""The stacks of environments/: complete, locked, and locked to what they ask for."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from envcheck import stacks
from envcheck.compat import tensorflow, torch

ENVIRONMENTS = Path(__file__).parent.parent.parent / "environments"
STACKS = stacks.read(ENVIRONMENTS)
LOCKS = [(stack, lock) for stack in STACKS for lock in stack.locks]

MARKERS = {
    "linux-x86_64": {"sys_platform": "linux", "platform_machine": "x86_64", "platform_system": "Linux"},
    "linux-aarch64": {"sys_platform": "linux", "platform_machine": "aarch64", "platform_system": "Linux"},
    "macos-arm64": {"sys_platform": "darwin", "platform_machine": "arm64", "platform_system": "Darwin"},
    "windows-x86_64": {"sys_platform": "win32", "platform_machine": "AMD64", "platform_system": "Windows"},
}


def by_name(stack: stacks.Stack) -> str:
    return stack.name


def of_lock(pair: tuple[stacks.Stack, stacks.Lock]) -> str:
    return f"{pair[0].name}-{pair[1].platform}"


def wanted(stack: stacks.Stack, platform: str) -> list[Requirement]:
    """Return what a stack requires on a platform."""
    environment = {**MARKERS[platform], "python_version": stacks.PYTHON, "extra": ""}
    found = [Requirement(line) for line in stacks.lines(stack.requirements)]
    return [one for one in found if one.marker is None or one.marker.evaluate(environment)]


def test_the_stacks_that_users_look_for_are_there() -> None:
    names = {stack.name for stack in STACKS}
    assert {"tf-cpu", "tf-cuda", "torch-cpu", "torch-cuda", "torch-cuda-12.6", "tf-torch"} <= names
    assert {"keras-tf", "keras-torch", "keras-jax", "jupyter", "vision", "nlp", "audio"} <= names


@pytest.mark.parametrize("stack", STACKS, ids=by_name)
def test_a_stack_says_in_one_line_what_it_is_for(stack: stacks.Stack) -> None:
    assert stack.purpose
    assert "\n" not in stack.purpose
    assert stack.purpose in stack.specification.read_text("utf-8")


@pytest.mark.parametrize("stack", STACKS, ids=by_name)
def test_no_lock_is_older_than_the_requirements_that_it_was_made_from(stack: stacks.Stack) -> None:
    assert stacks.stale(stack) == []


@pytest.mark.parametrize("pair", LOCKS, ids=of_lock)
def test_a_lock_holds_what_its_stack_requires(pair: tuple[stacks.Stack, stacks.Lock]) -> None:
    stack, lock = pair
    pins = {canonicalize_name(name): version for name, version in lock.pins.items()}
    requirements = wanted(stack, lock.platform)
    assert requirements
    for requirement in requirements:
        assert requirement.specifier.contains(pins[canonicalize_name(requirement.name)], prereleases=True)


@pytest.mark.parametrize("pair", LOCKS, ids=of_lock)
def test_a_lock_has_a_checksum_for_every_package_and_no_address(pair: tuple[stacks.Stack, stacks.Lock]) -> None:
    text = pair[1].path.read_text("utf-8")
    blocks = text.split("\n")[2:]
    pinned = [number for number, line in enumerate(blocks) if "==" in line and not line.startswith((" ", "#"))]
    assert len(pinned) == len(pair[1].pins)
    assert all("--hash=sha256:" in blocks[number + 1] for number in pinned)
    assert "://" not in text


@pytest.mark.parametrize("stack", STACKS, ids=by_name)
def test_a_stack_is_locked_for_every_platform_that_it_is_for(stack: stacks.Stack) -> None:
    assert {lock.platform for lock in stack.locks} == set(stack.platforms)


RECORDED = (ENVIRONMENTS.parent / "tools" / "pytorch_index.toml").read_text("utf-8")
LOCAL = re.compile(r"^(?:torch|torchvision)==\S+\+\S+((?: \\\n    --hash=sha256:[0-9a-f]{64})+)", re.MULTILINE)


@pytest.mark.parametrize("pair", LOCKS, ids=of_lock)
def test_what_pytorchs_index_alone_has_is_locked_to_the_files_that_it_has(
    pair: tuple[stacks.Stack, stacks.Lock],
) -> None:
    for block in LOCAL.findall(pair[1].path.read_text("utf-8")):
        for checksum in re.findall("[0-9a-f]{64}", block):
            assert f'"{checksum}"' in RECORDED


@pytest.mark.parametrize("pair", LOCKS, ids=of_lock)
def test_a_lock_pins_releases_that_run_on_its_platform(pair: tuple[stacks.Stack, stacks.Lock]) -> None:
    platform = {key: key.replace("-", "_", 1) for key in stacks.PLATFORMS}
    for name, table in (("torch", torch), ("tensorflow", tensorflow), ("tensorflow-cpu", tensorflow)):
        version = pair[1].pins.get(name)
        if version is not None:
            builds = [one for one in table.published(version) if one.platform == platform[pair[1].platform]]
            assert any(stacks.PYTHON in one.pythons for one in builds)


def test_a_changed_requirement_makes_its_locks_stale(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    for name, text in {"README.md": "Mine.", "requirements.txt": "numpy==2.3.0\n", "environment.yml": ""}.items():
        (folder / name).write_text(text)
    [stack] = stacks.read(tmp_path)
    (folder / "lock.linux-x86_64.txt").write_text(stacks.header(stack, "linux-x86_64") + "numpy==2.3.0\n")
    assert stacks.stale(stacks.read(tmp_path)[0]) == []
    (folder / "requirements.txt").write_text("# a comment changes nothing\nnumpy==2.3.0\n")
    assert stacks.stale(stacks.read(tmp_path)[0]) == []
    (folder / "requirements.txt").write_text("numpy==2.3.1\n")
    assert [lock.platform for lock in stacks.stale(stacks.read(tmp_path)[0])] == ["linux-x86_64"]
