"""Environments that a test can break: a real virtual environment with stub packages in it."""

from __future__ import annotations

import pathlib
import subprocess
import sys
from collections.abc import Callable

import pytest

Plant = Callable[..., pathlib.Path]


class Environment:
    """A virtual environment without pip, made by the interpreter that runs the tests."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True, timeout=60)
        (self.site_packages,) = folder.glob("lib/python*/site-packages")
        self.python = str(folder / "bin" / "python")

    def install(
        self, name: str, source: str, version: str = "2.9.0", *, requires: tuple[str, ...] = ()
    ) -> pathlib.Path:
        """Plant a package of one file and its metadata; return the package's folder."""
        package = self.site_packages / name
        package.mkdir(exist_ok=True)
        (package / "__init__.py").write_text(source)
        self.describe(name, version, requires=requires)
        return package

    def describe(self, name: str, version: str, *, requires: tuple[str, ...] = ()) -> pathlib.Path:
        """Plant metadata alone; return its folder."""
        metadata = self.site_packages / f"{name}-{version}.dist-info"
        metadata.mkdir()
        lines = [
            "Metadata-Version: 2.1",
            f"Name: {name}",
            f"Version: {version}",
            *(f"Requires-Dist: {r}" for r in requires),
        ]
        (metadata / "METADATA").write_text("\n".join(lines) + "\n")
        (metadata / "INSTALLER").write_text("pip\n")
        return metadata


@pytest.fixture
def environment(tmp_path: pathlib.Path) -> Environment:
    return Environment(tmp_path / "environment")


@pytest.fixture
def here(tmp_path: pathlib.Path) -> pathlib.Path:
    """The folder that the user stands in."""
    folder = tmp_path / "here"
    folder.mkdir()
    return folder
