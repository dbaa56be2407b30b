"""Commands that fit the environment under test: which program installs there, and under which name.

An environment belongs to somebody: to the user (pip, uv), to conda, to a project whose lock file says what is in it
(uv, Poetry, PDM, Pipenv, pixi), or to the system, where nothing may be installed.  Every installer but the owner
leaves it out of step with what the owner knows.
"""

from __future__ import annotations

import re

import msgspec

from envcheck.facts import Packages, Python
from envcheck.report import Remedy

OWN_ENVIRONMENTS = {"venv", "virtualenv", "uv", "conda"}
"""Kinds of environment in which an installation touches nothing else."""

CHANGES = "packages of the environment under test"

PROJECT_CHANGES = "the project's requirements, its lock file and its environment"

CONDA_NAMES = {"torch": "pytorch"}
"""Distribution → conda-forge's name of it, where the two differ."""


def on_windows(python: Python | None) -> bool:
    """Tell whether an interpreter is one for Windows."""
    return python is not None and (python.platform_tag or "").startswith("win")


def quoted(text: str, python: Python | None = None) -> str:
    """Return a word as a shell takes it: a POSIX shell, or PowerShell where the interpreter is one for Windows."""
    if on_windows(python):
        return text if re.fullmatch(r"[\w@%+=:,./\\~-]+", text) else "'" + text.replace("'", "''") + "'"
    import shlex  # noqa: PLC0415 - only where something is wrong

    return shlex.quote(text)


def _program(python: Python) -> str:
    """Return the interpreter as the first word of a command; PowerShell calls a quoted word with `&`."""
    word = quoted(python.path or "python", python)
    return f"& {word}" if on_windows(python) and word.startswith("'") else word


def installer(python: Python | None) -> str:
    """Return the beginning of an install command for an environment.

    uv makes environments without pip: there `uv pip` installs, told which interpreter it is for.
    """
    if python is None or not python.path:
        return "python -m pip install"
    if python.environment_kind == "uv" or (python.pip_version == "" and python.environment_kind != "conda"):
        return f"uv pip install --python {quoted(python.path, python)}"
    return f"{_program(python)} -m pip install"


def remover(python: Python | None) -> str:
    """Return the beginning of an uninstall command for an environment."""
    command = installer(python)
    if command.startswith("uv "):
        return command.replace("pip install", "pip uninstall", 1)
    return command.replace("pip install", "pip uninstall -y", 1)


def shell(python: Python | None) -> str:
    """Return what commands for an interpreter are written for."""
    return "powershell" if on_windows(python) else "sh"


def forbidden(python: Python | None) -> bool:
    """Tell whether installing into an interpreter is forbidden or not possible for this user (PEP 668)."""
    if python is None or python.environment_kind in OWN_ENVIRONMENTS:
        return bool(python and python.site_packages_writable is False)
    return bool(python.externally_managed) or python.site_packages_writable is False


def is_safe(python: Python | None) -> bool:
    """Tell whether an installation touches nothing but the environment under test.

    Where a lock file says what is in the environment, whatever else is installed is gone with the next
    synchronisation, so that it is no cure.
    """
    return (
        python is not None
        and python.environment_kind in OWN_ENVIRONMENTS
        and not python.project_tool
        and not forbidden(python)
    )


def install(
    python: Python | None,
    requirements: list[str],
    action: str,
    *,
    index: str | None = None,
    options: str = "",
    packages: Packages | None = None,
) -> Remedy:
    """Return the remedy that installs requirements into the environment under test, by the program that it belongs to.

    Args:
        python: the interpreter under test.
        requirements: such as `["numpy<2"]`; not quoted yet.
        action: what is done, as a sentence in the imperative.
        index: address of a package index, where the default one does not have it.
        options: further options of pip, such as `--force-reinstall`.
        packages: what is installed: what conda manages is left to conda.
    """
    if forbidden(python):
        return _in_new_environment(python, requirements, action, index=index, options=options)
    if python is not None and python.project_tool and "--no-deps" not in options:
        return _in_project(python, requirements, action, index=index)
    if python is not None and python.environment_kind == "conda" and packages is not None:
        managed = set(packages.conda_managed or [])
        theirs = {name_of(requirement) for requirement in requirements}
        if index is None and theirs and all(managed & {name, CONDA_NAMES.get(name, name)} for name in theirs):
            return _with_conda(python, requirements, action)
    return Remedy(
        action=action,
        commands=[f"{installer(python)} {_arguments(python, requirements, index, options)}"],
        safe=is_safe(python),
        changes=CHANGES,
        shell=shell(python),
    )


def _arguments(python: Python | None, requirements: list[str], index: str | None, options: str) -> str:
    words = " ".join(quoted(requirement, python) for requirement in requirements)
    return f"{options + ' ' if options else ''}{words}{f' --index-url {index}' if index else ''}"


def name_of(requirement: str) -> str:
    """Return the normalised name of the distribution that a requirement asks for."""
    named = re.match(r"[A-Za-z0-9][\w.-]*", requirement.strip())
    return re.sub(r"[-_.]+", "-", named[0]).lower() if named else ""


