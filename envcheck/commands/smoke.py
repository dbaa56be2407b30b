"""`envcheck smoke`: train the reference network."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING

import click

from envcheck.commands import output

if TYPE_CHECKING:
    from envcheck.interpreter import Interpreter
    from envcheck.smoke.choice import Listener
    from envcheck.smoke.result import SmokeResult
    from envcheck.system import Live


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
    help="Where to train; keras is Keras 3 with its configured backend, all is TensorFlow and PyTorch.",
)
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
    help="Real MNIST: an npz file, or IDX files (may be .gz) or their folder.  [default: drawn digits]",
)
@click.option("--python", "python", metavar="PATH", help="Interpreter or environment under test.")
@click.option(
    "--timeout",
    type=click.FloatRange(min=0.1),
    default=300.0,
    show_default=True,
    metavar="SECONDS",
    help="For each framework, its import included.",
)
@click.option("--json", "as_json", is_flag=True, help="The whole report as JSON.")
@click.option("-v", "--verbose", is_flag=True, help="Conditions, time of each step, all of the evidence.")
@click.option("-q", "--quiet", is_flag=True, help="The verdict alone.")
def smoke(
    *,
    framework: str,
    epochs: int,
    batch_size: int,
    samples: int,
    device: str,
    seed: int,
    data: str | None,
    python: str | None,
    timeout: float,
    as_json: bool,
    verbose: bool,
    quiet: bool,
) -> int:
    """Train a small convolutional network and say whether this environment is fit.

    It preprocesses, builds, initialises, trains with a validation split and evaluates on images that it has never seen,
    in a process of the interpreter under test. It passes when the loss falls and stays finite, the weights of every
    layer moved, the work ran on the device that was asked for and the test accuracy reaches its bar.

    Exit status: 0 it trains, 1 it does not, 2 wrong usage or unusable data, 3 the interpreter could not be examined.
    """
    from envcheck.interpreter import choose
    from envcheck.smoke import page, progress, training
    from envcheck.smoke.result import Settings
    from envcheck.system import Live

    system = Live()
    interpreter = choose(system, python)
    if interpreter.given and system.status(interpreter.path).outcome == "absent":
        raise click.UsageError(
            f"There is no interpreter at {interpreter.path}: --python takes a program or an environment's folder."
        )
    settings = Settings(
        epochs=epochs,
        batch_size=batch_size,
        samples=samples,
        device=device,
        seed=seed,
        data=data or "",
        timeout_seconds=timeout,
    )

    def train(listen: Listener) -> list[SmokeResult]:
        frameworks = training.ASKED[framework]
        return training.train_all(frameworks, settings, interpreter.path, listen, by_name=framework != "all")

    stream = sys.stderr if as_json else sys.stdout
    if not quiet and progress.shows_bars(stream):
        with progress.bars(stream) as listen:
            results = train(listen)
    else:
        results = train(progress.silent if quiet or as_json else progress.plain(output.write))
    try:
        results = [_diagnosed(result, system, interpreter) for result in results]
    finally:
        system.close()
    report = training.report(results, interpreter.path, interpreter.reason)
    if as_json:
        import msgspec

        output.write(msgspec.json.format(msgspec.json.encode(report), indent=2).decode())
    else:
        output.write(page.page(report, quiet=quiet, verbose=verbose))
    return report.exit_code


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
