"""Examine this container quickly and judge what was declared for it."""

from __future__ import annotations

import msgspec

from envcheck import configuration
from envcheck.doctor import diagnose, examine
from envcheck.intent import FORM, Intent
from envcheck.interpreter import choose
from envcheck.probe import Probe, all_probes
from envcheck.report import Report
from envcheck.system import Live

FRAMEWORK_OF = {
    "torch.cuda": "torch",
    "torch.rocm": "torch",
    "torch.mps": "torch",
    "torch.xpu": "torch",
    "tensorflow.gpu": "tensorflow",
}
"""Requirement that only an imported framework can answer → the probe that imports it."""

NOT_OF_A_START = {"jupyter", "kernel-log", "toolkits"}
"""Probes whose answers decide nothing about a container that starts: they would only make it start later."""


def judge(required: list[str], limit: float) -> Report:
    """Return the report on this container and its declared intent.

    A framework is imported, in a child, only where a requirement cannot be judged without.

    Args:
        required: requirements from the command line, beside ENVCHECK_REQUIRE and pyproject.toml.
        limit: seconds that no probe may exceed.

    Raises:
        UsageError: a requirement or a configuration file cannot be understood.
    """
    from envcheck.check import all_checks  # noqa: PLC0415 - read while the probes wait for their children

    live = Live()
    try:
        declared = configuration.read(live, required, [])
        examined = examine(live, choose(live), probes_for(declared), quick=True, limit=limit, meanwhile=all_checks)
    finally:
        live.close()
    return diagnose(examined.facts, examined.probes, all_checks(), declared, {"quick": True})


def probes_for(declared: Intent) -> list[Probe]:
    """Return the probes to ask: the quick ones that matter at a start, and the frameworks that only they can answer."""
    names = {found["name"].lower() for item in declared.requirements if (found := FORM.match(item.text))}
    imported = {FRAMEWORK_OF[name] for name in names if name in FRAMEWORK_OF}
    return [
        msgspec.structs.replace(probe, imports=False) if probe.name in imported else probe
        for probe in all_probes()
        if probe.name not in NOT_OF_A_START
    ]
