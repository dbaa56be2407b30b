"""Examine a container, or an image in a container of its own, as what runs in it would see the machine."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from envcheck import configuration
from envcheck.check import Check
from envcheck.container import blame, engine
from envcheck.container.door import ClosedError, Door
from envcheck.container.shell import Shell
from envcheck.doctor import diagnose, examine
from envcheck.facts import Message, Messages
from envcheck.intent import Intent
from envcheck.interpreter import choose
from envcheck.messages.table import family
from envcheck.probe import Probe
from envcheck.report import Report
from envcheck.system import Live, System
from envcheck.triage import messages_in

INTERPRETERS = ("python3", "python")
"""Names under which an image may have Python; what they are examined with, not what is under test."""

NEED_PYTHON = {"python", "jupyter", "torch", "tensorflow", "keras", "nvml"}
"""Probes that ask an interpreter in the container."""

NOT_FOUND = ("executable file not found", "no such file or directory", "not found in")
"""What engines and shells print where a program is not in the container."""

Progress = Callable[[str, Any], None]


class Opened(msgspec.Struct, frozen=True):
    """A container that answers.

    Attributes:
        system: the door to it.
        python: whether an interpreter in it answers.
        messages: what the engine printed where it could not start the container as it was asked to.
    """

    system: Door | Shell
    python: bool
    messages: list[Message] = []


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """How a container is to be examined.

    Attributes:
        name: of a container or an image.
        options: what `run` is given for an image, such as `["--gpus", "all"]`; None: the host's GPUs, if it has some.
        python: interpreter or environment under test, in the container.
        required: requirements beside those that the container declares.
        mute: checks that are not counted.
        quick: import nothing.
        limit: seconds that no probe may exceed; None = each its own.
    """

    name: str
    options: list[str] | None = None
    python: str | None = None
    required: list[str] = []
    mute: list[str] = []
    quick: bool = False
    limit: float | None = None


def examine_container(wish: Wish, probes: Sequence[Probe], checks: Sequence[Check], progress: Progress) -> Report:
    """Return the report on a container or an image, with the side at fault in each finding.

    Raises:
        EngineError: the engine does not answer, or nothing can be run in what the name means.
        UsageError: a requirement or the container's configuration cannot be understood.
    """
    live = Live()
    opened = None
    try:
        chosen, target = engine.find(live, wish.name)
        host = examined_host(live, probes, checks)
        opened = enter(live, chosen, target, options_for(wish, chosen, target, host))
        declared = configuration.read(opened.system, wish.required, wish.mute)
        asked = [probe for probe in probes if opened.python or probe.name not in NEED_PYTHON]
        interpreter = choose(opened.system, wish.python)
        examined = examine(opened.system, interpreter, asked, quick=wish.quick, limit=wish.limit, progress=progress)
    finally:
        if opened:
            opened.system.close()
        live.close()
    if opened.messages:
        # What the engine said on starting is about its host.
        facts = msgspec.structs.replace(host.facts, messages=Messages(found=opened.messages))
        host = diagnose(facts, host.probes, checks, Intent())
    options = {"container": wish.name, "kind": target.kind, "engine": chosen.name, "quick": wish.quick}
    report = diagnose(examined.facts, examined.probes, checks, declared, options)
    if opened.messages or blame.is_about_gpus(report):
        known = blame.of_the_host(host)
        report = diagnose(examined.facts, examined.probes, checks, declared, options, known)
    return blame.judged(report, host)


def examined_host(live: System, probes: Sequence[Probe], checks: Sequence[Check]) -> Report:
    """Return the report on the host: its GPUs, driver and engines; nobody's Python environment."""
    asked = [probe for probe in probes if probe.name not in NEED_PYTHON - {"nvml"}]
    examined = examine(live, choose(live), asked, quick=True)
    return diagnose(examined.facts, examined.probes, checks, Intent())


