"""The scripts that other interpreters run: every Python from 3.6 on can read them, and they bring nothing along."""

from __future__ import annotations

import ast
import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

INSIDE = Path(__file__).parents[2] / "envcheck" / "inside"
SCRIPTS = sorted(INSIDE.glob("smoke_*.py"))
FRAMEWORKS = {"tensorflow", "torch", "keras", "jax", "numpy"}


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_a_script_is_written_in_the_language_of_python_3_6(script):
    ast.parse(script.read_text(), feature_version=(3, 6))


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_a_script_imports_the_standard_library_and_what_it_is_about(script):
    imported = set()
    for node in ast.walk(ast.parse(script.read_text())):
        if isinstance(node, ast.Import):
            imported |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported.add(node.module.split(".")[0])
    assert imported <= set(sys.stdlib_module_names) | FRAMEWORKS


def test_every_python_reads_the_scripts(any_python):
    told = "import sys\nfor path in sys.argv[1:]:\n    compile(open(path, 'rb').read(), path, 'exec')"
    version = "import sys; sys.exit(sys.version_info < (3, 6))"
    if subprocess.run([any_python, "-c", version], check=False).returncode:
        pytest.skip("older than the scripts ask for")
    subprocess.run([any_python, "-c", told, *map(str, SCRIPTS)], check=True)


def training():
    specification = importlib.util.spec_from_file_location("smoke_training", INSIDE / "smoke_training.py")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def test_the_initial_weights_are_glorots_and_have_the_right_number():
    np = pytest.importorskip("numpy")
    module = training()
    weights = module.initial_weights(np, 0)
    assert sum(array.size for array in weights) == module.PARAMETERS == 225034
    assert all(not array.any() for array in weights[1::2])
    limit = (6 / (9 + 9 * 32)) ** 0.5
    assert 0.9 * limit < abs(weights[0]).max() <= limit


def test_torch_gets_its_weights_in_its_own_order_and_gives_them_back():
    np = pytest.importorskip("numpy")
    specification = importlib.util.spec_from_file_location("smoke_torch", INSIDE / "smoke_torch.py")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    random = np.random.RandomState(0)
    image = random.rand(5, 5, 64)
    kernel = random.rand(1600, 128)
    in_torch = module._to_torch(2, kernel)
    assert np.allclose(image.reshape(-1) @ kernel, in_torch @ image.transpose(2, 0, 1).reshape(-1))
    assert np.array_equal(module._from_torch(2, in_torch), kernel)


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="this system has no affinity")
def test_a_process_that_may_use_one_core_says_one():
    allowed = os.sched_getaffinity(0)
    told = (
        f"import os; os.sched_setaffinity(0, {{{min(allowed)}}}); import smoke_training; "
        "print(smoke_training.allowed_cores())"
    )
    ran = subprocess.run(
        [sys.executable, "-c", told], capture_output=True, text=True, check=True, env={"PYTHONPATH": str(INSIDE)}
    )
    assert float(ran.stdout) <= 1.0
