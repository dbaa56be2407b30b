"""`envcheck setup`: the right environment for this machine, built beside, proved, swapped in."""

from __future__ import annotations

import contextlib
import os
import re
import sys
import sysconfig
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click
import msgspec

from envcheck.commands import output

if TYPE_CHECKING:
    from envcheck.install.build import Report, Request
    from envcheck.install.generations import Place
    from envcheck.install.image import Image
    from envcheck.install.steps import Listener
    from envcheck.install.uv import Places
    from envcheck.machine import InstalledPython, Machine
    from envcheck.plan import Plan, Refusal
    from envcheck.stacks import Stack
    from envcheck.system import Live
    from envcheck.wish import Wish

PROBES = {"platform", "variables", "pci", "driver", "nvml", "accelerators"}
"""Fact groups that decide a plan."""

PROJECT_FILES = ("pyproject.toml", "requirements.txt", "environment.yml")
"""What says what a project requires."""

PYTHON_VERSION = (
    "import sys, sysconfig; print('%d.%d.%d' % sys.version_info[:3]"
    " + ('t' if sysconfig.get_config_var('Py_GIL_DISABLED') else ''))"
)
"""What an interpreter is told to run to say which one it is."""


class UvPython(msgspec.Struct, frozen=True, kw_only=True):
    """An interpreter as `uv python list --output-format json` tells it."""

    version: str
    path: str | None = None
    implementation: str = "cpython"
    variant: str = "default"


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What the command line gives; each option says below what it is."""

    frameworks: tuple[str, ...]
    stack: str | None
    accelerator: Literal["auto", "cpu", "cuda", "rocm", "mps"]
    python: str | None
    extras: tuple[str, ...]
    keras_backend: str | None
    installer: Literal["uv", "conda", "docker"] | None
    base_image: str | None
    build_options: tuple[str, ...]
    name: str
    directory: str
    no_project: bool
    adopt: bool
    driver: str | None
    cards: tuple[str, ...]
    pytorch_index: str | None
    offline: bool
    wheelhouse: str | None
    download: str | None
    no_training: bool
    upgrade: bool
    timeout: float
    dry_run: bool
    list_them: bool
    rollback: bool
    generation: int | None
    prune: bool
    keep: int
    remove: bool
    as_json: bool
    verbose: bool
    quiet: bool


@click.command()
@click.option(
    "--framework",
    "frameworks",
    multiple=True,
    metavar="NAME[==VERSION]",
    help="tf, torch or keras; repeatable: several in one environment.",
)
@click.option("--stack", metavar="NAME", help="A ready environment as it was locked, instead of a framework.")
@click.option(
    "--accelerator",
    type=click.Choice(["auto", "cpu", "cuda", "rocm", "mps"]),
    default="auto",
    show_default=True,
    help="What to compute on; auto is the best that works here.",
)
@click.option("--python", "python", metavar="VERSION|PATH", help="Such as 3.12, '>=3.10,<3.13', 3.14t, or a program.")
@click.option(
    "--extra",
    "extras",
    multiple=True,
    type=click.Choice(["jupyter", "vision", "audio", "nlp"]),
    help="What else to have; repeatable.",
)
@click.option("--keras-backend", type=click.Choice(["tensorflow", "torch"]), help="What Keras computes with.")
@click.option(
    "--installer",
    type=click.Choice(["uv", "conda", "docker"]),
    help="Who makes the environment; conda is conda, mamba or micromamba, docker makes an image.  [default: conda "
    "where the project has an environment.yml and one of the three is here, else uv]",
)
@click.option("--base-image", metavar="IMAGE", help="For docker: Debian or Ubuntu with Python 3.11.")
@click.option(
    "--build-option",
    "build_options",
    multiple=True,
    metavar="OPTION",
    help="For docker: handed to docker build as it is, such as --network=host; repeatable.",
)
@click.option(
    "--name",
    default="venv",
    show_default=True,
    help="venv is ./.venv, all others lie in .envs; for docker the image's name.",
)
@click.option(
    "--directory",
    type=click.Path(exists=True, file_okay=False),
    default=".",
    show_default=True,
    help="The project's folder.",
)
@click.option("--no-project", is_flag=True, help="Do not honour its pyproject.toml and requirements.txt.")
@click.option("--adopt", is_flag=True, help="Take over a .venv that envcheck did not make; --rollback brings it back.")
@click.option("--driver", metavar="VERSION", help="Plan for another NVIDIA driver than the one here.")
@click.option("--card", "cards", multiple=True, metavar="CAPABILITY", help="Plan for a card such as 8.6; repeatable.")
@click.option("--pytorch-index", metavar="URL", help="A mirror of PyTorch's own index, whose folders are cpu, cu126 …")
@click.option("--offline", is_flag=True, help="Fetch nothing.")
@click.option(
    "--wheelhouse", type=click.Path(exists=True, file_okay=False), metavar="DIR", help="Also take wheels from a folder."
)
@click.option(
    "--download",
    type=click.Path(file_okay=False),
    metavar="DIR",
    help="Fill a folder with all wheels of the plan, for a machine without network; make nothing.",
)
@click.option("--no-training", is_flag=True, help="Prove it by imports alone.")
@click.option("--upgrade", is_flag=True, help="Solve anew, even where nothing has changed since the last lock.")
@click.option(
    "--timeout",
    type=click.FloatRange(min=1),
    default=3600.0,
    show_default=True,
    metavar="SECONDS",
    help="For the whole.",
)
@click.option("--dry-run", is_flag=True, help="The plan and the exact commands; nothing is changed.")
@click.option("--list", "list_them", is_flag=True, help="The generations of this name.")
@click.option("--rollback", is_flag=True, help="Go back to the generation before.")
@click.option("--generation", type=click.IntRange(0), metavar="N", help="For --rollback: go to this one.")
@click.option("--prune", is_flag=True, help="Remove generations that are not in use, but the newest --keep.")
@click.option("--keep", type=click.IntRange(0), default=1, show_default=True, help="For --prune.")
@click.option("--remove", is_flag=True, help="Remove all generations, the link and the Jupyter kernel.")
@click.option("--json", "as_json", is_flag=True, help="Plan or report as JSON.")
@click.option("-v", "--verbose", is_flag=True, help="Every reason for which a build was passed over.")
@click.option("-q", "--quiet", is_flag=True, help="No progress.")
def setup(**given: object) -> int:
    """Make an environment that trains on this machine, or say in one sentence why that can't be.

    It plans, builds beside what is there, proves the new environment by training in it, and swaps it in at one stroke:
    whatever goes wrong, the old one stays as it was.

    Exit status: 0 done (with --dry-run: it can be done), 1 it cannot be done, 2 wrong usage, 130 interrupted.
    """
    from envcheck.install import build_image
    from envcheck.install.generations import DEFAULT_NAME, Place
    from envcheck.intent import UsageError
    from envcheck.system import Live

    options = msgspec.convert(given, Options)
    if not re.fullmatch(r"[A-Za-z0-9][\w.-]*", options.name):
        raise click.UsageError(f"--name {options.name!r}: letters, digits, dots, dashes and underscores make a name")
    name = options.name
    if options.installer == "docker" and name == DEFAULT_NAME:
        name = build_image.DEFAULT_NAME
    elif options.base_image or options.build_options:
        raise click.UsageError("--base-image and --build-option are for --installer docker")
    place = Place(Path(options.directory).absolute(), name)
    asked = [name for name in ("list_them", "rollback", "prune", "remove") if getattr(options, name)]
    if len(asked) + bool(options.frameworks) + bool(options.stack) > 1:
        raise click.UsageError(
            "--framework, --stack, --list, --rollback, --prune and --remove are six wishes: give one of them"
        )
    system = Live()
    try:
        if asked:
            return manage(asked[0], place, options, system)
        return make(place, options, system)
    except UsageError as error:
        raise click.UsageError(str(error)) from error
    finally:
        system.close()


def make(place: Place, options: Options, system: Live) -> int:
    """Plan, and carry out the plan."""
    from envcheck.install import build, page, pip_configuration, uv
    from envcheck.plan import Refusal

    configuration = pip_configuration.read(system)
    maker, specification = conda_of(options, place, system)
    places = uv.Places(
        configuration=configuration,
        wheelhouse=options.wheelhouse or "",
        offline=options.offline,
        conda=maker,
        specification=specification,
    )
    planner = planner_of(options, place, places, system)
    machine = machine_here(options, places, system)
    if options.installer == "docker":
        return make_image(planner(inside_an_image(machine)), place, places, options, system)
    planned = planner(machine if places.conda else with_own_python(machine))
    if not places.conda and python_matters(planned, machine):
        # Asking every interpreter of the machine for its version takes seconds, so it is done only where it decides.
        planned = planner(msgspec.structs.replace(machine, pythons=installed_pythons(options, system)))
    if isinstance(planned, Refusal):
        write(planned, page.refusal_page(planned, width=output.width(), verbose=options.verbose), options)
        return 1
    if places.conda:
        brought = f"{Path(places.conda).name} brings Python {planned.python.series}"
        python = msgspec.structs.replace(planned.python, why=brought)
        planned = msgspec.structs.replace(planned, python=python)
    if options.dry_run:
        return show(planned, place, places, options, system)
    if options.download:
        return download(planned, places, options, system)
    if not options.quiet and not options.as_json:
        output.write(page.plan_page(planned, width=output.width(), verbose=options.verbose))
    return carry_out(planned, place, places, options, lambda request, listen: build.build(request, system, listen))


def make_image(planned: Plan | Refusal, place: Place, places: Places, options: Options, system: Live) -> int:
    """Carry out a plan as an image."""
    from envcheck.install import build_image, docker, image, page
    from envcheck.plan import Refusal

    if isinstance(planned, Refusal):
        write(planned, page.refusal_page(planned, width=output.width(), verbose=options.verbose), options)
        return 1
    base = options.base_image or image.BASE_IMAGE
    brought = msgspec.structs.replace(planned.python, path="", why=f"{base} brings Python {planned.python.series}")
    plan = msgspec.structs.replace(planned, python=brought)
    made = image.Image(
        docker=system.which("docker") or "docker",
        repository=image.repository(place, build_image.DEFAULT_NAME),
        base=base,
        options=options.build_options,
    )
    if options.dry_run:
        return show_image(plan, made, place, places, options, system)
    if not options.quiet and not options.as_json:
        output.write(page.plan_page(plan, width=output.width(), verbose=options.verbose))

    def build_it(request: Request, listen: Listener) -> Report:
        docker.program(system)
        return build_image.build_image(request, made, system, listen)

    return carry_out(plan, place, places, options, build_it)


def inside_an_image(machine: Machine) -> Machine:
    """Return the machine as a container on it is: Linux with the image's C library and Python, the host's GPU."""
    from envcheck.install.image import GLIBC
    from envcheck.machine import InstalledPython
    from envcheck.stacks import PYTHON

    target = msgspec.structs.replace(
        machine.target,
        system="wsl" if machine.target.system in {"wsl", "windows"} else "linux",
        libc="glibc",
        glibc=GLIBC,
        macos=None,
    )
    python = InstalledPython(f"{PYTHON}.0", "", preferred=True)
    return msgspec.structs.replace(machine, target=target, pythons=(python,), downloads_python=False)


def show_image(plan: Plan, made: Image, place: Place, places: Places, options: Options, system: Live) -> int:
    """Show the plan, the Dockerfile and the exact commands."""
    from envcheck.install import generations, image, page, uv

    number = generations.next_number(place)
    record = place.record(number)
    lock = uv.Command(step="solve", argv=("cp", plan.lock, str(record / uv.LOCK)))
    commands = [
        lock if plan.lock else image.solve(plan, record, uv.program() or "uv"),
        image.build(plan, made, place, number, places),
        *(
            uv.Command(step="verify", argv=image.proof(plan, one, made, number, train=not options.no_training))
            for one in plan.choices
        ),
        uv.Command(step="swap", argv=(made.docker, "tag", made.tag(number), made.current)),
    ]
    text = page.plan_page(plan, width=output.width(), verbose=options.verbose)
    text += f"\n{page.commands_page(commands, uv.variables(places, system))}"
    dockerfile = image.dockerfile(plan)
    lines = "\n".join(f"  {line}".rstrip() for line in dockerfile.splitlines())
    write(
        {"plan": plan, "commands": [list(one.argv) for one in commands], "dockerfile": dockerfile},
        f"{text}\n{place.generation(number)}/docker/Dockerfile:\n{lines}",
        options,
    )
    return 0


def planner_of(options: Options, place: Place, places: Places, system: Live) -> Callable[[Machine], Plan | Refusal]:
    """Return what plans the wish of the command line, or the stack that it names, for a machine."""
    from envcheck.plan import Refusal, plan, plan_of_stack
    from envcheck.wish import python as python_wish

    index = options.pytorch_index or pytorch_index(places)
    if options.installer == "docker" and named_program(options):
        raise click.UsageError("an image brings its own Python: give --python a version")
    if options.stack is None:
        wish = wish_of(options, place, places, system)
        if options.installer == "docker":
            return planner_for_images(wish, index)
        return lambda machine: plan(wish, machine, index)
    stack, stacks = stack_of(options)
    python = python_wish(options.python) if options.python and not named_program(options) else ""

    def of_stack(machine: Machine) -> Plan | Refusal:
        # A program that is named is the only interpreter that the machine has.
        asked = python or (f"=={machine.pythons[0].version.rstrip('t')}" if named_program(options) else "")
        planned = plan_of_stack(stack, stacks, machine, asked, index)
        left = [name for name in PROJECT_FILES if (place.directory / name).is_file() and not options.no_project]
        if isinstance(planned, Refusal) or not left:
            return planned
        note = f"{' and '.join(left)} of this folder: not honoured, since a stack is installed as it was locked"
        return msgspec.structs.replace(planned, notes=(*planned.notes, note))

    return of_stack


def planner_for_images(wish: Wish, index: str) -> Callable[[Machine], Plan | Refusal]:
    """Return what plans for the inside of an image, whose Python is the one that docker/ is made for."""
    from envcheck.plan import Refusal, plan
    from envcheck.plan.pythons import series_allowed
    from envcheck.stacks import PYTHON

    if not series_allowed(wish.python, PYTHON):
        refusal = Refusal(
            sentence=f"an image has Python {PYTHON}, and {wish.python} is asked for ({wish.python_source})",
            change=f"a range that allows Python {PYTHON}, or --installer uv",
        )
        return lambda _: refusal
    if wish.accelerator == "rocm":
        refusal = Refusal(
            sentence="images are made for the processor and for NVIDIA's GPUs",
            change="--accelerator cpu, or --installer uv",
        )
        return lambda _: refusal
    # Whether its patch level will do, the solver sees.
    settled = msgspec.structs.replace(wish, python="")
    return lambda machine: plan(settled, machine, index)


def stack_of(options: Options) -> tuple[Stack, list[Stack]]:
    """Return the stack that was asked for, and all that there are."""
    from envcheck import plugins, stacks

    for given, name in (
        (options.extras, "--extra"),
        (options.keras_backend, "--keras-backend"),
        (options.accelerator != "auto", "--accelerator"),
    ):
        if given:
            raise click.UsageError(f"{name} is for --framework: a stack is whole as it is")
    found = stacks.available()
    stack = next((one for one in found if one.name == options.stack), None)
    if stack is None:
        broken = "".join(f"\n  left out: {name}: {reason}" for name, reason in sorted(plugins.FAILED.items()))
        known = "".join(f"\n  {one.name:<16}  {one.purpose}" for one in found)
        raise click.UsageError(f"--stack {options.stack}: there is no such stack; there are:{known}{broken}")
    return stack, found


def conda_of(options: Options, place: Place, system: Live) -> tuple[str, str]:
    """Return the conda that makes the environment, and the environment.yml that it reads; empty where uv makes it."""
    from envcheck.install import conda

    specification = "" if options.no_project or options.stack else conda.specification(system, place.directory)
    if options.installer in {"uv", "docker"} or (options.installer is None and not specification):
        return "", ""
    program = conda.program(system)
    if program is None and options.installer == "conda":
        raise click.UsageError("There is no conda, mamba or micromamba on PATH.")
    if program and named_program(options):
        raise click.UsageError("conda brings its own Python: give --python a version, or --installer uv")
    return (program, specification) if program else ("", "")


def wish_of(options: Options, place: Place, places: Places, system: Live) -> Wish:
    """Return the wish: the command line, what the project requires, and the limits of the user's pip."""
    from envcheck import wish as wishes
    from envcheck.install import conda

    if not options.frameworks:
        raise click.UsageError("What is it to train with? --framework tf, torch or keras; or --stack NAME")
    frameworks = tuple(wishes.framework(text) for text in options.frameworks)
    names = [framework.name for framework in frameworks]
    if len(names) > len(set(names)):
        raise click.UsageError("--framework names one framework twice")
    if options.generation is not None:
        raise click.UsageError("--generation is for --rollback")
    if options.keras_backend and "keras" not in names:
        raise click.UsageError("--keras-backend is for --framework keras")
    project = wishes.Project() if options.no_project else wishes.project(system, str(place.directory))
    limits = list(project.constraints)
    for path in places.configuration.constraints:
        limits += wishes.requirements_file(system, path)[0]
    python = wishes.python(options.python) if options.python and not named_program(options) else ""
    specified = conda.python_of(system, places.specification) if places.specification and not options.python else ""
    return wishes.Wish(
        frameworks=frameworks,
        accelerator=options.accelerator,
        python=python or specified or project.requires_python,
        python_source="--python" if options.python else "environment.yml" if specified else "requires-python",
        extras=options.extras,
        backend=options.keras_backend or "",
        requirements=project.requirements,
        listed=project.listed,
        constraints=tuple(limits),
        files=project.files,
    )


