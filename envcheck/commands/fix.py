"""`envcheck fix`: mend the environment under test."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from envcheck.commands import output
from envcheck.commands.doctor import Progress, chosen_checks, look, read_paste, selected

if TYPE_CHECKING:
    from envcheck.doctor import Examined
    from envcheck.facts import Python
    from envcheck.fix.plan import Plan
    from envcheck.intent import Intent
    from envcheck.report import Report


@click.command()
@click.option("--apply", "apply", is_flag=True, help="Carry the plan out, one step after another.")
@click.option("--dry-run", is_flag=True, help="Print the plan and change nothing: what happens without --apply too.")
@click.option("--undo", is_flag=True, help="Bring back the versions from before the latest --apply.")
@click.option("--online", is_flag=True, help="Ask the package index whether each step is possible.")
@click.option("--python", "python", metavar="PATH", help="Interpreter or environment under test.")
@click.option(
    "--require", "required", multiple=True, metavar="REQUIREMENT", help='Such as "gpus>=1" or torch.cuda; repeatable.'
)
@click.option("--only", multiple=True, metavar="GLOB", help="Mend what these checks find alone; repeatable.")
@click.option("--skip", multiple=True, metavar="GLOB", help="Leave out these checks; repeatable.")
@click.option("--mute", multiple=True, metavar="CHECK", help="Leave a check's findings alone; repeatable.")
@click.option("--timeout", type=click.FloatRange(min=0.1), metavar="SECONDS", help="No probe may take longer.")
@click.option("--json", "as_json", is_flag=True, help="The plan, or what became of it, as JSON.")
@click.option("--from", "pasted", multiple=True, metavar="FILE…", help="Plan for what was pasted; prints alone.")
@click.argument("files", nargs=-1, metavar="")
@click.option(
    "--replay",
    type=click.Path(exists=True, dir_okay=False),
    metavar="FILE",
    help="Plan for a recorded machine; prints alone.",
)
def fix(
    *,
    apply: bool,
    dry_run: bool,
    undo: bool,
    online: bool,
    python: str | None,
    required: tuple[str, ...],
    only: tuple[str, ...],
    skip: tuple[str, ...],
    mute: tuple[str, ...],
    timeout: float | None,
    as_json: bool,
    pasted: tuple[str, ...],
    files: tuple[str, ...],
    replay: str | None,
) -> int:
    """Print the commands that mend this environment; with --apply carry them out.

    Carried out are installers that change packages of the environment under test and nothing else. What needs root,
    touches drivers or changes your shell is printed for you. After each step the environment is examined again; a step
    that fails, does not help or makes something worse is taken back.

    Exit status: 0 nothing is left to mend, 1 something is, 2 wrong usage, 3 the environment could not be examined, 130
    interrupted.
    """
    foreign = bool(pasted or replay)
    _refuse(
        files=files,
        pasted=pasted,
        replay=replay,
        chosen=(apply, dry_run, undo),
        here=apply or undo or online or bool(python),
    )
    chosen_checks(only, skip)

    def examine() -> tuple[Examined, Intent]:
        if pasted:
            examined, declared, _ = read_paste([*pasted, *files], list(required), list(mute))
            return examined, declared
        progress = Progress(shown=not as_json)
        return look(
            python, list(required), list(mute), progress, quick=False, limit=timeout, record=None, replay=replay
        )

    def report() -> Report:
        from envcheck.doctor import diagnose

        examined, declared = examine()
        # Every check, whatever is to be mended: a step must not make worse what it is not there for.
        return diagnose(examined.facts, examined.probes, chosen_checks((), ()), declared)

    def wanted(check: str) -> bool:
        return selected(check, only, skip)

    if undo:
        return _undo(python, timeout, as_json=as_json)
    found = report()
    from envcheck.fix import page
    from envcheck.fix.plan import plan
    from envcheck.report import Verdict

    planned = plan(found, wanted)
    if online:
        planned = _asked(planned, found.facts.python)
    if apply and planned.steps:
        _refuse_own(found)
        return _apply(found, report, wanted, as_json=as_json)
    if as_json:
        _json({"summary": found.summary, "verdict": found.verdict, "steps": planned.steps, "left": planned.left})
    else:
        output.write(page.of_plan(found, planned, foreign=foreign))
    if planned.steps or planned.left:
        return 1
    return 3 if found.verdict is Verdict.UNKNOWN else 0


def _refuse(
    *, files: tuple[str, ...], pasted: tuple[str, ...], replay: str | None, chosen: tuple[bool, ...], here: bool
) -> None:
    """Raise where options do not go together.

    Args:
        files: arguments that are no options.
        pasted: files of `--from`.
        replay: file of `--replay`.
        chosen: which of `--apply`, `--dry-run` and `--undo` were given.
        here: whether an option was given that needs this machine.
    """
    if files and not pasted:
        raise click.UsageError(
            f"fix takes no argument {files[0]!r}; to plan for a file: envcheck fix --from {files[0]}"
        )
    if sum(chosen) > 1:
        raise click.UsageError("--apply, --dry-run and --undo are three things: give one of them")
    if (pasted or replay) and here:
        raise click.UsageError("--from and --replay are other machines: for them the plan is printed, nothing more")
    if pasted and replay:
        raise click.UsageError("--replay and --from are two machines: give one of them")


def _refuse_own(found: Report) -> None:
    """Raise where the environment is envcheck's own, for want of another one, and nobody has named it."""
    import os

    from envcheck.interpreter import OWN

    python = found.facts.python
    if (
        python
        and python.chosen_because == OWN
        and os.path.realpath(python.prefix or "") == os.path.realpath(sys.prefix)
    ):
        raise click.UsageError(
            "No environment is active, and envcheck does not change its own: name one with --python."
        )


