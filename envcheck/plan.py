"""Wish + machine + tables → Plan.  Pure: what is planned for a machine can be worked out anywhere.

The rule: of each framework the newest build that driver, every visible card, C library, Python and platform allow
together, with companions as a set that belongs to it, in one environment with the other frameworks.  Every choice says
why, and every newer build that was passed over says what spoke against it.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from functools import cache, lru_cache

import msgspec
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.version import Version

from envcheck.compat import cuda, cudnn, keras, tensorflow, torch
from envcheck.compat.build import Build, why_not
from envcheck.compat.target import Accelerator, Platform, python_series
from envcheck.compat.versions import public
from envcheck.machine import HeldWheel, InstalledPython, Machine
from envcheck.wish import FRAMEWORKS, FrameworkName, FrameworkWish, Wish, named

TITLES: dict[FrameworkName, str] = {"torch": "PyTorch", "tensorflow": "TensorFlow", "keras": "Keras"}

DISTRIBUTIONS: dict[FrameworkName, tuple[str, ...]] = {
    "torch": ("torch",),
    "tensorflow": ("tensorflow", "tensorflow-cpu", "tensorflow-gpu", "tensorflow-macos"),
    "keras": ("keras",),
}
"""Framework → the distributions that bring it."""

EXTRA_REQUIREMENTS: dict[str, tuple[str, ...]] = {
    "jupyter": ("jupyterlab", "ipykernel", "ipywidgets"),
    "vision": ("pillow", "opencv-python-headless"),
    "audio": ("soundfile", "librosa"),
    "nlp": ("transformers", "datasets", "sentencepiece"),
}

OLDEST_DOWNLOAD = Version("3.8")
"""The oldest CPython that uv fetches (`uv python list --only-downloads`, uv 0.13)."""

NUMPY_2_SINCE_TENSORFLOW = Version("2.18")
"""Before it the metadata of TensorFlow says numpy<2, or says nothing because there was no NumPy 2 yet (table
tensorflow: 2.17.1 requires numpy<2.0.0, 2.18.0 allows 2.0)."""

FITTED = 40
"""How many builds of a framework are tried for one that lives together with the other framework."""


@lru_cache(maxsize=4096)
def _version(text: str) -> Version:
    return Version(text)


@lru_cache(maxsize=1024)
def _specifiers(text: str) -> SpecifierSet:
    return SpecifierSet(text)


class Refused(msgspec.Struct, frozen=True):
    """Builds that were passed over.

    Attributes:
        builds: their versions, newest first, such as `2.15.0+cu132`.
        reason: what speaks against them, one clause.
    """

    builds: tuple[str, ...]
    reason: str


class Choice(msgspec.Struct, frozen=True, kw_only=True):
    """The build of a framework that was chosen.

    Attributes:
        framework: which one.
        version: with its local part, such as `2.13.0+cu126`.
        accelerator: what it computes on.
        why: why this one, one sentence.
        refused: newer builds, and builds for a better accelerator, that were passed over.
        verified: whether the tables' authors saw this build published.
        source: where its row of the tables comes from.
    """

    framework: FrameworkName
    version: str
    accelerator: Accelerator
    why: str
    refused: tuple[Refused, ...] = ()
    verified: bool = True
    source: str = ""


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """One requirement that is handed to the installer.

    Attributes:
        text: the requirement (PEP 508).
        why: who wants it.
        index: address of the one index that may answer it; empty = wherever the user's pip looks.
    """

    text: str
    why: str
    index: str = ""


class PythonChoice(msgspec.Struct, frozen=True, kw_only=True):
    """The interpreter that the environment is made from.

    Attributes:
        series: such as `3.12`, `3.14t`.
        path: its program; empty where the installer fetches one.
        why: why this one, one sentence.
    """

    series: str
    path: str = ""
    why: str = ""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """An environment that can be made.

    Attributes:
        platform: as the tables name it.
        python: its interpreter.
        choices: one a framework.
        requirements: what is installed, first the frameworks.
        constraints: limits on what comes along.
        files: requirements files that the installer reads itself.
        variables: environment variables that are the default inside.
        notes: what the user should know.
        kernel: whether a Jupyter kernel is registered.
    """

    platform: str
    python: PythonChoice
    choices: tuple[Choice, ...]
    requirements: tuple[Wanted, ...]
    constraints: tuple[Wanted, ...] = ()
    files: tuple[str, ...] = ()
    variables: dict[str, str] = {}
    notes: tuple[str, ...] = ()
    kernel: bool = False


class Refusal(msgspec.Struct, frozen=True, kw_only=True):
    """Why there is no plan.

    Attributes:
        sentence: what cannot be had, and why.
        change: what would change that.
        refused: builds that were considered.
    """

    sentence: str
    change: str
    refused: tuple[Refused, ...] = ()


class _Candidate(msgspec.Struct, frozen=True):
    framework: FrameworkName
    build: Build
    held: HeldWheel | None


class _Suite(msgspec.Struct, frozen=True):
    """One candidate a framework, for one Python."""

    series: str
    python: InstalledPython | None
    candidates: tuple[_Candidate, ...]


def plan(wish: Wish, machine: Machine, pytorch_index: str = torch.WHEEL_INDEX) -> Plan | Refusal:
    """Return the plan for a wish on a machine, or why there is none.

    Args:
        wish: what the user wants.
        machine: what is known of the machine.
        pytorch_index: where PyTorch's own builds are: its index, or a mirror of it.
    """
    wish = _with_backend(wish)
    refusal = _impossible(wish, machine)
    if refusal is not None:
        return refusal
    pythons = _pythons(wish, machine)
    if not pythons:
        return _no_python(wish, machine)
    suites = [suite for series, python in pythons if (suite := _suite(wish, machine, series, python)) is not None]
    if not suites:
        return _nothing_fits(wish, machine, [series for series, _ in pythons])
    suite = max(suites, key=_merit)
    return _plan_of(suite, wish, machine, pytorch_index)


def _with_backend(wish: Wish) -> Wish:
    """Return the wish with the framework that Keras computes with."""
    names = [item.name for item in wish.frameworks]
    if "keras" not in names:
        return wish
    beside = [name for name in names if name != "keras"]
    backend = wish.backend or (beside[0] if beside else "tensorflow")
    frameworks = wish.frameworks
    if backend not in names:
        frameworks = (*frameworks, FrameworkWish(FRAMEWORKS[backend]))
    return msgspec.structs.replace(wish, backend=backend, frameworks=frameworks)


# What rules a wish out before any build is looked at.


def _impossible(wish: Wish, machine: Machine) -> Refusal | None:
    target = machine.target
    where = f"{target.system} on {target.machine}"
    if machine.platform is None:
        return Refusal(
            sentence=f"no framework publishes builds for {where}",
            change="a 64-bit x86-64 or ARM machine with Linux, macOS or Windows",
        )
    if wish.accelerator == "cuda":
        if machine.gpu_problem:
            return Refusal(
                sentence=f"{_names(card.name for card in machine.cards)} is here, but {machine.gpu_problem}",
                change="`envcheck doctor` says how to mend it; --accelerator cpu trains meanwhile",
            )
        if target.system != "macos" and not target.driver and not target.compute_capabilities:
            return Refusal(
                sentence="no NVIDIA GPU is visible here",
                change="--accelerator cpu; or --driver VERSION and --card CAPABILITY to plan for another machine",
            )
    if wish.accelerator == "rocm" and not target.gfx and not machine.amd_cards:
        return Refusal(sentence="no AMD GPU is visible here", change="--accelerator cpu")
    if wish.accelerator == "mps" and machine.platform != "macos_arm64":
        return Refusal(
            sentence=f"MPS is Apple's GPU on Macs with Apple silicon; this is {where}", change="--accelerator auto"
        )
    return None


def _no_python(wish: Wish, machine: Machine) -> Refusal:
    there = ", ".join(python.version for python in machine.pythons) or "none"
    fetched = "" if machine.downloads_python else "; none may be fetched offline"
    return Refusal(
        sentence=f"no Python fits {wish.python} ({wish.python_source}); installed: {there}{fetched}",
        change="another --python, or an interpreter of that version installed here",
    )


def _nothing_fits(wish: Wish, machine: Machine, pythons: list[str]) -> Refusal:
    """Say which framework has nothing, or that two do not live together, with what spoke against each build."""
    for item in _backends(wish):
        if not any(_candidates(item, wish, machine, series, 1) for series in pythons):
            every = _ordered(item.name, machine, wish, pythons[0])
            asked_for = [build for build in every if not _outside_of_what_is_asked(build, item.name, wish)]
            refused = _grouped(
                (build, _against(build, item.name, wish, machine, pythons[0])) for build in asked_for or every
            )
            asked = f" {item.specifier}" if item.specifier else ""
            kind = "" if wish.accelerator == "auto" else f" for {wish.accelerator}"
            first = refused[0].reason if refused else "the tables know no build for this platform"
            return Refusal(
                sentence=f"no build of {TITLES[item.name]}{asked}{kind} runs here: {first}",
                change=_what_would_help(refused, wish, machine),
                refused=refused,
            )
    if any(item.name == "keras" for item in wish.frameworks) and not any(
        _keras(wish, _suite_without_keras(wish, machine, series)) for series in pythons
    ):
        return Refusal(
            sentence=f"no release of Keras 3 fits: {_keras_reason(wish, machine, pythons)}",
            change="another --python, or another version of Keras or of its backend",
        )
    titles = " and ".join(TITLES[item.name] for item in _backends(wish))
    return Refusal(
        sentence=f"no builds of {titles} live in one environment here",
        change="two environments: one `envcheck setup --name NAME` for each",
    )


def _suite_without_keras(wish: Wish, machine: Machine, series: str) -> _Suite | None:
    frameworks = tuple(item for item in wish.frameworks if item.name != "keras")
    return _suite(msgspec.structs.replace(wish, frameworks=frameworks), machine, series, None)


def _keras_reason(wish: Wish, machine: Machine, pythons: list[str]) -> str:
    item = next(item for item in wish.frameworks if item.name == "keras")
    if item.specifier and not any(_specifiers(item.specifier).contains(row.version) for row in keras.releases()):
        return f"the table has no release {item.specifier}; Keras 2 comes with TensorFlow up to 2.15 (--framework tf)"
    return f"none takes Python {', '.join(pythons)} and the backends that run on {machine.target.system}"


def _what_would_help(refused: tuple[Refused, ...], wish: Wish, machine: Machine) -> str:
    text = " ".join(item.reason for item in refused)
    ways = []
    if "no wheel for Python" in text:
        ways.append("another --python")
    if "needs driver" in text or "needs a newer" in text:
        ways.append("a newer NVIDIA driver")
    if "needs glibc" in text:
        ways.append("a newer distribution, or a container with one")
    if "not among the wheels" in text:
        ways.append(f"the wheel in {machine.held[0].folder}" if machine.held else "a wheelhouse that holds it")
    if wish.accelerator in {"cuda", "rocm", "mps"}:
        ways.append("--accelerator cpu")
    if "asked for" in text or "limit" in text:
        ways.append("a wider range of versions")
    return "; ".join(ways) or "another platform"


# Python.


def _pythons(wish: Wish, machine: Machine) -> list[tuple[str, InstalledPython | None]]:
    """Return the series that may be used, each with its installed interpreter; None where it would be fetched."""
    free_threaded = wish.python.endswith("t")
    installed: dict[str, InstalledPython] = {}
    for python in sorted(machine.pythons, key=lambda item: item.preferred, reverse=True):
        series = python_series(python.version)
        if series and series.endswith("t") == free_threaded and _allowed(wish.python, python.version):
            installed.setdefault(series, python)
    found: list[tuple[str, InstalledPython | None]] = list(installed.items())
    if machine.downloads_python:
        known = {
            series for item in _backends(wish) for build in _published(item.name, machine) for series in build.pythons
        }
        found += [
            (series, None)
            for series in sorted(known, key=lambda text: _version(text.rstrip("t")), reverse=True)
            if series not in installed
            and series.endswith("t") == free_threaded
            and _version(series.rstrip("t")) >= OLDEST_DOWNLOAD
            and _series_allowed(wish.python, series)
        ]
    return found


def _allowed(specifier: str, version: str) -> bool:
    if specifier.endswith("t"):
        return python_series(version) == specifier
    return _specifiers(specifier).contains(version.rstrip("t"), prereleases=True)


def _series_allowed(specifier: str, series: str) -> bool:
    """Tell whether some release of a series is allowed: the first, or a late one."""
    if specifier.endswith("t"):
        return series == specifier
    return any(_allowed(specifier, f"{series}.{patch}") for patch in range(30))


# Builds.


def _backends(wish: Wish) -> list[FrameworkWish]:
    """Return the frameworks that come as builds; Keras computes with one of them."""
    return [item for item in wish.frameworks if item.name != "keras"]


def _published(framework: FrameworkName, machine: Machine) -> tuple[Build, ...]:
    return () if machine.platform is None else _all_builds(framework, machine.platform)


@cache
def _all_builds(framework: FrameworkName, platform: Platform) -> tuple[Build, ...]:
    """Return every build for a platform, newest release first."""
    if framework == "torch":
        every = [build for row in torch.releases() for build in torch.published(row.version)]
    else:
        every = [build for row in tensorflow.releases() for build in tensorflow.published(row.version)]
    return tuple(build for build in every if build.platform == platform)


def _accelerators(wish: Wish, machine: Machine) -> list[Accelerator]:
    """Return the accelerators to try, best first."""
    if wish.accelerator != "auto":
        return [wish.accelerator]
    if machine.target.compute_capabilities and not machine.gpu_problem:
        return ["cuda", "cpu"]
    if machine.target.gfx:
        return ["rocm", "cpu"]
    return ["mps", "cpu"] if machine.platform == "macos_arm64" else ["cpu"]


def _ordered(framework: FrameworkName, machine: Machine, wish: Wish, series: str) -> list[Build]:
    """Return the builds for the accelerators to try, the most wanted first.

    Before a build from an index that the user has not configured comes one that lies in a folder of the user's.
    """
    tried = _accelerators(wish, machine)

    def rank(build: Build) -> tuple[int, bool, bool, Version, Version, bool]:
        kept = build.index is not None and _held(framework, build, machine, series) is not None
        runtime = _version(build.cuda or build.rocm or "0")
        priority = -tried.index(build.accelerator)
        return (priority, kept, build.verified, _version(build.version), runtime, build.index is None)

    return sorted((b for b in _published(framework, machine) if b.accelerator in tried), key=rank, reverse=True)


def _held(framework: FrameworkName, build: Build, machine: Machine, series: str) -> HeldWheel | None:
    """Return the wheel of a build that lies in a folder of the user's."""
    names = (_distribution(framework, build, ()),) if framework == "tensorflow" else DISTRIBUTIONS[framework]
    for wheel in machine.held:
        if (
            wheel.name in names
            and _version(wheel.version) == _version(_installed_version(build))
            and (not wheel.platforms or build.platform in wheel.platforms)
            and (not wheel.pythons or series in wheel.pythons)
        ):
            return wheel
    return None


