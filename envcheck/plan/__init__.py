"""Wish + machine + tables → Plan.  Pure: what is planned for a machine can be worked out anywhere.

The rule: of each framework the newest build that driver, every visible card, C library, Python and platform allow
together, with companions as a set that belongs to it, in one environment with the other frameworks.  Every choice says
why, and every newer build that was passed over says what spoke against it.
"""

from __future__ import annotations

import msgspec

from envcheck.compat import keras, torch
from envcheck.machine import Machine
from envcheck.plan.model import TITLES, Choice, Plan, PythonChoice, Refusal, Refused, Suite, Wanted
from envcheck.plan.pythons import pythons_for
from envcheck.plan.reasons import choice_of, choice_of_backend, notes_on, python_choice
from envcheck.plan.refusals import impossible, no_python, nothing_fits
from envcheck.plan.requirements import extras_of, framework_requirements, numpy_limits
from envcheck.plan.stack import plan_of_stack
from envcheck.plan.suites import best_suite, keras_version, merit, wants_keras
from envcheck.wish import FRAMEWORKS, FrameworkWish, Wish

__all__ = ["TITLES", "Choice", "Plan", "PythonChoice", "Refusal", "Refused", "Wanted", "plan", "plan_of_stack"]


def plan(wish: Wish, machine: Machine, pytorch_index: str = torch.WHEEL_INDEX) -> Plan | Refusal:
    """Return the plan for a wish on a machine, or why there is none.

    Args:
        wish: what the user wants.
        machine: what is known of the machine.
        pytorch_index: where PyTorch's own builds are: its index, or a mirror of it.
    """
    wish = _with_backend(wish)
    refusal = impossible(wish, machine)
    if refusal is not None:
        return refusal
    pythons = pythons_for(wish, machine)
    if not pythons:
        return no_python(wish, machine)
    suites = [suite for series, python in pythons if (suite := best_suite(wish, machine, series, python)) is not None]
    if not suites:
        return nothing_fits(wish, machine, [series for series, _ in pythons])
    suite = max(suites, key=merit)
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


def _plan_of(suite: Suite, wish: Wish, machine: Machine, pytorch_index: str) -> Plan:
    choices = [choice_of(candidate, wish, machine, suite.series) for candidate in suite.candidates]
    requirements = [
        wanted for one in suite.candidates for wanted in framework_requirements(one, wish, machine, pytorch_index)
    ]
    variables = {}
    if wants_keras(wish):
        version = keras_version(wish, suite) or ""
        row = keras.release(version)
        backend = choice_of_backend(choices, wish.backend)
        computes = f"computes with {TITLES[backend.framework]} {backend.version}"
        choices.append(
            Choice(
                framework="keras",
                version=version,
                accelerator=backend.accelerator,
                why=f"newest Keras for Python {suite.series} that {computes}",
                source=row.source if row else "",
            )
        )
        requirements.append(Wanted(text=f"keras=={version}", why="Keras"))
        variables["KERAS_BACKEND"] = wish.backend
    extras, notes = extras_of(suite, wish, machine, pytorch_index)
    requirements += [*extras, *numpy_limits(suite, machine)]
    requirements += [Wanted(text=line.text, why=line.source) for line in wish.requirements]
    requirements.append(Wanted(text="pip", why="so that `pip install` inside means this environment"))
    return Plan(
        platform=machine.platform or "",
        python=python_choice(suite, wish),
        choices=tuple(choices),
        requirements=tuple(requirements),
        constraints=tuple(Wanted(text=limit.text, why=limit.source) for limit in wish.constraints),
        files=wish.files,
        variables=variables,
        notes=(*notes_on(wish, machine, choices), *notes),
        kernel="jupyter" in wish.extras,
    )