def machine_here(options: Options, places: Places, system: Live) -> Machine:
    """Return what decides the plan: this machine, with the driver and the cards of another where they are given."""
    from envcheck import machine as machines
    from envcheck.compat.target import capability
    from envcheck.doctor import examine
    from envcheck.install import pip_configuration
    from envcheck.interpreter import choose
    from envcheck.probe import all_probes

    probes = [probe for probe in all_probes() if PROBES & set(probe.fills)]
    facts = examine(system, choose(system), probes, quick=True).facts
    machine = machines.machine_of(facts)
    if options.driver or options.cards:
        if any(capability(card) is None for card in options.cards):
            raise click.UsageError("--card takes a compute capability, such as 8.6")
        target = msgspec.structs.replace(
            machine.target,
            driver=options.driver or machine.target.driver,
            compute_capabilities=options.cards or machine.target.compute_capabilities,
        )
        cards = tuple(machines.Card("card", card) for card in options.cards) or machine.cards
        machine = msgspec.structs.replace(machine, target=target, cards=cards, gpu_problem="")
    folders = [] if options.offline and places.wheelhouse else pip_configuration.local_folders(places.configuration)
    held = [
        wheel
        for folder in [*([places.wheelhouse] if places.wheelhouse else []), *folders]
        for wheel in machines.held_wheels(folder, system.entries(folder) or [])
    ]
    return msgspec.structs.replace(
        machine,
        pythons=installed_pythons(options, system) if named_program(options) else (),
        downloads_python=not options.offline
        and (bool(places.conda) or system.getenv("UV_PYTHON_DOWNLOADS") != "never"),
        held=tuple(held),
        held_only=options.offline and bool(held),
    )