def _installed_version(build: Build) -> str:
    """Return the version as the installed distribution has it: builds of the default index have no local part."""
    return build.local_version if build.index is not None else build.version


def _candidates(
    item: FrameworkWish, wish: Wish, machine: Machine, series: str, most: int | None = None
) -> list[_Candidate]:
    """Return the builds of a framework that can be had and run with a Python, the most wanted first."""
    found = (
        _Candidate(item.name, build, _held(item.name, build, machine, series) if build.index is not None else None)
        for build in _ordered(item.name, machine, wish, series)
        if not _against(build, item.name, wish, machine, series)
    )
    return list(itertools.islice(found, most))


def _against(build: Build, framework: FrameworkName, wish: Wish, machine: Machine, series: str) -> list[str]:
    """Say what speaks against a build, one clause a reason; empty where it can be had and runs."""
    asked = _outside_of_what_is_asked(build, framework, wish)
    if asked:
        return [asked]
    if machine.held_only and _held(framework, build, machine, series) is None:
        return ["it is not among the wheels that can be had offline"]
    if framework == "tensorflow" and build.accelerator == "cuda" and not _brings_cuda(build):
        return [f"it needs CUDA {build.cuda} and cuDNN installed on the machine itself"]
    target = msgspec.structs.replace(machine.target, python=series, accelerator=build.accelerator)
    reasons = why_not(build, target)
    return _in_words(build, machine, reasons)


