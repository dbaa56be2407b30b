"""`envcheck jupyter`: the kernels that a notebook offers."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from envcheck.commands import output

if TYPE_CHECKING:
    from envcheck.jupyter.examine import Examined
    from envcheck.jupyter.plan import Plan
    from envcheck.system import Live

EXIT_CODES = {"ok": 0, "warning": 0, "error": 1, "unknown": 3}


@click.command()
@click.option("--python", "python", metavar="PATH", help="Interpreter or environment under test.")
@click.option("--no-start", is_flag=True, help="Start no kernel: judge by files and metadata.")
@click.option(
    "--timeout",
    type=click.FloatRange(min=0.1),
    default=30.0,
    show_default=True,
    metavar="SECONDS",
    help="What a kernel may take to answer.",
)
@click.option("--fix", is_flag=True, help="Register this environment, repair and remove dead kernels; asks first.")
@click.option("--dry-run", is_flag=True, help="With --fix: print what would be done.")
@click.option("--yes", is_flag=True, help="With --fix: do not ask.")
@click.option("--undo", is_flag=True, help="Bring back what was there before the latest --fix.")
@click.option("--json", "as_json", is_flag=True, help="All that was seen, as JSON; with --fix what became of it.")
@click.option("-v", "--verbose", is_flag=True, help="Folders, commands and what kernels print.")
def jupyter(
    *,
    python: str | None,
    no_start: bool,
    timeout: float,
    fix: bool,
    dry_run: bool,
    yes: bool,
    undo: bool,
    as_json: bool,
    verbose: bool,
) -> int:
    """List the Jupyter kernels: what each runs, whether it starts, which frameworks it has.

    Each kernel is started as a notebook starts it, asked who it is, and ended. The environment under test is the active
    one: what a terminal imports, and a notebook may not.

    Exit status: 0 healthy or with something to mend, 1 a notebook cannot use this environment, 2 wrong usage, 3
    something could not be examined, 130 interrupted.
    """
    if undo and (fix or dry_run or yes):
        raise click.UsageError("--undo stands alone: it takes the latest --fix back")
    if (dry_run or yes) and not fix:
        raise click.UsageError(f"{'--dry-run' if dry_run else '--yes'} belongs to --fix")
    if dry_run and yes:
        raise click.UsageError("--dry-run and --yes are two things: give one of them")
    from envcheck.interpreter import choose
    from envcheck.system import Live

    live = Live()
    if undo:
        return _undo(live, as_json=as_json)
    interpreter = choose(live, python)
    if interpreter.given and live.status(interpreter.path).outcome == "absent":
        raise click.UsageError(
            f"There is no interpreter at {interpreter.path}: --python takes a program or an environment's folder."
        )
    from envcheck.jupyter.examine import examine, side_by_side

    hear = _hear(shown=not as_json)

    def look() -> Examined:
        # In a thread: an interrupt is seen at once, and closing `live` ends whatever is being waited for.
        (seen,) = side_by_side([lambda: examine(live, interpreter, start=not no_start, seconds=timeout, hear=hear)])
        return seen

    try:
        seen = look()
        if fix:
            return _fix(seen, live, look, hear, timeout, dry_run=dry_run, yes=yes, as_json=as_json)
    finally:
        live.close()
    return _report(seen, as_json=as_json, verbose=verbose)


def _report(seen: Examined, *, as_json: bool, verbose: bool) -> int:
    from envcheck.jupyter import page
    from envcheck.jupyter.judge import judge
    from envcheck.jupyter.plan import plan

    report = judge(seen)
    if as_json:
        _json(report)
    else:
        shown = page.of_report(
            report,
            mendable=bool(plan(seen).steps),
            width=output.width(),
            colour=output.colour(),
            verbose=verbose,
        )
        output.write(output.tidied(shown))
    return EXIT_CODES[report.verdict.value]


def _fix(
    seen: Examined,
    live: Live,
    look: Callable[[], Examined],
    hear: Callable[[str], None],
    seconds: float,
    *,
    dry_run: bool,
    yes: bool,
    as_json: bool,
) -> int:
    """Print the plan, ask, carry it out and look again."""
    from envcheck.fix.environment import NotPossibleError
    from envcheck.jupyter import carry_out, page
    from envcheck.jupyter.judge import judge
    from envcheck.jupyter.plan import plan

    planned = plan(seen)
    asks = not yes and not dry_run and not as_json and bool(planned.steps) and sys.stdin.isatty()
    if not as_json and not (yes and planned.steps):
        output.write(page.of_plan(planned, asked=asks))
    agreed = bool(planned.steps) and (yes or (asks and click.confirm("Do this?", default=False, err=True)))
    if not agreed:
        if as_json:
            _json({"steps": planned.steps, "left": planned.left, "record": "", "report": judge(seen)})
        return _code_of_plan(planned, seen)
    try:
        mended = carry_out.carry_out(planned, seen, live, hear, seconds)
    except NotPossibleError as problem:
        raise click.ClickException(str(problem)) from problem
    if mended.interrupted:
        if as_json:
            _json({"steps": mended.steps, "left": planned.left, "record": mended.record, "interrupted": True})
        else:
            output.write(page.of_result(mended, planned))
        return 130
    hear("looking again")
    seen = look()
    if as_json:
        _json({"steps": mended.steps, "left": planned.left, "record": mended.record, "report": judge(seen)})
    else:
        output.write(page.of_result(mended, planned) + "\n")
    code = EXIT_CODES[judge(seen).verdict.value] if as_json else _report(seen, as_json=False, verbose=False)
    return 1 if planned.left or any(step.state != "done" for step in mended.steps) else code


def _code_of_plan(planned: Plan, seen: Examined) -> int:
    from envcheck.jupyter.judge import judge

    return 1 if planned.steps or planned.left else EXIT_CODES[judge(seen).verdict.value]


def _undo(live: Live, *, as_json: bool) -> int:
    from envcheck.fix.environment import NotPossibleError
    from envcheck.jupyter import carry_out, page

    try:
        undone = carry_out.undo(live, _hear(shown=not as_json))
    except NotPossibleError as problem:
        raise click.UsageError(str(problem)) from problem
    if as_json:
        _json(undone)
    else:
        output.write(page.of_undone(undone))
    return 1 if undone.problems else 0


def _hear(*, shown: bool) -> Callable[[str], None]:
    """Return what tells the user how it goes on: lines on standard error, so that standard output is the result."""

    def hear(line: str) -> None:
        from envcheck.render.plain import clean

        if shown:
            sys.stderr.write(clean(line).rstrip() + "\n")
            sys.stderr.flush()

    return hear


def _json(answer: object) -> None:
    import json

    import msgspec

    text = json.dumps(msgspec.to_builtins(answer), indent=2, ensure_ascii=False)
    # A name on this machine that is no UTF-8 is held as half characters, for each of which a question mark stands.
    output.write(output.tidied(text.encode("utf-8", "replace").decode()))
