"""A stack on a machine → Plan: what speaks against it, and whether its lock can be installed as it is."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from envcheck import stacks
from envcheck.compat import torch
from envcheck.compat.build import Build, why_not
from envcheck.machine import InstalledPython, Machine
from envcheck.plan.builds import held_wheel, in_words, installed_version, published_for
from envcheck.plan.model import (
    DISTRIBUTIONS,
    TITLES,
    Candidate,
    Choice,
    Plan,
    PythonChoice,
    Refusal,
    Refused,
    Wanted,
    parse_version,
)
from envcheck.plan.pythons import pythons_for
from envcheck.plan.reasons import why_chosen
from envcheck.plan.refusals import impossible, no_python
from envcheck.plan.requirements import index_of
from envcheck.stacks import Stack
from envcheck.wish import FrameworkName, FrameworkWish, Wish

NAMED = 3
"""Stacks that fit which a refusal names at most."""


class Part(msgspec.Struct, frozen=True):
    """A framework of a stack.

    Attributes:
        framework: which one.
        requirement: what the stack asks for.
        build: the build that answers; None where the tables know none.
    """

    framework: FrameworkName
    requirement: Requirement
    build: Build | None


def plan_of_stack(
    stack: Stack,
    others: Sequence[Stack],
    machine: Machine,
    python: str = "",
    pytorch_index: str = torch.WHEEL_INDEX,
    *,
    upgrade: bool = False,
) -> Plan | Refusal:
    """Return the plan for a stack on a machine, or why it does not fit and which others do.

    Args:
        stack: which one.
        others: all that there are.
        machine: what is known of the machine.
        python: versions of CPython (PEP 440); empty = the one that the lock is for, else any that is here.
        pytorch_index: where PyTorch's own builds are: its index, or a mirror of it.
        upgrade: whether to solve the requirements anew, whatever the lock says.
    """
    platform = stacks.platform_key(machine.platform or "")
    if platform not in stack.platforms:
        here = f"{machine.target.system} on {machine.target.machine}"
        return _refusal(stack, others, machine, f"it is for {', '.join(stack.platforms)}, and this is {here}")
    parts = _parts(stacks.required(stack, platform), machine)
    wish = _wish(parts, python or f"=={stacks.PYTHON}.*", "--python" if python else "the lock's Python")
    refusal = impossible(wish, machine)
    if refusal is not None:
        return _refusal(stack, others, machine, refusal.sentence)
    pythons = pythons_for(wish, machine)
    if not pythons and not python:
        wish = _wish(parts, "", "")
        pythons = pythons_for(wish, machine)
    if not pythons:
        return no_python(wish, machine)
    series, interpreter = pythons[0]
    asked = stacks.required(stack, platform, series)
    parts = _parts(asked, machine)
    reasons = [(part, _against(part, machine, series)) for part in parts]
    if any(found for _, found in reasons):
        part, found = next(pair for pair in reasons if pair[1])
        sentence = f"{TITLES[part.framework]} {_version(part)}: {'; '.join(found)}"
        return _refusal(stack, others, machine, sentence, _refused(reasons))
    lock = (
        ("", f"--upgrade: the requirements of {stack.name} are solved") if upgrade else _lock(stack, platform, series)
    )
    return _plan(stack, asked, parts, machine, (series, interpreter), pytorch_index, lock)


def _wish(parts: list[Part], python: str, source: str) -> Wish:
    """Return the stack as a wish, for the rules that judge wishes."""
    frameworks = tuple(FrameworkWish(part.framework) for part in parts)
    needs_gpu = any(part.build is not None and part.build.accelerator == "cuda" for part in parts)
    return Wish(frameworks=frameworks, accelerator="cuda" if needs_gpu else "auto", python=python, python_source=source)


def _parts(asked: list[Requirement], machine: Machine) -> list[Part]:
    return [part for one in asked if (part := _part(one, machine)) is not None]


def _part(requirement: Requirement, machine: Machine) -> Part | None:
    """Return a requirement as a framework with its build; None where it is no framework."""
    name = canonicalize_name(requirement.name)
    framework = next((one for one, names in DISTRIBUTIONS.items() if name in names), None)
    if framework is None:
        return None
    pinned = next((one.version for one in requirement.specifier if one.operator == "=="), "")
    fitting = [
        build for build in (published_for(framework, machine) if pinned else ()) if _is(build, requirement, pinned)
    ]
    return Part(framework, requirement, fitting[0] if fitting else None)


def _is(build: Build, requirement: Requirement, pinned: str) -> bool:
    """Tell whether a build is what a requirement with an exact version installs."""
    if build.package == "torch":
        return parse_version(installed_version(build)) == parse_version(pinned)
    brings_cuda = "and-cuda" in requirement.extras
    return build.version == pinned and (build.accelerator == "cuda") == brings_cuda


def _against(part: Part, machine: Machine, series: str) -> list[str]:
    build = part.build
    if build is None:
        return []
    target = msgspec.structs.replace(machine.target, python=series, accelerator=build.accelerator)
    return in_words(build, machine, why_not(build, target))


def _version(part: Part) -> str:
    return part.build.local_version if part.build is not None else str(part.requirement.specifier).removeprefix("==")


def _refused(reasons: list[tuple[Part, list[str]]]) -> tuple[Refused, ...]:
    return tuple(Refused((_version(part),), "; ".join(found)) for part, found in reasons if found)


def _refusal(
    stack: Stack, others: Sequence[Stack], machine: Machine, reason: str, refused: tuple[Refused, ...] = ()
) -> Refusal:
    """Say why a stack does not fit, and which others with one of its frameworks do, those for the GPU first."""
    alike = [other for other in others if other.name != stack.name and _frameworks(other) & _frameworks(stack)]
    plans = [found for other in alike if isinstance(found := plan_of_stack(other, (), machine), Plan)]
    plans.sort(key=lambda found: all(choice.accelerator == "cpu" for choice in found.choices))
    fitting = [found.stack for found in plans[:NAMED]]
    names = " or ".join(sorted({"tf" if name == "tensorflow" else name for name in _frameworks(stack)}))
    planned = f"--framework {names}, which plans for this machine" if names else "another machine"
    change = f"--stack {', --stack '.join(fitting)}; or {planned}" if fitting else planned
    return Refusal(sentence=f"stack {stack.name} does not fit this machine: {reason}", change=change, refused=refused)


def _frameworks(stack: Stack) -> set[str]:
    names = {canonicalize_name(Requirement(line).name) for line in stacks.lines(stack.requirements)}
    return {framework for framework, found in DISTRIBUTIONS.items() if names & set(found)}


def _plan(
    stack: Stack,
    asked: list[Requirement],
    parts: list[Part],
    machine: Machine,
    python: tuple[str, InstalledPython | None],
    pytorch_index: str,
    locked: tuple[str, str],
) -> Plan:
    (series, interpreter), (lock, sentence) = python, locked
    candidates = {
        str(part.requirement): candidate for part in parts if (candidate := _candidate(part, machine, series))
    }
    notes = [f"stack {stack.name}: {stack.purpose}", sentence]
    notes += [
        f"the tables do not know {part.requirement}: whether it fits this machine was not judged"
        for part in parts
        if part.build is None and part.framework != "keras"
    ]
    if not parts:
        notes.append("it holds no framework that envcheck trains in, so it is proved by its requirements alone")
    return Plan(
        platform=machine.platform or "",
        python=PythonChoice(
            series=series,
            path=interpreter.path if interpreter else "",
            why=f"Python {interpreter.version} is installed" if interpreter else f"Python {series} is fetched",
        ),
        choices=tuple(_choice(part, candidates.get(str(part.requirement)), machine, stack) for part in parts),
        requirements=(
            *(
                Wanted(
                    text=str(one),
                    why=f"stack {stack.name}",
                    index=index_of(candidates[str(one)], pytorch_index)
                    if str(one) in candidates
                    else _index_beside(one, candidates, machine, pytorch_index),
                )
                for one in asked
            ),
            Wanted(text="pip", why="so that `pip install` inside means this environment"),
        ),
        variables=stack.variables,
        notes=tuple(notes),
        kernel=any(canonicalize_name(one.name) == "ipykernel" for one in asked),
        stack=stack.name,
        lock=lock,
    )


def _candidate(part: Part, machine: Machine, series: str) -> Candidate | None:
    if part.build is None:
        return None
    return Candidate(part.framework, part.build, held_wheel(part.framework, part.build, machine, series))


def _index_beside(
    requirement: Requirement, candidates: dict[str, Candidate], machine: Machine, pytorch_index: str
) -> str:
    """Return where a companion of torch is: it is built for one build of torch and lies beside it."""
    beside = next((one for one in candidates.values() if one.framework == "torch" and one.build.index), None)
    pinned = next((one.version for one in requirement.specifier if one.operator == "=="), "")
    if beside is None or not pinned or not parse_version(pinned).local:
        return ""
    kept = any(
        wheel.name == requirement.name and parse_version(wheel.version) == parse_version(pinned)
        for wheel in machine.held
    )
    return "" if kept else index_of(msgspec.structs.replace(beside, held=None), pytorch_index)


def _choice(part: Part, candidate: Candidate | None, machine: Machine, stack: Stack) -> Choice:
    build = part.build
    if candidate is not None and build is not None:
        return Choice(
            framework=part.framework,
            version=build.local_version,
            accelerator=build.accelerator,
            why=why_chosen(candidate, machine),
            verified=build.verified,
            source=build.source,
        )
    backend = stack.variables.get("KERAS_BACKEND", "")
    why = f"computes with {backend}" if part.framework == "keras" and backend else f"stack {stack.name} asks for it"
    return Choice(framework=part.framework, version=_version(part), accelerator="cpu", why=why, verified=False)


def _lock(stack: Stack, platform: str, series: str) -> tuple[str, str]:
    """Return the lock that is installed as it is, empty where there is none, and a sentence on it."""
    found = next((one for one in stack.locks if one.platform == platform), None)
    if found is None:
        return "", f"{stack.name} has no lock for {platform}: its requirements are solved"
    if found.inputs != stack.inputs:
        return "", f"the lock of {stack.name} for {platform} is older than its requirements: they are solved"
    if series != stacks.PYTHON:
        return "", f"the lock of {stack.name} is for Python {stacks.PYTHON}: for {series} its requirements are solved"
    return str(found.path), f"{len(found.pins)} packages from the lock of {stack.name} for {platform}: {found.path}"
