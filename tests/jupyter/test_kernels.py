"""`envcheck jupyter`, as a user runs it: kernels on disk, real interpreters, kernels that are really started."""

from __future__ import annotations

import json
import os
import pathlib
import pty
import shutil
import signal
import subprocess
import sys
import time
import uuid
import zipfile

import click
import pytest
from running import ROOT, Ran, left_running, processes_with, run_cli, start_cli

from envcheck.commands.jupyter import jupyter

ARGV = ["-m", "ipykernel_launcher", "-f", "{connection_file}"]
LAUNCHER = ROOT / "tests" / "fake_kernel.py"


class House:
    """A user's home folder, with a Jupyter server, environments and kernels."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder
        self.home = folder / "home"
        self.wheels = folder / "wheels"
        self.programs = folder / "programs"
        self.kernels = self.home / ".local/share/jupyter/kernels"
        for made in (self.kernels, self.wheels, self.programs):
            made.mkdir(parents=True)
        self.variables: dict[str, str | None] = {
            "HOME": str(self.home),
            "PATH": f"{self.programs}:/usr/bin:/bin",
            "UV_OFFLINE": "1",
            "PIP_FIND_LINKS": str(self.wheels),
            "UV_CACHE_DIR": str(folder / "cache"),
            "UV_LINK_MODE": "copy",
            **dict.fromkeys(
                ("XDG_DATA_HOME", "XDG_STATE_HOME", "JUPYTER_PATH", "JUPYTER_DATA_DIR", "JUPYTER_PREFER_ENV_PATH")
            ),
            "IPYTHONDIR": None,
            "CONDA_EXE": None,
        }

    def environment(self, name: str, *, ipykernel: bool = True, torch: str = "") -> pathlib.Path:
        """Make an environment; return its interpreter."""
        place = self.home / name
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(place)], check=True, timeout=60)
        (packages,) = place.glob("lib/python*/site-packages")
        if ipykernel:
            shutil.copy(LAUNCHER, packages / "ipykernel_launcher.py")
            metadata(packages, "ipykernel", "7.1.0")
        if torch:
            metadata(packages, "torch", torch)
        return place / "bin" / "python"

    def server(self, interpreter: pathlib.Path) -> None:
        """Let PATH find a JupyterLab that an interpreter runs."""
        program = self.programs / "jupyter-lab"
        program.write_text(f"#!{interpreter}\nimport jupyterlab\n")
        program.chmod(0o755)
        (packages,) = interpreter.parent.parent.glob("lib/python*/site-packages")
        metadata(packages, "jupyterlab", "4.4.0")

    def kernel(self, name: str, program: object, *, folder: pathlib.Path | None = None, **more: object) -> pathlib.Path:
        """Register a kernel; return its folder."""
        place = (folder or self.kernels) / name
        place.mkdir(parents=True)
        said = {"argv": [str(program), *ARGV], "display_name": name.title(), "language": "python", **more}
        (place / "kernel.json").write_text(json.dumps(said))
        return place

    def offer_ipykernel(self) -> None:
        """Put a wheel of ipykernel into the folder that stands for the index."""
        info = "ipykernel-7.1.0.dist-info"
        with zipfile.ZipFile(self.wheels / "ipykernel-7.1.0-py3-none-any.whl", "w") as archive:
            archive.write(LAUNCHER, "ipykernel_launcher.py")
            archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: ipykernel\nVersion: 7.1.0\n")
            archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
            names = ("ipykernel_launcher.py", f"{info}/METADATA", f"{info}/WHEEL", f"{info}/RECORD")
            archive.writestr(f"{info}/RECORD", "".join(f"{name},,\n" for name in names))

    def jupyter(self, *arguments: str, where: str = ".", **more: str | None) -> Ran:
        return run_cli(["jupyter", *arguments], env={**self.variables, **more}, cwd=self.home / where)

    def shown(self, path: pathlib.Path) -> str:
        """Return a path as envcheck shows it."""
        return f"~/{path.relative_to(self.home)}"

    def files(self) -> dict[str, bytes]:
        """Return everything in the user's Jupyter folder."""
        return {
            str(path.relative_to(self.kernels)): path.read_bytes() for path in self.kernels.rglob("*") if path.is_file()
        }


