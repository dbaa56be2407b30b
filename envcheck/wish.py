"""What the user wishes for: frameworks, accelerator, Python, extras, and what the project itself requires."""

from __future__ import annotations

import os
import re
from typing import Literal, TypeAlias

import msgspec
from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.utils import canonicalize_name

from envcheck.configuration import parse_toml
from envcheck.intent import UsageError
from envcheck.system import System

FrameworkName: TypeAlias = Literal["torch", "tensorflow", "keras"]

AcceleratorWish: TypeAlias = Literal["auto", "cpu", "cuda", "rocm", "mps"]

FRAMEWORKS: dict[str, FrameworkName] = {
    "tf": "tensorflow",
    "tensorflow": "tensorflow",
    "torch": "torch",
    "pytorch": "torch",
    "keras": "keras",
}
"""What `--framework` takes → the framework."""

EXTRAS = {
    "jupyter": "JupyterLab and a kernel of this environment",
    "vision": "images: Pillow, OpenCV, and torchvision with PyTorch",
    "audio": "sound: soundfile, librosa, and torchaudio with PyTorch",
    "nlp": "text: transformers, datasets and sentencepiece",
}
"""What `--extra` takes."""

INCLUDE_DEPTH = 10
"""How deep requirements files may include one another."""


class FrameworkWish(msgspec.Struct, frozen=True):
    """A framework, and which versions of it will do.

    Attributes:
        name: which one.
        specifier: versions (PEP 440), such as `==2.6.*` or `>=2.4,<2.7`; empty = any.
    """

    name: FrameworkName
    specifier: str = ""


class Line(msgspec.Struct, frozen=True):
    """A requirement as somebody wrote it.

    Attributes:
        text: the requirement (PEP 508), such as `numpy<2`.
        source: where it was written: `requirements.txt, line 3`.
    """

    text: str
    source: str


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """All that the user wishes for.

    Attributes:
        frameworks: what must train; the first is the most important one.
        accelerator: what it must train on; `auto` = the best that works here.
        python: versions of CPython (PEP 440) or a free-threaded series such as `3.14t`; empty = any.
        python_source: who asked for it.
        extras: keys of `EXTRAS`.
        backend: what Keras is to compute with: `tensorflow` or `torch`; empty = the framework wished for beside it.
        requirements: what the project requires and its own file cannot tell the installer (pyproject.toml).
        listed: what it requires in `files`.
        constraints: limits on versions of what is installed anyway, from files that the user's pip is configured with.
        files: requirements files to hand to the installer as they are, since they may name places to look as well.
    """

    frameworks: tuple[FrameworkWish, ...]
    accelerator: AcceleratorWish = "auto"
    python: str = ""
    python_source: str = "--python"
    extras: tuple[str, ...] = ()
    backend: str = ""
    requirements: tuple[Line, ...] = ()
    listed: tuple[Line, ...] = ()
    constraints: tuple[Line, ...] = ()
    files: tuple[str, ...] = ()

    @property
    def required(self) -> tuple[Line, ...]:
        """All that the project requires."""
        return (*self.requirements, *self.listed)


def framework(text: str) -> FrameworkWish:
    """Return the framework that `tf`, `torch==2.6` or `keras>=3.5,<4` asks for.

    A bare `==2.6` means the series, as people mean it: `==2.6.*`.

    Raises:
        UsageError: it is none that is known, or no comparison of versions.
    """
    found = re.fullmatch(r"\s*([A-Za-z]+)\s*(.*)", text)
    name = FRAMEWORKS.get(found[1].lower()) if found else None
    if found is None or name is None:
        raise UsageError(
            f"--framework {text!r}: known are tf, torch and keras, each with a version if you like: torch==2.6"
        )
    return FrameworkWish(name, _specifier(found[2], f"--framework {text}"))


def python(text: str) -> str:
    """Return the versions of Python that `3.12`, `3.12.4`, `3.14t` or `>=3.10,<3.13` asks for.

    Raises:
        UsageError: it is no version and no comparison.
    """
    if re.fullmatch(r"\d+\.\d+t", text.strip()):
        return text.strip()
    if re.fullmatch(r"\d+(\.\d+)*", text.strip()):
        text = f"=={text.strip()}"
    return _specifier(text, f"--python {text}")


def _specifier(text: str, source: str) -> str:
    text = re.sub(r"^==\s*(\d+\.\d+|\d+)$", r"==\1.*", text.strip())
    try:
        return str(SpecifierSet(text))
    except InvalidSpecifier as error:
        raise UsageError(f"{source}: {text!r} is no comparison of versions; try ==2.6 or >=2.4,<3") from error


