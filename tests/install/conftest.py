from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from package_index import Index, serving, wheel

from envcheck.install.build import Request
from envcheck.install.generations import Place
from envcheck.install.pip_configuration import read
from envcheck.install.uv import Places
from envcheck.plan import Choice, Plan, PythonChoice, Wanted
from envcheck.system import Live

SERIES = f"{sys.version_info[0]}.{sys.version_info[1]}"


@pytest.fixture(autouse=True)
def clean_configuration(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No setting of this machine's pip or uv counts, and nothing of it is written to."""
    for name in list(os.environ):
        if name.startswith(("PIP_", "UV_")) or name.upper().endswith("_PROXY") or name == "SSL_CERT_FILE":
            monkeypatch.delenv(name)
    home = tmp_path / "home"
    home.mkdir()
    for name, value in {
        "HOME": str(home),
        "PIP_CONFIG_FILE": os.devnull,
        "UV_CACHE_DIR": str(tmp_path / "cache"),
        "UV_NO_CONFIG": "1",
        "UV_HTTP_RETRIES": "0",
        "UV_PYTHON_DOWNLOADS": "never",
        "JUPYTER_DATA_DIR": str(tmp_path / "jupyter"),
    }.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def index(monkeypatch: pytest.MonkeyPatch) -> Iterator[Index]:
    """An index with a made-up torch, which pip is configured with."""
    with serving() as served:
        served.add(*basic_wheels())
        monkeypatch.setenv("PIP_INDEX_URL", served.url)
        yield served


def basic_wheels() -> list[tuple[str, bytes]]:
    return [
        wheel("torch", "2.13.0+cpu", requires=("filelock",), size=200_000),
        wheel("torch", "2.13.0", requires=("filelock",)),
        wheel("filelock", "3.20.0"),
        wheel("numpy", "2.3.0"),
        wheel("pip", "26.0"),
    ]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project's folder whose name has blanks and letters beyond ASCII."""
    folder = tmp_path / "mein Projekt é"
    folder.mkdir()
    return folder


def plan_of(*requirements: Wanted, framework: str = "torch", version: str = "2.13.0+cpu", **more: object) -> Plan:
    return Plan(
        platform="linux_x86_64",
        python=PythonChoice(series=SERIES, path=sys.executable),
        choices=(Choice(framework=framework, version=version, accelerator="cpu", why=""),),
        requirements=requirements or (Wanted(text="torch==2.13.0+cpu", why="PyTorch"), Wanted(text="pip", why="pip")),
        **more,
    )


def request_of(plan: Plan, project: Path, **more: object) -> Request:
    places = more.pop("places", None) or Places(configuration=read(Live()))
    return Request(plan=plan, place=Place(project), places=places, train=False, **more)


class Certificate(NamedTuple):
    """Files: the authority that signed, and the server's certificate with its key."""

    authority: Path
    server: Path


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    """A certificate for 127.0.0.1, signed by an authority that nobody knows."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl makes the certificate, and is not here")
    folder = tmp_path_factory.mktemp("certificate")
    new = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    authority = ["-subj", "/CN=Nobody", "-keyout", "authority.key", "-out", "authority.pem"]
    extensions = [
        *("-addext", "subjectAltName=IP:127.0.0.1"),
        *("-addext", "basicConstraints=critical,CA:FALSE"),
    ]
    server = ["-subj", "/CN=127.0.0.1", "-keyout", "server.key", "-out", "server.pem"]
    signed = ["-CA", "authority.pem", "-CAkey", "authority.key"]
    for command in ([*new, *authority], [*new, *server, *extensions, *signed]):
        subprocess.run([openssl, *command], check=True, capture_output=True, cwd=folder)
    both = folder / "both.pem"
    both.write_text((folder / "server.pem").read_text() + (folder / "server.key").read_text())
    return Certificate(folder / "authority.pem", both)