def with_own_python(machine: Machine) -> Machine:
    """Return the machine with the interpreter that envcheck's own environment was made from, if none was named."""
    from envcheck.machine import InstalledPython

    if machine.pythons or sys.implementation.name != "cpython":
        return machine
    free_threaded = "t" if sysconfig.get_config_var("Py_GIL_DISABLED") else ""
    version = ".".join(map(str, sys.version_info[:3])) + free_threaded
    path = getattr(sys, "_base_executable", "") or sys.executable
    own = InstalledPython(version, path, preferred=True)
    return msgspec.structs.replace(machine, pythons=(own,), downloads_python=False)


def python_matters(planned: Plan | Refusal, machine: Machine) -> bool:
    """Tell whether another interpreter could give a better plan than the one with envcheck's own."""
    from envcheck.plan import Refusal
    from envcheck.stacks import PYTHON

    if machine.pythons:
        return False
    if isinstance(planned, Refusal):
        return True
    if planned.stack:
        return not planned.lock and planned.python.series != PYTHON
    reasons = [one.reason for choice in planned.choices for one in choice.refused]
    held = [wheel for wheel in machine.held if wheel.name == "torch"]
    unused = held and any(choice.framework == "torch" and choice.accelerator == "cpu" for choice in planned.choices)
    elsewhere = unused and any(wanted.index for wanted in planned.requirements)
    return elsewhere or any("no wheel for Python" in reason for reason in reasons)