def metadata(packages: pathlib.Path, name: str, version: str) -> None:
    place = packages / f"{name}-{version}.dist-info"
    place.mkdir()
    (place / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")


@pytest.fixture
def house(tmp_path: pathlib.Path) -> House:
    return House(tmp_path)


def kernel_of(ran: Ran, name: str) -> dict[str, object]:
    (found,) = [one for one in ran.report["kernels"] if one["specification"]["name"] == name]
    return dict(found)


def test_each_kernel_is_told_with_interpreter_start_and_frameworks(house: House) -> None:
    lab = house.environment("lab")
    python = house.environment("project/.venv", torch="2.9.0")
    house.server(lab)
    house.kernel("python3", "python", folder=lab.parent.parent / "share/jupyter/kernels")
    house.kernel("project", python)
    ran = house.jupyter("--json", "--python", str(python))
    assert (ran.code, ran.report["verdict"]) == (0, "ok")
    default, project = kernel_of(ran, "python3"), kernel_of(ran, "project")
    # A bare `python` is the server's own, whatever PATH says.
    assert default["interpreter"] == house.shown(lab)
    assert default["under_test"] is False
    assert project["start"]["state"] == "answers"
    assert project["start"]["executable"] == house.shown(python)
    assert project["python_version"] == ".".join(map(str, sys.version_info[:3]))
    assert project["frameworks"] == {"torch": "2.9.0"}
    assert project["under_test"] is True
    # The classic surprise: the notebook opens with another environment than the terminal's.
    assert "has no torch" in ran.report["findings"][0]["title"]


def test_works_in_the_terminal_and_not_in_the_notebook_is_named_and_mended(house: House) -> None:
    lab = house.environment("lab")
    python = house.environment("project/.venv", ipykernel=False, torch="2.9.0")
    house.server(lab)
    house.kernel("python3", "python", folder=lab.parent.parent / "share/jupyter/kernels")
    house.offer_ipykernel()
    ran = house.jupyter("--json", where="project")
    assert ran.code == 1
    assert ran.first["cause"] == "jupyter-kernel-mismatch"
    assert "No Jupyter kernel runs this environment" in ran.first["title"]
    assert "torch, which this environment has" in ran.first["detail"]
    commands = ran.first["remedies"][0]["commands"]
    assert "ipykernel" in commands[0]
    assert f"{house.shown(python)} -m ipykernel install --user --name project" in commands[1]

    planned = house.jupyter("--fix", "--dry-run", where="project")
    assert planned.code == 1
    assert f"uv pip install --python {python} ipykernel" in planned.stdout
    assert "Nothing was changed" in planned.stdout
    assert house.files() == {}

    mended = house.jupyter("--fix", "--yes", where="project")
    assert mended.code == 0, mended.stdout + mended.stderr
    described = json.loads((house.kernels / "project/kernel.json").read_text())
    assert described["argv"][0] == str(python)
    assert described["display_name"].startswith("project (Python 3.")
    assert "PyTorch 2.9.0" in described["display_name"]
    assert house.jupyter("--json", where="project").code == 0

    undone = house.jupyter("--undo")
    assert undone.code == 0, undone.stdout
    assert "ipykernel==7.1.0 removed" in undone.stdout
    assert house.files() == {}
    assert house.jupyter("--undo").code == 2


def test_dead_kernels_are_removed_moved_ones_repaired_and_working_ones_left_alone(house: House) -> None:
    python = house.environment("project/.venv")
    other = house.environment("other/.venv")
    house.kernel("works", other)
    house.kernel("gone", "/home/somebody/gone/bin/python")
    moved = house.kernel("moved", "/home/somebody/project/.venv/bin/python3", env={"KEEP": "me"}, metadata={"a": 1})
    (moved / "logo.svg").write_text("<svg/>")
    torn = house.kernels / "torn"
    torn.mkdir()
    (torn / "kernel.json").write_text('{"argv": [')
    before = house.files()
    ran = house.jupyter("--fix", "--yes", "--python", str(python))
    assert ran.code == 0, ran.stdout + ran.stderr
    after = house.files()
    assert set(after) == {"works/kernel.json", "moved/kernel.json", "moved/logo.svg"}
    assert after["works/kernel.json"] == before["works/kernel.json"]
    repaired = json.loads(after["moved/kernel.json"])
    assert repaired["argv"] == [str(python), *ARGV]
    assert (repaired["env"], repaired["metadata"]) == ({"KEEP": "me"}, {"a": 1})
    assert house.jupyter("--undo").code == 0
    assert house.files() == before


def test_what_the_user_changed_since_is_not_undone(house: House) -> None:
    python = house.environment("project/.venv")
    house.kernel("gone", "/home/somebody/gone/bin/python")
    assert house.jupyter("--fix", "--yes", "--python", str(python)).code == 0
    mine = house.kernels / "project/kernel.json"
    mine.write_text(mine.read_text().replace("project (", "mine ("))
    ran = house.jupyter("--undo")
    assert ran.code == 1
    assert "was changed since, and is left alone" in ran.stdout
    assert "mine (" in mine.read_text()
    assert (house.kernels / "gone/kernel.json").exists()


def test_a_name_that_another_kernel_has_is_not_taken_from_it(house: House) -> None:
    python = house.environment("project/.venv")
    house.kernel("project", house.environment("elsewhere/project/.venv"))
    assert house.jupyter("--fix", "--yes", "--python", str(python)).code == 0
    assert json.loads((house.kernels / "project-2/kernel.json").read_text())["argv"][0] == str(python)


def test_a_registered_kernel_that_does_not_answer_is_taken_back(house: House) -> None:
    python = house.environment("project/.venv")
    before = house.files()
    ran = house.jupyter("--fix", "--yes", "--python", str(python), FAKE_KERNEL="dies")
    assert ran.code == 1
    assert "[did not help]" in ran.stdout
    assert "libzmq.so.5" in ran.stdout
    assert "Everything is as it was before" in ran.stdout
    assert house.files() == before


@pytest.mark.parametrize(
    ("fault", "state", "words"),
    [
        ("dies", "ended", "exit status 1): ImportError: libzmq.so.5"),
        ("crashes", "ended", "ends as it starts (SIGSEGV)"),
        ("silent", "silent", "does not answer within 1 s"),
        ("deaf", "silent", "does not answer within 1 s"),
    ],
)
def test_a_kernel_that_does_not_start_is_told_with_what_it_said(
    house: House, fault: str, state: str, words: str
) -> None:
    python = house.environment("project/.venv")
    house.kernel("project", python)
    seconds = "1" if state == "silent" else "60"
    ran = house.jupyter("--json", "--timeout", seconds, "--python", str(python), FAKE_KERNEL=fault)
    assert ran.code == 1
    assert kernel_of(ran, "project")["start"]["state"] == state
    assert words in ran.first["title"]
    assert ran.first["severity"] == "error"


def test_nothing_that_a_kernel_leaves_behind_goes_on_running(house: House) -> None:
    # `run_cli` fails where a process is left.
    python = house.environment("project/.venv")
    house.kernel("project", python)
    assert house.jupyter("--json", "--python", str(python), FAKE_KERNEL="lingers").code == 0


def test_the_variables_of_a_kernel_reach_it_and_no_secret_of_it_reaches_anybody_else(house: House) -> None:
    python = house.environment("project/.venv")
    secret = "Zq7vXw9Lk2Rt5Yb8"  # noqa: S105 - planted
    argv = [str(python), "-m", "ipykernel_launcher", f"--api_token={secret}", "-f", "{connection_file}"]
    house.kernel("project", python, argv=argv, env={"FAKE_LANGUAGE": "${WORD}", "A_TOKEN": secret})
    ran = house.jupyter("--json", "-v", "--python", str(python), WORD="julia")
    assert kernel_of(ran, "project")["start"]["language"].startswith("julia ")
    assert kernel_of(ran, "project")["specification"]["variables"] == ["A_TOKEN", "FAKE_LANGUAGE"]
    assert secret not in ran.stdout + ran.stderr


def test_a_kernel_behind_a_wrapper_names_its_interpreter_itself(house: House) -> None:
    python = house.environment("project/.venv")
    wrapper = house.programs / "start-kernel"
    wrapper.write_text(f'#!/bin/sh\nexec {python} -m ipykernel_launcher "$@"\n')
    wrapper.chmod(0o755)
    house.kernel("wrapped", "start-kernel", argv=["start-kernel", "-f", "{connection_file}"])
    ran = house.jupyter("--json", "--python", str(python))
    assert ran.code == 0
    wrapped = kernel_of(ran, "wrapped")
    assert wrapped["wrapper"] == "start-kernel"
    assert wrapped["interpreter"] == house.shown(python)
    assert wrapped["under_test"] is True


def test_a_program_that_cannot_be_run_is_told_with_the_system_s_words(house: House) -> None:
    program = house.home / "start-kernel"
    program.write_text("no program")
    house.kernel("odd", program, language="odd")
    ran = house.jupyter("--json", "--python", str(house.environment("project/.venv")))
    assert kernel_of(ran, "odd")["start"]["state"] == "not-started"
    assert any("cannot be started: " in finding["title"] for finding in ran.report["findings"])


def test_the_page_shows_no_terminal_escape_of_a_kernel(house: House) -> None:
    python = house.environment("project/.venv")
    house.kernel("project", python, display_name="\x1b[31m[bold]red\x1b[0m")
    ran = house.jupyter("-v", "--python", str(python))
    assert "\x1b" not in ran.stdout
    assert "“[bold]red”" in ran.stdout


def test_without_a_terminal_and_without_yes_nothing_is_changed(house: House) -> None:
    house.kernel("gone", "/home/somebody/gone/bin/python")
    before = house.files()
    ran = house.jupyter("--fix", "--no-start", "--python", sys.executable)
    assert ran.code == 1
    assert "--fix --yes" in ran.stdout
    assert house.files() == before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_what_is_broken_off_is_taken_back_and_leaves_nothing_running(house: House, number: signal.Signals) -> None:
    python = house.environment("project/.venv")
    mark = uuid.uuid4().hex
    options = ["jupyter", "--fix", "--yes", "--timeout", "5", "--python", str(python)]
    with start_cli(options, env={**house.variables, "FAKE_KERNEL": "deaf"}, cwd=house.home, mark=mark) as process:
        deadline = time.monotonic() + 30
        while not any("ipykernel_launcher" in " ".join(one.cmdline()) for one in processes_with(mark)):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert house.files() != {}
        process.send_signal(number)
        stdout, _ = process.communicate(timeout=20)
    if number is signal.SIGINT:
        assert process.returncode == 130
        assert "[broken off]" in stdout.decode()
    else:
        # Nobody was there to take it back: the record was written before anything was changed.
        assert house.jupyter("--undo").code == 0
    assert house.files() == {}
    assert left_running(mark, 12) == []


@pytest.mark.parametrize(("answer", "done"), [("y", True), ("n", False)])
def test_a_user_at_a_terminal_is_asked(house: House, answer: str, done: bool) -> None:
    gone = house.kernel("gone", "/home/somebody/gone/bin/python")
    ours, theirs = pty.openpty()
    options = ["jupyter", "--fix", "--no-start", "--python", str(house.environment("project/.venv"))]
    with start_cli(options, env=house.variables, cwd=house.home, stdin=theirs) as process:
        os.write(ours, f"{answer}\n".encode())
        stdout, stderr = process.communicate(timeout=60)
    os.close(ours)
    os.close(theirs)
    assert "Do this?" in stderr.decode()
    assert f"rm -r {gone}" in stdout.decode()
    assert gone.exists() is not done


@pytest.mark.parametrize("options", [["--yes"], ["--dry-run"], ["--undo", "--fix"], ["--fix", "--yes", "--dry-run"]])
def test_options_that_do_not_go_together_are_refused(options: list[str]) -> None:
    with pytest.raises(click.UsageError):
        jupyter.main(options, standalone_mode=False)
