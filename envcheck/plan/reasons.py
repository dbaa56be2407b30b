"""Why a build was chosen, and why others were passed over."""

from __future__ import annotations

from collections.abc import Iterable

from envcheck.compat.build import Build
from envcheck.machine import Machine
from envcheck.plan.builds import accelerators_for, against, ordered_builds
from envcheck.plan.model import TITLES, Candidate, Choice, PythonChoice, Refused, Suite, listed_names, parse_version
from envcheck.wish import Wish


def choice_of_backend(choices: list[Choice], backend: str) -> Choice:
    """Return the choice of the framework that Keras computes with."""
    return next(choice for choice in choices if choice.framework == backend)


def choice_of(candidate: Candidate, wish: Wish, machine: Machine, series: str) -> Choice:
    """Return a candidate as a choice: why this one, and what was passed over."""
    build = candidate.build
    every = ordered_builds(candidate.framework, machine, wish, series)
    passed_over = [
        (other, against(other, candidate.framework, wish, machine, series))
        for other in sorted(every, key=lambda one: parse_version(one.version), reverse=True)
        if _is_better(other, build, wish, machine)
    ]
    return Choice(
        framework=candidate.framework,
        version=build.local_version,
        accelerator=build.accelerator,
        why=why_chosen(candidate, machine),
        refused=grouped(pair for pair in passed_over if pair[1]),
        verified=build.verified,
        source=build.source,
    )


def _is_better(other: Build, chosen: Build, wish: Wish, machine: Machine) -> bool:
    """Tell whether a user might ask why this build was not taken: a better accelerator, or as good and newer."""
    tried = accelerators_for(wish, machine)
    rank, chosen_rank = tried.index(other.accelerator), tried.index(chosen.accelerator)
    if rank != chosen_rank or other == chosen:
        return rank < chosen_rank
    runtime, chosen_runtime = other.cuda or other.rocm or "0", chosen.cuda or chosen.rocm or "0"
    return (parse_version(other.version), parse_version(runtime)) > (
        parse_version(chosen.version),
        parse_version(chosen_runtime),
    )


def grouped(pairs: Iterable[tuple[Build, list[str]]]) -> tuple[Refused, ...]:
    """Return builds by what speaks against them, the newest first."""
    groups: dict[str, list[str]] = {}
    for build, reasons in pairs:
        if reasons:
            versions = groups.setdefault("; ".join(reasons), [])
            if build.local_version not in versions:
                versions.append(build.local_version)
    return tuple(Refused(tuple(versions), reason) for reason, versions in groups.items())


def why_chosen(candidate: Candidate, machine: Machine) -> str:
    """Return why a build was chosen, one sentence."""
    build, driver = candidate.build, machine.target.driver
    version = build.local_version
    if candidate.held is not None:
        return f"{version} lies in {candidate.held.folder}, where your pip looks"
    if build.accelerator == "cuda":
        cards = listed_names(dict.fromkeys(card.label for card in machine.cards))
        code = f" has code for your {cards}" if cards and build.architectures else f" is for CUDA {build.cuda}"
        runs = f", and driver {driver} runs CUDA {build.cuda}" if driver else ""
        return f"{version}{code}{runs}"
    if build.accelerator == "rocm":
        if not machine.target.gfx:
            cards = listed_names(machine.amd_cards) or "your card"
            return f"{version} is for ROCm {build.rocm}; whether it has code for {cards} is not known"
        return f"{version} has code for {listed_names(machine.target.gfx)}"
    if build.accelerator == "mps":
        return f"{version} computes on the GPU of this Mac"
    return f"{version} computes on the processor"


def python_choice(suite: Suite, wish: Wish) -> PythonChoice:
    """Return the interpreter of a suite, and why it is that one."""
    asked = f" (asked for: {wish.python}, {wish.python_source})" if wish.python else ""
    if suite.python is None:
        return PythonChoice(series=suite.series, why=f"Python {suite.series} is fetched: no installed one fits{asked}")
    return PythonChoice(
        series=suite.series, path=suite.python.path, why=f"Python {suite.python.version} is installed{asked}"
    )


def notes_on(wish: Wish, machine: Machine, choices: list[Choice]) -> list[str]:
    """Return what the user should know of a plan beside its choices."""
    notes = []
    on_processor = all(choice.accelerator == "cpu" for choice in choices)
    if machine.gpu_problem and on_processor:
        names = listed_names(dict.fromkeys(card.name for card in machine.cards))
        notes.append(
            f"{names} is here, but {machine.gpu_problem}: this is a build for the processor. "
            "`envcheck doctor` says how to mend it; then set up again"
        )
    if machine.cards and not machine.gpu_problem and wish.accelerator == "auto":
        notes += [
            _note_on_cards(choice, machine) for choice in choices if choice.accelerator == "cpu" and choice.refused
        ]
    if machine.amd_cards and not machine.cards and wish.accelerator == "auto":
        notes += [_note_on_amd(choice, machine) for choice in choices if choice.accelerator == "cpu"]
    notes += [
        f"{TITLES[choice.framework]} {choice.version} was not seen published by the tables' authors; "
        "should the index not have it, ask for another version"
        for choice in choices
        if not choice.verified
    ]
    if machine.held_only:
        notes.append("offline: only wheels that are here are considered")
    return notes


def _note_on_amd(choice: Choice, machine: Machine) -> str:
    """Say why a framework does not use the AMD cards that are there, and what would change that."""
    title, cards = TITLES[choice.framework], listed_names(machine.amd_cards)
    sentence = f"{title} will not use your {cards}: "
    if choice.framework != "torch":
        return f"{sentence}no build of it for ROCm is known here; --framework torch has some"
    if not machine.target.gfx:
        way = "--accelerator rocm takes a build for ROCm all the same"
        return f"{sentence}AMD's kernel driver does not tell its target; {way}"
    reason = choice.refused[0] if choice.refused else None
    why = f"{reason.builds[0]}: {reason.reason}" if reason else "no build for ROCm is known for this platform"
    return f"{sentence}{why}"


def _note_on_cards(choice: Choice, machine: Machine) -> str:
    """Say why a framework does not use the cards that are there, and what would change that."""
    title, reason = TITLES[choice.framework], choice.refused[0]
    sentence = f"{title} will not use your {listed_names(dict.fromkeys(card.label for card in machine.cards))}: "
    if len(set(machine.target.compute_capabilities)) > 1:
        return (
            f"{sentence}no build has code for all of them that your driver runs. "
            "Set CUDA_VISIBLE_DEVICES to the cards of one kind, then set up again"
        )
    return f"{sentence}{reason.builds[0]}: {reason.reason}"
