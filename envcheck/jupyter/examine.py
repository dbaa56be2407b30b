"""Look at Jupyter on this machine: the server, its kernels, what each of them runs, and whether it starts.

Nothing of Jupyter is imported here: descriptions are read from disk, interpreters are asked in children, and a kernel
is started in a child that speaks to it (`inside/kernel_start.py`).
"""

from __future__ import annotations

import json
import os
import queue
import threading
from collections.abc import Callable, Sequence
from typing import TypeVar

import msgspec

from envcheck.facts import Facts, Packages, Python
from envcheck.interpreter import OWN, Interpreter, ask_inside
from envcheck.jupyter import folders as places
from envcheck.jupyter import interpreters, repairs, server, specifications
from envcheck.jupyter.model import (
    Environment,
    Folder,
    Kernel,
    Server,
    Specification,
    Start,
    frameworks_of,
    version_of,
)
from envcheck.probes.python import python as ask_python
from envcheck.system import System

ASK_SECONDS = 10.0
"""What an interpreter may take to say what it is."""

AT_ONCE = 2
"""Kernels started side by side: each keeps a core busy while it starts."""

SLACK_SECONDS = 8.0
"""What the child may take beyond the kernel's own time: its own start, and the kernel's goodbye."""

Result = TypeVar("Result")
Hear = Callable[[str], None]


class Examined(msgspec.Struct, frozen=True, kw_only=True):
    """What was seen.

    Attributes:
        environment: the environment under test.
        server: the Jupyter that the user starts; None where there is none.
        host: the interpreter whose environment Jupyter looks into: the server's, else the one under test.
        folders: where it looks for kernels.
        kernels: what was found there.
        started: whether kernels were started.
        user_folder: where the user's kernels are registered.
        pythons: interpreter's path → what it says of itself and of what is installed.
    """

    environment: Environment
    server: Server | None
    host: Python
    folders: list[Folder]
    kernels: list[Kernel]
    started: bool = True
    user_folder: str = ""
    pythons: dict[str, tuple[Python, Packages | None]] = {}


def silent(_line: str) -> None:
    """Tell nobody."""


def examine(
    system: System, interpreter: Interpreter, *, start: bool = True, seconds: float = 30.0, hear: Hear = silent
) -> Examined:
    """Look at everything.

    Args:
        system: the machine.
        interpreter: the interpreter under test.
        start: whether kernels are started.
        seconds: how long a kernel may take to answer; Jupyter itself waits 60 s (`KernelManager.startup_timeout`).
        hear: told what is going on.
    """
    # A kernel's description holds the path for good: it must hold wherever a notebook is opened.
    path = os.path.normpath(os.path.join(system.ask("working_directory") or ".", interpreter.path))  # noqa: PTH118
    python, packages = ask(system, path, interpreter.reason, interpreter.folder)
    environment = Environment(python=python, packages=packages, chosen=interpreter.reason != OWN)
    found = server.find(system, python.prefix or interpreter.folder)
    known = {path: (python, packages)}
    host, found = _host(system, found, environment, known)
    listed = places.kernel_folders(system, host, conda_kernels=bool(found and "nb-conda-kernels" in found.versions))
    own = f"{python.prefix}/share/jupyter/kernels"
    if python.prefix and own not in {folder.path for folder in listed}:
        listed.append(Folder(path=own, kind="own"))
    described = specifications.read_all(system, listed)
    if found and found.versions.get("ipykernel"):
        described += specifications.built_in(host, described)
    # A bare `python` is whoever starts the kernel: of one in the environment under test, a Jupyter in that environment.
    kernels = [_kernel(system, one, python if one.found_in == "own" else host) for one in described]
    asked = sorted({kernel.interpreter for kernel in kernels if kernel.interpreter} - set(known))
    answers = side_by_side([_asking(system, path) for path in asked])
    known |= dict(zip(asked, answers, strict=True))
    kernels = [_with_environment(system, kernel, known, environment) for kernel in kernels]
    kernels = [_with_way_out(system, kernel, environment) for kernel in kernels]
    if start:
        kernels = side_by_side([_starting(system, kernel, host, seconds, hear) for kernel in kernels], AT_ONCE)
        kernels = [_with_answer(system, kernel, environment) for kernel in kernels]
    return Examined(
        environment=environment,
        server=found,
        host=host,
        folders=listed,
        kernels=kernels,
        started=start,
        user_folder=places.user_folder(system),
        pythons=known,
    )


