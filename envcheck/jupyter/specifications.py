"""Kernels as their kernel.json files describe them; nothing is run.

Source: "Making kernels for Jupyter" in the documentation of jupyter_client, and its `kernelspec.py` and `manager.py`
(format_kernel_cmd); nb_conda_kernels, `manager.py`, for the names that it gives.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

from envcheck.facts import Python
from envcheck.jupyter.model import Folder, Specification
from envcheck.system import System

NATIVE = "python3"
"""The kernel that Jupyter offers unregistered, where ipykernel is installed in the server's environment."""

NATIVE_ARGV = ["python", "-m", "ipykernel_launcher", "-f", "{connection_file}"]


def read_all(system: System, folders: Sequence[Folder]) -> list[Specification]:
    """Return every kernel in these folders; of one name, the first is what Jupyter takes and the others are hidden."""
    found: list[Specification] = []
    for folder in folders:
        for name in system.entries(folder.path) or []:
            place = f"{folder.path}/{name}"
            reading = system.read(f"{place}/kernel.json")
            if reading.outcome == "absent":
                continue
            known_as = name.lower() if folder.kind != "conda" else conda_name(folder.environment, name)
            first = next((one.folder for one in found if one.name == known_as and one.offered), "")
            described = Specification(
                name=known_as,
                folder=place,
                found_in=folder.kind,
                hidden_by=first if folder.kind != "own" else "",
                offered=folder.kind != "own",
                writable=system.status(place).writable and system.status(folder.path).writable,
            )
            found.append(_described(described, reading.outcome, reading.reason, reading.text))
    return found


def built_in(server: Python, found: Sequence[Specification]) -> list[Specification]:
    """Return the kernel that ipykernel adds to a server in whose environment it is, where none has its name."""
    if any(one.name == NATIVE and one.offered for one in found):
        return []
    return [
        Specification(
            name=NATIVE,
            folder=f"{server.site_packages or server.prefix}/ipykernel/resources",
            found_in="built-in",
            display_name="Python 3 (ipykernel)",
            language="python",
            argv=NATIVE_ARGV,
        )
    ]


def conda_name(environment: str, name: str) -> str:
    """Return the name that nb_conda_kernels gives a kernel of an environment, such as `conda-env-train-py`.

    The base environment, which holds the others in `envs`, is `conda-base-…`.
    """
    short = {"python2": "py", "python3": "py", "ir": "r"}.get(name.lower(), name)
    parts = environment.replace("\\", "/").rstrip("/").split("/")
    base = len(parts) < 2 or parts[-2] != "envs"  # noqa: PLR2004 - ENVIRONMENTS/NAME
    return re.sub(r"[^A-Za-z0-9._-]", "_", f"conda-{'base' if base else f'env-{parts[-1]}'}-{short}").lower()


def _described(one: Specification, outcome: str, reason: str, text: str) -> Specification:
    """Return a specification with what its file says."""
    from msgspec.structs import replace  # noqa: PLC0415 - only where there is a kernel

    if outcome != "ok":
        return replace(one, problem=f"kernel.json may not be read: {reason or outcome}", denied=outcome == "denied")
    if "\ufffd" in text:
        return replace(one, problem="kernel.json is not written in UTF-8, as Jupyter reads it")
    if not text.strip():
        return replace(one, problem="kernel.json is empty")
    try:
        said: Any = json.loads(text)
    except ValueError as error:
        return replace(one, problem=f"kernel.json is not valid JSON: {error}")
    if not isinstance(said, dict):
        return replace(one, problem="kernel.json holds no JSON object")
    words: Any = said.get("argv")
    argv: list[str] = words if isinstance(words, list) and all(isinstance(word, str) for word in words) else []
    variables = said.get("env")
    problem = "" if argv else "kernel.json names no command (argv)"
    provisioner = _provisioner(said.get("metadata"))
    if argv and not provisioner and not any("{connection_file}" in word for word in argv):
        problem = "its command takes no {connection_file}: the kernel could not learn where to listen"
    return replace(
        one,
        display_name=_text(said.get("display_name")),
        language=_text(said.get("language")),
        argv=argv,
        variables=sorted(str(name) for name in variables) if isinstance(variables, dict) else [],
        provisioner=provisioner,
        problem=problem,
    )


def _provisioner(metadata: object) -> str:
    """Return what starts a kernel in Jupyter's place.

    Source: "Kernel provisioning" in the documentation of jupyter_client.
    """
    described = metadata.get("kernel_provisioner") if isinstance(metadata, dict) else None
    name = _text(described.get("provisioner_name")) if isinstance(described, dict) else ""
    return name if name != "local-provisioner" else ""


def variables_of(system: System, one: Specification) -> dict[str, str]:
    """Return the environment variables that a kernel.json sets, `${NAME}` filled in as Jupyter does it."""
    try:
        said = json.loads(system.read(f"{one.folder}/kernel.json").text).get("env")
    except (ValueError, AttributeError):
        return {}
    if not isinstance(said, dict):
        return {}
    present = system.variables()

    def filled(value: str) -> str:
        return re.sub(r"\$\{(\w+)\}|\$(\w+)", lambda part: present.get(part[1] or part[2], part[0]), value)

    return {str(name): filled(str(value)) for name, value in said.items()}


def command_of(one: Specification, server: Python | None) -> list[str]:
    """Return the command that Jupyter runs: placeholders filled in, but that of the connection file.

    A bare `python` is the interpreter that runs the server, whatever PATH says.
    """
    path = (server.path if server else "") or ""
    argv = list(one.argv)
    version = ((server.version if server else "") or "3").split(".")
    bare = {"python", f"python{version[0]}", f"python{'.'.join(version[:2])}"}
    if argv and argv[0] in bare and path:
        argv[0] = path
    known = {"resource_dir": one.folder, "prefix": (server.prefix if server else "") or "{prefix}"}
    return [
        re.sub(r"\{([A-Za-z0-9_]+)\}", lambda found: known.get(found[1], found[0]) or found[0], word) for word in argv
    ]


def is_python(one: Specification) -> bool:
    """Tell whether a kernel is one of Python."""
    words = " ".join(one.argv).lower()
    return one.language.lower() == "python" or "ipykernel" in words or "xpython" in words


def uses_ipykernel(one: Specification) -> bool:
    """Tell whether a kernel's command is ipykernel's."""
    return any(word in {"ipykernel", "ipykernel_launcher"} for word in one.argv)


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
