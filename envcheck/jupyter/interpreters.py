"""Which program a kernel's command runs, and which interpreter behind it: named outright, or through a wrapper."""

from __future__ import annotations

import posixpath
from collections.abc import Sequence

import msgspec

from envcheck.interpreter import program_of
from envcheck.jupyter.folders import conda_environments
from envcheck.system import System

CONDAS = {"conda", "mamba", "micromamba"}
CONDA_VALUES = {"-n", "--name", "-p", "--prefix", "--cwd"}
"""Options of `conda run` that take a value. Source: `conda run --help`."""

PROJECT_RUNNERS = {"uv", "poetry", "pdm", "pipenv", "pixi", "hatch", "rye"}
"""Programs whose `run` starts a command in an environment that they find themselves."""


class Resolved(msgspec.Struct, frozen=True, kw_only=True):
    """What a command runs.

    Attributes:
        program: path of the first program; empty where it is not there.
        missing: what is not there, where something is not.
        interpreter: path of the interpreter; empty where it cannot be told without starting it.
        wrapper: what starts the interpreter; empty where the command names it.
    """

    program: str = ""
    missing: str = ""
    interpreter: str = ""
    wrapper: str = ""


def resolve(system: System, argv: Sequence[str]) -> Resolved:
    """Return what a command runs."""
    program, missing = find(system, argv[0])
    if missing:
        return Resolved(missing=missing, interpreter=argv[0] if looks_like_python(argv[0]) else "")
    name = stem(program)
    if "nb_conda_kernels.runner" in argv:
        return _through_conda_runner(system, program, argv[argv.index("nb_conda_kernels.runner") + 1 :])
    if name == "env" and len(argv) > 1:
        rest = [word for word in argv[1:] if "=" not in word and not word.startswith("-")]
        inner = resolve(system, rest) if rest else Resolved()
        return msgspec.structs.replace(inner, program=program, wrapper=" ".join(filter(None, ["env", inner.wrapper])))
    if name in CONDAS and "run" in argv[1:3]:
        return _through_conda_run(system, program, argv)
    if name in PROJECT_RUNNERS and "run" in argv:
        return Resolved(program=program, wrapper=f"{name} run")
    if looks_like_python(program):
        return Resolved(program=program, interpreter=program)
    return Resolved(program=program, wrapper=name)


def find(system: System, word: str) -> tuple[str, str]:
    """Return the path of a program, and what is missing where it is not there."""
    if "/" in word or "\\" in word:
        outcome = system.status(word).outcome
        return (word, "") if outcome in {"ok", "denied"} else ("", word)
    found = system.which(word)
    return (found, "") if found else ("", word)


def stem(program: str) -> str:
    """Return a program's name without folder and `.exe`."""
    return posixpath.basename(program.replace("\\", "/")).removesuffix(".exe").lower()


def looks_like_python(program: str) -> bool:
    """Tell whether a program's name is that of a Python interpreter: `python`, `python3.12`, `pypy3`, `pythonw`."""
    return stem(program).rstrip("0123456789.tw") in {"python", "pypy"}


def _through_conda_run(system: System, program: str, argv: Sequence[str]) -> Resolved:
    options = list(argv[argv.index("run") + 1 :])
    place = name = ""
    while options and options[0].startswith("-"):
        option, _, value = options.pop(0).partition("=")
        if option in CONDA_VALUES and not value and options:
            value = options.pop(0)
        place = value if option in {"-p", "--prefix"} else place
        name = value if option in {"-n", "--name"} else name
    wrapper = f"{stem(program)} run"
    if name and not place:
        known = conda_environments(system)
        place = next((one for one in known if posixpath.basename(one.replace("\\", "/")) == name), "")
        if not place and known:
            return Resolved(program=program, missing=f"the conda environment {name}", wrapper=wrapper)
    return _in_environment(system, program, wrapper, place)


def _through_conda_runner(system: System, program: str, rest: Sequence[str]) -> Resolved:
    """Resolve `python -m nb_conda_kernels.runner CONDA ENVIRONMENT COMMAND…`."""
    return _in_environment(system, program, "nb_conda_kernels", rest[1] if len(rest) > 1 else "")


def _in_environment(system: System, program: str, wrapper: str, place: str) -> Resolved:
    if not place:
        return Resolved(program=program, wrapper=wrapper)
    if system.status(place).outcome == "absent":
        return Resolved(program=program, missing=f"the environment {place}", wrapper=wrapper)
    return Resolved(program=program, interpreter=program_of(system, place), wrapper=wrapper)
