"""`envcheck smoke`: train, and say whether this environment is fit."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from envcheck.commands import output

if TYPE_CHECKING:
    from envcheck.interpreter import Interpreter
    from envcheck.smoke.choice import Choice, Listener
    from envcheck.smoke.proof import Proof, SmokeReport
    from envcheck.smoke.result import Settings, SmokeResult, Threshold
    from envcheck.smoke.thresholds import Wanted
    from envcheck.system import Live


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What the command line gives; each option says below what it is."""

    framework: str
    arithmetic: bool
    workloads: tuple[str, ...]
    pace: bool
    minutes: float | None
    record: str | None
    distributed: bool
    ranks: int
    quick: bool
    full: bool
    epochs: int
    batch_size: int
    samples: int
    device: str
    seed: int
    data: str | None
    mixed_precision: bool
    compiled: bool
    python: str | None
    timeout: float
    required: tuple[str, ...]
    history: str | None
    html: str | None
    junit: str | None
    as_json: bool
    verbose: bool
    quiet: bool


REFERENCE_ONLY = ("epochs", "batch_size", "samples")
"""Options that speak of the reference network's training."""

TRAINING_ONLY = ("mixed_precision", "compiled")
"""Options that speak of the workloads."""


def _device(ctx: click.Context, param: click.Parameter, value: str) -> str:
    """Return a device as it was given, or say that it is none."""
    if not re.fullmatch(r"auto|cpu|mps|cuda(:[0-9]{1,4})?", value):
        raise click.BadParameter(f"{value!r} is none of auto, cpu, cuda, cuda:N, mps", ctx, param)
    return value


@click.command()
@click.option(
    "--framework",
    type=click.Choice(["tf", "torch", "keras", "all"]),
    default="all",
    show_default=True,
    help="Where to train; keras is Keras 3 (in the suite on each backend), all is TensorFlow and PyTorch.",
)
@click.option("--arithmetic", is_flag=True, help="Check each operation and its gradient against float64 references.")
@click.option(
    "--workload", "workloads", multiple=True, metavar="NAME|all", help="Train a small member of a family; repeatable."
)
@click.option("--pace", is_flag=True, help="Measure how fast this machine computes, moves, feeds and reads.")
@click.option("--minutes", type=click.FloatRange(min=0.01), help="Keep the load on for so long and watch.")
@click.option("--record", type=click.Path(dir_okay=False), metavar="FILE", help="For --minutes: keep what was seen.")
@click.option("--distributed", is_flag=True, help="Train in several processes that must agree.")
@click.option("--ranks", type=click.IntRange(2, 64), default=2, show_default=True, help="For --distributed: how many.")
@click.option("--quick", is_flag=True, help="Small; alone: arithmetic and all workloads.")
@click.option("--full", is_flag=True, help="Long; alone: every part but --minutes.")
@click.option("--epochs", type=click.IntRange(1), default=10, show_default=True, help="Passes over the images.")
@click.option("--batch-size", type=click.IntRange(1), default=32, show_default=True, help="Images a step.")
@click.option(
    "--samples", type=click.IntRange(20), default=1500, show_default=True, help="Images; a fifth of them validates."
)
@click.option("--device", callback=_device, default="auto", show_default=True, help="auto, cpu, cuda, cuda:N or mps.")
@click.option("--seed", type=click.IntRange(0, 2**31 - 1), default=0, show_default=True, help="Of all that is random.")
@click.option(
    "--data",
    type=click.Path(exists=True),
    metavar="PATH",
    help="Real data: MNIST for the reference network (an npz file, or IDX files or their folder); for a workload what "
    "it says.  [default: drawn by envcheck]",
)
@click.option("--mixed-precision", is_flag=True, help="Train the workloads in the framework's mixed precision.")
@click.option("--compile", "compiled", is_flag=True, help="Train the workloads through torch.compile or XLA.")
@click.option("--python", "python", metavar="PATH", help="Interpreter or environment under test.")
@click.option(
    "--timeout",
    type=click.FloatRange(min=0.1),
    default=300.0,
    show_default=True,
    metavar="SECONDS",
    help="For each framework in each part, its import included; of the workloads for each one.",
)
@click.option(
    "--require",
    "required",
    multiple=True,
    metavar="WHAT",
    help="What must be reached, such as accuracy>=0.95, samples-per-second>=90% (of this machine's earlier runs) or "
    "device=cuda; repeatable.",
)
@click.option(
    "--history",
    type=click.Path(dir_okay=False),
    metavar="FILE",
    help="Keeps the rates of this machine's runs.  [default: the user's state folder]",
)
@click.option("--html", type=click.Path(dir_okay=False), metavar="FILE", help="Write the report as a page.")
@click.option("--junit", type=click.Path(dir_okay=False), metavar="FILE", help="Write the report as JUnit XML.")
@click.option("--json", "as_json", is_flag=True, help="The whole report as JSON.")
@click.option("-v", "--verbose", is_flag=True, help="Conditions, time of each step, all of the evidence.")
@click.option("-q", "--quiet", is_flag=True, help="The verdict alone.")
@click.pass_context
def smoke(ctx: click.Context, /, **given: object) -> int:
    """Train, and say whether this environment is fit.

    Without a part it trains the reference convolutional network: it preprocesses, builds, initialises, trains with a
    validation split and evaluates on images that it has never seen, in a process of the interpreter under test. It
    passes when the loss falls and stays finite, the weights of every layer moved, the work ran on the device that was
    asked for and the test accuracy reaches its bar.

    Exit status: 0 it trains, 1 it does not, 2 wrong usage or unusable data, 3 something could not be examined.
    """
    from envcheck.interpreter import choose
    from envcheck.smoke import page, suite
    from envcheck.system import Live

    options = msgspec.convert(given, Options)
    choice, settings = _choice(ctx, options)
    for path in (options.html, options.junit, options.history, options.record):
        # Before the work, not after it.
        if path and not Path(path).absolute().parent.is_dir():
            raise click.UsageError(f"{path} cannot be written: there is no folder {Path(path).parent}")
    wanted = _wanted(options)
    system = Live()
    interpreter = choose(system, options.python)
    if interpreter.given and system.status(interpreter.path).outcome == "absent":
        raise click.UsageError(
            f"There is no interpreter at {interpreter.path}: --python takes a program or an environment's folder."
        )
    choice = msgspec.structs.replace(choice, interpreter=interpreter.path)
    results, proofs = _tried(choice, settings, options, system)
    try:
        results = [_diagnosed(result, system, interpreter) for result in results]
        processor = _processor(system)
    finally:
        system.close()
    judged, unkept = _judged(results, proofs, wanted, options, processor)
    report = suite.report(results, proofs, judged, interpreter.path, interpreter.reason)
    _write_files(report, options)
    if options.as_json:
        output.write(msgspec.json.format(msgspec.json.encode(report), indent=2).decode())
    else:
        encoding = (getattr(sys.stdout, "encoding", "") or "").lower().replace("-", "")
        output.write(page.page(report, quiet=options.quiet, verbose=options.verbose, blocks=encoding == "utf8"))
    if unkept and (options.history or any(one.share for one in wanted)):
        click.echo(f"envcheck: this run's rates are not kept: {unkept}", err=True)
    return report.exit_code