def _apply(found: Report, examine: Callable[[], Report], wanted: Callable[[str], bool], *, as_json: bool) -> int:
    from envcheck.fix import carry_out, page
    from envcheck.fix.environment import NotPossibleError
    from envcheck.report import Verdict

    try:
        mended = carry_out.carry_out(found, examine, _hear(as_json=as_json), wanted)
    except NotPossibleError as problem:
        raise click.ClickException(str(problem)) from problem
    if as_json:
        _json(
            {
                "summary": mended.report.summary,
                "verdict": mended.report.verdict,
                "steps": mended.steps,
                "left": mended.left,
                "record": mended.record,
                "interrupted": mended.interrupted,
            }
        )
    else:
        output.write(page.of_result(mended))
    if mended.interrupted:
        return 130
    if mended.left:
        return 1
    return 3 if mended.report.verdict is Verdict.UNKNOWN else 0


def _undo(python: str | None, timeout: float | None, *, as_json: bool) -> int:
    from envcheck.fix import carry_out, page
    from envcheck.fix.environment import NotPossibleError

    try:
        undone = carry_out.undo(_interpreter(python, timeout), _hear(as_json=as_json))
    except NotPossibleError as problem:
        raise click.UsageError(str(problem)) from problem
    if as_json:
        _json(
            {
                "record": undone.record,
                "restored": undone.restored,
                "removed": undone.removed,
                "problem": undone.problem,
            }
        )
    else:
        output.write(page.of_undone(undone))
    return 1 if undone.problem else 0


def _interpreter(python: str | None, timeout: float | None) -> Python:
    """Return what is known of the interpreter under test, without looking at anything else."""
    from envcheck.doctor import examine
    from envcheck.interpreter import choose
    from envcheck.probe import all_probes
    from envcheck.system import Live

    live = Live()
    chosen = choose(live, python)
    asked = [probe for probe in all_probes() if "python" in probe.fills]
    found = examine(live, chosen, asked, limit=timeout).facts.python
    if found is None or found.state != "ok":
        raise click.UsageError(f"{chosen.path} does not run: {(found.detail or found.state) if found else 'no answer'}")
    return found


def _asked(planned: Plan, python: Python | None) -> Plan:
    """Return a plan of those steps alone that the package index can serve; the others are left, with its words."""
    import msgspec

    from envcheck.fix.environment import refused_by_index
    from envcheck.fix.plan import Left

    if python is None:
        return planned
    steps, left = [], []
    for step in planned.steps:
        why = refused_by_index(step.commands, python)
        if not why:
            steps.append(step)
            continue
        left.append(
            Left(
                check=step.check,
                cause=step.cause,
                severity=step.severity,
                title=step.title,
                why=f"the package index cannot serve it: {why}",
                remedies=[],
            )
        )
    return msgspec.structs.replace(planned, steps=steps, left=[*left, *planned.left])


def _hear(*, as_json: bool) -> Callable[[str], None]:
    """Return what tells the user how it goes on: lines on standard error, so that standard output is the result."""

    def hear(line: str) -> None:
        from envcheck.render.terminal import clean

        if not as_json:
            sys.stderr.write(clean(line).rstrip() + "\n")
            sys.stderr.flush()

    return hear


def _json(answer: dict[str, object]) -> None:
    import json

    import msgspec

    text = json.dumps(msgspec.to_builtins(answer), indent=2, ensure_ascii=False)
    # A name on this machine that is no UTF-8 is held as half characters, for each of which a question mark stands.
    output.write(output.tidied(text.encode("utf-8", "replace").decode()))
