"""To whom an environment belongs: what installs into it has to be the same program."""

from __future__ import annotations

import pytest

from envcheck.facts import Python
from envcheck.probes.python import conda_program, owner
from envcheck.testing import machine


@pytest.mark.parametrize(
    ("lock", "tool"), [("uv.lock", "uv"), ("poetry.lock", "poetry"), ("pdm.lock", "pdm"), ("Pipfile.lock", "pipenv")]
)
def test_an_environment_in_the_folder_of_a_project_belongs_to_the_tool_that_wrote_the_lock_file(lock, tool) -> None:
    system = machine(files={f"/home/user/project/{lock}": ""})
    python = Python(prefix="/home/user/project/.venv", environment_kind="venv")
    assert owner(system, python) == (tool, "/home/user/project")


def test_an_environment_that_poetry_keeps_elsewhere_belongs_to_the_project_of_the_working_directory() -> None:
    python = Python(prefix="/home/user/.cache/pypoetry/virtualenvs/project-AbC-py3.11", environment_kind="venv")
    locked = machine(files={"/home/user/project/poetry.lock": ""}, answers={"working_directory": "/home/user/project"})
    assert owner(locked, python) == ("poetry", "/home/user/project")
    assert owner(machine(answers={"working_directory": "/home/user/other"}), python) == ("", "")


def test_a_pixi_environment_belongs_to_pixi() -> None:
    python = Python(prefix="/home/user/project/.pixi/envs/default", environment_kind="conda")
    assert owner(machine(), python) == ("pixi", "/home/user/project")


def test_an_environment_without_a_lock_file_belongs_to_the_user() -> None:
    system = machine(
        files={"/home/user/project/pyproject.toml": ""}, answers={"working_directory": "/home/user/project"}
    )
    assert owner(system, Python(prefix="/home/user/project/.venv", environment_kind="venv")) == ("", "")


def test_a_system_interpreter_belongs_to_no_project_though_a_lock_file_lies_above_it() -> None:
    assert owner(machine(files={"/uv.lock": ""}), Python(prefix="/usr", environment_kind="system")) == ("", "")


@pytest.mark.parametrize(
    ("programs", "named"),
    [
        ({"conda": "/c/conda", "mamba": "/c/mamba"}, "conda"),
        ({"micromamba": "/m/micromamba"}, "micromamba"),
        ({}, "conda"),
    ],
)
def test_conda_environments_are_changed_by_the_conda_that_is_here(programs, named) -> None:
    assert conda_program(machine(programs=programs), Python(environment_kind="conda")) == named
    assert conda_program(machine(programs=programs), Python(environment_kind="venv")) == ""
