"""The environment under test while it is changed: what is installed, a copy to go back to, and the installers.

The copy is made of hard links: it costs no room and a second or two, and bringing it back needs no network.  It is
kept while a step is carried out, so that a step which fails, is broken off or makes something worse leaves no trace.
"""

from __future__ import annotations

import contextlib
import os
import pathlib
import shutil
import sys
from collections.abc import Callable

from envcheck.facts import Python
from envcheck.fix.plan import Installation, runnable
from envcheck.install import child, pip_configuration
from envcheck.system import Live

FREEZE_SECONDS = 60.0
STEP_SECONDS = 3600.0
"""What one command may take: torch's wheels are gigabytes."""

COPY = ".envcheck-undo"
"""Folder in the environment that holds the copy."""

QUIET = {"PIP_NO_INPUT": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_PROGRESS_BAR": "off", "NO_COLOR": "1"}


class NotPossibleError(Exception):
    """The environment cannot be changed, or cannot be brought back; the text is a sentence for the user."""


def uv_program() -> str | None:
    """Return the path of uv: on PATH, or beside the interpreter that runs envcheck."""
    return shutil.which("uv") or shutil.which("uv", path=os.path.dirname(sys.executable))  # noqa: PTH120


def installed(python: Python) -> list[str]:
    """Return one line for each installed distribution, as `pip freeze` prints it, sorted.

    Raises:
        NotPossibleError: neither pip nor uv can list them.
    """
    path = python.path or ""
    uv = uv_program()
    if python.pip_version:
        argv = [path, "-I", "-m", "pip", "freeze", "--all"]
    elif uv:
        argv = [uv, "pip", "freeze", "--python", path]
    else:
        raise NotPossibleError("the environment has no pip, and uv is not installed: nothing can be changed or undone")
    done = Live().run(argv, FREEZE_SECONDS, variables=QUIET)
    if done.outcome != "ok" or done.exit_code != 0:
        said = (done.stderr or done.reason).strip().splitlines()
        raise NotPossibleError(f"what is installed cannot be listed: {said[-1] if said else done.outcome}")
    return sorted(line.strip() for line in done.stdout.splitlines() if line.strip() and not line.startswith("#"))


def argv_of(installation: Installation, python: Python) -> list[str]:
    """Return program and arguments of an installation.

    pip is run isolated from the working directory, where a file of the user's may hide a module that it imports.

    Raises:
        NotPossibleError: uv is needed and not installed.
    """
    path = python.path or ""
    if installation.program == "pip":
        sure = ["-y"] if installation.verb == "uninstall" and "-y" not in installation.arguments else []
        return [path, "-I", "-m", "pip", installation.verb, *sure, *installation.arguments]
    uv = uv_program()
    if uv is None:
        raise NotPossibleError("the environment has no pip, and uv is not installed")
    arguments = [word for word in installation.arguments if word not in {"-y", "--yes"}]
    return [uv, "pip", installation.verb, "--python", path, *arguments]


def run(installation: Installation, python: Python, hear: Callable[[str], None], more: tuple[str, ...] = ()) -> str:
    """Carry out an installation; return what its program said last where it failed, and nothing where it did not.

    Raises:
        KeyboardInterrupt: the user wants to stop; the program is gone by then.
        NotPossibleError: it cannot be started.
    """
    variables = dict(QUIET)
    if installation.program == "uv":
        live = Live()
        # uv does not read pip's configuration: it is told where the user's pip looks.
        variables |= pip_configuration.uv_variables(pip_configuration.read(live), live)
    ended = child.run([*argv_of(installation, python), *more], variables, hear, STEP_SECONDS)
    if ended.good:
        return ""
    lines = [line for line in ended.output.splitlines() if line.strip()]
    told = [line for line in lines if line.lower().startswith(("error", "  ×", "×"))]
    return pip_configuration.masked((told or lines or [ended.outcome])[-1].strip())


def folders_of(python: Python) -> list[pathlib.Path]:
    """Return the folders that an installer writes to: packages and programs."""
    prefix = pathlib.Path(python.prefix or "")
    programs = prefix / ("Scripts" if os.name == "nt" else "bin")
    return [pathlib.Path(python.site_packages or prefix / "lib"), programs]


def copy(python: Python) -> pathlib.Path | None:
    """Make the copy to go back to; None where this file system cannot (then versions are what is left to go by)."""
    if not python.prefix or not python.site_packages:
        return None
    if not pathlib.Path(python.site_packages).resolve().is_relative_to(pathlib.Path(python.prefix).resolve()):
        return None
    place = pathlib.Path(python.prefix) / COPY
    try:
        if place.exists():
            shutil.rmtree(place)
        place.mkdir()
        for number, folder in enumerate(folders_of(python)):
            if folder.is_dir():
                shutil.copytree(folder, place / str(number), symlinks=True, copy_function=os.link)
    except (OSError, shutil.Error):
        shutil.rmtree(place, ignore_errors=True)
        return None
    return place


def bring_back(python: Python, place: pathlib.Path) -> None:
    """Put the copy in the place of what is there now.

    Raises:
        NotPossibleError: the file system refuses; the copy stays.
    """
    try:
        for number, folder in enumerate(folders_of(python)):
            kept, changed = place / str(number), place / f"changed-{number}"
            if not kept.is_dir():
                continue
            if folder.exists():
                folder.rename(changed)
            kept.rename(folder)
    except OSError as error:
        raise NotPossibleError(
            f"{error.filename or place}: {error.strerror or error}; what was there before lies in {place}"
        ) from error
    shutil.rmtree(place, ignore_errors=True)


def forget(place: pathlib.Path | None) -> None:
    """Remove a copy that is no longer needed."""
    if place is not None:
        with contextlib.suppress(OSError):
            shutil.rmtree(place)


def refused_by_index(commands: list[str], python: Python) -> str:
    """Ask the index, as the user's pip is configured, for what commands install; return its refusal, or nothing.

    Nothing is changed: pip and uv resolve with `--dry-run` (pip from 22.2 on).
    """
    for command in commands:
        installation = runnable(command, python)
        if installation is None or installation.verb != "install":
            continue
        try:
            refused = run(installation, python, lambda _line: None, ("--dry-run",))
        except NotPossibleError as problem:
            return str(problem)
        if refused:
            return refused
    return ""