def ask(system: System, path: str, reason: str, folder: str = "") -> tuple[Python, Packages | None]:
    """Return what an interpreter says of itself and of what is installed."""
    groups = ask_python(system, Interpreter(path, reason, folder=folder), ASK_SECONDS)
    facts = Facts(**groups)  # type: ignore[arg-type]
    return facts.python or Python(path=path, state="missing"), facts.packages


def start_kernel(system: System, one: Specification, host: Python, seconds: float) -> Start:
    """Start a kernel as a notebook would and return how it went."""
    argv = specifications.command_of(one, host)
    order = {"argv": argv, "variables": specifications.variables_of(system, one), "seconds": seconds}
    answer = ask_inside(
        system,
        Interpreter(system.ask("own_interpreter") or "python3", "envcheck's own"),
        "kernel_start",
        seconds + SLACK_SECONDS,
        stdin=json.dumps(order),
    )
    said = answer.last("kernel")
    if said is None:
        detail = answer.completed.reason or answer.completed.stderr.strip()[-500:] or answer.completed.outcome
        return Start(state="unknown", detail=f"the child that starts kernels did not come back: {detail}")
    version = " ".join(filter(None, [said.get("implementation"), said.get("implementation_version")]))
    language = " ".join(filter(None, [said.get("language"), said.get("language_version")]))
    known = {name: value for name, value in said.items() if name in Start.__struct_fields__}
    return msgspec.convert({**known, "implementation": version, "language": language}, Start)


def side_by_side(work: Sequence[Callable[[], Result]], at_once: int = 4) -> list[Result]:
    """Do pieces of work in daemon threads, so many at once, and return what they bring, in order.

    Raises:
        Exception: what one of them raised.
    """
    waiting: queue.SimpleQueue[int] = queue.SimpleQueue()
    ended: queue.SimpleQueue[tuple[int, Result | None, Exception | None]] = queue.SimpleQueue()
    for number in range(len(work)):
        waiting.put(number)

    def labour() -> None:
        while True:
            try:
                number = waiting.get_nowait()
            except queue.Empty:
                return
            try:
                ended.put((number, work[number](), None))
            except Exception as error:  # noqa: BLE001 - it is raised where it was waited for
                ended.put((number, None, error))

    for _ in range(min(at_once, len(work))):
        threading.Thread(target=labour, daemon=True).start()
    brought: dict[int, Result] = {}
    while len(brought) < len(work):
        try:
            # In short waits, so that an interrupt is seen soon.
            number, result, error = ended.get(timeout=0.2)
        except queue.Empty:
            continue
        if error is not None:
            raise error
        brought[number] = result  # type: ignore[assignment]
    return [brought[number] for number in range(len(work))]


def _host(
    system: System,
    found: Server | None,
    environment: Environment,
    known: dict[str, tuple[Python, Packages | None]],
) -> tuple[Python, Server | None]:
    """Return the interpreter in whose environment Jupyter looks, and the server with what is known of it."""
    if found is None or not found.interpreter:
        return environment.python, found
    if found.interpreter not in known:
        known[found.interpreter] = ask(system, found.interpreter, "it runs the Jupyter server")
    python, packages = known[found.interpreter]
    versions = {name: version_of(packages, name) or "" for name in server.DISTRIBUTIONS}
    described = msgspec.structs.replace(
        found,
        prefix=python.prefix or "",
        versions={name: version for name, version in versions.items() if version},
        under_test=same_folder(system, python.prefix, environment.python.prefix),
    )
    return (python if python.state == "ok" else environment.python), described


