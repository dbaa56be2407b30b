"""uv as an installer: the commands that carry out a plan.

uv runs as a program.  Where it looks for packages is what the user's pip is configured with; PyTorch's own index may
answer for PyTorch's packages and for nothing else.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import msgspec

from envcheck.install import conda
from envcheck.install.pip_configuration import PipConfiguration, uv_variables
from envcheck.plan import Plan, Wanted
from envcheck.system import System

LOCK = "lock.txt"
"""Name of the lock in the record of a generation."""

PYTORCH = "pytorch"
"""Name of PyTorch's index in the project file."""


class Places(msgspec.Struct, frozen=True, kw_only=True):
    """Where packages come from.

    Attributes:
        configuration: what the user's pip is configured with.
        wheelhouse: a folder of wheels beside that; empty = none.
        offline: nothing may be fetched.
        conda: program that makes the environment; empty = uv makes it.
        specification: the project's environment.yml, for conda.
    """

    configuration: PipConfiguration = PipConfiguration()
    wheelhouse: str = ""
    offline: bool = False
    conda: str = ""
    specification: str = ""


PLAIN = Places()


class Command(msgspec.Struct, frozen=True, kw_only=True):
    """One program that is run.

    Attributes:
        step: `environment`, `solve`, `install`, `check`.
        argv: program and arguments.
        cached: the same with what the installer has kept alone, which is tried first; empty = not tried.
    """

    step: str
    argv: tuple[str, ...]
    cached: tuple[str, ...] = ()


def program() -> str | None:
    """Return the path of uv: the one of this package's own environment, else the one that PATH finds."""
    try:
        from uv import find_uv_bin  # noqa: PLC0415
    except ImportError:
        return shutil.which("uv")
    try:
        return str(find_uv_bin())
    except FileNotFoundError:
        return shutil.which("uv")


def variables(places: Places, system: System) -> dict[str, str]:
    """Return the environment variables for uv."""
    found = uv_variables(places.configuration, system)
    if places.wheelhouse:
        kept = [] if places.offline else [part for part in found.get("UV_FIND_LINKS", "").split(",") if part]
        found["UV_FIND_LINKS"] = ",".join([str(Path(places.wheelhouse).resolve()), *kept])
    if places.offline:
        found |= {"UV_OFFLINE": "1", "UV_PYTHON_DOWNLOADS": "never"}
        if places.wheelhouse:
            found["UV_NO_INDEX"] = "1"
    # A user without a home (containers, services) has no place for a cache either.
    if not system.getenv("HOME") and not system.getenv("UV_CACHE_DIR") and not system.getenv("XDG_CACHE_HOME"):
        found["UV_NO_CACHE"] = "1"
    return {**found, "NO_COLOR": "1", "UV_NO_PROGRESS": "1"}


def project_file(plan: Plan) -> str:
    """Return the project file that uv solves: what is wanted, and which index answers for PyTorch's packages."""
    lines = [
        "[project]",
        'name = "environment"',
        'version = "0"',
        f'requires-python = "=={plan.python.series.rstrip("t")}.*"',
        "dependencies = [",
        *(f"  {_quoted(wanted.text)}, # {_comment(wanted.why)}" for wanted in plan.requirements),
        "]",
    ]
    sourced = [wanted for wanted in plan.requirements if wanted.index] if is_exclusive(plan) else []
    if sourced:
        lines += [
            "",
            "[[tool.uv.index]]",
            f'name = "{PYTORCH}"',
            f"url = {_quoted(sourced[0].index)}",
            "explicit = true",
        ]
        lines += ["", "[tool.uv.sources]"]
        lines += [f'{name_of(wanted)} = {{ index = "{PYTORCH}" }}' for wanted in sourced]
    return "\n".join(lines) + "\n"


def is_exclusive(plan: Plan) -> bool:
    """Tell whether PyTorch's index answers for what is asked of it by name and for nothing else.

    ROCm builds require a triton that only that index has, and under names that change, so there it is one of all.
    """
    return all(choice.accelerator != "rocm" for choice in plan.choices)


def name_of(wanted: Wanted) -> str:
    """Return the name of the distribution that is wanted."""
    from packaging.requirements import Requirement  # noqa: PLC0415

    return Requirement(wanted.text).name


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _comment(text: str) -> str:
    return " ".join(text.split())


def commands(
    plan: Plan, environment: Path, record: Path, uv: str, prompt: str, places: Places = PLAIN
) -> list[Command]:
    """Return the commands that make an environment, in order: `environment`, `solve`, `install`, `check`.

    Whoever has a lock already, that of a stack or of an earlier generation, leaves `solve` out.

    Args:
        plan: what to make.
        environment: folder of the environment.
        record: folder with project file and lock.
        uv: path of uv.
        prompt: what the shell shows while the environment is active.
        places: who makes the environment.
    """
    interpreter = str(interpreter_of(environment, places))
    together = every_index(plan)
    make: tuple[str, ...] = (uv, "venv", "--no-project", "--python", plan.python.path or plan.python.series)
    make = (*make, "--prompt", prompt, str(environment))
    if places.conda:
        make = conda.make(places.conda, environment, plan.python.series, places.specification)
    return [
        Command(step="environment", argv=make),
        Command(
            step="solve",
            argv=(
                *(uv, "pip", "compile", "--generate-hashes", "--no-header", "--python", interpreter),
                *("--output-file", str(record / LOCK)),
                *([] if is_exclusive(plan) else together),
                *(str(record / "pyproject.toml"), *plan.files),
            ),
        ),
        install(uv, interpreter, (*together, *("--requirement", str(record / LOCK)), *beside_lock(plan)), places),
        Command(step="check", argv=(uv, "pip", "check", "--python", interpreter)),
    ]


def every_index(plan: Plan) -> list[str]:
    """Return the options that let every index of a plan answer for every package."""
    found = [f"--index={url}" for url in dict.fromkeys(wanted.index for wanted in plan.requirements if wanted.index)]
    return [*found, "--index-strategy=unsafe-best-match"] if found else []


def install(uv: str, interpreter: str, what: tuple[str, ...], places: Places) -> Command:
    """Return the command that installs a lock.

    The lock names every file by its checksum, so what uv has kept of them is what an index would deliver.  Without
    asking the indexes for each package, an installation from a full cache takes 0.5 s less (benchmarks/setup_time.py,
    38 packages).
    """
    command = (uv, "pip", "install", "--no-deps", "--python", interpreter)
    return Command(
        step="install", argv=(*command, *what), cached=() if places.offline else (*command, "--offline", *what)
    )


def beside_lock(plan: Plan) -> tuple[str, ...]:
    """Return what is installed beside the lock: stacks are locked without pip, which the environment is to have."""
    return ("pip",) if plan.lock else ()


def interpreter_of(environment: Path, places: Places = PLAIN) -> Path:
    """Return the interpreter of an environment."""
    if places.conda:
        return conda.interpreter_of(environment)
    return environment / "Scripts" / "python.exe" if os.name == "nt" else environment / "bin" / "python"
