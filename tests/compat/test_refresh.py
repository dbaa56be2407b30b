"""The refresh tool, run against a folder of made-up wheels instead of an index."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from envcheck.compat.table import TABLES

TOOL = Path(__file__).parents[2] / "tools" / "refresh_tables.py"

pytest.importorskip("tomllib", reason="the tables are compiled with Python 3.11 or newer")
pytest.importorskip("pip", reason="the tool asks pip")


def add_wheel(folder, package, version, requires=()):
    name = package.replace("-", "_")
    metadata = [f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}\nRequires-Python: >=3.11"]
    metadata += [f"Requires-Dist: {text}" for text in requires]
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as wheel:
        information = f"{name}-{version}.dist-info"
        wheel.writestr(f"{information}/METADATA", "\n".join(metadata) + "\n")
        wheel.writestr(f"{information}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{information}/RECORD", "")


@pytest.fixture
def tables(tmp_path):
    copy = tmp_path / "tables"
    shutil.copytree(TABLES, copy)
    return copy


@pytest.fixture
def wheels(tmp_path):
    folder = tmp_path / "wheels"
    folder.mkdir()
    return folder


def refresh(tables, wheels, *options):
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PIP_")}
    environment |= {"PIP_CONFIG_FILE": os.devnull, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(wheels)}
    command = [sys.executable, str(TOOL), "--tables", str(tables), *options]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment, timeout=60)


def test_without_an_index_the_tool_says_so_in_one_line(tables, tmp_path):
    done = refresh(tables, tmp_path / "nothing-here")
    assert done.returncode == 1
    assert done.stdout.startswith("pip cannot ask its package index: ")
    assert done.stdout.count("\n") == 1
    assert done.stderr == ""


def test_a_new_release_of_keras_gets_the_row_that_metadata_tells(tables, wheels):
    add_wheel(wheels, "keras", "3.15.1")
    add_wheel(wheels, "keras", "3.99.0", ["numpy", "rich", "tomli ; extra == 'test'"])

    told = refresh(tables, wheels, "keras")
    assert told.returncode == 3
    assert told.stdout == "keras: keras 3.99.0 has no row\n"
    assert all((tables / path.name).read_bytes() == path.read_bytes() for path in TABLES.glob("*.toml"))

    written = refresh(tables, wheels, "keras", "--write")
    assert written.returncode == 0
    keras = json.loads((tables / "keras.json").read_text(encoding="utf-8"))
    assert keras["release"][-1]["version"] == "3.99.0"
    assert keras["release"][-1]["requires"] == ["numpy", "rich"]
    assert keras["rule"], "what comes after the new row is still there"


def test_a_new_release_of_torch_is_left_for_a_person(tables, wheels):
    for version in ("2.15.0", "9.0.0", "9.1.0rc1", "9.2.0+cpu"):
        add_wheel(wheels, "torch", version)
    done = refresh(tables, wheels, "torch", "--write")
    assert done.returncode == 3
    assert done.stdout == "torch: torch 9.0.0 has no row: read its wheels, then write one\n"


def test_a_newer_companion_is_written_into_the_rows_of_its_series(tables, wheels):
    add_wheel(wheels, "tensorflow", "2.21.0")
    add_wheel(wheels, "tensorflow-text", "2.21.1")
    add_wheel(wheels, "tf-keras", "2.21.5")
    done = refresh(tables, wheels, "tensorflow", "--write")
    assert done.returncode == 0
    rows = json.loads((tables / "tensorflow.json").read_text(encoding="utf-8"))["release"]
    companions = {row["version"]: row.get("tf_keras") for row in rows}
    assert (companions["2.20.0"], companions["2.21.0"]) == ("2.20.1", "2.21.5")
