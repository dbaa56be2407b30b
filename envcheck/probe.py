"""A probe: a plain function that asks the machine and returns one fact group, or several.

    @probe(fills=["cpu"], deadline=2)
    def cpu(system: System) -> Cpu:

The names of its parameters say what it needs: `system`, `interpreter` (the one under test), `deadline` (seconds that
it has left to give to what it runs), `quick` (whether a second witness that takes its time is to be left out).  A
probe that has nothing to look at raises `Ended(Outcome.ABSENT, why)`; one that may not look,
`Ended(Outcome.DENIED, why)`.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from types import ModuleType

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


def probes_of(module: ModuleType) -> list[Probe]:
    """Return the probes that a module defines, in the order of their definition."""
    return [
        getattr(value, ATTRIBUTE)
        for value in vars(module).values()
        if hasattr(value, ATTRIBUTE) and getattr(value, "__module__", "") == module.__name__
    ]


def all_probes() -> list[Probe]:
    """Return every probe: those in `envcheck.probes`, then those of third parties (entry points `envcheck.probes`)."""
    package = importlib.import_module("envcheck.probes")
    names = sorted(module.name for module in pkgutil.iter_modules(package.__path__))
    modules = [importlib.import_module(f"envcheck.probes.{name}") for name in names]
    modules += plugins.modules("envcheck.probes")
    return [found for module in modules for found in probes_of(module)]
