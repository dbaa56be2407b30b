"""Jupyter kernels that a notebook would offer; Jupyter itself is not called."""

from __future__ import annotations

from typing import Any

import msgspec

from envcheck.facts import Jupyter, Kernel
from envcheck.interpreter import Interpreter
from envcheck.probe import Ended, probe
from envcheck.probes.storage import parent_of
from envcheck.report import Outcome
from envcheck.system import System


@probe(fills=["jupyter"], deadline=2)
def jupyter(system: System, interpreter: Interpreter) -> Jupyter:
    """Read every kernel.json in the folders in which Jupyter looks."""
    kernels: list[Kernel] = []
    for folder in data_folders(system, interpreter):
        for name in system.entries(f"{folder}/kernels") or []:
            path = f"{folder}/kernels/{name}/kernel.json"
            # The first folder that has a name wins; Jupyter compares names in lower case.
            if name.lower() in {kernel.name.lower() for kernel in kernels}:
                continue
            reading = system.read(path)
            if reading.outcome == "ok":
                kernels.append(_kernel(system, name, path, reading.text))
            elif reading.outcome == "denied":
                kernels.append(Kernel(name=name, path=path, problem=reading.reason or "it may not be read"))
    if not kernels:
        raise Ended(Outcome.ABSENT, "no Jupyter kernel is registered")
    return Jupyter(kernels=kernels, sources={"kernels": "kernel.json files"})


def data_folders(system: System, interpreter: Interpreter) -> list[str]:
    """Return the folders in which Jupyter looks for data, in its order.

    Source: documentation of jupyter_core, "Jupyter's common directories and file locations": JUPYTER_PATH; then, in a
    virtual or conda environment, the environment's folder before the user's (jupyter_core 5); then the system's.
    """
    home = system.ask("home") or ""
    kind = (system.ask("uname") or {}).get("system")
    windows = kind == "Windows"
    folders = [part for part in (system.getenv("JUPYTER_PATH") or "").split(";" if windows else ":") if part]
    environment = f"{interpreter.folder or parent_of(parent_of(interpreter.path))}/share/jupyter"
    data = system.getenv("JUPYTER_DATA_DIR")
    if not data and windows:
        data = f"{system.getenv('APPDATA') or home}/jupyter"
    elif not data and kind == "Darwin":
        data = f"{home}/Library/Jupyter"
    elif not data:
        data = f"{system.getenv('XDG_DATA_HOME') or f'{home}/.local/share'}/jupyter"
    folders += [environment, data]
    if windows:
        folders.append(f"{system.getenv('PROGRAMDATA') or 'C:/ProgramData'}/jupyter")
    else:
        folders += ["/usr/local/share/jupyter", "/usr/share/jupyter"]
    return list(dict.fromkeys(folders))


def _kernel(system: System, name: str, path: str, text: str) -> Kernel:
    try:
        described: Any = msgspec.json.decode(text)
    except msgspec.DecodeError as error:
        return Kernel(name=name, path=path, problem=f"not valid JSON: {error}")
    command = described.get("argv") if isinstance(described, dict) else None
    if not isinstance(command, list) or not command or not all(isinstance(word, str) for word in command):
        return Kernel(name=name, path=path, problem="it names no command (argv)")
    program = command[0]
    return Kernel(
        name=name,
        display_name=str(described.get("display_name", "")),
        path=path,
        interpreter=program,
        language=str(described.get("language", "")),
        interpreter_found=_found(system, program),
    )


def _found(system: System, program: str) -> bool | None:
    """Return whether a kernel's program is there; None for a bare `python`, for which Jupyter takes its own."""
    if "/" in program or "\\" in program:
        status = system.status(program)
        return None if status.outcome == "denied" else status.outcome == "ok"
    if program.removesuffix(".exe").rstrip("0123456789.") == "python":
        return None
    return system.which(program) is not None
