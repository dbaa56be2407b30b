"""A probe: a plain function that asks the machine and returns one fact group, or several.

    @probe(fills=["cpu"], deadline=2)
    def cpu(system: System) -> Cpu:

The names of its parameters say what it needs: `system`, `interpreter` (the one under test), `deadline` (seconds that
it has left to give to what it runs), `quick` (whether a second witness that takes its time is to be left out).  A
probe that has nothing to look at raises `Ended(Outcome.ABSENT, why)`; one that may not look,
`Ended(Outcome.DENIED, why)`.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from envcheck import plugins
from envcheck.facts import Group
from envcheck.report import Outcome

Look = Callable[..., "Group | dict[str, Group]"]

ATTRIBUTE = "__envcheck_probe__"


class Probe(msgspec.Struct, frozen=True, kw_only=True):
    """A registered probe.

    Attributes:
        name: the function's name in kebab-case.
        fills: fact groups that it can fill.
        deadline: seconds that it may take.
        imports: whether it imports a framework; such probes are left out with `--quick`.
        needs: names of its parameters.
        look: the function.
    """

    name: str
    fills: list[str]
    deadline: float
    imports: bool
    needs: list[str]
    look: Look


class Ended(Exception):  # noqa: N818 - not always an error
    """A probe ended without facts."""

    def __init__(self, outcome: Outcome, reason: str) -> None:
        """Say how and why."""
        super().__init__(reason)
        self.outcome = outcome
        self.reason = reason


def probe(*, fills: list[str], deadline: float, imports: bool = False) -> Callable[[Look], Look]:
    """Register a function as a probe.

    Args:
        fills: fact groups that it can fill.
        deadline: seconds that it may take.
        imports: whether it imports a framework.
    """

    def register(look: Look) -> Look:
        described = Probe(
            name=look.__name__.replace("_", "-"),
            fills=fills,
            deadline=deadline,
            imports=imports,
            needs=list(look.__code__.co_varnames[: look.__code__.co_argcount]),
            look=look,
        )
        setattr(look, ATTRIBUTE, described)
        return look

    return register


def all_probes() -> list[Probe]:
    """Return every probe: those in `envcheck.probes`, then those of third parties (entry points `envcheck.probes`)."""
    return plugins.described("envcheck.probes", ATTRIBUTE)