def _in_new_environment(
    python: Python | None, requirements: list[str], action: str, *, index: str | None, options: str
) -> Remedy:
    ours = python is not None and python.environment_kind in OWN_ENVIRONMENTS
    why = "you may not write into this one" if ours else "this interpreter belongs to the system"
    kept = " ".join(word for word in options.split() if word in {"--upgrade", "--pre"})
    windows = on_windows(python)
    inside = r".venv\Scripts\python" if windows else ".venv/bin/python"
    return Remedy(
        action=f"{action}, in an environment of its own: {why}",
        commands=[
            "py -m venv .venv" if windows else "python3 -m venv .venv",
            f"{inside} -m pip install {_arguments(python, requirements, index, kept)}",
        ],
        changes="makes the folder .venv",
        shell=shell(python),
    )


def _with_conda(python: Python, requirements: list[str], action: str) -> Remedy:
    """Return the remedy by which conda changes what conda manages; its own history undoes it."""
    names = []
    for requirement in requirements:
        name = name_of(requirement)
        rest = requirement.strip()[len(name) :].replace(" ", "")
        names.append(quoted(f"{CONDA_NAMES.get(name, name)}{rest.replace('==', '=')}", python))
    program = python.conda_program or "conda"
    prefix = quoted(python.prefix or "", python)
    return Remedy(
        action=action,
        commands=[f"{program} install --prefix {prefix} {' '.join(names)}"],
        changes=CHANGES,
        shell=shell(python),
    )


def _in_project(python: Python, requirements: list[str], action: str, *, index: str | None) -> Remedy:
    """Return the remedy that enters requirements into the project which the environment belongs to."""
    folder = quoted(python.project or ".", python)
    words = " ".join(quoted(requirement, python) for requirement in requirements)
    name = "pytorch-" + index.rstrip("/").rpartition("/")[2].replace(".", "-") if index else ""
    commands = {
        "uv": [f"uv add --project {folder}{f' --index {name}={index}' if index else ''} {words}"],
        "poetry": [
            *([f"poetry --directory {folder} source add --priority=explicit {name} {index}"] if index else []),
            f"poetry --directory {folder} add{f' --source {name}' if index else ''} {words}",
        ],
        "pdm": [] if index else [f"pdm add --project {folder} {words}"],
        "pipenv": [f"cd {folder}", f"pipenv install{f' --index {index}' if index else ''} {words}"],
        "pixi": [] if index else [f"pixi add --manifest-path {folder} --pypi {words}"],
    }.get(python.project_tool or "", [])
    where = f": enter it into the project, whose lock file {python.project_tool} keeps the environment in step with"
    if not commands:
        where += f" ({', '.join(requirements)}{f' from the index {index}' if index else ''})"
    return Remedy(action=f"{action}{where}", commands=commands, changes=PROJECT_CHANGES, shell=shell(python))


def version_of(packages: Packages | None, name: str) -> str | None:
    """Return the version of an installed distribution; None where it is not known to be installed."""
    found = [package for package in (packages.installed or [] if packages else []) if package.name == name]
    return found[0].version if found else None


def torch_index(version: str | None) -> str | None:
    """Return PyTorch's own wheel index for a version with a local part, such as `2.6.0+cu124`; None without one."""
    local = re.search(r"\+(cpu|cu\d+|rocm[\d.]+|xpu)$", version or "")
    return f"https://download.pytorch.org/whl/{local[1]}" if local else None


def reinstall(python: Python | None, packages: Packages | None, name: str) -> Remedy:
    """Return the remedy that installs a distribution again, in the same version and from the same index."""
    found = [package for package in (packages.installed or [] if packages else []) if package.name == name]
    version = found[0].version if found else None
    if found and found[0].installer == "conda" and python is not None and python.prefix:
        conda_name = CONDA_NAMES.get(name, name)
        program = python.conda_program or "conda"
        return Remedy(
            action=f"Install {conda_name} again",
            commands=[
                f"{program} install --prefix {quoted(python.prefix, python)} --force-reinstall {conda_name}={version}"
            ],
            changes=CHANGES,
            shell=shell(python),
        )
    requirement = f"{name}=={version}" if version else name
    remedy = install(
        python,
        [requirement],
        f"Install {name} again, all of its files",
        index=torch_index(version),
        options=f"--reinstall-package {name} --no-deps"
        if installer(python).startswith("uv ")
        else "--force-reinstall --no-deps --no-cache-dir",
    )
    # The version is the one that a lock file has too: nothing falls out of step.
    own = python is not None and python.environment_kind in OWN_ENVIRONMENTS and not forbidden(python)
    return msgspec.structs.replace(remedy, safe=own and version is not None)


def new_environment(base: str = "python3") -> Remedy:
    """Return the remedy that makes a new virtual environment."""
    return Remedy(
        action="Make the environment anew and install into it again",
        commands=[f"{base} -m venv .venv", ".venv/bin/python -m pip install -r requirements.txt"],
        changes="makes the folder .venv; the old environment stays until you remove it",
    )