def _choice(ctx: click.Context, options: Options) -> tuple[Choice, Settings]:
    """Return what is to be tried, and what the reference network is told; an option that would do nothing is wrong."""
    from envcheck.smoke import suite
    from envcheck.smoke.choice import Choice, Part, Size
    from envcheck.smoke.result import Settings
    from envcheck.smoke.training import ASKED

    if options.quick and options.full:
        raise click.UsageError("--quick and --full are two wishes: give one of them")
    size: Size = "quick" if options.quick else "full" if options.full else "standard"
    flags: dict[Part, bool] = {
        "arithmetic": options.arithmetic,
        "workload": bool(options.workloads),
        "pace": options.pace,
        "endurance": options.minutes is not None,
        "distributed": options.distributed,
    }
    parts = suite.parts_of([part for part, asked in flags.items() if asked], size)
    command_line = click.core.ParameterSource.COMMANDLINE
    told = {name for name in options.__struct_fields__ if ctx.get_parameter_source(name) is command_line}
    for names, part, of in (
        (REFERENCE_ONLY, "reference", "the reference network's training, and another part was asked for"),
        (TRAINING_ONLY, "workload", "the workloads: add --workload NAME"),
        (("record",), "endurance", "--minutes"),
        (("ranks",), "distributed", "--distributed"),
    ):
        for name in names:
            if name in told and part not in parts:
                flag = {"compiled": "compile"}.get(name, name).replace("_", "-")
                raise click.UsageError(f"--{flag} speaks of {of}")
    if "distributed" in parts and options.framework == "keras":
        raise click.UsageError(
            "Keras trains in several processes through TensorFlow or PyTorch: --framework tf or torch"
        )
    if options.workloads and "all" not in options.workloads:
        _known_workloads(options.workloads)
    choice = Choice(
        interpreter="",
        parts=parts,
        frameworks=tuple(ASKED[options.framework]),
        by_name=options.framework != "all",
        workloads=options.workloads or ("all",),
        size=size,
        device=options.device,
        seed=options.seed,
        data=options.data or "",
        precision="mixed" if options.mixed_precision else "float32",
        compiled=options.compiled,
        minutes=options.minutes or 0.0,
        record=options.record or "",
        ranks=options.ranks,
        timeout_seconds=options.timeout,
    )
    settings = Settings(
        epochs=options.epochs,
        batch_size=options.batch_size,
        samples=options.samples,
        device=options.device,
        seed=options.seed,
        data=options.data or "",
        timeout_seconds=options.timeout,
    )
    return choice, settings