def _brings_cuda(build: Build) -> bool:
    row = tensorflow.release(build.version)
    return build.platform == "linux_x86_64" and row is not None and bool(row.and_cuda)


def _outside_of_what_is_asked(build: Build, framework: FrameworkName, wish: Wish) -> str:
    version = _version(build.version)
    item = next((item for item in wish.frameworks if item.name == framework), None)
    if item is not None and not _specifiers(item.specifier).contains(version):
        return f"{item.specifier} was asked for"
    for lines, verb in ((wish.required, "asked for"), (wish.constraints, "the limit")):
        for found, source in named(lines, *DISTRIBUTIONS[framework]):
            if not found.specifier.contains(version, prereleases=True):
                return f"{found.name}{found.specifier} is {verb} ({source})"
    names = {found.name.lower() for found, _ in named(wish.required, *DISTRIBUTIONS[framework])}
    if names == {"tensorflow-cpu"} and build.accelerator != "cpu":
        return "tensorflow-cpu is asked for by the project"
    return ""


def _in_words(build: Build, machine: Machine, reasons: list[str]) -> list[str]:
    """Return reasons in the words of this machine: which card, which driver."""
    words: list[str] = []
    for reason in reasons:
        cards = [
            card
            for card in machine.cards
            if card.compute_capability and f"compute capability {card.compute_capability}" in reason
        ]
        names = _names(dict.fromkeys(card.label for card in cards))
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


