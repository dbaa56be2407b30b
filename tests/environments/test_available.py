"""Which stacks `envcheck setup --stack` knows: envcheck's own, from a wheel too, and those of third parties."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from envcheck import plugins, stacks

ROOT = Path(__file__).parent.parent.parent
OWN = {path.parent.name for path in (ROOT / "environments").glob("*/requirements.txt")}


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of installed distributions, one of which adds stacks."""
    folder = tmp_path / "site"
    metadata = folder / "house_stacks-1.0.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: house-stacks\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[envcheck.stacks]\nhouse = house_stacks\n")
    (folder / "house_stacks").mkdir()
    # Importing it must not be needed.
    (folder / "house_stacks" / "__init__.py").write_text("raise SystemExit('imported')\n")
    add(
        folder,
        "house-torch",
        "torch==2.13.0+cpu ; sys_platform == 'linux'\nhouse-tools\n",
        "What our house trains with.",
    )
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setattr(plugins, "FAILED", {})
    return folder


def add(site: Path, name: str, requirements: str, purpose: str) -> None:
    folder = site / "house_stacks" / name
    folder.mkdir()
    (folder / "requirements.txt").write_text(requirements)
    (folder / "README.md").write_text(f"{purpose}\n")


@pytest.mark.usefixtures("site")
def test_a_house_adds_its_stacks_by_installing_a_package() -> None:
    found = {stack.name: stack for stack in stacks.available()}
    assert set(found) == {*OWN, "house-torch"}
    assert found["house-torch"].purpose == "What our house trains with."
    assert [str(one) for one in stacks.required(found["house-torch"], "linux-x86_64")] == [
        "torch==2.13.0+cpu",
        "house-tools",
    ]


def test_a_stack_of_a_third_party_does_not_take_the_place_of_ours(site: Path) -> None:
    add(site, "tf-cpu", "evil\n", "Something else.")
    found = {stack.name: stack for stack in stacks.available()}
    assert found["tf-cpu"].requirements.is_relative_to(ROOT)
    assert "the name is that of" in plugins.FAILED["house_stacks: tf-cpu"]


def test_a_stack_that_cannot_be_read_is_left_out_and_said_to_be(site: Path) -> None:
    add(site, "broken", "-r missing.txt\n", "Broken.")
    assert "broken" not in {stack.name for stack in stacks.available()}
    assert "missing.txt" in plugins.FAILED["house_stacks: broken"]


def setup(*arguments: str, code: int) -> str:
    command = [sys.executable, "-m", "envcheck", "setup", *arguments]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert ended.returncode == code, ended.stdout + ended.stderr
    return ended.stdout + ended.stderr


def test_a_stack_that_nobody_knows_ends_with_a_list_of_those_that_there_are(
    site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(site))
    said = setup("--stack", "nope", "--directory", str(tmp_path), code=2)
    assert all(name in said for name in OWN)
    assert "house-torch       What our house trains with." in said


def test_options_that_a_stack_has_no_use_for_are_wrong_usage(tmp_path: Path) -> None:
    here = ("--directory", str(tmp_path))
    setup("--stack", "tf-cpu", "--framework", "tf", *here, code=2)
    setup("--stack", "tf-cpu", "--extra", "nlp", *here, code=2)
    setup("--stack", "tf-cpu", "--accelerator", "cpu", *here, code=2)


def test_an_installed_wheel_brings_every_stack_and_the_dockerfile(tmp_path: Path) -> None:
    source = tmp_path / "source"
    # The package's own modules are enough: what is asked is what comes beside them.
    (source / "envcheck").mkdir(parents=True)
    for path in [ROOT / "pyproject.toml", ROOT / "README.md", ROOT / "MANIFEST.in"]:
        shutil.copy(path, source)
    for path in (ROOT / "envcheck").glob("*.py"):
        shutil.copy(path, source / "envcheck")
    for name in ("environments", "docker"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("*.whl"))
    build = "import setuptools.build_meta as builder, sys; print(builder.build_wheel(sys.argv[1]))"
    subprocess.run([sys.executable, "-c", build, tmp_path], check=True, cwd=source, capture_output=True)
    [wheel] = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "installed")
    code = "from envcheck import stacks; print(*(one.name for one in stacks.available() if one.locks), stacks.BUILT_IN)"
    variables = {**os.environ, "PYTHONPATH": str(tmp_path / "installed")}
    said = subprocess.check_output([sys.executable, "-c", code], text=True, env=variables, cwd=tmp_path).split()
    assert {"tf-cpu", "torch-cpu", "torch-cuda"} <= set(said)
    assert said[-1].startswith(str(tmp_path))
    assert (tmp_path / "installed" / "envcheck" / "docker" / "Dockerfile").is_file()
    assert (tmp_path / "installed" / "envcheck" / "project" / "pyproject.toml").is_file()
