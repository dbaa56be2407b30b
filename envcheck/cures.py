"""Commands that fit the environment under test: which program installs there, and under which name."""

from __future__ import annotations

import re

from envcheck.facts import Packages, Python
from envcheck.report import Remedy

OWN_ENVIRONMENTS = {"venv", "virtualenv", "uv", "conda"}
"""Kinds of environment in which an installation touches nothing else."""

CHANGES = "packages of the environment under test"


def quoted(text: str) -> str:
    """Return a word as a shell takes it."""
    import shlex  # noqa: PLC0415 - only where something is wrong

    return shlex.quote(text)


def installer(python: Python | None) -> str:
    """Return the beginning of an install command for an environment.

    uv makes environments without pip: there `uv pip` installs, told which interpreter it is for.
    """
    if python is None or not python.path:
        return "python -m pip install"
    path = quoted(python.path)
    if python.environment_kind == "uv" or (python.pip_version == "" and python.environment_kind != "conda"):
        return f"uv pip install --python {path}"
    return f"{path} -m pip install"


def remover(python: Python | None) -> str:
    """Return the beginning of an uninstall command for an environment."""
    command = installer(python)
    if command.startswith("uv "):
        return command.replace("pip install", "pip uninstall", 1)
    return command.replace("pip install", "pip uninstall -y", 1)


def forbidden(python: Python | None) -> bool:
    """Tell whether installing into an interpreter is forbidden or not possible for this user (PEP 668)."""
    if python is None or python.environment_kind in OWN_ENVIRONMENTS:
        return False
    return bool(python.externally_managed) or python.site_packages_writable is False


def is_safe(python: Python | None) -> bool:
    """Tell whether an installation touches nothing but the environment under test."""
    return python is not None and python.environment_kind in OWN_ENVIRONMENTS


def install(
    python: Python | None, requirements: list[str], action: str, *, index: str | None = None, options: str = ""
) -> Remedy:
    """Return the remedy that installs requirements into the environment under test.

    Args:
        python: the interpreter under test.
        requirements: such as `["numpy<2"]`; not quoted yet.
        action: what is done, as a sentence in the imperative.
        index: address of a package index, where the default one does not have it.
        options: further options, such as `--force-reinstall`.
    """
    words = " ".join(quoted(requirement) for requirement in requirements)
    more = f" --index-url {index}" if index else ""
    arguments = f"{options + ' ' if options else ''}{words}{more}"
    if forbidden(python):
        return Remedy(
            action=f"{action}, in an environment of its own: this interpreter belongs to the system",
            commands=["python3 -m venv .venv", f".venv/bin/python -m pip install {arguments}"],
            changes="makes the folder .venv",
        )
    return Remedy(action=action, commands=[f"{installer(python)} {arguments}"], safe=is_safe(python), changes=CHANGES)


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
        conda_name = {"torch": "pytorch"}.get(name, name)
        return Remedy(
            action=f"Install {conda_name} again",
            commands=[f"conda install --prefix {quoted(python.prefix)} --force-reinstall {conda_name}={version}"],
            safe=True,
            changes=CHANGES,
        )
    requirement = f"{name}=={version}" if version else name
    return install(
        python,
        [requirement],
        f"Install {name} again, all of its files",
        index=torch_index(version),
        options="--reinstall-package " + name
        if installer(python).startswith("uv ")
        else "--force-reinstall --no-deps --no-cache-dir",
    )


def new_environment(base: str = "python3") -> Remedy:
    """Return the remedy that makes a new virtual environment."""
    return Remedy(
        action="Make the environment anew and install into it again",
        commands=[f"{base} -m venv .venv", ".venv/bin/python -m pip install -r requirements.txt"],
        changes="makes the folder .venv; the old environment stays until you remove it",
    )