def _known_workloads(names: tuple[str, ...]) -> None:
    from envcheck.smoke import workloads

    known = workloads.names()
    for name in names:
        if name not in known:
            import difflib

            close = difflib.get_close_matches(name, known, 1)
            hint = f"did you mean {close[0]}?" if close else f"there are {', '.join(known)}, and all"
            raise click.UsageError(f"--workload {name!r}: {hint}")


def _wanted(options: Options) -> list[Wanted]:
    if not options.required:
        return []
    from envcheck.intent import UsageError
    from envcheck.smoke import thresholds

    try:
        return [thresholds.wanted(text) for text in options.required]
    except UsageError as error:
        raise click.UsageError(str(error)) from error


def _tried(choice: Choice, settings: Settings, options: Options, system: Live) -> tuple[list[SmokeResult], list[Proof]]:
    """Try all of it, with as much progress as is wanted."""
    from envcheck.smoke import progress, suite, training

    def try_all(listen: Listener) -> tuple[list[SmokeResult], list[Proof]]:
        results = []
        if "reference" in choice.parts:
            results = training.train_all(
                list(choice.frameworks), settings, choice.interpreter, listen, by_name=choice.by_name
            )
        return results, suite.prove(choice, listen, system)

    stream = sys.stderr if options.as_json else sys.stdout
    if not options.quiet and progress.shows_bars(stream):
        with progress.bars(stream) as listen:
            return try_all(listen)
    return try_all(progress.silent if options.quiet or options.as_json else progress.plain(output.write))


def _judged(
    results: list[SmokeResult], proofs: list[Proof], wanted: list[Wanted], options: Options, processor: str
) -> tuple[list[Threshold], str]:
    """Judge what was required, and keep this run's rates; return why they are not kept, or an empty text."""
    from envcheck.smoke import history, thresholds
    from envcheck.smoke.reference import proof_of

    everything = [*map(proof_of, results), *proofs]
    path = Path(options.history) if options.history else history.default_path()
    past = history.read(path) if any(one.share for one in wanted) else []
    judged = [thresholds.judge(one, everything, processor, past) for one in wanted]
    entries = [history.entry_of(proof, history.machine_of(proof, processor)) for proof in everything]
    return judged, history.append(path, [entry for entry in entries if entry is not None])


def _processor(system: Live) -> str:
    """Return this machine's processor and how many of its cores may be used, as the history names it."""
    from envcheck.facts import Cpu
    from envcheck.probes import cpu

    seen = cpu.cpu(system)
    known = seen if isinstance(seen, Cpu) else Cpu()
    return f"{known.model or 'unknown processor'}, {known.allowed_cores or 'unknown'} cores"


def _write_files(report: SmokeReport, options: Options) -> None:
    """Write the reports that were asked for as files."""
    from envcheck.smoke import html_page, junit

    for path, write in ((options.html, html_page.page), (options.junit, junit.document)):
        if path:
            try:
                Path(path).write_text(write(report), encoding="utf-8")
            except OSError as error:
                raise click.UsageError(f"{path} cannot be written: {error.strerror or error}") from error


CAUSES_SHOWN = 2
"""Of a failed training's findings by the checks of `doctor`: the first so many."""


def _diagnosed(result: SmokeResult, system: Live, interpreter: Interpreter) -> SmokeResult:
    """Hand a failure to the checks of `doctor`, beside what can be seen of the machine without an import."""
    from envcheck.smoke import judge

    if not judge.wants_diagnosis(result):
        return result
    from msgspec.structs import replace

    from envcheck.check import all_checks
    from envcheck.doctor import diagnose, examine, with_messages
    from envcheck.intent import Intent
    from envcheck.probe import all_probes
    from envcheck.report import Severity
    from envcheck.smoke.result import as_facts, as_framework

    examined = examine(system, interpreter, all_probes(), quick=True)
    known = getattr(examined.facts, result.framework)
    seen = as_framework(result)
    if known is not None:
        seen = replace(seen, distribution=known.distribution, metadata_version=known.metadata_version)
    facts = replace(examined.facts, training=as_facts([result]), **{result.framework: seen})
    report = diagnose(with_messages(facts), examined.probes, all_checks(), Intent())
    # Several checks may come to the same cause; the first of them has the most to say.
    errors = {finding.cause: finding for finding in reversed(report.findings) if finding.severity is Severity.ERROR}
    first = [finding for finding in report.findings if errors.get(finding.cause) is finding]
    return judge.with_findings(result, first[:CAUSES_SHOWN])
