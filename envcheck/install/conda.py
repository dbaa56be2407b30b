"""conda, mamba or micromamba as makers of environments: they bring Python and what environment.yml asks for.

Frameworks come as wheels in the environment that they make: one lock, one proof and one set of rules for which build
fits which card, whoever made the environment.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from envcheck.system import System

PROGRAMS = ("mamba", "conda", "micromamba")
"""In the order in which they are looked for on PATH."""

SPECIFICATION = "environment.yml"

PYTHON_LINE = r"^\s*-\s*[\"']?python\s*([=<>!~][^\"'#\s]*)?[\"']?\s*(?:#.*)?$"
"""The line of an environment.yml that asks for Python."""


def program(system: System) -> str | None:
    """Return the path of the user's conda: the one that an active installation names, else what PATH finds."""
    for variable in ("CONDA_EXE", "MAMBA_EXE"):
        named = system.getenv(variable)
        if named and system.status(named).kind == "file":
            return named
    return next((path for name in PROGRAMS if (path := system.which(name))), None)


def specification(system: System, directory: Path) -> str:
    """Return the path of the project's environment.yml; empty where it has none."""
    path = directory / SPECIFICATION
    return str(path) if system.status(str(path)).kind == "file" else ""


def python_of(system: System, path: str) -> str:
    """Return the Python that an environment.yml asks for, as a comparison of versions (PEP 440); empty = any.

    conda's `=3.11` means the series; its other comparisons are those of PEP 440.
    """
    found = re.search(
        r"^\s*-\s*[\"']?python\s*([=<>!~][^\"'#\s]*)?[\"']?\s*(?:#.*)?$", system.read(path).text, re.MULTILINE
    )
    text = (found[1] or "") if found else ""
    exact = re.fullmatch(r"={1,2}(\d+(?:\.\d+)*)(?:\.\*)?", text)
    return f"=={exact[1]}.*" if exact else text


def make(conda: str, environment: Path, series: str, specified: str) -> tuple[str, ...]:
    """Return the command that makes an environment, from an environment.yml where there is one."""
    is_micromamba = Path(conda).name.startswith("micromamba")
    if specified and is_micromamba:
        return (conda, "create", "--yes", "--prefix", str(environment), "--file", specified)
    if specified:
        return (conda, "env", "create", "--prefix", str(environment), "--file", specified)
    return (conda, "create", "--yes", "--prefix", str(environment), f"python={series}", "pip")


def interpreter_of(environment: Path) -> Path:
    """Return the interpreter of an environment that conda made."""
    return environment / "python.exe" if os.name == "nt" else environment / "bin" / "python"
