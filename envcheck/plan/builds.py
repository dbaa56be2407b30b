"""Which builds of a framework can be had and run on a machine, and what speaks against the others."""

from __future__ import annotations

import itertools
from functools import cache

import msgspec
from packaging.version import Version

from envcheck.compat import cuda, cudnn, tensorflow, torch
from envcheck.compat.build import Build, why_not
from envcheck.compat.target import Accelerator, Platform
from envcheck.machine import HeldWheel, Machine
from envcheck.plan.model import DISTRIBUTIONS, Candidate, listed_names, parse_version, specifier_set
from envcheck.wish import FrameworkName, FrameworkWish, Wish, named

OLDEST_CPU_WHEEL = parse_version("2.1")
"""First release of tensorflow-cpu for Linux beside a tensorflow with CUDA (package metadata of tensorflow-cpu)."""


def frameworks_with_builds(wish: Wish) -> list[FrameworkWish]:
    """Return the frameworks that come as builds; Keras computes with one of them."""
    return [item for item in wish.frameworks if item.name != "keras"]


def published_for(framework: FrameworkName, machine: Machine) -> tuple[Build, ...]:
    """Return every build for the platform of a machine, newest release first."""
    return () if machine.platform is None else _all_builds(framework, machine.platform)


@cache
def _all_builds(framework: FrameworkName, platform: Platform) -> tuple[Build, ...]:
    """Return every build for a platform, newest release first."""
    if framework == "torch":
        every = [build for row in torch.releases() for build in torch.published(row.version)]
    else:
        every = [build for row in tensorflow.releases() for build in tensorflow.published(row.version)]
    return tuple(build for build in every if build.platform == platform)


def accelerators_for(wish: Wish, machine: Machine) -> list[Accelerator]:
    """Return the accelerators to try, best first."""
    if wish.accelerator != "auto":
        return [wish.accelerator]
    if machine.target.compute_capabilities and not machine.gpu_problem:
        return ["cuda", "cpu"]
    if machine.target.gfx:
        return ["rocm", "cpu"]
    return ["mps", "cpu"] if machine.platform == "macos_arm64" else ["cpu"]


def ordered_builds(framework: FrameworkName, machine: Machine, wish: Wish, series: str) -> list[Build]:
    """Return the builds for the accelerators to try, the most wanted first.

    Before a build from an index that the user has not configured comes one that lies in a folder of the user's.
    """
    tried = accelerators_for(wish, machine)

    def rank(build: Build) -> tuple[int, bool, bool, Version, Version, bool]:
        kept = build.index is not None and held_wheel(framework, build, machine, series) is not None
        runtime = parse_version(build.cuda or build.rocm or "0")
        priority = -tried.index(build.accelerator)
        return (priority, kept, build.verified, parse_version(build.version), runtime, build.index is None)

    return sorted((b for b in published_for(framework, machine) if b.accelerator in tried), key=rank, reverse=True)


def held_wheel(framework: FrameworkName, build: Build, machine: Machine, series: str) -> HeldWheel | None:
    """Return the wheel of a build that lies in a folder of the user's."""
    names = (distribution_of(framework, build, ()),) if framework == "tensorflow" else DISTRIBUTIONS[framework]
    for wheel in machine.held:
        if (
            wheel.name in names
            and parse_version(wheel.version) == parse_version(installed_version(build))
            and (not wheel.platforms or build.platform in wheel.platforms)
            and (not wheel.pythons or series in wheel.pythons)
        ):
            return wheel
    return None


def installed_version(build: Build) -> str:
    """Return the version as the installed distribution has it: builds of the default index have no local part."""
    return build.local_version if build.index is not None else build.version


def candidates_of(
    item: FrameworkWish, wish: Wish, machine: Machine, series: str, most: int | None = None
) -> list[Candidate]:
    """Return the builds of a framework that can be had and run with a Python, the most wanted first."""
    found = (
        Candidate(item.name, build, held_wheel(item.name, build, machine, series) if build.index is not None else None)
        for build in ordered_builds(item.name, machine, wish, series)
        if not against(build, item.name, wish, machine, series)
    )
    return list(itertools.islice(found, most))


def against(build: Build, framework: FrameworkName, wish: Wish, machine: Machine, series: str) -> list[str]:
    """Say what speaks against a build, one clause a reason; empty where it can be had and runs."""
    asked = outside_of_what_is_asked(build, framework, wish)
    if asked:
        return [asked]
    if machine.held_only and held_wheel(framework, build, machine, series) is None:
        return ["it is not among the wheels that can be had offline"]
    if framework == "tensorflow" and build.accelerator == "cuda" and not _brings_cuda(build):
        return [f"it needs CUDA {build.cuda} and cuDNN installed on the machine itself"]
    target = msgspec.structs.replace(machine.target, python=series, accelerator=build.accelerator)
    reasons = why_not(build, target)
    return in_words(build, machine, reasons)


def _brings_cuda(build: Build) -> bool:
    row = tensorflow.release(build.version)
    return build.platform == "linux_x86_64" and row is not None and bool(row.and_cuda)


def outside_of_what_is_asked(build: Build, framework: FrameworkName, wish: Wish) -> str:
    """Say whose wish, requirement or limit a build does not meet, one clause; empty where it meets all."""
    version = parse_version(build.version)
    item = next((item for item in wish.frameworks if item.name == framework), None)
    if item is not None and not specifier_set(item.specifier).contains(version):
        return f"{item.specifier} was asked for"
    for lines, verb in ((wish.required, "asked for"), (wish.constraints, "the limit")):
        for found, source in named(lines, *DISTRIBUTIONS[framework]):
            if not found.specifier.contains(version, prereleases=True):
                return f"{found.name}{found.specifier} is {verb} ({source})"
    names = {found.name.lower() for found, _ in named(wish.required, *DISTRIBUTIONS[framework])}
    if names == {"tensorflow-cpu"} and build.accelerator != "cpu":
        return "tensorflow-cpu is asked for by the project"
    return ""


def in_words(build: Build, machine: Machine, reasons: list[str]) -> list[str]:
    """Return reasons in the words of this machine: which card, which driver."""
    words: list[str] = []
    for reason in reasons:
        cards = [
            card
            for card in machine.cards
            if card.compute_capability and f"compute capability {card.compute_capability}" in reason
        ]
        names = listed_names(dict.fromkeys(card.label for card in cards))
        if cards and cuda.runs_on(build.architectures, cards[0].compute_capability) is False:
            words.append(f"it has no code for your {names}")
        elif cards and cudnn.works_on(build.cudnn, cards[0].compute_capability) is False:
            words.append(f"its cuDNN {build.cudnn} does not work on your {names}")
        elif "needs driver" in reason:
            words.append(reason.replace("the machine has", "yours is"))
        elif cards:
            words.append(f"{reason} (your {names})")
        else:
            words.append(reason)
    return list(dict.fromkeys(words))


def distribution_of(framework: FrameworkName, build: Build, asked: tuple[str, ...]) -> str:
    """Return the distribution that brings a build.

    For the processor on x86-64 Linux it is tensorflow-cpu, since the plain one is a CUDA build of twice its size; but
    where the project requires the plain one by name, both would lie in the same folder.
    """
    is_cpu_wheel = framework == "tensorflow" and build.accelerator == "cpu" and build.platform == "linux_x86_64"
    if is_cpu_wheel and "tensorflow" not in asked and parse_version(build.version) >= OLDEST_CPU_WHEEL:
        return "tensorflow-cpu"
    return build.package
