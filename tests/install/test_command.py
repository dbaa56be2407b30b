"""`envcheck setup` as a user calls it, against an index that the test serves."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from package_index import Index, wheel
from pythons import pip_wheel

from envcheck import stacks
from envcheck.install import generations
from envcheck.install.generations import Place

pytestmark = [
    pytest.mark.usefixtures("index"),
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the made-up wheels are named for Linux"),
]

TORCH = ("--framework", "torch==2.13", "--accelerator", "cpu", "--python", sys.executable, "--no-training")


def command(project: Path, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "envcheck", "setup", "--directory", str(project), *arguments]


def call(project: Path, *arguments: str, code: int = 0) -> str:
    """Run the command to its end and return what it wrote."""
    ended = subprocess.run(command(project, *arguments), check=False, capture_output=True, text=True, timeout=100)
    assert ended.returncode == code, ended.stdout + ended.stderr
    return ended.stdout


@pytest.fixture
def wish(index: Index) -> tuple[str, ...]:
    return (*TORCH, "--pytorch-index", index.pytorch)


def test_one_command_makes_an_environment_and_the_next_one_replaces_it(project: Path, wish: tuple[str, ...]) -> None:
    first = call(project, *wish)
    assert "PyTorch 2.13.0+cpu imports" in first
    assert f"source {project}/.venv/bin/activate" in first.replace("\n  ", " ")
    report = json.loads(call(project, *wish, "--json"))
    assert (report["generation"], report["replaced"]) == (2, 1)
    assert report["locked_by"] == "generation 1"
    assert [step["name"] for step in report["steps"]][:2] == ["environment", "install"]
    lock = Path(report["lock"]).read_text()
    assert "torch==2.13.0+cpu" in lock
    assert "--hash=sha256:" in lock

    assert "* 2" in call(project, "--list")
    call(project, "--rollback")
    assert "* 1" in call(project, "--list")
    call(project, "--rollback", "--generation", "2")
    assert call(project, "--prune") == (
        "nothing to remove; generation 1 kept for --rollback: --keep 0 removes that too\n"
    )
    assert call(project, "--prune", "--keep", "0") == "removed: generation 1\n"
    assert [one["number"] for one in json.loads(call(project, "--list", "--json"))] == [2]
    call(project, "--remove")
    assert not list(project.iterdir())


def test_a_lock_is_taken_again_until_something_changes_or_the_user_wants_newer_packages(
    project: Path, wish: tuple[str, ...], index: Index
) -> None:
    def numpy_of(*more: str) -> tuple[str, str]:
        report = json.loads(call(project, *wish, *more, "--json"))
        return report["locked_by"], Path(report["lock"]).read_text().split("numpy==")[1].split()[0]

    assert numpy_of() == ("solved", "2.3.0")
    index.add(wheel("numpy", "2.3.5"))
    assert numpy_of() == ("generation 1", "2.3.0")
    # uv asks an index again only after ten minutes; the user's next day is a new cache here.
    fresh = {**os.environ, "UV_NO_CACHE": "1"}
    upgraded = subprocess.run(
        command(project, *wish, "--upgrade", "--json"), capture_output=True, check=True, env=fresh
    )
    report = json.loads(upgraded.stdout)
    assert report["locked_by"] == "solved"
    assert "numpy==2.3.5" in Path(report["lock"]).read_text()
    (project / "requirements.txt").write_text("numpy<2.3.5\n")
    assert numpy_of() == ("solved", "2.3.0")


def test_a_lock_whose_files_are_gone_from_the_index_is_solved_anew(
    project: Path, wish: tuple[str, ...], index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    call(project, *wish)
    index.files = {name: data for name, data in index.files.items() if not name.startswith("numpy-")}
    index.add(wheel("numpy", "2.3.5"))
    monkeypatch.setenv("UV_CACHE_DIR", str(project.parent / "another cache"))
    report = json.loads(call(project, *wish, "--json"))
    assert report["locked_by"] == "solved"
    assert "numpy==2.3.5" in Path(report["lock"]).read_text()


@pytest.mark.skipif(f"{sys.version_info[0]}.{sys.version_info[1]}" != stacks.PYTHON, reason="locks are for one Python")
def test_a_stack_of_the_house_is_installed_from_its_lock(
    project: Path, wish: tuple[str, ...], index: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = Path(json.loads(call(project, *wish, "--json"))["lock"]).read_text()
    call(project, "--remove")
    house = tmp_path / "site" / "house_stacks" / "house-torch"
    house.mkdir(parents=True)
    (house.parent / "__init__.py").touch()
    metadata = tmp_path / "site" / "house_stacks-1.0.dist-info"
    metadata.mkdir()
    (metadata / "entry_points.txt").write_text("[envcheck.stacks]\nhouse = house_stacks\n")
    (house / "requirements.txt").write_text("torch==2.13.0+cpu\nnumpy\n")
    digest = stacks.digest(house / "requirements.txt")
    (house / "lock.linux-x86_64.txt").write_text(f"# house-torch\n# inputs: {digest}\n" + lock.split("\n", 1)[1])
    index.add(wheel("numpy", "2.9.0"))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "site"))
    asked = ("--stack", "house-torch", "--no-training", "--pytorch-index", index.pytorch)
    report = json.loads(call(project, *asked, "--json"))
    assert report["locked_by"] == "stack house-torch"
    assert [step["name"] for step in report["steps"]][:2] == ["environment", "install"]
    assert report["verified"][0]["version"] == "2.13.0+cpu"
    assert "numpy==2.3.0" in Path(report["lock"]).read_text()
    assert subprocess.run([project / ".venv/bin/python", "-c", "import pip, numpy"], check=False).returncode == 0


def test_a_dry_run_shows_plan_and_commands_and_changes_nothing(project: Path, wish: tuple[str, ...]) -> None:
    page = call(project, *wish, "--dry-run")
    assert "pip compile" in page
    assert "UV_DEFAULT_INDEX=" in page
    plan = json.loads(call(project, *wish, "--dry-run", "--json"))
    assert plan["plan"]["choices"][0]["version"] == "2.13.0+cpu"
    assert not list(project.iterdir())


def test_a_wish_that_cannot_be_fulfilled_ends_with_1_and_says_what_would_change_that(project: Path) -> None:
    page = call(project, "--framework", "torch", "--accelerator", "mps", "--python", sys.executable, code=1)
    assert page.startswith("cannot: MPS is Apple's GPU")
    assert "what would change that: --accelerator auto" in page


@pytest.mark.parametrize(
    "arguments",
    [
        ("--framework", "jax"),
        (),
        ("--list", "--rollback"),
        ("--framework", "torch", "--framework", "torch==2.1"),
        ("--framework", "torch", "--keras-backend", "torch"),
        ("--framework", "torch", "--card", "fast"),
        ("--framework", "torch", "--python", "/no/python"),
        ("--name", "../up", "--list"),
    ],
)
def test_wrong_usage_ends_with_2(project: Path, arguments: tuple[str, ...]) -> None:
    call(project, *arguments, code=2)


def test_what_the_project_requires_is_honoured(project: Path, wish: tuple[str, ...]) -> None:
    (project / "pyproject.toml").write_text('[project]\nname = "x"\nversion = "1"\ndependencies = ["filelock>=3"]\n')
    (project / "requirements.txt").write_text("numpy\n# a comment\ntorch<2.14\n")
    plan = json.loads(call(project, *wish, "--dry-run", "--json"))["plan"]
    assert {"text": "filelock>=3", "why": "pyproject.toml, project.dependencies", "index": ""} in plan["requirements"]
    assert plan["files"] == [str(project / "requirements.txt")]
    call(project, *wish)
    code = "import filelock, numpy"
    assert subprocess.run([project / ".venv/bin/python", "-c", code], check=False).returncode == 0


def test_a_foreign_environment_is_taken_over_only_when_told_and_given_back(
    project: Path, wish: tuple[str, ...]
) -> None:
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", project / ".venv"], check=True)
    page = call(project, *wish, code=1)
    assert "--adopt" in page
    assert not (project / ".venv").is_symlink()
    call(project, *wish, "--adopt")
    assert (project / ".venv").is_symlink()
    call(project, "--rollback")
    assert not (project / ".venv").is_symlink()
    assert (project / ".venv" / "pyvenv.cfg").is_file()


def test_a_machine_without_network_is_served_by_a_folder_that_another_one_filled(
    project: Path, tmp_path: Path, index: Index, wish: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    # pip downloads, so the index must have a real one: every Python brings a wheel of it.
    bundled = pip_wheel()
    index.files = {name: data for name, data in index.files.items() if not name.startswith("pip-")}
    index.add((bundled.name, bundled.read_bytes()))
    wheels = tmp_path / "wheels"
    said = call(project, *wish, "--download", str(wheels))
    assert f"--offline --wheelhouse {wheels}" in said.replace("\n  ", " ")
    assert {"torch", "filelock", "numpy", "pip"} == {path.name.split("-")[0] for path in wheels.glob("*.whl")}
    assert not list(project.iterdir())

    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "other cache"))
    offline = ("--offline", "--wheelhouse", str(wheels))
    report = json.loads(call(project, *TORCH, *offline, "--json"))
    assert report["verified"][0]["version"] == "2.13.0+cpu"
    refused = call(project, "--framework", "tf", "--python", sys.executable, *offline, code=1)
    assert "not among the wheels that can be had offline" in refused.replace("\n  ", " ")


def test_a_notebook_kernel_comes_and_goes_with_the_environment(
    project: Path, tmp_path: Path, index: Index, wish: tuple[str, ...]
) -> None:
    index.add(*(wheel(name, "1.0") for name in ("jupyterlab", "ipykernel", "ipywidgets")))
    report = json.loads(call(project, *wish, "--extra", "jupyter", "--json"))
    kernel = json.loads((Path(report["kernel"]) / "kernel.json").read_text())
    assert kernel["argv"][0] == str(project / ".venv/bin/python")
    assert kernel["display_name"] == "mein Projekt é (PyTorch 2.13.0+cpu)"
    call(project, "--remove")
    assert not list((tmp_path / "jupyter" / "kernels").iterdir())


@pytest.mark.parametrize("keras", ["torch"])
def test_keras_finds_its_backend_however_python_is_started(
    project: Path, index: Index, wish: tuple[str, ...], keras: str
) -> None:
    index.add(*(wheel("keras", f"3.{minor}.{patch}") for minor in range(10, 16) for patch in range(4)))
    call(project, *wish, "--framework", "keras")
    code = "import os; print(os.environ['KERAS_BACKEND'])"
    environment = {name: value for name, value in os.environ.items() if name != "KERAS_BACKEND"}
    said = subprocess.check_output([project / ".venv/bin/python", "-c", code], text=True, env=environment)
    assert said.strip() == keras


def is_whole(project: Path) -> bool:
    code = "import torch, filelock"
    return subprocess.run([project / ".venv/bin/python", "-c", code], check=False).returncode == 0


def test_ctrl_c_says_what_was_kept(project: Path, index: Index, wish: tuple[str, ...]) -> None:
    call(project, *wish)
    index.fault = "slow"
    # A wheel that is not in the cache yet, so that the index has to be waited for.
    index.add(wheel("late", "1.0", size=100_000))
    (project / "requirements.txt").write_text("late\n")
    process = subprocess.Popen(
        command(project, *wish), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    for line in process.stdout:
        if line.startswith("solve: "):
            break
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "interrupted; generation 1 is in use as before" in errors
    assert is_whole(project)
    assert [one.number for one in generations.listed(Place(project))] == [1]
    assert not running_under(str(project))


def running_under(folder: str) -> list[str]:
    """Return the command lines of processes that name a folder."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
            except OSError:
                continue
            if folder in line:
                found.append(line)
    return found