# A suite: frameworks that live together.


def _suite(wish: Wish, machine: Machine, series: str, python: InstalledPython | None) -> _Suite | None:
    """Return the most wanted builds that live in one environment with a Python; None where there are none."""
    alone = len(wish.frameworks) == 1
    offered = [_candidates(item, wish, machine, series, 1 if alone else FITTED) for item in _backends(wish)]
    for candidates in _combinations(offered):
        suite = _Suite(series, python, candidates)
        if not _clash(candidates, machine) and (not _wants_keras(wish) or _keras(wish, suite) is not None):
            return suite
    return None


def _wants_keras(wish: Wish) -> bool:
    return any(item.name == "keras" for item in wish.frameworks)


def _combinations(offered: list[list[_Candidate]]) -> Iterator[tuple[_Candidate, ...]]:
    """Yield one candidate a framework, those with the most wanted first."""
    if all(offered):
        ranks = itertools.product(*(range(len(candidates)) for candidates in offered))
        for picks in sorted(ranks, key=lambda picks: (sum(picks), picks)):
            yield tuple(candidates[pick] for candidates, pick in zip(offered, picks, strict=True))


def _clash(candidates: tuple[_Candidate, ...], machine: Machine) -> str:
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


def _pins(candidate: _Candidate, machine: Machine) -> list[str]:
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


