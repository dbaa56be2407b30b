"""Real virtual environments with pip, and wheels of stub packages in a folder: no network."""

from __future__ import annotations

import base64
import hashlib
import io
import pathlib
import shutil
import subprocess
import sys
import tarfile
import zipfile

import pytest
from running import Ran, run_cli

ENVIRONMENT = ("requirements-hold", "*-imports", "modules-are-not-shadowed", "framework-files-are-there")
"""Checks that judge the environment alone."""


def make_wheel(
    folder: pathlib.Path, name: str, version: str, *, source: str = "", requires: tuple[str, ...] = ()
) -> pathlib.Path:
    """Write a wheel of one module; return its path."""
    module = name.replace("-", "_")
    metadata = [
        "Metadata-Version: 2.1",
        f"Name: {name}",
        f"Version: {version}",
        *(f"Requires-Dist: {r}" for r in requires),
    ]
    info = f"{module}-{version}.dist-info"
    files = {
        f"{module}/__init__.py": source or f"__version__ = {version!r}\n",
        f"{info}/METADATA": "\n".join(metadata) + "\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    lines = []
    for path, text in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
        lines.append(f"{path},sha256={digest},{len(text.encode())}\n")
    files[f"{info}/RECORD"] = "".join(lines) + f"{info}/RECORD,,\n"
    path = folder / f"{module}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name_in_archive, text in files.items():
            archive.writestr(name_in_archive, text)
    return path


SLOW_BACKEND = """
import time

def prepare_metadata_for_build_wheel(folder, settings=None):
    open({begun!r}, "w").close()
    time.sleep(120)

build_wheel = prepare_metadata_for_build_wheel
"""


def make_slow_source(folder: pathlib.Path, name: str, version: str, begun: pathlib.Path) -> None:
    """Write a source distribution whose build takes minutes; the file `begun` is there once it has begun."""
    files = {
        "PKG-INFO": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        "pyproject.toml": '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n',
        "backend.py": SLOW_BACKEND.format(begun=str(begun)),
    }
    with tarfile.open(folder / f"{name}-{version}.tar.gz", "w:gz") as archive:
        for path, text in files.items():
            entry = tarfile.TarInfo(f"{name}-{version}/{path}")
            entry.size = len(text.encode())
            archive.addfile(entry, io.BytesIO(text.encode()))


class Bench:
    """An environment that can be broken and mended, and the folder that stands for the package index."""

    def __init__(self, folder: pathlib.Path, template: pathlib.Path | None) -> None:
        self.folder = folder / "environment"
        self.wheels = folder / "wheels"
        self.here = folder / "here"
        self.state = folder / "state"
        for made in (self.wheels, self.here, self.state):
            made.mkdir()
        if template is not None:
            shutil.copytree(template, self.folder, symlinks=True)
        else:
            subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(self.folder)], check=True, timeout=60)
        self.python = str(self.folder / "bin" / "python")
        (self.site_packages,) = self.folder.glob("lib/python*/site-packages")
        self.variables = {
            "PIP_NO_INDEX": "1",
            "PIP_FIND_LINKS": str(self.wheels),
            "PIP_CONFIG_FILE": "/dev/null",
            "XDG_STATE_HOME": str(self.state),
            "PIP_NO_CACHE_DIR": "1",
        }

    def offer(self, name: str, version: str, *, source: str = "", requires: tuple[str, ...] = ()) -> None:
        """Put a wheel into the index."""
        make_wheel(self.wheels, name, version, source=source, requires=requires)

    def install(self, name: str, version: str, *, source: str = "", requires: tuple[str, ...] = ()) -> None:
        """Put a wheel into the index and unpack it into the environment, as an installer does."""
        path = make_wheel(self.wheels, name, version, source=source, requires=requires)
        with zipfile.ZipFile(path) as archive:
            for member in archive.namelist():
                archive.extract(member, self.site_packages)
        info = self.site_packages / f"{name.replace('-', '_')}-{version}.dist-info"
        (info / "INSTALLER").write_text("pip\n")
        with (info / "RECORD").open("a") as record:
            record.write(f"{info.name}/INSTALLER,,\n")

    def versions(self) -> dict[str, str]:
        """Return what is installed, pip and setuptools left out."""
        found = {}
        for folder in self.site_packages.glob("*.dist-info"):
            name, version = folder.name.removesuffix(".dist-info").split("-")
            found[name] = version
        return {name: version for name, version in found.items() if name not in {"pip", "setuptools"}}

    def snapshot(self) -> dict[str, bytes]:
        """Return every file of the environment's packages, without compiled ones."""
        return {
            str(path.relative_to(self.site_packages)): path.read_bytes()
            for path in self.site_packages.rglob("*")
            if path.is_file() and path.suffix != ".pyc"
        }

    def fix(self, *arguments: str, **more: str) -> Ran:
        """Run `envcheck fix` on the environment, whatever else is amiss with the machine that runs the tests."""
        asked = [word for check in ENVIRONMENT for word in ("--only", check)] if "--only" not in arguments else []
        return run_cli(
            ["fix", "--python", self.python, *asked, *arguments], env={**self.variables, **more}, cwd=self.here
        )


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """An environment with pip, made once."""
    folder = tmp_path_factory.mktemp("template") / "environment"
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True, timeout=120)
    return folder


@pytest.fixture
def bench(tmp_path: pathlib.Path, template: pathlib.Path) -> Bench:
    return Bench(tmp_path, template)


@pytest.fixture
def bench_without_pip(tmp_path: pathlib.Path) -> Bench:
    return Bench(tmp_path, None)
