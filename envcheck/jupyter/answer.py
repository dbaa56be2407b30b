"""The child that the magic `%envcheck` runs: a command line in, a MIME bundle out.

Standard input holds one JSON object, `words` (the command line) and `kernel` (see `envcheck.jupyter.running.Kernel`);
the last line of standard output is one with `html` and `text`.
"""

from __future__ import annotations

import contextlib
import io
import json
import signal
import sys

import click
import msgspec

from envcheck.commands import COMMANDS, envcheck, interrupted
from envcheck.jupyter import inline
from envcheck.jupyter.running import Kernel, Remark, kernel_from, remarks
from envcheck.render import terminal
from envcheck.render.plain import clean
from envcheck.report import Report

OF_AN_INTERPRETER = {"doctor", "fix", "jupyter", "smoke"}
"""Commands that take `--python`: for them it is the notebook's."""

ELSEWHERE = ("--from", "--replay", "--container")
"""Options that name another machine: with them the notebook's interpreter is not asked."""

PLAIN = {"--json", "-h", "--help", "-q", "--quiet"}
"""Options of `doctor` whose answer is text of a form of its own."""

CHOSEN = "it runs this notebook"


def main() -> None:
    """Read the order, answer it."""
    # The notebook asks this process to end when its kernel is interrupted.
    signal.signal(signal.SIGTERM, interrupted)
    order = json.loads(sys.stdin.read())
    said = sys.stdout
    # Whatever a command prints beside its answer must not be taken for it.
    with contextlib.redirect_stdout(sys.stderr):
        bundle = answer(order["words"], kernel_from(order["kernel"]))
    said.write(json.dumps(bundle) + "\n")
    said.flush()


def answer(words: list[str], kernel: Kernel) -> dict[str, str]:
    """Return `html` and `text` for a command line.

    Args:
        words: what stands after `%envcheck`.
        kernel: the notebook's kernel.
    """
    command, rest = (words[0], words[1:]) if words and words[0] in COMMANDS else ("doctor", words)
    abroad = any(word.split("=")[0] in ELSEWHERE for word in rest)
    named = any(word.split("=")[0] == "--python" for word in rest)
    if command in OF_AN_INTERPRETER and not abroad and not named and not {"-h", "--help"} & set(rest):
        rest = ["--python", kernel.python, *rest]
    if command == "doctor" and not PLAIN & set(rest):
        return _doctor(rest, kernel, here=not abroad and not named)
    printed, problem = _run([command, *rest])
    if problem:
        return {"html": inline.of_text(problem, "USAGE"), "text": problem}
    return {"html": inline.of_text(printed), "text": clean(printed)}


def _doctor(rest: list[str], kernel: Kernel, *, here: bool) -> dict[str, str]:
    """Return the report on the notebook's environment."""
    verbose = any(word in {"-v", "--verbose"} for word in rest)
    printed, problem = _run(["doctor", "--json", *rest])
    if problem:
        return {"html": inline.of_text(problem, "USAGE"), "text": problem}
    report = msgspec.json.decode(printed, type=Report)
    found = remarks(kernel, report.facts) if here else []
    if here and report.facts.python:
        python = msgspec.structs.replace(report.facts.python, chosen_because=CHOSEN)
        report = msgspec.structs.replace(report, facts=msgspec.structs.replace(report.facts, python=python))
    return {"html": inline.of_report(report, found, verbose=verbose), "text": _page(report, found, verbose=verbose)}


def _page(report: Report, found: list[Remark], *, verbose: bool) -> str:
    """Return the page of a terminal, for what shows no HTML."""
    lines = [f"  this kernel    {remark.text}. {remark.action}".rstrip() for remark in found]
    verdict, summary = inline.verdict_of(report, found)
    shown = msgspec.structs.replace(report, verdict=verdict, summary=summary)
    return terminal.page(shown, width=100, verbose=verbose) + clean("\n".join(lines))


def _run(words: list[str]) -> tuple[str, str]:
    """Run a command of envcheck's and return what it printed, and why it was refused."""
    printed = io.StringIO()
    try:
        with contextlib.redirect_stdout(printed):
            envcheck.main(words, prog_name="%envcheck", standalone_mode=False)
    except click.ClickException as error:
        return "", f"envcheck: {error.format_message()}"
    return printed.getvalue(), ""
