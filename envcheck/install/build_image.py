"""From a plan to an image: written beside, built, proved inside, and then called the current one."""

from __future__ import annotations

import shlex
import shutil

import msgspec

from envcheck.install import build, child, docker, faults, generations, image, uv
from envcheck.install.build import Report, Request
from envcheck.install.docker import check_daemon
from envcheck.install.faults import Fault, FaultError
from envcheck.install.generations import Place
from envcheck.install.image import Image
from envcheck.install.pip_configuration import masked
from envcheck.install.steps import SAYS, Clock, Listener, Work, run
from envcheck.install.verify import IMPORT_SECONDS, TRAINING, Verified, imported, trained
from envcheck.plan import TITLES, Choice
from envcheck.smoke.result import SmokeResult
from envcheck.system import System

DEFAULT_NAME = "image"
"""The name where none is given."""

UNBUILT = {"no-daemon", "docker-forbidden", "no-buildkit"}
"""Faults after which the folder stays: somebody else, or this user later, can build it as it is."""

START_SECONDS = 120.0
"""Added to what a training may take inside: the gate, and the start of a container on a slow disk."""


class SmokeReport(msgspec.Struct, frozen=True):
    """What is read of `envcheck smoke --json`."""

    results: list[SmokeResult]


def build_image(request: Request, made: Image, system: System, listen: Listener) -> Report:
    """Build a new generation as an image, prove it inside and call it the current one.

    Raises:
        FaultError: it cannot be done; the image that was the current one is so still.  Where only the daemon is
            missing, the folder to build from stays, and the fault names the command.
        KeyboardInterrupt: the user wants to stop; likewise.
    """
    place = request.place
    with build.exclusive(place) as program, generations.locked(place):
        build.check_kind(place, are_images=True)
        removed = generations.clear_unfinished(place)
        _forget(made, place, removed)
        number = generations.next_number(place)
        try:
            return _build(request, made, system, listen, program, number, removed)
        except BaseException as error:
            kept = isinstance(error, FaultError) and error.fault.kind in UNBUILT
            if not kept and not build.in_use(place, number):
                _forget(made, place, [number])
                generations.remove(place, number)
            raise


def _forget(made: Image, place: Place, numbers: list[int]) -> None:
    """Remove images of generations that do not count, as far as they are this project's and the daemon answers."""
    for number in numbers:
        if docker.owner(made.docker, made.tag(number)) == image.owner(place):
            docker.ask(made.docker, "image", "rm", made.tag(number), seconds=docker.REMOVAL_SECONDS)


def _build(
    request: Request, made: Image, system: System, listen: Listener, program: str, number: int, removed: list[int]
) -> Report:
    place, plan = request.place, request.plan
    folder, record = place.generation(number), place.record(number)
    before = next((one.number for one in generations.listed(place) if one.current), None)
    clock = Clock(request.deadline)
    work = Work(
        plan=plan,
        variables=uv.variables(request.places, system),
        folder=str(place.directory),
        clock=clock,
        listen=listen,
    )
    build.prepare(place, number, plan)
    lock = record / uv.LOCK
    origin = build.take_lock(work, request, lock)
    if not origin:
        origin = build.solve(image.solve(plan, record, program), work, request, lock)
    with clock.step("environment"):
        image.write_folder(plan, made, lock, folder, request.places)
        _write_pip_configuration(request, number)
    command = image.build(plan, made, place, number, request.places)
    try:
        check_daemon(made.docker, plan)
        _check_owner(made, place, number)
        _build_with_docker(command, work)
    except FaultError as error:
        fault = _with_folder(error.fault, command, str(folder))
        if origin.startswith("generation"):
            fault = msgspec.structs.replace(fault, change=f"{fault.change}; or --upgrade, which locks anew")
        raise FaultError(fault) from error
    with clock.step("verify"):
        verified = [_proved(choice, made, number, work, train=request.train) for choice in plan.choices]
        listen("verify", "")
    report = Report(
        name=place.name,
        environment=made.current,
        generation=number,
        path=str(folder),
        lock=str(lock),
        packages=build.packages(lock),
        locked_by=origin,
        steps=clock.steps,
        verified=verified,
        image=made.tag(number),
        replaced=before,
        removed=removed,
        plan=plan,
    )
    with clock.step("keep"):
        (record / "pip.conf").unlink(missing_ok=True)
        # Wheels have gone into the image; the folder is kept for what it says, not for them.
        for wheel in (folder / "docker" / "wheelhouse").glob("*.whl"):
            wheel.unlink()
        build.keep(place, number, report, made.tag(number))
    with clock.step("swap"):
        use(made, place, number)
    report = msgspec.structs.replace(report, steps=clock.steps)
    generations.write(record / "report.json", msgspec.json.format(msgspec.json.encode(report)))
    return report


def _write_pip_configuration(request: Request, number: int) -> None:
    """Write the secret of the build: for nobody else's eyes, and gone when the image is built."""
    text = image.pip_configuration(request.places.configuration, offline=request.places.offline)
    if text:
        path = request.place.record(number) / "pip.conf"
        path.touch(mode=0o600)
        path.write_text(text, "utf-8")


def _check_owner(made: Image, place: Place, number: int) -> None:
    """Make sure that no name of the images is taken by another project.

    Raises:
        FaultError: one is.
    """
    for name in (made.current, made.tag(number)):
        found = docker.owner(made.docker, name)
        if found is not None and found != image.owner(place):
            raise FaultError(
                Fault(
                    kind="not-ours",
                    step="image",
                    sentence=f"there is an image {name} that is not of this project",
                    change="--name NAME calls this one otherwise",
                )
            )