def named_program(options: Options) -> str:
    """Return the interpreter that --python names; empty where it names a version, or nothing."""
    named = options.python or ""
    return named if os.sep in named or os.path.isfile(named) else ""  # noqa: PTH113 - as the user wrote it


def installed_pythons(options: Options, system: Live) -> tuple[InstalledPython, ...]:
    """Return the interpreters to choose from: the one that was named, else those that uv finds."""
    from envcheck.install import uv
    from envcheck.machine import InstalledPython

    named = named_program(options)
    if named:
        ended = system.run([named, "-c", PYTHON_VERSION], 20)
        if ended.exit_code != 0 or not ended.stdout.strip():
            raise click.UsageError(
                f"--python {named}: {ended.reason or ended.stderr.strip()[-200:] or 'no interpreter'}"
            )
        return (InstalledPython(ended.stdout.strip(), os.path.abspath(named), preferred=True),)  # noqa: PTH100
    program = uv.program()
    if program is None:
        return ()
    ended = system.run([program, "python", "list", "--only-installed", "--output-format", "json"], 60)
    try:
        found = msgspec.json.decode(ended.stdout, type=list[UvPython])
    except msgspec.DecodeError:
        found = []
    own = ".".join(map(str, sys.version_info[:2]))
    return tuple(
        InstalledPython(
            one.version + ("t" if one.variant == "freethreaded" else ""),
            one.path,
            preferred=".".join(one.version.split(".")[:2]) == own,
        )
        for one in found
        if one.implementation == "cpython" and one.path
    )


