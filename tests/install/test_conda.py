"""conda users: every specification of environments/ with a real conda, and conda as the maker of an environment.

A local channel serves Python and pip, a local index made-up wheels of what the specifications ask for.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conda_channel import channel
from package_index import Index, wheel
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from envcheck import stacks
from envcheck.install import conda, uv
from envcheck.testing import machine

ENVIRONMENTS = Path(__file__).parent.parent.parent / "environments"
STACKS = stacks.read(ENVIRONMENTS)

REAL_CONDA = ["conda-lock>=2.5", "pluggy", "pycosat", "conda-package-handling", "archspec", "boltons", "tqdm"]
"""conda-lock brings a whole conda; the others are what that conda imports."""

on_linux = pytest.mark.skipif(
    not sys.platform.startswith("linux") or os.uname().machine != "x86_64" or sys.version_info[:2] != (3, 11),
    reason="the local channel is one for linux-64 and the Python of the specifications",
)


@pytest.fixture(scope="session")
def real_conda(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real conda: the one on PATH, else one from the package index."""
    folder = tmp_path_factory.mktemp("conda")
    found = shutil.which("conda")
    if found:
        return Path(found)
    environment = folder / "environment"
    program = uv.program()
    made = subprocess.run([program, "venv", "-q", "--python", sys.executable, environment], check=False)
    install = [program, "pip", "install", "-q", "--python", environment, *REAL_CONDA]
    if made.returncode or subprocess.run(install, check=False, capture_output=True).returncode:
        pytest.skip("no conda on PATH, and none can be had from the package index")
    [vendor] = environment.glob("lib/python*/site-packages/conda_lock/_vendor")
    script = folder / "conda"
    script.write_text(
        f"#!{environment}/bin/python\nimport sys\nsys.path.insert(0, {str(vendor)!r})\n"
        "from conda.cli.main import main\nsys.exit(main())\n"
    )
    script.chmod(0o755)
    return script


@pytest.fixture(scope="session")
def local_channel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return channel(tmp_path_factory.mktemp("channels") / "conda-forge").parent


@pytest.fixture(scope="session")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where conda keeps what it has unpacked."""
    return tmp_path_factory.mktemp("packages")


@pytest.fixture
def conda_here(real_conda: Path, local_channel: Path, packages: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A conda that knows the local channel alone, beside a pip that knows the local index alone."""
    for name, value in {
        "CONDARC": os.devnull,
        "CONDA_CHANNEL_ALIAS": local_channel.as_uri(),
        "CONDA_DEFAULT_CHANNELS": f"{local_channel.as_uri()}/conda-forge",
        "CONDA_PKGS_DIRS": str(packages),
        "CONDA_SOLVER": "classic",
        "CONDA_EXE": str(real_conda),
        "PIP_RETRIES": "0",
        "PIP_TIMEOUT": "1",
        "PIP_ROOT_USER_ACTION": "ignore",
        # What the specifications name beside the local index must not be reached.
        "HTTPS_PROXY": "http://127.0.0.1:9",
        "NO_PROXY": "127.0.0.1",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("PYTHONPATH", raising=False)
    return real_conda


def wanted(stack: stacks.Stack) -> dict[str, str]:
    """Return name → version of what a stack asks for here; `1.0` where it takes any."""
    found = {}
    for line in stacks.lines(stack.requirements):
        one = Requirement(line)
        if one.marker is None or one.marker.evaluate({"extra": ""}):
            exact = [part.version for part in one.specifier if part.operator == "=="]
            found[canonicalize_name(one.name)] = exact[0] if exact else found.get(canonicalize_name(one.name), "1.0")
    return found


ALWAYS = {"keras-torch", "tf-cuda"}
"""One that includes another, has an index and variables, and a plain one."""


def by_name(stack: stacks.Stack) -> str:
    return stack.name


def not_always(stack: stacks.Stack) -> list[pytest.MarkDecorator]:
    left_out = stack.name not in ALWAYS and not os.environ.get("ENVCHECK_EVERY_STACK")
    return [pytest.mark.skipif(left_out, reason="conda takes its time: ENVCHECK_EVERY_STACK=1 tests all of them")]


@on_linux
@pytest.mark.slow
@pytest.mark.parametrize("stack", [pytest.param(stack, marks=not_always(stack)) for stack in STACKS], ids=by_name)
def test_conda_makes_an_environment_from_every_specification(
    stack: stacks.Stack, conda_here: Path, index: Index, tmp_path: Path
) -> None:
    asked = wanted(stack)
    index.files.clear()
    index.add(*(wheel(name, version) for name, version in asked.items()))
    prefix = tmp_path / "made"
    command = [conda_here, "env", "create", "--file", stack.specification, "--prefix", prefix]
    ended = subprocess.run(command, check=False, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    installed = {path.name.split("-")[0] for path in prefix.glob("lib/python*/site-packages/*.dist-info")}
    assert {name.replace("-", "_") for name in asked} <= installed
    state = prefix / "conda-meta" / "state"
    variables = json.loads(state.read_text())["env_vars"] if state.exists() else {}
    backend = stack.name.removeprefix("keras-")
    expected = {"tf": "tensorflow"}.get(backend, backend) if stack.name.startswith("keras-") else None
    assert variables.get("KERAS_BACKEND") == expected


@on_linux
@pytest.mark.slow
@pytest.mark.usefixtures("conda_here")
def test_setup_builds_in_an_environment_that_conda_made(index: Index, project: Path) -> None:
    specification = "name: mine\nchannels:\n  - conda-forge\n  - nodefaults\ndependencies:\n  - python=3.11\n  - pip\n"
    (project / "environment.yml").write_text(specification)
    command = [sys.executable, "-m", "envcheck", "setup", "--directory", str(project), "--framework", "torch==2.13"]
    more = ["--accelerator", "cpu", "--no-training", "--pytorch-index", index.pytorch, "--json"]
    ended = subprocess.run([*command, *more], check=False, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    report = json.loads(ended.stdout)
    assert report["plan"]["python"]["why"] == "conda brings Python 3.11"
    assert (project / ".venv" / "conda-meta").is_dir()
    assert report["verified"][0]["version"] == "2.13.0+cpu"


@pytest.mark.parametrize(
    ("line", "comparison"),
    [
        ("  - python=3.11", "==3.11.*"),
        ("  - python==3.11.4", "==3.11.4.*"),
        ('  - "python>=3.10,<3.13"  # why', ">=3.10,<3.13"),
        ("  - python", ""),
        ("  - python-dateutil=2", ""),
    ],
)
def test_the_python_of_a_specification_is_honoured(line: str, comparison: str) -> None:
    system = machine(files={"/p/environment.yml": f"dependencies:\n{line}\n"})
    assert conda.python_of(system, "/p/environment.yml") == comparison


@pytest.mark.parametrize("name", ["conda", "mamba", "micromamba"])
def test_whichever_conda_is_there_is_used(name: str) -> None:
    assert conda.program(machine(programs={name: f"/opt/bin/{name}"})) == f"/opt/bin/{name}"
    assert conda.program(machine()) is None


def test_micromamba_reads_a_specification_in_its_own_way(tmp_path: Path) -> None:
    assert conda.make("/opt/micromamba", tmp_path, "3.11", "e.yml")[1] == "create"
    assert conda.make("/opt/conda", tmp_path, "3.11", "e.yml")[1:3] == ("env", "create")
    assert "python=3.12" in conda.make("/opt/mamba", tmp_path, "3.12", "")
