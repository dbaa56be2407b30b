"""Which interpreter is under test, and how a script is run inside it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import msgspec

from envcheck.system import Completed, System

INSIDE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "inside")  # noqa: PTH100, PTH118, PTH120 - start-up time

LOADER = (
    "import sys;p=sys.argv.pop(1);u=list(sys.path);sys.path=[p.rpartition(sys.argv.pop(1))[0]]+[x for x in u if x];"
    "b=sys.dont_write_bytecode;sys.dont_write_bytecode=True;"
    "import envcheck_channel;envcheck_channel.path=u;sys.dont_write_bytecode=b;"
    "exec(compile(open(p,'rb').read(),p,'exec'),{'__name__':'__main__','__file__':p})"
)
"""What the interpreter under test is told to run (any Python from 2.7 on).

The script's own imports come from the standard library even where the working directory holds a file of the same
name, and nothing is written beside the scripts; `envcheck_channel.users_path()` then restores the path that the user's
own `python -c` would have.
"""


OWN = "no environment is active: envcheck's own interpreter"
"""Why an interpreter is the one under test where there is no other."""


class Interpreter(msgspec.Struct, frozen=True):
    """The interpreter under test.

    Attributes:
        path: the program to call.
        reason: why this one.
        given: whether the user named it on the command line.
        folder: the environment's folder where one was named; empty otherwise.
    """

    path: str
    reason: str
    given: bool = False
    folder: str = ""


class Answer(msgspec.Struct, frozen=True):
    """What a script said from inside the interpreter under test.

    Attributes:
        said: the JSON objects that it wrote, in order; each has a `kind`.
        completed: how its process ended.
    """

    said: list[dict[str, Any]]
    completed: Completed

    def last(self, kind: str) -> dict[str, Any] | None:
        """Return the last object of a kind; None where there is none."""
        return next((said for said in reversed(self.said) if said.get("kind") == kind), None)


def choose(system: System, option: str | None = None) -> Interpreter:
    """Choose the interpreter under test: the option, VIRTUAL_ENV, CONDA_PREFIX, ./.venv, envcheck's own.

    Args:
        system: the machine.
        option: what the user gave with `--python`: a program, an environment's folder, or a name on PATH.
    """
    if option:
        return _from_option(system, option)
    virtual_environment = system.getenv("VIRTUAL_ENV")
    # pre-commit activates the environment that it made for envcheck itself.
    if virtual_environment and not system.getenv("PRE_COMMIT"):
        return Interpreter(
            program_of(system, virtual_environment),
            "VIRTUAL_ENV is set: an active environment",
            folder=virtual_environment,
        )
    conda = system.getenv("CONDA_PREFIX")
    if conda:
        return Interpreter(program_of(system, conda), "CONDA_PREFIX is set: an active conda environment", folder=conda)
    here = os.path.join(system.ask("working_directory") or ".", ".venv")  # noqa: PTH118
    if system.status(here).kind == "folder":
        return Interpreter(program_of(system, here), "the working directory has a .venv", folder=here)
    return Interpreter(system.ask("own_interpreter") or "python3", OWN)


def _from_option(system: System, option: str) -> Interpreter:
    reason = "given with --python"
    if system.status(option).kind == "folder":
        return Interpreter(program_of(system, option), reason, given=True, folder=option)
    if "/" not in option and "\\" not in option and system.status(option).outcome == "absent":
        found = system.which(option)
        if found:
            return Interpreter(found, reason, given=True)
    if not option.startswith("/") and "/" in option:
        option = os.path.normpath(os.path.join(system.ask("working_directory") or ".", option))  # noqa: PTH118
    return Interpreter(option, reason, given=True)


def program_of(system: System, folder: str) -> str:
    """Return the interpreter of an environment's folder, whether it is there or not."""
    candidates = [
        f"{folder}/bin/python",
        f"{folder}/Scripts/python.exe",
        f"{folder}/python.exe",
        f"{folder}/bin/python3",
    ]
    for candidate in candidates:
        if system.status(candidate).outcome != "absent":
            return candidate
    return candidates[0]


def ask_inside(
    system: System,
    interpreter: Interpreter,
    script: str,
    deadline: float,
    arguments: Sequence[str] = (),
    program: str = "",
    stdin: str = "",
) -> Answer:
    """Run a script of `inside/` in the interpreter under test and return what it said.

    Args:
        system: the machine.
        interpreter: the interpreter under test.
        script: name in `inside/`, without `.py`.
        deadline: seconds; then the child is killed with all that it started.
        arguments: what the script takes.
        program: another interpreter to run it with, such as envcheck's own.
        stdin: text on its standard input: what others on this machine must not see among its arguments.
    """
    # The script ends itself shortly after the deadline, should envcheck itself be killed before.
    limit = f"{deadline + 1:.1f}"
    completed = system.run(
        [
            program or interpreter.path,
            "-c",
            LOADER,
            f"{INSIDE}{os.sep}{script}.py",
            f"{script}.py",
            limit,
            *arguments,
        ],
        deadline,
        key=" ".join(["inside", script, *arguments]),
        stdin=stdin,
    )
    said = []
    for line in completed.stdout.splitlines():
        try:
            item = msgspec.json.decode(line)
        except msgspec.DecodeError:
            continue
        if isinstance(item, dict):
            said.append(item)
    return Answer(said, completed)
