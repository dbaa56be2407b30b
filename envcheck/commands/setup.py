"""`envcheck setup`: the right environment for this machine, built beside, proved, swapped in."""

from __future__ import annotations

import contextlib
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click
import msgspec

from envcheck.commands import output, setup_generations, setup_planning

if TYPE_CHECKING:
    from envcheck.install.build import Report, Request
    from envcheck.install.generations import Place
    from envcheck.install.image import Image
    from envcheck.install.steps import Listener
    from envcheck.install.uv import Places
    from envcheck.plan import Plan, Refusal
    from envcheck.system import Live


CLEARING_SECONDS = 60.0
"""How long an interrupted set-up may take to clear up; what is left after that the next one clears away."""


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
    if options.installer == "docker" and (options.adopt or options.download):
        raise click.UsageError("--adopt and --download are for environments in folders, not for --installer docker")
    place = Place(Path(options.directory).absolute(), name)
    asked = [name for name in ("list_them", "rollback", "prune", "remove") if getattr(options, name)]
    if len(asked) + bool(options.frameworks) + bool(options.stack) > 1:
        raise click.UsageError(
            "--framework, --stack, --list, --rollback, --prune and --remove are six wishes: give one of them"
        )
    system = Live()
    try:
        if asked:
            return setup_generations.manage(asked[0], place, options, system)
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
    maker, specification = setup_planning.conda_of(options, place, system)
    places = uv.Places(
        configuration=configuration,
        wheelhouse=options.wheelhouse or "",
        offline=options.offline,
        conda=maker,
        specification=specification,
    )
    planner = setup_planning.planner_of(options, place, places, system)
    machine = setup_planning.machine_here(options, places, system)
    if options.installer == "docker":
        return make_image(planner(setup_planning.inside_an_image(machine)), place, places, options, system)
    planned = planner(machine if places.conda else setup_planning.with_own_python(machine))
    if not places.conda and setup_planning.python_matters(planned, machine):
        # Asking every interpreter of the machine for its version takes seconds, so it is done only where it decides.
        planned = planner(msgspec.structs.replace(machine, pythons=setup_planning.installed_pythons(options, system)))
    if isinstance(planned, Refusal):
        output.answer(
            planned, page.refusal_page(planned, width=output.width(), verbose=options.verbose), as_json=options.as_json
        )
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
        output.answer(
            planned, page.refusal_page(planned, width=output.width(), verbose=options.verbose), as_json=options.as_json
        )
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
    output.answer(
        {"plan": plan, "commands": [list(one.argv) for one in commands], "dockerfile": dockerfile},
        f"{text}\n{place.generation(number)}/docker/Dockerfile:\n{lines}",
        as_json=options.as_json,
    )
    return 0


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
    output.answer(
        {"plan": plan, "commands": [list(one.argv) for one in commands], "project_file": uv.project_file(plan)},
        f"{text}\n{page.commands_page(commands, variables)}",
        as_json=options.as_json,
    )
    return 0


def carry_out(
    plan: Plan, place: Place, places: Places, options: Options, build_it: Callable[[Request, Listener], Report]
) -> int:
    """Build, prove, swap; whatever happens, say what is in use."""
    from envcheck import commands
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
    # An interrupt lets what is half-built be removed: gigabytes, on a slow disk.
    commands.PATIENCE_SECONDS = CLEARING_SECONDS
    try:
        with listening(options) as listen:
            report = build_it(request, listen)
    except FaultError as error:
        kept = page.kept_sentence(place, generations.listed(place), stays=error.fault.kind in build_image.UNBUILT)
        output.answer(error.fault, page.fault_page(error.fault, kept, width=output.width()), as_json=options.as_json)
        return 1
    except KeyboardInterrupt:
        click.echo(f"envcheck: interrupted; {page.kept_sentence(place, generations.listed(place))}", err=True)
        return 130
    output.answer(report, page.report_page(report, width=output.width()), as_json=options.as_json)
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
        output.answer(
            error.fault,
            page.fault_page(error.fault, f"{folder} may hold a part", width=output.width()),
            as_json=options.as_json,
        )
        return 1
    frameworks = " ".join(f"--framework {text}" for text in options.frameworks) or f"--stack {options.stack}"
    output.answer(
        {"folder": str(folder), "wheels": names},
        f"{len(names)} wheels in {folder}. There: envcheck setup {frameworks} --offline --wheelhouse {folder}",
        as_json=options.as_json,
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