class Project(msgspec.Struct, frozen=True, kw_only=True):
    """What a project asks for.

    Attributes:
        requirements: from pyproject.toml.
        listed: from requirements.txt.
        constraints: from files that requirements.txt names with `-c`.
        files: requirements.txt where there is one.
        requires_python: of pyproject.toml.
    """

    requirements: tuple[Line, ...] = ()
    listed: tuple[Line, ...] = ()
    constraints: tuple[Line, ...] = ()
    files: tuple[str, ...] = ()
    requires_python: str = ""


def project(system: System, folder: str) -> Project:
    """Return what the pyproject.toml and the requirements.txt of a folder ask for.

    Raises:
        UsageError: one of them is there and cannot be understood.
    """
    declared, requires_python = _pyproject(system, os.path.join(folder, "pyproject.toml"))  # noqa: PTH118
    path = os.path.join(folder, "requirements.txt")  # noqa: PTH118
    there = system.read(path).outcome == "ok"
    lines, limits = requirements_file(system, path) if there else ([], [])
    return Project(
        requirements=tuple(filter(applies, declared)),
        listed=tuple(filter(applies, lines)),
        constraints=tuple(filter(applies, limits)),
        files=(path,) if there else (),
        requires_python=requires_python,
    )


def _pyproject(system: System, path: str) -> tuple[list[Line], str]:
    reading = system.read(path)
    if reading.outcome != "ok":
        return [], ""
    table = parse_toml(reading.text, path).get("project", {})
    dependencies = table.get("dependencies", []) if isinstance(table, dict) else None
    if not isinstance(dependencies, list) or not all(isinstance(item, str) for item in dependencies):
        raise UsageError(f"{path}: project.dependencies must be a list of strings")
    lines = [Line(item, "pyproject.toml, project.dependencies") for item in dependencies]
    for line in lines:
        if requirement(line) is None:
            raise UsageError(f"{path}: {line.text!r} in project.dependencies is no requirement")
    wanted = table.get("requires-python", "")
    return lines, _specifier(wanted, f"{path}: requires-python") if isinstance(wanted, str) else ""


def requirements_file(system: System, path: str, depth: int = 0) -> tuple[list[Line], list[Line]]:
    """Return what a requirements file requires, and the constraints that it names.

    Lines that are no named requirement (options, addresses, folders) are left to the installer, which gets the file.

    Raises:
        UsageError: a file that it includes is not there, or they include one another.
    """
    reading = system.read(path)
    if reading.outcome != "ok":
        raise UsageError(f"{path} cannot be read: {reading.reason or reading.outcome}")
    if depth > INCLUDE_DEPTH:
        raise UsageError(f"{path}: requirements files include one another")
    name = os.path.basename(path)  # noqa: PTH119
    lines: list[Line] = []
    limits: list[Line] = []
    text = re.sub(r"\\\r?\n", " ", reading.text)
    for number, raw in enumerate(text.splitlines(), 1):
        content = re.sub(r"(^|\s)#.*$", "", raw).strip()
        include = re.fullmatch(r"(-r|--requirement|-c|--constraint)[\s=]*(.+)", content)
        if include:
            other = os.path.join(os.path.dirname(path), include[2].strip())  # noqa: PTH118, PTH120
            found, found_limits = requirements_file(system, other, depth + 1)
            (lines if include[1] in {"-r", "--requirement"} else limits).extend(found)
            limits += found_limits
        elif content and not content.startswith("-"):
            line = Line(re.split(r"\s+--hash", content)[0].strip(), f"{name}, line {number}")
            if requirement(line) is not None:
                lines.append(line)
    return lines, limits


def applies(line: Line) -> bool:
    """Tell whether a line is for this platform, with any Python: which one it will be is not decided yet."""
    found = requirement(line)
    if found is None or found.marker is None:
        return True
    versions = [f"3.{minor}" for minor in range(8, 17)]
    return any(
        found.marker.evaluate({"python_version": version, "python_full_version": f"{version}.0"})
        for version in versions
    )


def requirement(line: Line) -> Requirement | None:
    """Return a line as a requirement; None where it is none (an address, a folder)."""
    try:
        return Requirement(line.text)
    except InvalidRequirement:
        return None


def named(lines: tuple[Line, ...], *names: str) -> list[tuple[Requirement, str]]:
    """Return the requirements on some distributions, each with where it was written."""
    wanted = {canonicalize_name(name) for name in names} if lines else set()
    return [
        (found, line.source)
        for line in lines
        if (found := requirement(line)) is not None and canonicalize_name(found.name) in wanted
    ]
