"""What an interpreter says of itself and of what is installed."""

from __future__ import annotations

import json
import pathlib
import subprocess
import sys
from typing import Any

import pytest
from pythons import pythons
from running import variables_for

from envcheck.interpreter import INSIDE, LOADER


def ask(interpreter: str, cwd: pathlib.Path, env: dict[str, str | None] | None = None) -> dict[str, dict[str, Any]]:
    """Run the script and return what it said, by kind."""
    command = [interpreter, "-c", LOADER, f"{INSIDE}/interpreter_probe.py", "interpreter_probe.py", "30"]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=60, check=True, cwd=cwd, env=variables_for(env, "inside")
    )
    return {item["kind"]: item for item in map(json.loads, done.stdout.splitlines())}


def dist_info(folder: pathlib.Path, name: str, version: str, text: str = "") -> pathlib.Path:
    metadata = folder / f"{name}-{version}.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{text}\n\nbody\nName: no\n"
    )
    return metadata


@pytest.fixture
def extra(tmp_path: pathlib.Path) -> pathlib.Path:
    """A folder of packages that PYTHONPATH names."""
    folder = tmp_path / "lib" / "site-packages"
    folder.mkdir(parents=True)
    return folder


@pytest.mark.parametrize("series", list(pythons()))
def test_each_python_says_which_one_it_is(series: str, tmp_path: pathlib.Path) -> None:
    said = ask(pythons()[series], tmp_path)
    assert said["python"]["version"].startswith(series + ".")
    assert said["python"]["implementation"] in {"CPython", "PyPy"}
    assert said["packages"]["markers"]["python_version"] == series


def test_packages_are_read_from_their_headers_alone(extra: pathlib.Path, tmp_path: pathlib.Path) -> None:
    requires = "Requires-Dist: b>=2\nRequires-Dist: c; extra == 'all'\nRequires-Python: >=3.8\nSummary: a\n  long one"
    (dist_info(extra, "A.b_C", "1.0", requires) / "INSTALLER").write_text("uv\n")
    (extra / "old-2.0.egg-info").write_text("Name: old\nVersion: 2.0\n")
    said = ask(sys.executable, tmp_path, {"PYTHONPATH": str(extra)})["packages"]
    found = {package["name"]: package for package in said["installed"]}
    assert found["a-b-c"]["version"] == "1.0"
    assert found["a-b-c"]["installer"] == "uv"
    assert found["a-b-c"]["requires"] == ["b>=2"]
    assert found["a-b-c"]["requires_python"] == ">=3.8"
    assert found["old"]["version"] == "2.0"


def test_extras_are_kept_where_another_package_asks_for_them(extra: pathlib.Path, tmp_path: pathlib.Path) -> None:
    dist_info(extra, "wants", "1.0", "Requires-Dist: gives[all]>=1")
    dist_info(extra, "gives", "1.0", "Requires-Dist: more; extra == 'all'")
    said = ask(sys.executable, tmp_path, {"PYTHONPATH": str(extra)})["packages"]
    found = {package["name"]: package for package in said["installed"]}
    assert found["gives"]["requires"] == ["more; extra == 'all'"]


def test_a_later_copy_of_a_name_is_hidden_by_the_first(extra: pathlib.Path, tmp_path: pathlib.Path) -> None:
    other = tmp_path / "other" / "site-packages"
    dist_info(extra, "twice", "1.0")
    dist_info(other, "twice", "2.0")
    said = ask(sys.executable, tmp_path, {"PYTHONPATH": f"{extra}:{other}"})["packages"]
    assert [package["version"] for package in said["installed"] if package["name"] == "twice"] == ["1.0"]
    assert [package["version"] for package in said["hidden"] if package["name"] == "twice"] == ["2.0"]


