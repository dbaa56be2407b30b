"""`envcheck entrypoint`: the gate in front of a container's command."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import click

from envcheck.commands import end_as_in_a_shell, output

if TYPE_CHECKING:
    from envcheck.report import Report

MODES = ("strict", "warn", "off")

REFUSED = 78
"""Exit status where the command was not started: EX_CONFIG of sysexits.h, which few programs end with."""


@click.command(context_settings={"allow_interspersed_args": False})
@click.option(
    "--mode",
    metavar="MODE",
    help="strict: start nothing where a requirement does not hold; warn: say so and start; off: start. "
    "[variable ENVCHECK_MODE; strict]",
)
@click.option(
    "--require",
    "required",
    multiple=True,
    metavar="REQUIREMENT",
    help="Beside ENVCHECK_REQUIRE and pyproject.toml; repeatable.",
)
@click.option(
    "--ready-file",
    metavar="FILE",
    help="Written when the command is started. [variable ENVCHECK_READY_FILE; /tmp/envcheck/ready.json]",
)
@click.option("--timeout", type=click.FloatRange(min=0.1), default=15.0, metavar="SECONDS", help="For each probe. [15]")
@click.option("--init", is_flag=True, help="Stay as a minimal init: forward signals, reap, give the exit status.")
@click.argument("command", nargs=-1, type=click.UNPROCESSED, metavar="-- COMMAND…")
def entrypoint(
    *,
    mode: str | None,
    required: tuple[str, ...],
    ready_file: str | None,
    timeout: float,
    init: bool,
    command: tuple[str, ...],
) -> int:
    """Judge what was declared for this container, then become its command.

    In a Dockerfile: ENTRYPOINT ["envcheck", "entrypoint", "--"]. What must hold is declared with ENVCHECK_REQUIRE
    ("gpus>=1, memory>=16GiB"), in [tool.envcheck] of the working folder's pyproject.toml, or with --require.

    Exit status: the command's own; 78 where the gate kept it from starting; 126 and 127 where it cannot be run or is
    not there; 2 wrong usage; 128 and the signal's number (143 for `docker stop`) where a signal ended the examination.
    """
    end_as_in_a_shell()
    if not command:
        raise click.UsageError("no command was given; in a Dockerfile, CMD names it: envcheck entrypoint -- COMMAND…")
    from envcheck.entrypoint import handover, ready

    chosen = mode or os.environ.get("ENVCHECK_MODE") or "strict"
    if chosen not in MODES:
        source = "--mode" if mode else "ENVCHECK_MODE"
        raise click.UsageError(f"{source}: {chosen!r} is no mode; modes are {', '.join(MODES)}")
    path = ready.place(ready_file)
    ready.remove(path)
    report = None
    if chosen != "off":
        report = judged(list(required), timeout, strict=chosen == "strict")
        if chosen == "strict" and (report is None or refused(report)):
            say("the command was not started; ENVCHECK_MODE=warn starts it all the same")
            return REFUSED
    problem = ready.write(path, chosen, report)
    if problem:
        say(f"the readiness file could not be written: {problem}; ENVCHECK_READY_FILE names another place")
    try:
        handover.hand_over(list(command), os.path.abspath(path), init=init)  # noqa: PTH100
    except handover.NotStartedError as error:
        ready.remove(path)
        say(str(error))
        return error.status


def judged(required: list[str], timeout: float, *, strict: bool) -> Report | None:
    """Return what was found, once it is written to standard error; None where nothing could be judged."""
    from envcheck.entrypoint.gate import judge
    from envcheck.intent import UsageError

    try:
        report = judge(required, timeout)
    except UsageError as error:
        say(str(error))
        return None
    except Exception as error:
        # A defect of ours: where the user wants to be warned at most, it must not keep the container from starting.
        if strict:
            raise
        say(f"a defect of envcheck itself, {type(error).__name__}: {error}; nothing was judged")
        return None
    show(report)
    return report


def refused(report: Report) -> bool:
    """Tell whether `doctor` would not end in 0 either."""
    return report.verdict.value in {"error", "unknown"}


def show(report: Report) -> None:
    """Write what is wrong, cause and cure; nothing where all is well, for standard error is the command's too."""
    if refused(report):
        from envcheck.render import terminal

        sys.stderr.write(output.tidied(terminal.page(report, width=output.width(), colour=sys.stderr.isatty())))
        return
    for finding in report.findings:
        if finding.severity.value == "warning" and not finding.muted:
            say(f"warning: {finding.title}  [envcheck explain {finding.check}]")


def say(sentence: str) -> None:
    """Write a line to standard error; the command's standard output stays its own."""
    from envcheck.render.plain import clean

    sys.stderr.write(f"envcheck: {clean(sentence)}\n")
    sys.stderr.flush()