def _merit(suite: _Suite) -> tuple[int, int, bool, tuple[Version, ...], bool]:
    """Return what makes one suite better than another."""
    builds = [candidate.build for candidate in suite.candidates]
    return (
        sum(build.accelerator != "cpu" for build in builds),
        sum(candidate.held is not None for candidate in suite.candidates),
        suite.python is not None,
        tuple(_version(build.version) for build in builds),
        suite.python is not None and suite.python.preferred,
    )


# Keras.


def _keras(wish: Wish, suite: _Suite | None) -> str | None:
    """Return the newest Keras 3 that fits Python, backend, TensorFlow's own requirement and all limits."""
    if suite is None:
        return None
    item = next((item for item in wish.frameworks if item.name == "keras"), FrameworkWish("keras"))
    limits = [_specifiers(item.specifier)]
    limits += [found.specifier for found, _ in named((*wish.required, *wish.constraints), "keras")]
    backends = {candidate.framework: candidate.build.version for candidate in suite.candidates}
    row = tensorflow.release(backends.get("tensorflow"))
    if row is not None:
        limits.append(_specifiers(row.keras or ""))
    for release in keras.releases():
        least = keras.backend_minimum(release.version, wish.backend)
        backend = backends.get(wish.backend)  # type: ignore[call-overload]
        fits_backend = least is None or backend is None or _version(backend) >= _version(least)
        python = _specifiers(release.requires_python).contains(f"{suite.series.rstrip('t')}.99")
        if fits_backend and python and all(limit.contains(release.version) for limit in limits):
            return release.version
    return None


