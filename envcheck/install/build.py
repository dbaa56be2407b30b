"""From a plan to an environment: build beside, verify, swap."""

from __future__ import annotations

import contextlib
import re
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec

from envcheck import __version__
from envcheck.install import faults, generations, kernel, locks, uv
from envcheck.install.faults import Fault, FaultError
from envcheck.install.generations import HeldError, NotOursError, Place, State
from envcheck.install.steps import Clock, Listener, Step, Work, carry_out
from envcheck.install.uv import Command, Places
from envcheck.install.verify import Verified, verify
from envcheck.plan import Plan
from envcheck.system import System

SCHEMA_VERSION = 1


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
        locked_by: where the lock comes from: `solved`, `generation 3`, `stack torch-cpu`.
        steps: what was done.
        verified: what was seen of each framework.
        kernel: folder of the registered Jupyter kernel; empty where there is none.
        replaced: number of the generation that was in use before; None where there was none.
        image: name of the image in use; empty = an environment in a folder.
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
    locked_by: str = "solved"
    steps: list[Step]
    verified: list[Verified]
    kernel: str = ""
    image: str = ""
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
        upgrade: whether to solve anew, even where an earlier generation's lock was made from the same.
        deadline: seconds that the whole may take.
    """

    plan: Plan
    place: Place
    places: Places
    adopt: bool = False
    train: bool = True
    upgrade: bool = False
    deadline: float = 3600.0


def build(request: Request, system: System, listen: Listener) -> Report:
    """Build a new generation beside the ones that are there, prove it and swap it in.

    Raises:
        FaultError: it cannot be done; what was in use before is in use still, and nothing half-built is left.
        KeyboardInterrupt: the user wants to stop; likewise.
    """
    place = request.place
    with exclusive(place) as program:
        generations.check_link(place, adopt=request.adopt)
        with generations.locked(place):
            check_kind(place, are_images=False)
            removed = generations.clear_unfinished(place)
            return _build_locked(request, system, listen, program, removed)


@contextlib.contextmanager
def exclusive(place: Place) -> Iterator[str]:
    """Give the path of uv, and make faults of what keeps a set-up of a name from its work.

    Raises:
        FaultError: it cannot be done.
    """
    program = uv.program()
    if program is None:
        raise FaultError(
            Fault(kind="no-uv", step="prepare", sentence="uv is not here", change="python -m pip install uv")
        )
    try:
        yield program
    except HeldError as error:
        raise FaultError(
            Fault(kind="held", step="prepare", sentence=str(error), change="wait for it, or --name NAME beside it")
        ) from error
    except NotOursError as error:
        sentence, _, change = str(error).partition("; ")
        raise FaultError(Fault(kind="not-ours", step="prepare", sentence=sentence, change=change)) from error
    except OSError as error:
        named = error if error.filename else OSError(error.errno, error.strerror, str(place.folder))
        raise FaultError(faults.of_operating_system(named, "prepare")) from error


def check_kind(place: Place, *, are_images: bool) -> None:
    """Make sure that all generations of a name are of one kind: environments in folders, or images.

    Raises:
        NotOursError: they are of the other kind.
    """
    if any(one.usable and bool(one.image) != are_images for one in generations.listed(place)):
        there, wanted = ("environments in folders", "an image") if are_images else ("images", "an environment")
        raise NotOursError(f"the generations of {place.name!r} are {there}; --name NAME for {wanted} beside them")


def _build_locked(request: Request, system: System, listen: Listener, program: str, removed: list[int]) -> Report:
    place, plan = request.place, request.plan
    number = generations.next_number(place)
    environment, record = place.generation(number), place.record(number)
    before = next((one.number for one in generations.listed(place) if one.current), None)
    clock = Clock(request.deadline)
    work = Work(
        plan=plan,
        variables=uv.variables(request.places, system),
        folder=str(place.directory),
        clock=clock,
        listen=listen,
    )
    try:
        prepare(place, number, plan)
        commands = {
            command.step: command
            for command in uv.commands(plan, environment, record, program, _prompt(place), request.places)
        }
        locked_by = _make_and_lock(work, commands, request, record / uv.LOCK)
        written = start_writing_back(place.folder)
        carry_out(commands["check"], work)
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
            lock=str(record / uv.LOCK),
            packages=packages(record / uv.LOCK),
            locked_by=locked_by,
            steps=clock.steps,
            verified=verified,
            replaced=before,
            removed=removed,
            plan=plan,
        )
        with clock.step("keep"):
            written.join()
            keep(place, number, report)
        with clock.step("swap"):
            generations.swap(place, number)
    except BaseException:
        if generations.state_of(place, number) is None or not in_use(place, number):
            generations.remove(place, number)
        raise
    if plan.kernel:
        with contextlib.suppress(OSError):
            report = msgspec.structs.replace(report, kernel=str(kernel.register(place, plan, system)))
    report = msgspec.structs.replace(report, steps=clock.steps)
    generations.write(record / "report.json", msgspec.json.format(msgspec.json.encode(report)))
    return report


def in_use(place: Place, number: int) -> bool:
    """Tell whether a generation is the one in use."""
    return any(one.current for one in generations.listed(place) if one.number == number)


def _prompt(place: Place) -> str:
    return place.directory.resolve().name if place.name == generations.DEFAULT_NAME else place.name


def prepare(place: Place, number: int, plan: Plan) -> None:
    """Write what is known of a generation before it is built."""
    record = place.record(number)
    generations.write_state(place, number, State(state="building", made=time.time()))
    (record / "plan.json").write_bytes(msgspec.json.format(msgspec.json.encode(plan)))
    (record / "pyproject.toml").write_text(uv.project_file(plan), "utf-8")


def _make_and_lock(work: Work, commands: dict[str, Command], request: Request, lock: Path) -> str:
    """Make the environment and fill it; say where the lock comes from.

    A lock of an earlier generation whose files are not to be had any more is solved anew.
    """
    carry_out(commands["environment"], work)
    origin = take_lock(work, request, lock)
    if origin.startswith("generation"):
        with contextlib.suppress(FaultError):
            carry_out(commands["install"], work)
            return origin
        lock.unlink()
        origin = ""
    if not origin:
        origin = solve(commands["solve"], work, request, lock)
    carry_out(commands["install"], work)
    return origin


def take_lock(work: Work, request: Request, lock: Path) -> str:
    """Write the lock that is there already, and say whose it is; empty where it must be solved."""
    plan = request.plan
    if plan.lock:
        lock.write_bytes(Path(plan.lock).read_bytes())
        return f"stack {plan.stack}"
    digest = locks.inputs(plan, request.places, work.variables)
    earlier = None if request.upgrade else locks.reusable(request.place, digest)
    if earlier is None:
        return ""
    number, content = earlier
    lock.write_bytes(content)
    return f"generation {number}"


def solve(command: Command, work: Work, request: Request, lock: Path) -> str:
    """Solve, and write on the lock what it was made from."""
    carry_out(command, work)
    locks.sign(lock, locks.inputs(request.plan, request.places, work.variables))
    return "solved"


def start_writing_back(folder: Path) -> threading.Thread:
    """Let what was installed reach the disk while it is proved."""
    thread = threading.Thread(target=generations.write_back, args=(folder,), daemon=True)
    thread.start()
    return thread


def packages(lock: Path) -> int:
    """Return how many packages a lock holds."""
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


def keep(place: Place, number: int, report: Report, image: str = "") -> None:
    """Write the report, let everything reach the disk, and only then call the generation ready."""
    (place.record(number) / "report.json").write_bytes(msgspec.json.format(msgspec.json.encode(report)))
    generations.write_back(place.folder)
    generations.write_state(
        place,
        number,
        State(
            state="ready",
            made=time.time(),
            frameworks={one.framework: one.version for one in report.verified},
            python=report.plan.python.series,
            image=image,
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
