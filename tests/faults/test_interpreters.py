"""The interpreter under test is old, dead, or no Python at all."""

from __future__ import annotations

import os
import pathlib
import shutil
import sys

import pytest
from pythons import pythons
from running import doctor, finding

MODERN = [series for series in pythons() if series != "2.7"]


@pytest.mark.parametrize("series", MODERN)
def test_each_python_of_this_machine_is_examined(series: str, here: pathlib.Path) -> None:
    (here / "torch").mkdir()
    (here / "torch" / "__init__.py").write_text("__version__ = '1.0'\n")
    (here / "torch-1.0.dist-info").mkdir()
    ran = doctor("--python", pythons()[series], env={"PYTHONPATH": str(here)})
    python = ran.report["facts"]["python"]
    assert python["version"].startswith(f"{series}.")
    assert python["state"] == "ok"
    assert ran.report["facts"]["packages"]["markers"]["python_version"] == series
    assert ran.report["facts"]["torch"]["version"] == "1.0"


@pytest.mark.skipif("2.7" not in pythons(), reason="no Python 2.7 here")
def test_python_2_7_gets_one_clear_sentence() -> None:
    ran = doctor("--python", pythons()["2.7"])
    assert ran.code == 1
    errors = [finding for finding in ran.report["findings"] if finding["severity"] == "error"]
    assert [finding["check"] for finding in errors] == ["python-is-supported"]
    assert ran.report["summary"].startswith("Python 2.7")


def test_an_environment_whose_python_has_gone_is_dead(environment) -> None:
    python = pathlib.Path(environment.python)
    python.unlink()
    python.symlink_to("/nowhere/bin/python3")
    ran = doctor("--python", str(environment.folder))
    assert ran.code == 1
    assert ran.first["cause"] == "virtualenv-broken"
    assert "dead" in ran.report["summary"]


def test_an_environment_that_links_to_a_removed_link_is_dead_too(environment, tmp_path: pathlib.Path) -> None:
    (tmp_path / "old").symlink_to("/nowhere/python")
    python = pathlib.Path(environment.python)
    python.unlink()
    python.symlink_to(tmp_path / "old")
    ran = doctor(env={"VIRTUAL_ENV": str(environment.folder)})
    assert ran.first["cause"] == "virtualenv-broken"


def test_an_upgraded_base_interpreter_leaves_the_environment_s_packages_behind(environment) -> None:
    settings = environment.folder / "pyvenv.cfg"
    text = settings.read_text().splitlines()
    settings.write_text("\n".join("version = 3.5.1" if line.startswith("version") else line for line in text) + "\n")
    ran = doctor("--quick", "--python", environment.python)
    assert ran.code == 1
    assert ran.first["check"] == "environment-fits-its-interpreter"


@pytest.mark.skipif(not pathlib.Path("/bin/true").exists(), reason="no /bin/true here")
def test_a_program_that_is_no_python_is_called_that() -> None:
    ran = doctor("--python", "/bin/true")
    assert ran.code == 1
    assert ran.report["summary"] == "/bin/true is not a Python"


def test_a_program_that_prints_json_of_its_own_is_no_python_either(tmp_path: pathlib.Path) -> None:
    program = tmp_path / "python"
    program.write_text("#!/bin/sh\necho '[1, 2]' '{\"kind\": 3}'\necho '{\"kind\": \"pyth'\n")
    program.chmod(0o755)
    ran = doctor("--python", str(program))
    assert ran.code == 1
    assert ran.first["cause"] == "wrong-interpreter"


def test_a_program_that_never_ends_is_left_in_time(tmp_path: pathlib.Path) -> None:
    program = tmp_path / "python"
    program.write_text("#!/bin/sh\nsleep 1000 & wait\n")
    program.chmod(0o755)
    ran = doctor("--python", str(program), "--timeout", "2")
    assert ran.code == 1
    assert ran.seconds < 10
    assert "did not answer in time" in ran.first["title"]


def test_a_text_file_is_no_interpreter(tmp_path: pathlib.Path) -> None:
    program = tmp_path / "notes.txt"
    program.write_text("buy milk\n")
    ran = doctor("--python", str(program))
    assert ran.code == 1
    assert ran.first["cause"] == "wrong-interpreter"


def test_an_environment_without_pip_is_healthy_and_gets_commands_without_pip(environment) -> None:
    environment.describe("left", "1.0", requires=("right>=2",))
    environment.describe("right", "1.0")
    ran = doctor("--python", environment.python)
    assert ran.code == 0
    assert ran.report["facts"]["python"]["pip_version"] == ""
    commands = [command for remedy in finding(ran, "requirements-hold")["remedies"] for command in remedy["commands"]]
    assert commands == [f"uv pip install --python {environment.python} 'right>=2'"]


def test_damaged_metadata_of_one_package_is_named_and_hides_no_other(environment) -> None:
    environment.describe("whole", "1.0")
    damaged = environment.describe("broken", "1.0")
    (damaged / "METADATA").write_bytes(b"\xff\xfe\x00garbage")
    (environment.describe("empty", "2.0") / "METADATA").write_text("")
    (environment.describe("without", "3.0") / "METADATA").unlink()
    (environment.site_packages / "~orch").mkdir()
    ran = doctor("--python", environment.python)
    assert ran.code == 0
    assert ran.report["verdict"] == "warning"
    packages = ran.report["facts"]["packages"]
    assert [package["name"] for package in packages["installed"]] == ["whole"]
    assert {package["name"] for package in packages["damaged"]} == {"broken", "empty", "without", "~orch"}
    assert finding(ran, "metadata-is-whole")["severity"] == "warning"


def test_a_name_that_is_no_utf_8_does_not_hide_the_interpreter(environment, tmp_path: pathlib.Path) -> None:
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    folder.mkdir()
    ran = doctor("--quick", "--python", environment.python, env={"PYTHONPATH": str(folder)})
    assert ran.code == 0
    assert ran.report["facts"]["python"]["state"] == "ok"


def test_pythonhome_that_leads_elsewhere_is_named(environment, tmp_path: pathlib.Path) -> None:
    # envcheck itself must start: it gets a Python that ignores the variable.
    wrapper = tmp_path / "python"
    wrapper.write_text(f'#!/bin/sh\nPYTHONHOME=/nowhere exec {environment.python} "$@"\n')
    wrapper.chmod(0o755)
    ran = doctor("--quick", "--python", str(wrapper))
    assert ran.code == 1
    assert ran.first["check"] == "interpreter-runs"


def test_the_interpreter_that_runs_the_tests_can_be_named_by_its_folder() -> None:
    if not shutil.which("python3"):
        pytest.skip("no python3 on PATH")
    ran = doctor("--quick", "--python", sys.prefix)
    assert ran.report["facts"]["python"]["version"].startswith(f"{sys.version_info.major}.{sys.version_info.minor}")
