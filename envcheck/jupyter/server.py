"""The Jupyter server that the user starts, and the interpreter that runs it."""

from __future__ import annotations

import posixpath
import shlex

from envcheck.interpreter import program_of
from envcheck.jupyter.model import Server
from envcheck.system import System

PROGRAMS = ("jupyter-lab", "jupyter-notebook", "jupyter-server", "jupyter")
"""What people type to start a server: with a dash, or as the second word of `jupyter`."""

DISTRIBUTIONS = (
    "jupyterlab",
    "notebook",
    "nbclassic",
    "jupyter-server",
    "jupyter-client",
    "ipykernel",
    "nb-conda-kernels",
)


def find(system: System, environment: str) -> Server | None:
    """Return the server that PATH finds, else the one of an environment; None where there is none.

    Args:
        system: the machine.
        environment: folder of the environment under test; empty where it is not known.
    """
    for name in PROGRAMS:
        program = system.which(name)
        if program:
            return Server(program=program, reason="PATH finds it first", interpreter=interpreter_of(system, program))
    for name in PROGRAMS:
        for place in (f"{environment}/bin/{name}", f"{environment}/Scripts/{name}.exe"):
            if environment and system.status(place).outcome == "ok":
                reason = "PATH finds none; this is the one of the environment under test"
                return Server(program=place, reason=reason, interpreter=program_of(system, environment))
    return None


def interpreter_of(system: System, program: str) -> str:
    """Return the interpreter of an installed script: what its first line names; empty where it cannot be told.

    Where the path is long or holds a space, installers write a shell line that starts the interpreter
    (source: distlib, `scripts.py`); on Windows the script is a program, which lies beside its interpreter.
    """
    real = system.status(program).real_path or program
    if program.lower().endswith(".exe"):
        return program_of(system, posixpath.dirname(posixpath.dirname(program.replace("\\", "/"))))
    lines = system.read(real).text.splitlines()[:3]
    if not lines or not lines[0].startswith("#!"):
        return ""
    words = _words(lines[0][2:])
    if words and posixpath.basename(words[0]) == "env":
        named = [word for word in words[1:] if not word.startswith("-") and "=" not in word]
        return (system.which(named[0]) or "") if named else ""
    if words and posixpath.basename(words[0]) == "sh" and len(lines) > 1 and lines[1].startswith("'''exec'"):
        inner = _words(lines[1].removeprefix("'''exec'"))
        return inner[0] if inner else ""
    return words[0] if words else ""


def _words(line: str) -> list[str]:
    try:
        return shlex.split(line)
    except ValueError:
        return line.split()