def test_files_that_record_names_and_that_are_gone_are_counted_for_frameworks(
    extra: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    record = "torch/__init__.py,,3\ntorch/lib/libtorch.so,,9\ntorch/lib/empty.so,,9\ntorch/doc.txt,,1\n../../bin/x,,1\n"
    (dist_info(extra, "torch", "2.9.0") / "RECORD").write_text(record)
    (extra / "torch" / "lib").mkdir(parents=True)
    (extra / "torch" / "__init__.py").write_text("x=1")
    (extra / "torch" / "lib" / "empty.so").touch()
    said = ask(sys.executable, tmp_path, {"PYTHONPATH": str(extra)})["packages"]
    torch = next(package for package in said["installed"] if package["name"] == "torch")
    assert torch["missing_files"] == 2
    assert torch["missing_examples"] == ["torch/lib/libtorch.so", "torch/lib/empty.so"]


def test_a_project_that_one_stands_in_is_not_called_installed(tmp_path: pathlib.Path) -> None:
    (tmp_path / "mine.egg-info").mkdir()
    (tmp_path / "mine.egg-info" / "PKG-INFO").write_text("Name: mine\nVersion: 1\n")
    said = ask(sys.executable, tmp_path)["packages"]
    assert "mine" not in {package["name"] for package in said["installed"]}


def test_files_in_the_working_directory_that_hide_modules_are_found(
    extra: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    here = tmp_path / "here"
    (here / "numpy").mkdir(parents=True)
    (here / "numpy" / "__init__.py").touch()
    (here / "tensorflow").mkdir()
    for name in ("random.py", "torch.py", "mine.py", "os.py", "sys.py", "secrets.txt"):
        (here / name).touch()
    for name in ("torch", "numpy", "tensorflow"):
        (extra / name).mkdir()
        (extra / name / "__init__.py").touch()
    said = ask(sys.executable, here, {"PYTHONPATH": str(extra)})["python"]
    assert {(shadow["module"], shadow["hides"]) for shadow in said["shadows"]} == {
        ("numpy", "installed package"),
        ("random", "standard library"),
        ("torch", "installed package"),
    }


def test_a_folder_that_pip_filled_holds_packages_whatever_its_name(extra: pathlib.Path, tmp_path: pathlib.Path) -> None:
    target = tmp_path / "target"
    dist_info(target, "numpy", "1.23.5")
    dist_info(extra, "numpy", "2.1.0")
    for folder in (target, extra):
        (folder / "numpy").mkdir()
        (folder / "numpy" / "__init__.py").touch()
    said = ask(sys.executable, tmp_path, {"PYTHONPATH": f"{target}:{extra}"})
    assert said["python"]["shadows"] == []
    assert next(package["version"] for package in said["packages"]["hidden"] if package["name"] == "numpy") == "2.1.0"


def test_a_module_that_hides_one_of_the_probe_s_own_imports_does_not_stop_it(tmp_path: pathlib.Path) -> None:
    (tmp_path / "json.py").write_text("raise SystemExit('mine')\n")
    (tmp_path / "sysconfig.py").write_text("raise SystemExit('mine')\n")
    said = ask(sys.executable, tmp_path)["python"]
    assert {"json", "sysconfig"} <= {shadow["module"] for shadow in said["shadows"]}


def test_an_environment_that_uv_made_is_told_from_one_of_venv(tmp_path: pathlib.Path) -> None:
    folder = tmp_path / "environment"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True, timeout=60)
    assert ask(f"{folder}/bin/python", tmp_path)["python"]["environment_kind"] == "venv"
    with (folder / "pyvenv.cfg").open("a") as file:
        file.write("uv = 0.9.0\n")
    assert ask(f"{folder}/bin/python", tmp_path)["python"]["environment_kind"] == "uv"
    (folder / "conda-meta").mkdir()
    (folder / "conda-meta" / "numpy-base-2.1.0-py312h_0.json").touch()
    said = ask(f"{folder}/bin/python", tmp_path)
    assert said["python"]["environment_kind"] == "conda"
    assert said["packages"]["conda_managed"] == ["numpy-base"]
