"""What a person reads of a plan, a refusal, a fault, a report and the list of generations.  Plain text, no markup."""

from __future__ import annotations

import shlex
import textwrap
import time

from envcheck.install import image
from envcheck.install.build import Report
from envcheck.install.faults import Fault
from envcheck.install.generations import ADOPTED, Generation, Place
from envcheck.install.pip_configuration import masked
from envcheck.install.uv import Command
from envcheck.plan import TITLES, Choice, Plan, Refusal, Refused
from envcheck.smoke.child import without_escapes
from envcheck.wish import FRAMEWORKS

SHOWN = 6
"""Reasons for which builds were passed over that a page shows; `--json` has them all."""


def plan_page(plan: Plan, *, width: int, verbose: bool) -> str:
    """Return a plan: what, why, and what was passed over."""
    lines = [f"Python {plan.python.series}: {plan.python.why}"]
    for choice in plan.choices:
        lines += [_choice_line(choice), *_refused_lines(choice.refused, width, verbose=verbose)]
    lines += _companion_lines(plan)
    lines += [f"limit: {wanted.text} ({wanted.why})" for wanted in plan.constraints[: None if verbose else SHOWN]]
    lines += [f"also: {path}" for path in plan.files]
    lines += [f"{name}={value} is the default inside" for name, value in plan.variables.items()]
    lines += [f"note: {note}" for note in plan.notes]
    return _clean("\n".join(_wrapped(line, width) for line in lines))


def _companion_lines(plan: Plan) -> list[str]:
    """Return what comes beside the frameworks, one line for all that somebody wants."""
    texts: dict[str, list[str]] = {}
    for wanted in plan.requirements:
        if wanted.why not in TITLES.values():
            texts.setdefault(wanted.why, []).append(wanted.text)
    return [f"and {', '.join(found)}: {why}" for why, found in texts.items()]


def _choice_line(choice: Choice) -> str:
    return f"{TITLES[choice.framework]} {choice.version} ({choice.accelerator}): {choice.why}"


def _refused_lines(refused: tuple[Refused, ...], width: int, *, verbose: bool) -> list[str]:
    shown = refused if verbose else refused[:SHOWN]
    lines = [_wrapped(f"  not {_builds(one)}: {one.reason}", width, "      ") for one in shown]
    left = len(refused) - len(shown)
    return [*lines, *([f"  and {left} more reasons: --verbose"] if left else [])]


def _builds(refused: Refused) -> str:
    few = 3
    more = f" and {len(refused.builds) - few} older" if len(refused.builds) > few else ""
    return ", ".join(refused.builds[:few]) + more


def commands_page(commands: list[Command], variables: dict[str, str]) -> str:
    """Return the exact commands, with the variables that they get; passwords are masked."""
    lines = []
    for one in commands:
        first = f"{shlex.join(one.cached)} ||\n    " if one.cached else ""
        lines.append(f"  {masked(first + shlex.join(one.argv))}")
    settings = [f"  export {name}={shlex.quote(masked(value))}" for name, value in sorted(variables.items())]
    return _clean("\n".join(["commands:", *settings, *lines]))


def refusal_page(refusal: Refusal, *, width: int, verbose: bool) -> str:
    """Return why there is no plan, and what would change that."""
    lines = _why_not(refusal.sentence, refusal.change, width)
    return _clean("\n".join([*lines, *_refused_lines(refusal.refused, width, verbose=verbose)]))


def _why_not(sentence: str, change: str, width: int) -> list[str]:
    return [_wrapped(f"cannot: {sentence}", width), _wrapped(f"what would change that: {change}", width)]


def fault_page(fault: Fault, kept: str, *, width: int) -> str:
    """Return why a set-up failed, what would change that, and what was kept."""
    said = [f"  | {line}" for line in fault.evidence]
    return _clean("\n".join([*_why_not(fault.sentence, fault.change, width), *said, kept]))


def kept_sentence(place: Place, generations: list[Generation], *, stays: bool = False) -> str:
    """Return what is in use after a set-up that did not come to its end.

    Args:
        place: of which name.
        generations: what is there.
        stays: whether the folder of an image stays, so that it can be built later.
    """
    current = next((one for one in generations if one.current), None)
    if current is not None:
        return f"generation {current.number} is in use as before: {_place_of(current, place)}"
    return "the next set-up writes that folder anew" if stays else "nothing was changed, nothing is left behind"


def _place_of(generation: Generation, place: Place) -> str:
    """Return what the user starts or activates."""
    return f"{generation.image.rpartition(':')[0]}:current" if generation.image else str(place.link)


def report_page(report: Report, *, width: int) -> str:
    """Return what was made, how long it took, and how to use it."""
    seconds = {step.name: step.seconds for step in report.steps}
    proof = seconds.get("verify", 0.0) + seconds.get("check", 0.0)
    made = sum(seconds.values()) - proof
    lines = []
    for one in report.verified:
        accuracy = "" if one.test_accuracy is None else f", test accuracy {one.test_accuracy:.2f}"
        rate = "" if one.samples_per_second is None else f", {one.samples_per_second:,.0f} samples/s"
        does = f"trains on {one.device}{accuracy}{rate}" if one.trained else "imports"
        lines.append(f"{TITLES[FRAMEWORKS[one.framework]]} {one.version} {does}")
    before = "" if report.replaced is None else f"; generation {report.replaced} is kept: --rollback"
    lines += [] if report.locked_by == "solved" else [_lock_line(report)]
    lines.append(
        f"{report.packages} packages in {made:.1f} s, proved in {proof:.1f} s; generation {report.generation}{before}"
    )
    if report.removed:
        lines.append(f"cleared away what an interrupted set-up had left: generation {_numbers(report.removed)}")
    if report.kernel:
        lines.append(f"Jupyter kernel: {report.kernel}")
    start = f"source {report.environment}/bin/activate"
    if report.image:
        gpus = "--gpus all " if image.target(report.plan) == "cuda" else ""
        start = f"docker run --rm --interactive --tty {gpus}{report.environment} python"
    lines.append(f"{report.environment} is ready: {start}")
    return _clean("\n".join(_wrapped(line, width) for line in lines))


def _lock_line(report: Report) -> str:
    """Say whose lock was taken, and how to have newer packages."""
    if report.plan.stack:
        return f"the lock of {report.locked_by} was installed as it is"
    unchanged = "nothing that it was made from has changed"
    return f"the lock of {report.locked_by} was taken again, since {unchanged}: --upgrade solves anew"


def list_page(place: Place, generations: list[Generation]) -> str:
    """Return the generations of a name, one a line."""
    if not generations:
        return f"no environment of the name {place.name!r} was set up in {place.directory}"
    return _clean("\n".join(_generation_line(one) for one in generations))


def _generation_line(one: Generation) -> str:
    mark = "*" if one.current else " "
    if one.state == ADOPTED:
        return f"{mark} {one.number}  taken over; --rollback brings it back"
    if not one.usable:
        return f"{mark} {one.number}  unfinished; the next set-up clears it away"
    made = time.strftime("%Y-%m-%d %H:%M", time.localtime(one.made))
    frameworks = ", ".join(f"{name} {version}" for name, version in one.frameworks.items())
    named = f"  {one.image}" if one.image else ""
    return f"{mark} {one.number}  {made}  Python {one.python}  {frameworks}{named}"


def _numbers(numbers: list[int]) -> str:
    return ", ".join(map(str, numbers))


def _wrapped(line: str, width: int, indent: str = "  ") -> str:
    return textwrap.fill(line, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


def _clean(text: str) -> str:
    return without_escapes(text)
