"""Interpreters to train in, frameworks that misbehave, and the command run as a user runs it."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import shutil
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

ROOT = Path(__file__).parents[2]
MARK = "ENVCHECK_TEST_MARK"

# As the installed command does it: files of the working directory are none of envcheck's own modules.
COMMAND = "import sys; sys.path.remove(''); from envcheck.commands import main; main()"


@dataclasses.dataclass
class Ran:
    """How the command ended."""

    code: int
    stdout: str
    stderr: str

    def json(self) -> dict[str, Any]:
        return json.loads(self.stdout)

    def result(self) -> dict[str, Any]:
        (result,) = self.json()["results"]
        return result


def has(interpreter: str, package: str) -> bool:
    asked = f"import importlib.util as u, sys; sys.exit(u.find_spec({package!r}) is None)"
    return subprocess.run([interpreter, "-c", asked], capture_output=True, check=False, cwd="/").returncode == 0


@pytest.fixture(scope="session")
def interpreter_with() -> Callable[[str], str]:
    """Return an interpreter that has a package, or skip the test where this machine has none."""
    found: dict[str, str | None] = {}
    named = os.environ.get("ENVCHECK_TEST_PYTHONS", "").split(os.pathsep)
    environments = [str(path) for path in sorted(ROOT.glob(".venv*/bin/python"))]
    candidates = [path for path in [*named, sys.executable, *environments] if path]

    def find(package: str) -> str:
        if package not in found:
            found[package] = next((path for path in candidates if has(path, package)), None)
        path = found[package]
        if path is None:
            pytest.skip(f"no interpreter here has {package}; ENVCHECK_TEST_PYTHONS names more of them")
        return path

    return find


@pytest.fixture
def mark() -> str:
    """A mark in the environment of everything that a test starts."""
    return uuid.uuid4().hex


@pytest.fixture
def start(tmp_path: Path, mark: str) -> Callable[..., subprocess.Popen[bytes]]:
    """Start `envcheck smoke` in an empty directory, without waiting for it."""
    here = tmp_path / "here"
    here.mkdir()

    def run(*arguments: str, stubs: Path | None = None, **options: Any) -> subprocess.Popen[bytes]:
        environment = {name: value for name, value in os.environ.items() if name not in {"VIRTUAL_ENV", "CONDA_PREFIX"}}
        environment |= {"PYTHONPATH": os.pathsep.join(filter(None, [str(stubs or ""), str(ROOT)])), MARK: mark}
        # More threads on a machine that is busy with other tests would measure those.
        environment |= {"OMP_NUM_THREADS": "1", "TF_NUM_INTRAOP_THREADS": "1"}
        environment |= {"ENVCHECK_HISTORY": str(tmp_path / "history" / "smoke.jsonl")}
        environment |= options.pop("variables", {})
        options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "cwd": here} | options
        command = [sys.executable, "-c", COMMAND, "smoke", *arguments]
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, env=environment, **options)

    return run


@pytest.fixture
def smoke(start: Callable[..., subprocess.Popen[bytes]]) -> Callable[..., Ran]:
    """Run `envcheck smoke` to its end."""

    def run(*arguments: str, **options: Any) -> Ran:
        with start(*arguments, **options) as process:
            stdout, stderr = process.communicate(timeout=110)
        return Ran(process.returncode, stdout.decode("utf-8", "replace"), stderr.decode("utf-8", "replace"))

    return run


@pytest.fixture
def stub(tmp_path: Path) -> Callable[..., Path]:
    """Plant a framework that misbehaves; returns the folder for PYTHONPATH."""

    def plant(source: str, package: str = "torch") -> Path:
        folder = tmp_path / "stubs"
        (folder / package).mkdir(parents=True, exist_ok=True)
        (folder / package / "__init__.py").write_text(source)
        return folder

    return plant


# Stands before the real framework on PYTHONPATH, brings it in, and spoils one thing about it.
SPOILED = """
import os, sys
sys.path[:] = [folder for folder in sys.path if os.path.realpath(folder) != os.path.dirname(os.path.dirname(__file__))]
del sys.modules[__name__]
import {package} as real
{spoil}
"""


@pytest.fixture
def spoiled(stub: Callable[..., Path]) -> Callable[..., Path]:
    """Plant the real framework with one thing about it spoiled; the name `real` is the framework."""

    def plant(spoil: str, package: str = "torch") -> Path:
        return stub(SPOILED.format(package=package, spoil=spoil), package)

    return plant


def left_running(mark: str) -> list[str]:
    """Return the command lines of processes that carry a test's mark."""
    left = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.status() != psutil.STATUS_ZOMBIE and process.environ().get(MARK) == mark:
                left.append(" ".join(process.cmdline())[:200])
    return left


@pytest.fixture
def nothing_is_left(mark: str) -> Callable[[float], None]:
    """Assert that within some seconds nothing that the test started is running."""

    def check(seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while left := left_running(mark):
            assert time.monotonic() < deadline, left
            time.sleep(0.05)

    return check


def every_python() -> list[str]:
    """Return interpreters of every version that this machine has: on PATH, and where pyenv keeps them."""
    roots = [os.environ.get("PYENV_ROOT"), str(Path.home() / ".pyenv")]
    found = {path for root in roots if root for path in map(str, Path(root).glob("versions/*/bin/python"))}
    names = [f"python{version}" for version in ("2.7", *(f"3.{minor}" for minor in range(6, 15)))]
    found |= {path for name in names if (path := shutil.which(name))}
    versions = {}
    for path in sorted(found):
        asked = "import sys; print('%d.%d' % sys.version_info[:2])"
        answer = subprocess.run([path, "-c", asked], capture_output=True, text=True, check=False)
        if answer.returncode == 0:
            versions.setdefault(answer.stdout.strip(), path)
    return [versions[version] for version in sorted(versions, key=lambda text: [int(part) for part in text.split(".")])]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test that takes `any_python` once with each version."""
    if "any_python" in metafunc.fixturenames:
        metafunc.parametrize("any_python", every_python() or [sys.executable])
