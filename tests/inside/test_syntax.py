"""Scripts that other interpreters run keep to what the oldest of them understands."""

from __future__ import annotations

import ast
import pathlib
import subprocess

import pytest
from pythons import pythons
from running import ROOT

INSIDE = ROOT / "envcheck" / "inside"
SCRIPTS = sorted(path for path in INSIDE.rglob("*.py") if path.name != "__init__.py")
ANY_PYTHON = {"interpreter_probe", "frameworks_probe", "envcheck_channel"}
"""Those that must at least say that a Python 2.7 is too old."""


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_each_script_is_written_in_the_grammar_of_python_3_6(script: pathlib.Path) -> None:
    ast.parse(script.read_text(), feature_version=(3, 6))


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_no_script_imports_envcheck_or_anything_that_a_bare_python_lacks(script: pathlib.Path) -> None:
    import sys

    siblings = {path.stem for path in SCRIPTS}
    asked_about = {"torch", "tensorflow", "keras", "numpy", "jax", "pynvml", "safetensors", "PIL"}
    since_3_6 = {"importlib.metadata", "importlib.resources", "zoneinfo", "graphlib", "tomllib", "contextvars"}
    for node in ast.walk(ast.parse(script.read_text())):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module] if isinstance(node, ast.ImportFrom) and node.module else []
        for name in names:
            top = name.partition(".")[0]
            assert top in {*sys.stdlib_module_names, *siblings, *asked_about}, name
            assert name not in since_3_6


@pytest.mark.parametrize("series", list(pythons()))
def test_each_python_of_this_machine_compiles_the_scripts(series: str, tmp_path: pathlib.Path) -> None:
    names = [str(path) for path in SCRIPTS if series != "2.7" or path.stem in ANY_PYTHON]
    code = "import sys\nfor n in sys.argv[1:]: compile(open(n, 'rb').read(), n, 'exec')"
    done = subprocess.run(
        [pythons()[series], "-c", code, *names], capture_output=True, text=True, timeout=60, check=False, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr


def test_no_script_has_the_name_of_a_module_that_an_import_could_mean() -> None:
    import sys

    for script in SCRIPTS:
        assert script.stem not in sys.stdlib_module_names
        assert script.stem not in {"torch", "tensorflow", "keras", "numpy", "pynvml"}
