"""`envcheck doctor`: examine this machine."""

from __future__ import annotations

import click

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
@click.option("--strict", is_flag=True, help="Warnings fail too.")
@click.option("--json", "as_json", is_flag=True, help="The whole report as JSON.")
@click.option("-v", "--verbose", is_flag=True, help="All facts, probes and checks.")
@click.option("-q", "--quiet", is_flag=True, help="The verdict alone.")
@click.option(
    "--record", type=click.Path(dir_okay=False, writable=True), metavar="FILE", help="Keep all that was seen, redacted."
)
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
    strict: bool,
    as_json: bool,
    verbose: bool,
    quiet: bool,
    record: str | None,
    replay: str | None,
) -> int:
    """Examine this machine: what is wrong, why, and which commands cure it.

    Exit status: 0 healthy or with warnings, 1 an error (with --strict a warning too), 2 wrong usage, 3 something that
    was required could not be examined.
    """
    raise NotImplementedError
