"""From the command line of `envcheck setup` to what is planned: the wish, the machine, and who plans."""

from __future__ import annotations

import os
import re
import sys
import sysconfig
from collections.abc import Callable
from typing import TYPE_CHECKING

import click
import msgspec

if TYPE_CHECKING:
    from envcheck.commands.setup import Options
    from envcheck.install.generations import Place
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
        planned = plan_of_stack(stack, stacks, machine, asked, index, upgrade=options.upgrade)
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
