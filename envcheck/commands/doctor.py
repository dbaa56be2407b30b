"""`envcheck doctor`: examine this machine."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, ParamSpec, TypeVar

import click

from envcheck.commands import output

if TYPE_CHECKING:
    from envcheck.check import Check
    from envcheck.doctor import Examined
    from envcheck.intent import Intent
    from envcheck.report import Outcome, Report
    from envcheck.system import System

P = ParamSpec("P")
Answer = TypeVar("Answer")

EXIT_CODES = {"ok": 0, "warning": 0, "error": 1, "unknown": 3}


@click.command()
@click.option("--python", "python", metavar="PATH", help="Interpreter or environment under test.")
@click.option("--quick", is_flag=True, help="Import nothing: versions from metadata, GPUs from the driver.")
@click.option(
    "--require", "required", multiple=True, metavar="REQUIREMENT", help='Such as "gpus>=1" or torch.cuda; repeatable.'
)
@click.option("--only", multiple=True, metavar="GLOB", help="Run only these checks; repeatable.")
@click.option("--skip", multiple=True, metavar="GLOB", help="Leave out these checks; repeatable.")
@click.option("--mute", multiple=True, metavar="CHECK", help="Show a check's findings as muted and do not count them.")
@click.option("--timeout", type=click.FloatRange(min=0.1), metavar="SECONDS", help="No probe may take longer.")
@click.option(
    "--max-age",
    type=click.FloatRange(min=0),
    metavar="SECONDS",
    help="Give a healthy answer again that is not older, instead of examining anew: for health checks.",
)
@click.option(
    "--gated", is_flag=True, help="Require what this container's gate was given too, its --require: for health checks."
)
@click.option("--strict", is_flag=True, help="Warnings fail too.")
@click.option("--json", "as_json", is_flag=True, help="The whole report as JSON.")
@click.option("-v", "--verbose", is_flag=True, help="All facts, probes and checks.")
@click.option("-q", "--quiet", is_flag=True, help="The verdict alone.")
@click.option(
    "--record", type=click.Path(dir_okay=False, writable=True), metavar="FILE", help="Keep all that was seen, redacted."
)
@click.option("--container", metavar="NAME|IMAGE", help="Examine what a container sees, and who is at fault.")
@click.option(
    "--container-options",
    metavar="OPTIONS",
    help='What an image is started with, such as "--gpus all --shm-size 8g". [the host\'s GPUs]',
)
@click.option(
    "--from",
    "pasted",
    multiple=True,
    metavar="FILE…",
    help="Judge what was pasted into files (- for standard input), not this machine.",
)
@click.argument("files", nargs=-1, metavar="")
@click.option(
    "--replay", type=click.Path(exists=True, dir_okay=False), metavar="FILE", help="Report on a recorded machine."
)
def doctor(
    *,
    python: str | None,
    quick: bool,
    required: tuple[str, ...],
    only: tuple[str, ...],
    skip: tuple[str, ...],
    mute: tuple[str, ...],
    timeout: float | None,
    max_age: float | None,
    gated: bool,
    strict: bool,
    as_json: bool,
    verbose: bool,
    quiet: bool,
    record: str | None,
    replay: str | None,
    container: str | None,
    container_options: str | None,
    pasted: tuple[str, ...],
    files: tuple[str, ...],
) -> int:
    """Examine this machine: what is wrong, why, and which commands cure it.

    Exit status: 0 healthy or with warnings, 1 an error (with --strict a warning too), 2 wrong usage, 3 something that
    was required could not be examined.
    """
    refuse_contradictions(
        files=files,
        pasted=bool(pasted),
        replay=bool(replay),
        record=bool(record),
        python=bool(python),
        max_age=max_age is not None,
        gated=gated,
        container=bool(container),
        container_options=container_options is not None,
    )
    if only or skip:
        chosen_checks(only, skip)
    if container:
        report = look_into(
            container,
            container_options,
            python,
            list(required),
            list(mute),
            chosen_checks(only, skip),
            Progress(shown=not (as_json or quiet)),
            quick=quick,
            limit=timeout,
        )
        if report is None:
            return EXIT_CODES["unknown"]
        return told(report, strict=strict, as_json=as_json, verbose=verbose, quiet=quiet)
    if max_age is not None:
        asked_for = {"quick": quick, "only": only, "skip": skip}
        key = answer_key(python, list(required), list(mute), asked_for, gated=gated)
        again = recalled(key, max_age)
        if again:
            return told(again, strict=strict, as_json=as_json, verbose=verbose, quiet=quiet)
    if pasted:
        examined, declared, nameless = read_paste([*pasted, *files], list(required), list(mute))
    else:
        progress = Progress(shown=not (as_json or quiet))
        examined, declared = look(
            python,
            list(required),
            list(mute),
            progress,
            quick=quick,
            limit=timeout,
            record=record,
            replay=replay,
            gated=gated,
        )
    options = {
        "quick": quick or examined.quick,
        "only": list(only),
        "skip": list(skip),
        "timeout": timeout,
        "from": [*pasted, *files],
        "replay": replay,
    }
    asked = {name: value for name, value in options.items() if value}
    from envcheck.doctor import diagnose

    report = diagnose(examined.facts, examined.probes, chosen_checks(only, skip), declared, asked)
    if pasted:
        report = nameless(report)
    if max_age is not None:
        from envcheck import answers

        answers.keep(key, report)
    return told(report, strict=strict, as_json=as_json, verbose=verbose, quiet=quiet)


def refuse_contradictions(
    *,
    files: Sequence[str],
    pasted: bool,
    replay: bool,
    record: bool,
    python: bool,
    max_age: bool,
    gated: bool,
    container: bool,
    container_options: bool,
) -> None:
    """Refuse options of which one leaves the other without a meaning."""
    if files and not pasted:
        raise click.UsageError(
            f"doctor takes no argument {files[0]!r}; to judge a file: envcheck doctor --from {files[0]}"
        )
    if (replay or pasted) and (record or python):
        raise click.UsageError("--record and --python need this machine: leave them out with --replay and --from")
    if replay and pasted:
        raise click.UsageError("--replay and --from are two machines: give one of them")
    for option, given in (("--max-age", max_age), ("--gated", gated)):
        if given and (replay or pasted or record or container):
            raise click.UsageError(
                f"{option} is for this machine: leave it out with --container, --record, --replay and --from"
            )
    if container and (replay or pasted or record):
        raise click.UsageError("--container is a machine of its own: leave out --record, --replay and --from")
    if container_options and not container:
        raise click.UsageError("--container-options says how the image of --container is started: name that image")


def look_into(
    name: str,
    options: str | None,
    python: str | None,
    required: list[str],
    mute: list[str],
    checks: list[Check],
    progress: Progress,
    *,
    quick: bool,
    limit: float | None,
) -> Report | None:
    """Return the report on a container or an image; None, said in one line, where nothing can be asked in it."""
    import shlex

    from envcheck.container.engine import EngineError
    from envcheck.container.examine import Wish, examine_container
    from envcheck.probe import all_probes

    try:
        wish = Wish(
            name=name,
            options=None if options is None else shlex.split(options),
            python=python,
            required=required,
            mute=mute,
            quick=quick,
            limit=limit,
        )
    except ValueError as error:
        raise click.UsageError(f"--container-options: {error}") from error
    try:
        return _usage(examine_container, wish, all_probes(), checks, progress.tell)
    except EngineError as error:
        from envcheck.render.plain import clean

        progress.close()
        click.echo(f"envcheck: {clean(str(error))}", err=True)
        return None
    finally:
        progress.close()


def told(report: Report, *, strict: bool, as_json: bool, verbose: bool, quiet: bool) -> int:
    """Write a report as it was asked for, and return the exit status."""
    if as_json:
        from envcheck.render import json as render_json

        output.write(output.tidied(render_json.text(report)))
    else:
        from envcheck.render import terminal

        output.write(terminal.page(report, width=output.width(), colour=output.colour(), verbose=verbose, quiet=quiet))
    code = EXIT_CODES[report.verdict.value]
    return 1 if strict and report.verdict.value == "warning" else code


def declared_here(system: System, required: list[str], mute: list[str], *, gated: bool) -> Intent:
    """Return what has to hold on this machine, with `gated` what its gate was given too."""
    from envcheck import configuration

    declared = _usage(configuration.read, system, required, mute)
    if not gated:
        return declared
    from envcheck.entrypoint import health, ready

    return _usage(health.intent, declared, ready.place())


def answer_key(
    python: str | None, required: list[str], mute: list[str], options: dict[str, object], *, gated: bool
) -> str:
    """Return what an answer that may be given again is about."""
    from envcheck import answers
    from envcheck.system import Live

    live = Live()
    declared = declared_here(live, required, mute, gated=gated)
    wanted = [item.text for item in declared.requirements]
    return answers.key_of(live, {**options, "python": python, "mute": declared.mute}, wanted)


def recalled(key: str, max_age: float) -> Report | None:
    """Return an answer that holds, with its age in its summary; None where there is none."""
    import msgspec

    from envcheck import answers

    found = answers.recall(key, max_age)
    if found is None:
        return None
    report, age = found
    return msgspec.structs.replace(
        report,
        summary=f"{report.summary} (examined {age:.0f} s ago)",
        options={**report.options, "age_seconds": round(age, 1)},
    )


def chosen_checks(only: Sequence[str], skip: Sequence[str]) -> list[Check]:
    """Return the checks to run."""
    from envcheck.check import all_checks

    chosen = [check for check in all_checks() if selected(check.id, only, skip)]
    if not chosen:
        raise click.UsageError("No check is left: `envcheck checks` lists the names for --only and --skip.")
    return chosen


def prepare() -> None:
    """Import, while the probes wait for their children, what is needed after them."""
    import packaging.requirements  # noqa: F401

    from envcheck.check import all_checks
    from envcheck.render import terminal  # noqa: F401

    all_checks()


def look(
    python: str | None,
    required: list[str],
    mute: list[str],
    progress: Progress,
    *,
    quick: bool,
    limit: float | None,
    record: str | None,
    replay: str | None,
    gated: bool = False,
) -> tuple[Examined, Intent]:
    """Examine this machine, or a recorded one."""
    from envcheck import configuration
    from envcheck.doctor import examine
    from envcheck.interpreter import choose
    from envcheck.probe import all_probes
    from envcheck.system import Live

    if record or replay:
        from envcheck import recording
    live = Live()
    if replay:
        recorded = _usage(recording.load, replay)
        declared = _usage(configuration.read, recorded.system, required, mute)
        return examine(
            recorded.system,
            recorded.interpreter,
            all_probes(),
            quick=quick or bool(recorded.options.get("quick")),
            limit=limit,
        ), declared
    recorder = recording.recorder(live) if record else None
    system: System = recorder or live
    declared = declared_here(system, required, mute, gated=gated)
    interpreter = choose(system, python)
    if interpreter.given and system.status(interpreter.path).outcome == "absent":
        raise click.UsageError(
            f"There is no interpreter at {interpreter.path}: --python takes a program or an environment's folder."
        )
    try:
        examined = examine(
            system, interpreter, all_probes(), quick=quick, limit=limit, progress=progress.tell, meanwhile=prepare
        )
    finally:
        progress.close()
        live.close()
    if recorder is not None and record:
        _usage(recording.save, record, recorder, interpreter, options={"quick": quick} if quick else None)
    return examined, declared


def read_paste(
    names: list[str], required: list[str], mute: list[str]
) -> tuple[Examined, Intent, Callable[[Report], Report]]:
    """Take facts from what was pasted; intent comes from the command line alone, for this is another machine.

    Returns:
        What was found, the intent, and what takes names of people and machines out of a report on it.
    """
    from typing import get_type_hints

    import msgspec

    from envcheck import intent as intents
    from envcheck import triage
    from envcheck.doctor import Examined, with_metadata
    from envcheck.facts import Facts
    from envcheck.report import Outcome, ProbeResult

    documents = []
    try:
        for name in names:
            with click.open_file(name, "rb") as file:
                documents.append(("standard input" if name == "-" else name, triage.read_ends(file)))
    except OSError as error:
        raise click.UsageError(f"{error.filename} cannot be read: {error.strerror}") from error
    facts = triage.facts_from(documents)
    declared = _usage(intents.parse, required, mute)
    probes = []
    if facts == Facts():
        reason = "nothing in it was recognised; paste the whole output of the command that fails, or of nvidia-smi"
        probes = [ProbeResult(probe="paste", outcome=Outcome.GARBLED, seconds=0, reason=reason, fills=["python"])]
    from envcheck.redact import redactor_of_paste

    redact = redactor_of_paste("\n".join(content.decode("utf-8", "replace") for _, content in documents))

    def nameless(report: Report) -> Report:
        if redact is None:
            return report
        # Only what quotes the paste: the names of checks and their reasons are ours.
        quoting = ("summary", "findings", "not_examined", "facts")
        cleaned = {
            name: msgspec.convert(redact(msgspec.to_builtins(getattr(report, name))), hint)
            for name, hint in get_type_hints(type(report)).items()
            if name in quoting
        }
        return msgspec.structs.replace(report, **cleaned)

    return Examined(with_metadata(facts), probes), declared, nameless


def selected(check: str, only: Sequence[str], skip: Sequence[str]) -> bool:
    """Tell whether a check is to run."""
    import fnmatch

    return (not only or any(fnmatch.fnmatchcase(check, glob) for glob in only)) and not any(
        fnmatch.fnmatchcase(check, glob) for glob in skip
    )


def _usage(call: Callable[P, Answer], *arguments: P.args, **keywords: P.kwargs) -> Answer:
    """Call something whose UsageError is the user's to read."""
    from envcheck.intent import UsageError

    try:
        return call(*arguments, **keywords)
    except UsageError as error:
        raise click.UsageError(str(error)) from error


class Progress:
    """One line on a terminal that says which probes have come back; nothing where standard error is no terminal."""

    def __init__(self, *, shown: bool) -> None:
        """Show it, or not."""
        self._shown = shown and sys.stderr.isatty()
        self._ended = 0

    def tell(self, probe: str, outcome: Outcome) -> None:
        """Take note of a probe that ended."""
        self._ended += 1
        if self._shown:
            sys.stderr.write(f"\r\x1b[Kexamining: {self._ended} probes done, last {probe} ({outcome.value})")
            sys.stderr.flush()

    def close(self) -> None:
        """Clear the line."""
        if self._shown and self._ended:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
