"""From a plan to an environment: build beside, verify, swap."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from envcheck import __version__
from envcheck.install import child, faults, generations, kernel, uv
from envcheck.install.faults import Fault, FaultError
from envcheck.install.generations import HeldError, NotOursError, Place, State
from envcheck.install.pip_configuration import masked
from envcheck.install.uv import Command, Places
from envcheck.install.verify import Verified, verify
from envcheck.plan import Plan
from envcheck.system import System

SCHEMA_VERSION = 1

Listener = Callable[[str, str], None]
"""Told the step and what is going on in it; an empty text when the step ends."""


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One step that was done.

    Attributes:
        name: `environment`, `solve`, `install`, `check`, `verify`, `keep`, `swap`.
        seconds: wall time.
    """

    name: str
    seconds: float


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What a set-up ended in; the public JSON of `envcheck setup --json`.

    Attributes:
        schema_version: raised when a field changes its meaning or goes away.
        envcheck_version: version of envcheck.
        name: name of the environment.
        environment: what the user activates.
        generation: number of the generation.
        path: folder of the generation.
        lock: file with the version and the checksums of every package.
        packages: how many packages the lock holds.
        steps: what was done.
        verified: what was seen of each framework.
        kernel: folder of the registered Jupyter kernel; empty where there is none.
        replaced: number of the generation that was in use before; None where there was none.
        removed: numbers of generations that killed set-ups had left half-built.
        plan: what was carried out.
    """

    schema_version: int = SCHEMA_VERSION
    envcheck_version: str = __version__
    name: str
    environment: str
    generation: int
    path: str
    lock: str
    packages: int
    steps: list[Step]
    verified: list[Verified]
    kernel: str = ""
    replaced: int | None = None
    removed: list[int] = []
    plan: Plan


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be built, and where.

    Attributes:
        plan: what.
        place: where.
        places: where packages come from.
        adopt: whether an environment that envcheck did not make may be taken over.
        train: whether the proof includes a training.
        deadline: seconds that the whole may take.
    """

    plan: Plan
    place: Place
    places: Places
    adopt: bool = False
    train: bool = True
    deadline: float = 3600.0


def build(request: Request, system: System, listen: Listener) -> Report:
    """Build a new generation beside the ones that are there, prove it and swap it in.

    Raises:
        FaultError: it cannot be done; what was in use before is in use still, and nothing half-built is left.
        KeyboardInterrupt: the user wants to stop; likewise.
    """
    place = request.place
    program = uv.program()
    if program is None:
        raise FaultError(
            Fault(kind="no-uv", step="prepare", sentence="uv is not here", change="python -m pip install uv")
        )
    try:
        generations.check_link(place, adopt=request.adopt)
        with generations.locked(place):
            removed = generations.clear_unfinished(place)
            return _build_locked(request, system, listen, program, removed)
    except HeldError as error:
        raise FaultError(
            Fault(kind="held", step="prepare", sentence=str(error), change="wait for it, or --name NAME beside it")
        ) from error
    except NotOursError as error:
        sentence, _, change = str(error).partition("; ")
        raise FaultError(Fault(kind="not-ours", step="prepare", sentence=sentence, change=change)) from error
    except OSError as error:
        raise FaultError(faults.of_operating_system(error, "prepare")) from error


def _build_locked(request: Request, system: System, listen: Listener, program: str, removed: list[int]) -> Report:
    place, plan = request.place, request.plan
    number = generations.next_number(place)
    environment, record = place.generation(number), place.record(number)
    before = next((one.number for one in generations.listed(place) if one.current), None)
    clock = _Clock(request.deadline)
    try:
        _prepare(place, number, plan)
        for command in uv.commands(plan, environment, record, program, _prompt(place), request.places):
            with clock.step(command.step):
                _carry_out(command, request, system, listen, clock)
        with clock.step("verify"):
            _make_keras_default(environment, plan)
            verified = verify(
                plan,
                uv.interpreter_of(environment, request.places),
                train=request.train,
                listen=lambda line: listen("verify", line),
            )
            listen("verify", "")
        report = Report(
            name=place.name,
            environment=str(place.link),
            generation=number,
            path=str(environment),
            lock=str(record / "lock.txt"),
            packages=_packages(record / "lock.txt"),
            steps=clock.steps,
            verified=verified,
            replaced=before,
            removed=removed,
            plan=plan,
        )
        with clock.step("keep"):
            _keep(place, number, report)
        with clock.step("swap"):
            generations.swap(place, number)
    except BaseException:
        if generations.state_of(place, number) is None or not _in_use(place, number):
            generations.remove(place, number)
        raise
    if plan.kernel:
        with contextlib.suppress(OSError):
            report = msgspec.structs.replace(report, kernel=str(kernel.register(place, plan, system)))
    report = msgspec.structs.replace(report, steps=clock.steps)
    generations.write(record / "report.json", msgspec.json.format(msgspec.json.encode(report)))
    return report