def _build_with_docker(command: uv.Command, work: Work) -> None:
    work.listen(command.step, SAYS[command.step])
    # Docker before 23 builds without BuildKit unless it is told; what is for uv is none of its business.
    alone = msgspec.structs.replace(work, variables={"DOCKER_BUILDKIT": "1"})
    with work.clock.step(command.step):
        ended = run(command, command.argv, alone)
    if not ended.good:
        raise FaultError(docker.fault_of(ended.output, command.step, work.plan))
    work.listen(command.step, "")


def _with_folder(fault: Fault, command: uv.Command, folder: str) -> Fault:
    """Name the folder and the command where nothing but the daemon is missing."""
    if fault.kind not in UNBUILT:
        return fault
    return msgspec.structs.replace(
        fault,
        change=f"{fault.change}. All that the image is made from is in {folder}; this builds it:",
        evidence=(f"DOCKER_BUILDKIT=1 {masked(shlex.join(command.argv))}",),
    )


def _proved(choice: Choice, made: Image, number: int, work: Work, *, train: bool) -> Verified:
    """Import and train a framework inside the image.

    Raises:
        FaultError: it does not work there.
    """
    title = TITLES[choice.framework]
    work.listen("verify", f"{'training' if train else 'importing'} in {title} inside {made.tag(number)}")
    seconds = (TRAINING.timeout_seconds if train else IMPORT_SECONDS) + START_SECONDS
    ended = _run_inside(image.proof(work.plan, choice, made, number, train=train), made, seconds)
    if not train and ended.good:
        return imported(choice, ended)
    report = _report_in(ended.output) if train else None
    if report is None or not report.results:
        known = docker.fault_of(ended.output, "verify", work.plan)
        if known.kind != "installer-failed":
            raise FaultError(known)
        raise FaultError(
            Fault(
                kind="does-not-train" if train else "does-not-import",
                step="verify",
                sentence=f"{title} {choice.version} is in the image and does not {'train' if train else 'import'} there"
                + (" in time" if ended.outcome == "timeout" else ""),
                change="what was said inside is below",
                evidence=tuple(line for line in ended.output.splitlines() if line.strip())[-faults.KEPT_LINES :],
            )
        )
    return trained(choice, report.results[0])


def _run_inside(command: tuple[str, ...], made: Image, seconds: float) -> child.Ended:
    """Run a command in a container, which goes when docker's client has to be ended before it."""
    try:
        ended = child.run(list(command), {}, lambda _: None, seconds)
    except BaseException:
        docker.ask(made.docker, "rm", "--force", image.container(made))
        raise
    if ended.outcome != "ok":
        docker.ask(made.docker, "rm", "--force", image.container(made))
    return ended


def _report_in(output: str) -> SmokeReport | None:
    """Return the report among the lines of a container; the gate may have said something before."""
    lines = output.splitlines()
    if "{" not in lines or "}" not in lines:
        return None
    end = len(lines) - lines[::-1].index("}")
    try:
        return msgspec.json.decode("\n".join(lines[lines.index("{") : end]), type=SmokeReport)
    except msgspec.DecodeError:
        return None


def use(made: Image, place: Place, number: int) -> None:
    """Call a generation's image the current one.

    Raises:
        FaultError: the daemon does not answer, or the image is gone.
    """
    docker.tag(made.docker, made.tag(number), made.current)
    generations.swap(place, number)


def of_place(place: Place, system: System) -> Image:
    """Return how the images of a name are called.

    Raises:
        FaultError: there is no docker.
    """
    tags = [one.image for one in generations.listed(place) if one.image]
    repository = tags[-1].rpartition(":")[0] if tags else image.repository(place, DEFAULT_NAME)
    return Image(docker=docker.program(system), repository=repository)


def holds_images(place: Place) -> bool:
    """Tell whether the generations of a name are images."""
    return any(one.image for one in generations.listed(place))


def prune(place: Place, numbers: list[int], system: System) -> None:
    """Remove generations, their images first: what is left of an interrupted one can be removed again.

    Raises:
        FaultError: the daemon does not answer, or a container still uses an image.
    """
    made = of_place(place, system)
    for number in numbers:
        docker.remove(made.docker, [made.tag(number)])
        generations.remove(place, number)


def remove_all(place: Place, system: System) -> list[int]:
    """Remove every generation of a name and every name of its images.

    Raises:
        FaultError: the daemon does not answer, or a container still uses an image.
        HeldError: a set-up is at work.
    """
    with generations.locked(place):
        made = of_place(place, system)
        numbers = [one.number for one in generations.listed(place)]
        docker.remove(made.docker, [made.current])
        place.pointer.unlink(missing_ok=True)
        for number in numbers:
            docker.remove(made.docker, [made.tag(number)])
            generations.remove(place, number)
        shutil.rmtree(place.folder, ignore_errors=True)
        if not any(place.folder.parent.iterdir()):
            place.folder.parent.rmdir()
    return numbers


def settle(place: Place, system: System) -> None:
    """Let the name of the current image follow the generation in use, should a swap have been cut short between them.

    Raises:
        FaultError: the daemon does not answer.
    """
    current = next((one for one in generations.listed(place) if one.current and one.image), None)
    if current is not None:
        made = of_place(place, system)
        docker.tag(made.docker, made.tag(current.number), made.current)