def options_for(wish: Wish, chosen: engine.Engine, target: engine.Target, host: Report) -> list[str]:
    """Return what `run` is given for an image: what the user said, else the host's GPUs where it has some."""
    if target.kind == "container":
        return []
    if wish.options is not None:
        return wish.options
    if not blame.host_gpus(host):
        return []
    return ["--gpus", "all"] if chosen.name == "docker" else ["--device", "nvidia.com/gpu=all"]


def enter(live: System, chosen: engine.Engine, target: engine.Target, options: list[str]) -> Opened:
    """Open a door into a container, or into a new one of an image.

    Where an image cannot be started with a GPU, it is started without, and what the engine said is evidence.

    Raises:
        EngineError: nothing can be started in there.
    """
    printed = ""
    try:
        return _enter(chosen, target, options)
    except ClosedError as error:
        printed = str(error)
        messages = causes_in(printed)
        if not options or not messages:
            raise engine.EngineError(why_closed(live, chosen, target, printed)) from error
    try:
        opened = _enter(chosen, target, without_gpus(options))
    except ClosedError as error:
        raise engine.EngineError(why_closed(live, chosen, target, str(error))) from error
    return msgspec.structs.replace(opened, messages=messages)


GPU_OPTIONS = ("--gpus", "--device", "--runtime")
"""Options of `run` that ask for a GPU; each has a value."""


def without_gpus(options: list[str]) -> list[str]:
    """Return options of `run` without those that ask for a GPU."""
    kept: list[str] = []
    asked = False
    for option in options:
        name, _, value = option.partition("=")
        if asked or name in GPU_OPTIONS:
            asked = name in GPU_OPTIONS and not value and not asked
            continue
        kept.append(option)
    return kept


def causes_in(printed: str) -> list[Message]:
    """Return the messages of known families that name a cause, in what an engine printed."""
    found = messages_in(printed, "the engine, on starting the container")
    return [message for message in found if (row := family(message.family)) and row.cause]


def _enter(chosen: engine.Engine, target: engine.Target, options: list[str]) -> Opened:
    """Open a door with the first of Python and a shell that there is.

    Raises:
        ClosedError: there is neither, or the container cannot be started.
    """
    printed = ""
    for program in INTERPRETERS:
        try:
            return Opened(Door([*_command(chosen, target, options, program, ""), "-u"]), python=True)
        except ClosedError as error:  # noqa: PERF203 - two at most
            printed = str(error)
            if not missing(printed):
                raise
    name = f"envcheck-{os.getpid()}-{secrets.token_hex(4)}"
    inside = target.identity if target.kind == "container" else name
    command = _command(chosen, target, options, "sh", name)
    return Opened(Shell(command, [chosen.program, "exec", inside]), python=False)


def missing(printed: str) -> bool:
    """Tell whether an engine says that the program is not there, or is too old a Python to answer."""
    return any(words in printed.lower() for words in NOT_FOUND) or "SyntaxError" in printed


def _command(chosen: engine.Engine, target: engine.Target, options: list[str], program: str, name: str) -> list[str]:
    if target.kind == "container":
        return [chosen.program, "exec", "--interactive", target.identity, program]
    named = ["--name", name] if name else []
    return [
        *(chosen.program, "run", "--rm", "--interactive", "--no-healthcheck", *named, *options),
        *("--entrypoint", program, target.identity),
    ]


def why_closed(live: System, chosen: engine.Engine, target: engine.Target, printed: str) -> str:
    """Return why nothing could be started in a container, as one sentence with its cure."""
    said = " ".join(printed.split())[:300]
    if "exec format error" in printed.lower() or "does not match the detected host platform" in printed:
        machine = (live.ask("uname") or {}).get("machine")
        return (
            f"{target.name} is for {target.platform or 'another platform'} and this host is {machine}: the image is at "
            f"fault; pull or build it with --platform"
        )
    if missing(printed):
        return f"{target.name} has neither Python nor a shell, so that nothing can be asked in it ({said})"
    return f"{chosen.name} could not start anything in {target.name}: {said or 'it said nothing'}"
