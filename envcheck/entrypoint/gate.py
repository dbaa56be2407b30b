"""Examine this container quickly and judge what was declared for it."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from envcheck import configuration
from envcheck.check import Check, all_checks
from envcheck.doctor import diagnose, examine
from envcheck.entrypoint.health import FRAMEWORK_OF
from envcheck.intent import Intent, requires
from envcheck.interpreter import choose
from envcheck.probe import Probe, all_probes
from envcheck.probes.driver import hinted
from envcheck.report import Report
from envcheck.system import Live, System

LEFT_OUT = {"jupyter", "kernel-log", "toolkits"}
"""Probes whose answers decide nothing about a container that starts: they would only make it start later."""

OF_THE_IMAGE = {"imports", "jupyter", "keras", "kernel log", "messages", "packages", "python", "tensorflow", "torch"}
"""Areas of checks on what the image was built with: true at its build or never, and for `envcheck doctor` to say."""

OF_WHAT_IS_INSTALLED = {"cpu", "cuda"}
"""Areas of checks on processor and driver as what is installed needs them: nothing to judge where that is not asked."""

ABOUT_THE_INTERPRETER = {"python", "torch", "tensorflow", "keras", *FRAMEWORK_OF}
"""Requirements that need to know the interpreter under test and its packages."""


def judge(required: list[str], limit: float) -> Report:
    """Return the report on this container and its declared intent.

    A framework is imported, in a child, only where a requirement cannot be judged without.

    Args:
        required: requirements from the command line, beside ENVCHECK_REQUIRE and pyproject.toml.
        limit: seconds that no probe may exceed.

    Raises:
        UsageError: a requirement or a configuration file cannot be understood.
    """
    live = Live()
    try:
        declared = configuration.read(live, required, [])
        probes = probes_for(live, declared)
        examined = examine(live, choose(live), probes, quick=True, limit=limit, meanwhile=all_checks)
    finally:
        live.close()
    return diagnose(examined.facts, examined.probes, checks_for(declared, probes), declared, {"quick": True})


def probes_for(system: System, declared: Intent) -> list[Probe]:
    """Return the probes to ask: the quick ones that matter at a start, and the frameworks that only they can answer.

    The interpreter under test is asked where a requirement is about it, or where there is a driver whose fitness for
    what is installed has to be judged.
    """
    imported = frameworks(declared)
    left_out = set(LEFT_OUT)
    if not requires(declared, ABOUT_THE_INTERPRETER) and not hinted(system):
        left_out.add("python")
    return [
        msgspec.structs.replace(probe, imports=False) if probe.name in imported else probe
        for probe in all_probes()
        if probe.name not in left_out
    ]


def checks_for(declared: Intent, asked: Sequence[Probe]) -> list[Check]:
    """Return the checks on what this container was given, and on the frameworks that a requirement is about."""
    left_out = OF_THE_IMAGE - frameworks(declared)
    if all(probe.name != "python" for probe in asked):
        left_out |= OF_WHAT_IS_INSTALLED
    return [check for check in all_checks() if check.area not in left_out]


def frameworks(declared: Intent) -> set[str]:
    """Return the frameworks that have to be imported to judge what was declared."""
    return {framework for name, framework in FRAMEWORK_OF.items() if requires(declared, {name})}
