"""Carrying out the commands of a plan: heard line by line, within one deadline, each failure as a fault."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Callable, Iterator, Mapping

import msgspec

from envcheck.install import child, faults
from envcheck.install.faults import Fault, FaultError
from envcheck.install.pip_configuration import masked
from envcheck.install.uv import Command
from envcheck.plan import Plan

Listener = Callable[[str, str], None]
"""Told the step and what is going on in it; an empty text when the step ends."""

SAYS = {
    "environment": "making the environment",
    "solve": "solving",
    "install": "downloading and installing",
    "check": "checking requirements",
    "image": "building the image",
}


SAID = (
    r"\s*(?:#\d+ (?:\d+\.\d+ )?)?"
    r"(Resolved \d+ packages?|Downloading .+|Building .+|Prepared \d+ packages?|Installed .+"
    r"|Collecting .+|Installing collected packages|\[[\w -]+\d+/\d+\] \w+|exporting layers)"
)
"""Lines of uv, pip and BuildKit (which puts its step's number before them) that say how far they are."""


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One step that was done.

    Attributes:
        name: `environment`, `solve`, `install`, `check`, `verify`, `keep`, `swap`; `image` with docker.
        seconds: wall time.
    """

    name: str
    seconds: float


class Clock:
    """How long each step took, and how much time is left."""

    def __init__(self, deadline: float) -> None:
        """Start; `deadline` is in seconds."""
        self.deadline = deadline
        self._until = time.monotonic() + deadline
        self.steps: list[Step] = []

    @property
    def left(self) -> float:
        """Seconds that are left."""
        return max(self._until - time.monotonic(), 0.1)

    @contextlib.contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Time a step; one that is done in two goes is one step."""
        began = time.monotonic()
        yield
        before = sum(one.seconds for one in self.steps if one.name == name)
        self.steps = [one for one in self.steps if one.name != name]
        self.steps.append(Step(name=name, seconds=round(before + time.monotonic() - began, 3)))


class Work(msgspec.Struct, frozen=True, kw_only=True):
    """What every command of a set-up shares.

    Attributes:
        plan: what is carried out: it explains failures.
        variables: environment variables to set.
        folder: working directory.
        clock: how long it may take.
        listen: told what goes on.
    """

    plan: Plan
    variables: Mapping[str, str]
    folder: str
    clock: Clock
    listen: Listener


def carry_out(command: Command, work: Work) -> None:
    """Run a command to its end, first with what the installer has kept alone where that can do.

    Raises:
        FaultError: it fails, or its time runs out.
        KeyboardInterrupt: the user wants to stop.
    """
    work.listen(command.step, SAYS[command.step])
    with work.clock.step(command.step):
        if not (command.cached and run(command, command.cached, _saying_the_end_alone(work)).good):
            ended = run(command, command.argv, work)
            if not ended.good:
                raise FaultError(_fault(command, ended, work))
    work.listen(command.step, "")


def _saying_the_end_alone(work: Work) -> Work:
    """Return what says that something was installed, and nothing of a try that may come to nothing."""

    def listen(step: str, text: str) -> None:
        if text.startswith("installed "):
            work.listen(step, text)

    return msgspec.structs.replace(work, listen=listen)


def run(command: Command, argv: tuple[str, ...], work: Work) -> child.Ended:
    """Run one program of a command.

    Raises:
        FaultError: its time runs out.
    """
    ended = child.run(
        list(argv),
        work.variables,
        lambda line: _hear(command.step, line, work.listen),
        work.clock.left,
        work.folder,
    )
    if ended.outcome == "timeout":
        raise FaultError(
            Fault(
                kind="too-slow",
                step=command.step,
                sentence=f"{SAYS[command.step]} did not end within the {work.clock.deadline:g} s that it may take",
                change="a nearer index, or --timeout SECONDS",
                evidence=tuple(masked(line) for line in ended.output.splitlines()[-faults.KEPT_LINES :]),
            )
        )
    return ended


def _fault(command: Command, ended: child.Ended, work: Work) -> Fault:
    if command.step == "check":
        lines = tuple(line for line in ended.output.splitlines() if " requires " in line)
        return Fault(
            kind="inconsistent",
            step="check",
            sentence=f"what was installed does not fit together: {lines[0] if lines else 'uv pip check fails'}",
            change="a wider range of versions in what the project requires",
            evidence=lines[: faults.KEPT_LINES],
        )
    return faults.of_output(ended.output, command.step, work.plan)


def _hear(step: str, line: str, listen: Listener) -> None:
    """Hand on what an installer says where it says how far it is."""
    found = re.match(SAID, line)
    if found:
        text = found[1].strip()
        listen(step, text[:1].lower() + text[1:])
