"""The checks of `envcheck doctor` that judge a GPU at work, asked by the parts of the suite that keep it busy."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from msgspec.structs import replace

from envcheck.check import Check, all_checks
from envcheck.facts import Facts, Nvml, UnknownFactError
from envcheck.intent import Intent
from envcheck.interpreter import Interpreter
from envcheck.probe import Ended
from envcheck.report import Finding
from envcheck.system import System

HEALTH = ("gpu health",)
"""Areas of checks that read NVML alone."""

HEALTH_MORE = ("every-gpu-answers",)
"""Checks of other areas that belong to them."""

KERNEL_LOG = ("kernel log",)


def checks_of(areas: Sequence[str], more: Sequence[str] = ()) -> list[Check]:
    """Return the checks of some areas, and some by name."""
    return [check for check in all_checks() if check.area in areas or check.id in more]


def health_checks() -> list[Check]:
    """Return the checks that judge the health of NVIDIA's GPUs."""
    return checks_of(HEALTH, HEALTH_MORE)


def ask_nvml(system: System, interpreter: str, seconds: float) -> Nvml | None:
    """Return what NVML says now; None where there is no trace of NVIDIA, or it cannot be asked."""
    from envcheck.probes.nvml import nvml  # noqa: PLC0415 - most of it is needed where there is a GPU alone

    try:
        answer = nvml(system, Interpreter(interpreter, ""), seconds)
    except Ended:
        return None
    return answer if isinstance(answer, Nvml) else None


def findings_of(checks: Sequence[Check], facts: Facts) -> Iterator[Finding]:
    """Yield what checks find; one that lacks a fact says nothing."""
    given: dict[str, Any] = {name: getattr(facts, name) for name in Facts.__struct_fields__}
    given |= {"facts": facts, "intent": Intent()}
    for check in checks:
        if any(given.get(name) is None for name in check.needs):
            continue
        try:
            for finding in check.judge(**{name: given.get(name) for name in [*check.needs, *check.wants]}):
                yield replace(finding, check=check.id)
        except UnknownFactError:
            continue