def pytorch_index(places: Places) -> str:
    """Return where PyTorch's builds are: the user's own mirror where an index of pip's is one, else PyTorch's."""
    from envcheck.compat import torch

    configured = (places.configuration.index_url, *places.configuration.extra_index_urls)
    for address in configured:
        found = re.fullmatch(r"(.+/whl)/(?:cpu|cu\d+|rocm[\d.]+)/?", address)
        if found:
            return found[1]
    return torch.WHEEL_INDEX


def show(plan: Plan, place: Place, places: Places, options: Options, system: Live) -> int:
    """Show the plan and the exact commands."""
    from envcheck.install import generations, locks, page, uv

    number = generations.next_number(place)
    program = uv.program() or "uv"
    record = place.record(number)
    commands = uv.commands(plan, place.generation(number), record, program, options.name, places)
    variables = uv.variables(places, system)
    earlier = None if options.upgrade else locks.reusable(place, locks.inputs(plan, places, variables))
    lock = plan.lock or (str(place.record(earlier[0]) / uv.LOCK) if earlier else "")
    if lock:
        copy = uv.Command(step="solve", argv=("cp", lock, str(record / uv.LOCK)))
        commands = [copy if one.step == "solve" else one for one in commands]
    text = page.plan_page(plan, width=output.width(), verbose=options.verbose)
    write(
        {"plan": plan, "commands": [list(one.argv) for one in commands], "project_file": uv.project_file(plan)},
        f"{text}\n{page.commands_page(commands, variables)}",
        options,
    )
    return 0