# From a suite to a plan.


def _plan_of(suite: _Suite, wish: Wish, machine: Machine, pytorch_index: str) -> Plan:
    choices = [_choice(candidate, wish, machine, suite.series) for candidate in suite.candidates]
    requirements = [
        wanted for one in suite.candidates for wanted in _framework_requirements(one, wish, machine, pytorch_index)
    ]
    variables = {}
    if _wants_keras(wish):
        version = _keras(wish, suite) or ""
        row = keras.release(version)
        choices.append(
            Choice(
                framework="keras",
                version=version,
                accelerator=_of_backend(choices, wish.backend).accelerator,
                why=f"newest Keras for Python {suite.series} that computes with "
                f"{TITLES[_of_backend(choices, wish.backend).framework]} {_of_backend(choices, wish.backend).version}",
                source=row.source if row else "",
            )
        )
        requirements.append(Wanted(text=f"keras=={version}", why="Keras"))
        variables["KERAS_BACKEND"] = wish.backend
    extras, notes = _extras(suite, wish, machine, pytorch_index)
    requirements += extras
    requirements += [Wanted(text=line.text, why=line.source) for line in wish.requirements]
    requirements.append(Wanted(text="pip", why="so that `pip install` inside means this environment"))
    return Plan(
        platform=machine.platform or "",
        python=_python_choice(suite, wish),
        choices=tuple(choices),
        requirements=tuple(requirements),
        constraints=_numpy_limits(suite, machine) + tuple(Wanted(text=c.text, why=c.source) for c in wish.constraints),
        files=wish.files,
        variables=variables,
        notes=(*_notes(wish, machine, choices), *notes),
        kernel="jupyter" in wish.extras,
    )


def _of_backend(choices: list[Choice], backend: str) -> Choice:
    return next(choice for choice in choices if choice.framework == backend)


def _choice(candidate: _Candidate, wish: Wish, machine: Machine, series: str) -> Choice:
    build = candidate.build
    passed_over = [
        (other, _against(other, candidate.framework, wish, machine, series))
        for other in sorted(
            _ordered(candidate.framework, machine, wish, series), key=lambda one: _version(one.version), reverse=True
        )
        if _is_better(other, build, wish, machine)
    ]
    return Choice(
        framework=candidate.framework,
        version=build.local_version,
        accelerator=build.accelerator,
        why=_why(candidate, machine),
        refused=_grouped(pair for pair in passed_over if pair[1]),
        verified=build.verified,
        source=build.source,
    )


def _is_better(other: Build, chosen: Build, wish: Wish, machine: Machine) -> bool:
    """Tell whether a user might ask why this build was not taken: a better accelerator, or as good and newer."""
    tried = _accelerators(wish, machine)
    rank, chosen_rank = tried.index(other.accelerator), tried.index(chosen.accelerator)
    if rank != chosen_rank or other == chosen:
        return rank < chosen_rank
    runtime, chosen_runtime = other.cuda or other.rocm or "0", chosen.cuda or chosen.rocm or "0"
    return (_version(other.version), _version(runtime)) > (_version(chosen.version), _version(chosen_runtime))


def _grouped(pairs: Iterable[tuple[Build, list[str]]]) -> tuple[Refused, ...]:
    """Return builds by what speaks against them, the newest first."""
    groups: dict[str, list[str]] = {}
    for build, reasons in pairs:
        if reasons:
            versions = groups.setdefault("; ".join(reasons), [])
            if build.local_version not in versions:
                versions.append(build.local_version)
    return tuple(Refused(tuple(versions), reason) for reason, versions in groups.items())


