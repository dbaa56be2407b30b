"""The interpreter under test and the distributions that its environment holds: one child answers for both."""

from __future__ import annotations

import posixpath
from typing import Any

import msgspec

from envcheck.facts import Group, Packages, Python
from envcheck.interpreter import Interpreter, ask_inside
from envcheck.probe import probe
from envcheck.system import Completed, System

DETAIL_LIMIT = 1000
"""Characters kept of what an interpreter that does not work said."""


@probe(fills=["python", "packages"], deadline=10)
def python(system: System, interpreter: Interpreter, deadline: float) -> dict[str, Group]:
    """Run `inside/interpreter_probe.py` in the interpreter under test."""
    answer = ask_inside(system, interpreter, "interpreter_probe", deadline)
    said = answer.last("python")
    if said is None:
        return {"python": that_does_not_run(system, interpreter, answer.completed)}
    known = {name: value for name, value in said.items() if name in Python.__struct_fields__}
    found = msgspec.convert(
        {**known, "path": interpreter.path, "chosen_because": interpreter.reason, "state": "ok", "detail": ""}, Python
    )
    tool, project = owner(system, found)
    found = msgspec.structs.replace(
        found, project_tool=tool, project=project, conda_program=conda_program(system, found)
    )
    source = f"{interpreter.path} itself"
    groups: dict[str, Group] = {"python": msgspec.structs.replace(found, sources=_sources(Python, source))}
    listed = answer.last("packages")
    if listed is not None:
        groups["packages"] = packages_of(listed)
    return groups


LOCKS = {"uv.lock": "uv", "poetry.lock": "poetry", "pdm.lock": "pdm", "Pipfile.lock": "pipenv"}
"""Lock file → the program that keeps an environment in step with it."""

ENVIRONMENTS_OF = {"/pypoetry/virtualenvs/": "poetry", "/pdm/venvs/": "pdm"}
"""Folder in which a program keeps environments of projects. Source: documentation of Poetry (`virtualenvs.path`) and of
PDM (`venv.location`); Pipenv's names are those of the project's folder, under `virtualenvs` too."""


def owner(system: System, python: Python) -> tuple[str, str]:
    """Return the program that keeps an environment in step with a project's lock file, and the project's folder.

    An environment belongs to the project in whose folder it lies, or, where the program keeps it elsewhere, to that of
    the working directory.
    """
    prefix = (python.prefix or "").replace("\\", "/")
    pixi, found, _ = prefix.partition("/.pixi/envs/")
    if found:
        return "pixi", pixi
    if python.environment_kind not in {"venv", "virtualenv", "uv"}:
        return "", ""
    for lock, tool in LOCKS.items():
        if system.status(f"{posixpath.dirname(prefix)}/{lock}").kind == "file":
            return tool, posixpath.dirname(prefix)
    here = system.ask("working_directory") or ""
    for folder, tool in ENVIRONMENTS_OF.items():
        lock = next(name for name, owned_by in LOCKS.items() if owned_by == tool)
        if folder in prefix and here and system.status(f"{here}/{lock}").kind == "file":
            return tool, here
    return "", ""


def conda_program(system: System, python: Python) -> str:
    """Return the program that changes a conda environment on this machine; empty for other environments."""
    if python.environment_kind != "conda":
        return ""
    return next((name for name in ("conda", "mamba", "micromamba") if system.which(name)), "conda")


def packages_of(said: dict[str, Any]) -> Packages:
    """Return what the child said of installed distributions."""
    known = {name: value for name, value in said.items() if name in Packages.__struct_fields__}
    source = "metadata on sys.path (*.dist-info, *.egg-info)"
    return msgspec.structs.replace(msgspec.convert(known, Packages), sources=_sources(Packages, source))


def _sources(form: type[Group], source: str) -> dict[str, str]:
    return {name: source for name in form.__struct_fields__ if name != "sources"}


def that_does_not_run(system: System, interpreter: Interpreter, completed: Completed) -> Python:
    """Return what is known of an interpreter that did not answer."""
    status = system.status(interpreter.path)
    detail = (completed.reason or last_lines(completed.stderr)).strip()
    state = "not-python"
    if status.outcome == "broken-link":
        target = system.link(interpreter.path) or "a file that is gone"
        state, detail = "broken-link", f"{interpreter.path} is a link to {target}, which leads nowhere"
    elif completed.outcome == "absent":
        # The program is there, what its first line names is not: a script whose interpreter is gone.
        state = "missing" if status.outcome == "absent" else "broken-link"
    elif completed.outcome == "denied" or status.kind == "folder":
        state = "not-executable"
    elif completed.outcome == "timeout":
        state, detail = "timeout", detail or "it did not answer in time"
    elif completed.outcome == "signal":
        state, detail = "crash", f"ended by {completed.signal}. {detail}".strip()
    elif completed.outcome == "ok" and looks_like_python(completed):
        state = "crash"
    base = base_of(system, interpreter.path)
    missing = base if base and system.status(base).outcome != "ok" else ""
    return Python(
        path=interpreter.path,
        chosen_because=interpreter.reason,
        state=state,
        detail=detail[:DETAIL_LIMIT],
        base_missing=missing,
        sources=dict.fromkeys(("state", "detail"), interpreter.path),
    )


def looks_like_python(completed: Completed) -> bool:
    """Tell whether a program that answered nothing is a Python that broke, and no other program.

    Words of CPython's start-up and of its tracebacks (Python/pylifecycle.c, Python/traceback.c).
    """
    words = ("Fatal Python error", "Traceback (most recent call last)", "Could not find platform", "PYTHONHOME")
    return any(word in completed.stderr for word in words)


def last_lines(text: str) -> str:
    """Return the end of what a program said."""
    return "\n".join(text.strip().splitlines()[-6:])


def base_of(system: System, path: str) -> str:
    """Return the folder of the interpreter that an environment was made from, as its pyvenv.cfg says (PEP 405)."""
    folder = posixpath.dirname(posixpath.dirname(path.replace("\\", "/")))
    for line in system.read(f"{folder}/pyvenv.cfg").text.splitlines():
        key, separator, value = line.partition("=")
        if separator and key.strip().lower() == "home":
            return value.strip()
    return ""