def carry_out(
    plan: Plan, place: Place, places: Places, options: Options, build_it: Callable[[Request, Listener], Report]
) -> int:
    """Build, prove, swap; whatever happens, say what is in use."""
    from envcheck.install import build, build_image, generations, page
    from envcheck.install.faults import FaultError

    request = build.Request(
        plan=plan,
        place=place,
        places=places,
        adopt=options.adopt,
        train=not options.no_training,
        upgrade=options.upgrade,
        deadline=options.timeout,
    )
    try:
        with listening(options) as listen:
            report = build_it(request, listen)
    except FaultError as error:
        kept = page.kept_sentence(place, generations.listed(place), stays=error.fault.kind in build_image.UNBUILT)
        write(error.fault, page.fault_page(error.fault, kept, width=output.width()), options)
        return 1
    except KeyboardInterrupt:
        click.echo(f"envcheck: interrupted; {page.kept_sentence(place, generations.listed(place))}", err=True)
        return 130
    write(report, page.report_page(report, width=output.width()), options)
    return 0


def download(plan: Plan, places: Places, options: Options, system: Live) -> int:
    """Fill a folder with the wheels of the plan."""
    from envcheck.install import download as downloads
    from envcheck.install import page
    from envcheck.install.faults import FaultError

    folder = Path(options.download or ".").absolute()
    try:
        with listening(options) as listen:
            names = downloads.fill(plan, folder, places, system, listen, options.timeout)
    except FaultError as error:
        write(error.fault, page.fault_page(error.fault, f"{folder} may hold a part", width=output.width()), options)
        return 1
    frameworks = " ".join(f"--framework {text}" for text in options.frameworks) or f"--stack {options.stack}"
    write(
        {"folder": str(folder), "wheels": names},
        f"{len(names)} wheels in {folder}. There: envcheck setup {frameworks} --offline --wheelhouse {folder}",
        options,
    )
    return 0