def same_folder(system: System, one: str | None, other: str | None) -> bool:
    """Tell whether two paths lead to one folder."""
    if not one or not other:
        return False
    return one == other or (system.status(one).real_path or one) == (system.status(other).real_path or other)


def _asking(system: System, path: str) -> Callable[[], tuple[Python, Packages | None]]:
    return lambda: ask(system, path, "a kernel runs it")


def _kernel(system: System, one: Specification, host: Python) -> Kernel:
    if not one.argv or one.provisioner:
        return Kernel(specification=one, is_python=specifications.is_python(one))
    found = interpreters.resolve(system, specifications.command_of(one, host))
    python = specifications.is_python(one)
    return Kernel(
        specification=one,
        is_python=python,
        program=found.program,
        interpreter=found.interpreter if python else "",
        wrapper=found.wrapper if python else "",
        state="missing" if found.missing else None,
        detail=f"{found.missing} is not there" if found.missing else "",
    )


def _with_environment(
    system: System, kernel: Kernel, known: dict[str, tuple[Python, Packages | None]], environment: Environment
) -> Kernel:
    """Return a kernel with what its interpreter says; what that is, is not known of other languages."""
    if not kernel.is_python:
        return kernel if kernel.state else msgspec.structs.replace(kernel, state="ok" if kernel.program else None)
    if not kernel.interpreter:
        return kernel
    python, packages = known[kernel.interpreter]
    return msgspec.structs.replace(
        kernel,
        state=python.state,
        detail=kernel.detail or python.detail or "",
        python_version=python.version,
        prefix=python.prefix or "",
        ipykernel=version_of(packages, "ipykernel"),
        frameworks=frameworks_of(packages),
        under_test=same_folder(system, python.prefix, environment.python.prefix),
    )


def _with_way_out(system: System, kernel: Kernel, environment: Environment) -> Kernel:
    """Return a kernel that can never start with what may be done about it."""
    if not repairs.runs_nothing(kernel):
        return kernel
    return msgspec.structs.replace(
        kernel,
        repair=repairs.right_interpreter(system, kernel, environment),
        kept=repairs.why_kept(system, kernel),
    )


def _starting(system: System, kernel: Kernel, host: Python, seconds: float, hear: Hear) -> Callable[[], Kernel]:
    def start() -> Kernel:
        why = why_not_started(kernel)
        if why:
            return msgspec.structs.replace(kernel, start=Start(state="not-tried", detail=why))
        hear(f"starting {kernel.specification.name}")
        return msgspec.structs.replace(kernel, start=start_kernel(system, kernel.specification, host, seconds))

    return start


def why_not_started(kernel: Kernel) -> str:
    """Say why there is no point in starting a kernel; empty where there is."""
    if kernel.specification.problem:
        return kernel.specification.problem
    if kernel.specification.hidden_by:
        return f"Jupyter takes {kernel.specification.hidden_by} for it"
    if not kernel.specification.offered:
        return "the Jupyter server does not look in this folder"
    if kernel.specification.provisioner:
        return f"{kernel.specification.provisioner} starts it, not Jupyter itself"
    if kernel.state not in {None, "ok"}:
        return kernel.detail or f"its interpreter: {kernel.state}"
    return ""


def _with_answer(system: System, kernel: Kernel, environment: Environment) -> Kernel:
    """Return a kernel with the interpreter that it named itself, where a wrapper had hidden it."""
    told = kernel.start.executable
    if not told or same_folder(system, kernel.prefix, kernel.start.prefix):
        return kernel
    python, packages = ask(system, told, "a kernel runs it")
    seen = msgspec.structs.replace(kernel, interpreter=told)
    return _with_environment(system, seen, {told: (python, packages)}, environment)
