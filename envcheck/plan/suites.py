"""Builds of several frameworks that live in one environment."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.version import Version

from envcheck.compat import keras, tensorflow, torch
from envcheck.machine import InstalledPython, Machine
from envcheck.plan.builds import candidates_of, frameworks_with_builds
from envcheck.plan.model import Candidate, Suite, parse_version, specifier_set
from envcheck.wish import FrameworkWish, Wish, named

FITTED = 40
"""How many builds of a framework are tried for one that lives together with the other framework."""


def best_suite(wish: Wish, machine: Machine, series: str, python: InstalledPython | None) -> Suite | None:
    """Return the most wanted builds that live in one environment with a Python; None where there are none."""
    alone = len(wish.frameworks) == 1
    offered = [
        candidates_of(item, wish, machine, series, 1 if alone else FITTED) for item in frameworks_with_builds(wish)
    ]
    for candidates in _combinations(offered):
        suite = Suite(series, python, candidates)
        if not clash(candidates, machine) and (not wants_keras(wish) or keras_version(wish, suite) is not None):
            return suite
    return None


def wants_keras(wish: Wish) -> bool:
    """Tell whether Keras is wished for by name."""
    return any(item.name == "keras" for item in wish.frameworks)


def _combinations(offered: list[list[Candidate]]) -> Iterator[tuple[Candidate, ...]]:
    """Yield one candidate a framework, those with the most wanted first."""
    if all(offered):
        ranks = itertools.product(*(range(len(candidates)) for candidates in offered))
        for picks in sorted(ranks, key=lambda picks: (sum(picks), picks)):
            yield tuple(candidates[pick] for candidates, pick in zip(offered, picks, strict=True))


def clash(candidates: tuple[Candidate, ...], machine: Machine) -> str:
    """Say which CUDA package two frameworks pin to versions that exclude each other; empty where none is known."""
    if len(candidates) == 1:
        return ""
    pins: dict[str, Requirement] = {}
    for candidate in candidates:
        for text in _pins(candidate, machine):
            found = Requirement(text)
            other = pins.get(found.name)
            if other is not None and not _overlap(other.specifier, found.specifier):
                return f"{other} and {found}"
            both = found.specifier if other is None else other.specifier & found.specifier
            pins[found.name] = Requirement(f"{found.name}{both}")
    return ""


def _pins(candidate: Candidate, machine: Machine) -> list[str]:
    """Return the CUDA packages that a build requires, where the tables say it."""
    build = candidate.build
    if build.accelerator != "cuda":
        return []
    if candidate.framework == "tensorflow":
        row = tensorflow.release(build.version)
        return [] if row is None else [*row.and_cuda, *tensorflow.extra_pins(build, machine.target)]
    release = torch.release(build.version)
    if release is not None and build.platform == "linux_x86_64" and build.cuda == release.cuda_default:
        return release.nvidia_pins
    major = (build.cuda or "").split(".")[0]
    return [f"nvidia-cudnn-cu{major}=={build.cudnn}"] if build.cudnn else []


def _overlap(first: SpecifierSet, second: SpecifierSet) -> bool:
    exact = [part.version for part in (*first, *second) if part.operator == "==" and "*" not in part.version]
    return all(first.contains(version) and second.contains(version) for version in exact)


def merit(suite: Suite) -> tuple[int, int, bool, tuple[Version, ...], bool]:
    """Return what makes one suite better than another."""
    builds = [candidate.build for candidate in suite.candidates]
    return (
        sum(build.accelerator != "cpu" for build in builds),
        sum(candidate.held is not None for candidate in suite.candidates),
        suite.python is not None,
        tuple(parse_version(build.version) for build in builds),
        suite.python is not None and suite.python.preferred,
    )


def keras_version(wish: Wish, suite: Suite | None) -> str | None:
    """Return the newest Keras 3 that fits Python, backend, TensorFlow's own requirement and all limits."""
    if suite is None:
        return None
    item = next((item for item in wish.frameworks if item.name == "keras"), FrameworkWish("keras"))
    limits = [specifier_set(item.specifier)]
    limits += [found.specifier for found, _ in named((*wish.required, *wish.constraints), "keras")]
    backends = {candidate.framework: candidate.build.version for candidate in suite.candidates}
    row = tensorflow.release(backends.get("tensorflow"))
    if row is not None:
        limits.append(specifier_set(row.keras or ""))
    for release in keras.releases():
        least = keras.backend_minimum(release.version, wish.backend)
        backend = backends.get(wish.backend)  # type: ignore[call-overload]
        fits_backend = least is None or backend is None or parse_version(backend) >= parse_version(least)
        python = specifier_set(release.requires_python).contains(f"{suite.series.rstrip('t')}.99")
        if fits_backend and python and all(limit.contains(release.version) for limit in limits):
            return release.version
    return None