def _in_use(place: Place, number: int) -> bool:
    return any(one.current for one in generations.listed(place) if one.number == number)


class _Clock:
    """How long each step took, and how much time is left."""

    def __init__(self, deadline: float) -> None:
        self._until = time.monotonic() + deadline
        self.steps: list[Step] = []

    @property
    def left(self) -> float:
        return max(self._until - time.monotonic(), 0.1)

    @contextlib.contextmanager
    def step(self, name: str) -> Iterator[None]:
        began = time.monotonic()
        yield
        self.steps.append(Step(name=name, seconds=round(time.monotonic() - began, 3)))


def _prompt(place: Place) -> str:
    return place.directory.resolve().name if place.name == generations.DEFAULT_NAME else place.name


def _prepare(place: Place, number: int, plan: Plan) -> None:
    record = place.record(number)
    generations.write_state(place, number, State(state="building", made=time.time()))
    generations.write(record / "plan.json", msgspec.json.format(msgspec.json.encode(plan)))
    generations.write(record / "pyproject.toml", uv.project_file(plan).encode())


SAYS = {
    "environment": "making the environment",
    "solve": "solving",
    "install": "downloading and installing",
    "check": "checking requirements",
}


def _carry_out(command: Command, request: Request, system: System, listen: Listener, clock: _Clock) -> None:
    listen(command.step, SAYS[command.step])
    ended = child.run(
        list(command.argv),
        uv.variables(request.places, system),
        lambda line: _hear(command.step, line, listen),
        clock.left,
        str(request.place.directory),
    )
    if ended.outcome == "timeout":
        raise FaultError(
            Fault(
                kind="too-slow",
                step=command.step,
                sentence=f"{SAYS[command.step]} did not end within the {request.deadline:g} s that it may take",
                change="a nearer index, or --timeout SECONDS",
                evidence=tuple(masked(line) for line in ended.output.splitlines()[-faults.KEPT_LINES :]),
            )
        )
    if not ended.good:
        raise FaultError(_fault(command, ended.output, request))
    listen(command.step, "")


def _fault(command: Command, output: str, request: Request) -> Fault:
    if command.step == "check":
        lines = tuple(line for line in output.splitlines() if " requires " in line)
        return Fault(
            kind="inconsistent",
            step="check",
            sentence=f"what was installed does not fit together: {lines[0] if lines else 'uv pip check fails'}",
            change="a wider range of versions in what the project requires",
            evidence=lines[: faults.KEPT_LINES],
        )
    return faults.of_output(output, command.step, request.plan)


def _hear(step: str, line: str, listen: Listener) -> None:
    """Hand on what uv says where it says how far it is."""
    found = re.match(
        r"\s*(Resolved \d+ packages?|Downloading .+|Building .+|Prepared \d+ packages?|Installed .+)", line
    )
    if found:
        text = found[1].strip()
        listen(step, text[:1].lower() + text[1:])


def _packages(lock: Path) -> int:
    return sum(1 for line in lock.read_text("utf-8").splitlines() if re.match(r"[A-Za-z0-9]", line))


def _make_keras_default(environment: Path, plan: Plan) -> None:
    """Let the environment's own Python know the backend, however it is started: a shell, a notebook, a service."""
    if not plan.variables:
        return
    folders = list(environment.glob("lib/python*/site-packages")) or [environment / "Lib" / "site-packages"]
    settings = "; ".join(
        f"os.environ.setdefault({name!r}, {value!r})" for name, value in sorted(plan.variables.items())
    )
    (folders[0] / "envcheck_defaults.pth").write_text(f"import os; {settings}\n", "utf-8")


def _keep(place: Place, number: int, report: Report) -> None:
    """Write the report, let everything reach the disk, and only then call the generation ready."""
    generations.write(place.record(number) / "report.json", msgspec.json.format(msgspec.json.encode(report)))
    if hasattr(os, "sync"):
        os.sync()
    generations.write_state(
        place,
        number,
        State(
            state="ready",
            made=time.time(),
            frameworks={one.framework: one.version for one in report.verified},
            python=report.plan.python.series,
        ),
    )


def remove_all(place: Place, system: System) -> list[int]:
    """Remove every generation of a name, its link and its kernel; an environment that was taken over is put back.

    Raises:
        HeldError: a set-up is at work.
        OSError: something cannot be removed.
    """
    with generations.locked(place):
        generations.clear_unfinished(place)
        numbers = [one.number for one in generations.listed(place)]
        if 0 in numbers:
            generations.swap(place, 0)
        elif place.link.is_symlink():
            place.link.unlink()
        kernel.unregister(place, system)
        place.pointer.unlink(missing_ok=True)
        for number in numbers:
            generations.remove(place, number)
        shutil.rmtree(place.folder, ignore_errors=True)
        with contextlib.suppress(OSError):
            place.folder.parent.rmdir()
    return numbers
