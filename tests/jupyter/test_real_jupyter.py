"""Real Jupyter beside envcheck: the same kernels, started alike. `make notebook` runs this in its own environment."""

from __future__ import annotations

import json
import pathlib
import shutil
import subprocess
import sys

import pytest
from running import ROOT, run_cli

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]

ARGV = ["-m", "ipykernel_launcher", "-f", "{connection_file}"]


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A user's home folder whose environment, made here, has ipykernel and no envcheck."""
    for module in ("jupyter_client", "ipykernel", "nbclient"):
        pytest.importorskip(module, reason=f"no {module}: `make notebook` makes the environment that has it")
    folder = tmp_path_factory.mktemp("home")
    uv = shutil.which("uv") or str(pathlib.Path(sys.executable).parent / "uv")
    place = folder / "project/.venv"
    subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, str(place)], check=True, timeout=60)
    python = str(place / "bin/python")
    subprocess.run([uv, "pip", "install", "--quiet", "--python", python, "ipykernel"], check=True, timeout=240)
    return folder


@pytest.fixture
def variables(home):
    programs = str(pathlib.Path(sys.executable).parent)
    return {"HOME": str(home), "PATH": f"{programs}:/usr/bin:/bin", "JUPYTER_DATA_DIR": None, "XDG_DATA_HOME": None}


def register(home, name, program, text=None):
    place = home / ".local/share/jupyter/kernels" / name
    place.mkdir(parents=True, exist_ok=True)
    said = {"argv": [program, *ARGV], "display_name": name, "language": "python"}
    (place / "kernel.json").write_text(json.dumps(said) if text is None else text)


def test_envcheck_finds_the_kernels_that_jupyter_finds_in_the_same_places(home, variables):
    register(home, "Project", str(home / "project/.venv/bin/python"))
    register(home, "python3", "/gone/bin/python")
    register(home, "torn", "", "{")
    jupyter = subprocess.run(
        [sys.executable, "-m", "jupyter", "kernelspec", "list", "--json"],
        capture_output=True,
        text=True,
        check=True,
        env={name: value for name, value in variables.items() if value},
    )
    theirs = {name: one["resource_dir"] for name, one in json.loads(jupyter.stdout)["kernelspecs"].items()}
    ran = run_cli(["jupyter", "--json", "--no-start"], env=variables, cwd=home)
    found = [one["specification"] for one in ran.report["kernels"]]
    ours = {
        one["name"]: one["folder"].replace("~", str(home), 1)
        for one in found
        if one["offered"] and not one["hidden_by"] and not one["problem"]
    }
    assert ours == theirs
    assert [one["name"] for one in found if one["problem"]] == ["torn"]


def test_a_real_kernel_starts_and_says_who_it_is(home, variables):
    shutil.rmtree(home / ".local", ignore_errors=True)
    python = home / "project/.venv/bin/python"
    mended = run_cli(["jupyter", "--fix", "--yes", "--json", "--python", str(python)], env=variables, cwd=home)
    assert mended.code == 0, mended.stdout
    assert [step["kind"] for step in mended.report["steps"]] == ["register"]
    kernels = {one["specification"]["name"]: one for one in mended.report["report"]["kernels"]}
    start = kernels["project"]["start"]
    assert start["state"] == "answers"
    assert start["executable"] == "~/project/.venv/bin/python"
    assert start["implementation"].startswith("ipython ")
    logos = {path.name for path in (home / ".local/share/jupyter/kernels/project").glob("logo-*")}
    assert "logo-64x64.png" in logos


def test_a_kernel_without_envcheck_runs_the_magic_from_where_envcheck_is_installed(home, monkeypatch):
    import nbformat
    from nbclient import NotebookClient

    for name, value in (("HOME", str(home)), ("JUPYTER_DATA_DIR", str(home / ".local/share/jupyter"))):
        monkeypatch.setenv(name, value)
    register(home, "bare", str(home / "project/.venv/bin/python"))
    cells = [
        "import importlib.util\nassert importlib.util.find_spec('envcheck') is None",
        f"%run {ROOT}/envcheck/notebook.py",
        "%envcheck --quick --require torch",
        "%envcheck --quick",
    ]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    NotebookClient(notebook, kernel_name="bare", timeout=120).execute(cwd=str(home))
    first = notebook.cells[2].outputs[0].data
    assert 'data-verdict="error"' in first["text/html"]
    assert "~/project/.venv/bin/python" in first["text/html"]
    assert first["text/plain"].startswith("ERROR")
    assert 'data-verdict="ok"' in notebook.cells[3].outputs[0].data["text/html"]