def _why(candidate: _Candidate, machine: Machine) -> str:
    build, driver = candidate.build, machine.target.driver
    version = build.local_version
    if candidate.held is not None:
        return f"{version} lies in {candidate.held.folder}, where your pip looks"
    if build.accelerator == "cuda":
        cards = _names(dict.fromkeys(card.label for card in machine.cards))
        code = f" has code for your {cards}" if cards and build.architectures else f" is for CUDA {build.cuda}"
        runs = f", and driver {driver} runs CUDA {build.cuda}" if driver else ""
        return f"{version}{code}{runs}"
    if build.accelerator == "rocm":
        return f"{version} has code for {_names(machine.target.gfx or machine.amd_cards)}"
    if build.accelerator == "mps":
        return f"{version} computes on the GPU of this Mac"
    return f"{version} computes on the processor"


def _python_choice(suite: _Suite, wish: Wish) -> PythonChoice:
    asked = f" (asked for: {wish.python}, {wish.python_source})" if wish.python else ""
    if suite.python is None:
        return PythonChoice(series=suite.series, why=f"Python {suite.series} is fetched: no installed one fits{asked}")
    return PythonChoice(
        series=suite.series, path=suite.python.path, why=f"Python {suite.python.version} is installed{asked}"
    )


def _distribution(framework: FrameworkName, build: Build, asked: tuple[str, ...]) -> str:
    """Return the distribution that brings a build.

    For the processor on x86-64 Linux it is tensorflow-cpu, since the plain one is a CUDA build of twice its size; but
    where the project requires the plain one by name, both would lie in the same folder.
    """
    is_cpu_wheel = framework == "tensorflow" and build.accelerator == "cpu" and build.platform == "linux_x86_64"
    plain = "tensorflow" in asked
    return (
        "tensorflow-cpu" if is_cpu_wheel and not plain and _version(build.version) >= _version("2.1") else build.package
    )


def _framework_requirements(candidate: _Candidate, wish: Wish, machine: Machine, pytorch_index: str) -> list[Wanted]:
    build = candidate.build
    title = TITLES[candidate.framework]
    if candidate.framework == "tensorflow":
        asked = tuple(found.name.lower() for found, _ in named(wish.required, *DISTRIBUTIONS["tensorflow"]))
        name = _distribution("tensorflow", build, asked)
        extra = "[and-cuda]" if build.accelerator == "cuda" else ""
        pins = tensorflow.extra_pins(build, machine.target)
        return [
            Wanted(text=f"{name}{extra}=={build.version}", why=title),
            *(Wanted(text=pin, why=f"{title} on your cards (cuDNN)") for pin in pins),
        ]
    return [
        Wanted(
            text=f"torch=={_installed_version(build)}{_not_held(build, machine)}",
            why=title,
            index=_index(candidate, pytorch_index),
        ),
        # torch does not require it, and without it tensors cannot become arrays nor arrays tensors.
        Wanted(text="numpy", why="arrays for PyTorch"),
    ]


def _not_held(build: Build, machine: Machine) -> str:
    """Exclude wheels of the same release for something else that lie in the user's folders: `==` accepts them."""
    if build.index is not None:
        return ""
    others = {wheel.version for wheel in machine.held if wheel.name == "torch" and _version(wheel.version).local}
    return "".join(f",!={version}" for version in sorted(others) if public(version) == _version(build.version))


def _index(candidate: _Candidate, pytorch_index: str) -> str:
    """Return the one index that may answer; empty where the user's own places have the build."""
    if candidate.held is not None or candidate.build.index is None:
        return ""
    return candidate.build.index.replace(torch.WHEEL_INDEX, pytorch_index.rstrip("/"))