@contextlib.contextmanager
def listening(options: Options) -> Iterator[Listener]:
    """Show progress as far as it is wanted: bars on a terminal, else plain lines."""
    from envcheck.install import progress
    from envcheck.smoke.progress import shows_bars

    stream = sys.stderr if options.as_json else sys.stdout
    if not options.quiet and shows_bars(stream):
        with progress.bars(stream) as listen:
            yield listen
    else:
        yield progress.silent if options.quiet or options.as_json else progress.plain(output.write)


def manage(wish: str, place: Place, options: Options, system: Live) -> int:
    """List, roll back, prune or remove generations."""
    from envcheck.install import build, build_image, generations, page
    from envcheck.install.faults import FaultError

    if wish == "list_them":
        found = generations.listed(place)
        write(found, page.list_page(place, found), options)
        return 0
    if not place.folder.is_dir():
        output.write(page.list_page(place, []))
        return 1
    images = build_image.holds_images(place)
    try:
        if wish == "remove":
            numbers = (build_image if images else build).remove_all(place, system)
            write({"removed": numbers}, f"removed: generation {', '.join(map(str, numbers)) or 'none'}", options)
            return 0
        with generations.locked(place):
            if images:
                build_image.settle(place, system)
            return rollback(place, options, system) if wish == "rollback" else prune(place, options, system)
    except generations.HeldError as error:
        output.write(f"cannot: {error}")
    except FaultError as error:
        output.write(f"cannot: {error.fault.sentence}\nwhat would change that: {error.fault.change}")
    except OSError as error:
        output.write(f"cannot: {error.filename or place.folder}: {error.strerror or error}")
    return 1


def rollback(place: Place, options: Options, system: Live) -> int:
    """Go back to the generation before."""
    from envcheck.install import build_image, generations

    generations.clear_unfinished(place)
    if options.generation is None:
        before = generations.previous(place)
        reason = f"there is no generation before the one in use at {place.link}"
    else:
        found = [one for one in generations.listed(place) if one.number == options.generation and one.usable]
        before = found[0] if found else None
        reason = f"there is no generation {options.generation}: envcheck setup --list"
    if before is None:
        output.write(f"cannot: {reason}")
        return 1
    made = build_image.of_place(place, system) if before.image else None
    if made is not None:
        build_image.use(made, place, before.number)
    else:
        generations.swap(place, before.number)
    where = made.current if made is not None else place.link
    write({"current": before.number}, f"generation {before.number} is in use: {where}", options)
    return 0


def prune(place: Place, options: Options, system: Live) -> int:
    """Remove generations that are not in use."""
    from envcheck.install import build_image, generations

    going = generations.prunable(place, options.keep)
    numbers = [one.number for one in going]
    if build_image.holds_images(place):
        build_image.prune(place, numbers, system)
    else:
        for number in numbers:
            generations.remove(place, number)
    write({"removed": numbers}, f"removed: generation {', '.join(map(str, numbers)) or 'none'}", options)
    return 0


def write(value: object, text: str, options: Options) -> None:
    """Write an answer: as JSON where that was asked for, else as text."""
    if not options.as_json:
        output.write(text)
        return
    output.write(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())