def _extras(suite: _Suite, wish: Wish, machine: Machine, pytorch_index: str) -> tuple[list[Wanted], list[str]]:
    """Return what the extras bring, and what the user should know of them."""
    wanted = [Wanted(text=text, why=extra) for extra in wish.extras for text in EXTRA_REQUIREMENTS[extra]]
    notes = []
    for candidate in suite.candidates:
        companions = torch.companions(candidate.build.version) if candidate.framework == "torch" else None
        if companions is None:
            continue
        offered = {"vision": ("torchvision", companions.torchvision), "audio": ("torchaudio", companions.torchaudio)}
        for extra in wish.extras:
            name, version = offered.get(extra, ("", ""))
            if name and version:
                wanted.append(_companion(name, version, candidate, machine, pytorch_index))
            elif name:
                last = next(row for row in torch.releases() if row.torchaudio)
                notes.append(
                    f"{name} ended with {last.torchaudio}, for torch {last.series} (--framework torch=={last.series}); "
                    "soundfile and librosa are installed"
                )
    return wanted, notes


def _companion(name: str, version: str, candidate: _Candidate, machine: Machine, pytorch_index: str) -> Wanted:
    """Return a companion from where torch comes from: one for another CUDA version fails at import."""
    local = _version(_installed_version(candidate.build)).local
    pinned = f"{version}+{local}" if local else version
    kept = any(wheel.name == name and _version(wheel.version) == _version(pinned) for wheel in machine.held)
    where = "" if kept or candidate.build.index is None else candidate.build.index
    return Wanted(
        text=f"{name}=={pinned}",
        why=f"belongs to torch {candidate.build.version}",
        index=where.replace(torch.WHEEL_INDEX, pytorch_index.rstrip("/")),
    )


def _numpy_limits(suite: _Suite, machine: Machine) -> tuple[Wanted, ...]:
    """Return numpy<2 where a framework was built with NumPy 1 and its metadata does not say so."""
    system = "macos" if machine.target.system == "darwin" else machine.target.system
    for candidate in suite.candidates:
        version = candidate.build.version
        if candidate.framework == "torch" and torch.numpy_major(version, system) == 1:
            return (Wanted(text="numpy<2", why=f"torch {version} was built with NumPy 1"),)
        if candidate.framework == "tensorflow" and _version(version) < NUMPY_2_SINCE_TENSORFLOW:
            return (Wanted(text="numpy<2", why=f"TensorFlow {version} was built with NumPy 1"),)
    return ()


def _notes(wish: Wish, machine: Machine, choices: list[Choice]) -> list[str]:
    notes = []
    on_processor = all(choice.accelerator == "cpu" for choice in choices)
    if machine.gpu_problem and on_processor:
        names = _names(dict.fromkeys(card.name for card in machine.cards))
        notes.append(
            f"{names} is here, but {machine.gpu_problem}: this is a build for the processor. "
            "`envcheck doctor` says how to mend it; then set up again"
        )
    if machine.cards and not machine.gpu_problem and wish.accelerator == "auto":
        notes += [
            _note_on_cards(choice, machine) for choice in choices if choice.accelerator == "cpu" and choice.refused
        ]
    notes += [
        f"{TITLES[choice.framework]} {choice.version} was not seen published by the tables' authors; "
        "should the index not have it, ask for another version"
        for choice in choices
        if not choice.verified
    ]
    if machine.held_only:
        notes.append("offline: only wheels that are here are considered")
    return notes


def _note_on_cards(choice: Choice, machine: Machine) -> str:
    """Say why a framework does not use the cards that are there, and what would change that."""
    title, reason = TITLES[choice.framework], choice.refused[0]
    sentence = f"{title} will not use your {_names(dict.fromkeys(card.label for card in machine.cards))}: "
    if len(set(machine.target.compute_capabilities)) > 1:
        return (
            f"{sentence}no build has code for all of them that your driver runs. "
            "Set CUDA_VISIBLE_DEVICES to the cards of one kind, then set up again"
        )
    return f"{sentence}{reason.builds[0]}: {reason.reason}"


def _names(names: Iterable[str]) -> str:
    """Return names as a sentence lists them."""
    listed = list(names)
    return " and ".join(filter(None, [", ".join(listed[:-1]), *listed[-1:]]))
