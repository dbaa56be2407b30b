"""`envcheck image`: what is wrong with a Dockerfile, a compose file or a Kubernetes manifest."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING

import click

from envcheck.commands import output

if TYPE_CHECKING:
    from envcheck.imagelint.faults import LintReport
    from envcheck.imagelint.rule import Machine, Rule

EXIT_CODES = {"ok": 0, "warning": 0, "error": 1, "unknown": 3}


@click.group()
def image() -> None:
    """Look at what images are built from and started with."""


@image.command()
@click.argument("paths", nargs=-1, required=True, metavar="PATH…")
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "json", "sarif"]),
    default="text",
    help="For people, for programs, for code hosts.",
)
@click.option("-o", "--output", "target_file", type=click.Path(dir_okay=False), metavar="FILE", help="Write it there.")
@click.option(
    "--driver", metavar="VERSION", help="NVIDIA driver of the machines that run it; else this machine's, if any."
)
@click.option("--platform", metavar="OS/ARCH", help="Platform that it is built for, such as linux/arm64.")
@click.option(
    "--kind", type=click.Choice(["dockerfile", "compose", "kubernetes"]), help="What every PATH is, whatever its name."
)
@click.option(
    "--context", type=click.Path(exists=True, file_okay=False), help="Build context; else each file's folder."
)
@click.option("--target", metavar="STAGE", help="Stage that is the image; else the last one.")
@click.option(
    "--build-arg", "build_arguments", multiple=True, metavar="NAME=VALUE", help="Value of an ARG; repeatable."
)
@click.option("--only", multiple=True, metavar="GLOB", help="Run only these rules; repeatable.")
@click.option("--skip", multiple=True, metavar="GLOB", help="Leave out these rules; repeatable.")
@click.option("--ignore-unknown", is_flag=True, help="Pass over files of no kind that is known, and templates.")
@click.option("--strict", is_flag=True, help="Warnings fail too.")
@click.option("-q", "--quiet", is_flag=True, help="One line a fault.")
def lint(
    *,
    paths: tuple[str, ...],
    form: str,
    target_file: str | None,
    driver: str | None,
    platform: str | None,
    kind: str | None,
    context: str | None,
    target: str | None,
    build_arguments: tuple[str, ...],
    only: tuple[str, ...],
    skip: tuple[str, ...],
    ignore_unknown: bool,
    strict: bool,
    quiet: bool,
) -> int:
    """Judge Dockerfiles, compose files and Kubernetes manifests; - reads standard input, a folder is searched.

    Nothing is built, started or downloaded. A comment `# envcheck: ignore=RULE` on a line, or on the one above it,
    silences a rule there.

    Exit status: 0 nothing wrong or warnings, 1 an error (with --strict a warning too), 2 wrong usage, 3 a file could
    not be examined.
    """
    import os

    from envcheck.imagelint.lint import STANDARD_INPUT, Options, documents_of
    from envcheck.imagelint.lint import lint as judge

    rules = _chosen(only, skip)
    options = Options(
        machine=_machine(driver, platform),
        kind=kind,
        context=context,
        target=target,
        build_arguments=_pairs(build_arguments),
        ignore_unknown=ignore_unknown,
        environment=dict(os.environ),
    )
    given = sys.stdin.buffer.read() if STANDARD_INPUT in paths else None
    try:
        documents = documents_of(paths, given)
    except FileNotFoundError as error:
        raise click.UsageError(f"There is no file {error.args[0]!r}.") from error
    report = judge(documents, rules, options)
    if not report.files and not ignore_unknown:
        raise click.UsageError(f"No Dockerfile, compose file or Kubernetes manifest in {', '.join(paths)}.")
    _write(_rendered(report, rules, form, quiet=quiet, colour=not target_file and output.colour()), target_file)
    code = EXIT_CODES[report.verdict.value]
    return 1 if strict and report.verdict.value == "warning" else code


@image.command()
def rules() -> None:
    """List every rule: its id and what it requires."""
    from envcheck.imagelint.rule import SUBJECTS, all_rules
    from envcheck.manual import first_line

    found = all_rules()
    for subject, title in SUBJECTS.items():
        click.echo(f"{title}:")
        for rule in sorted((rule for rule in found if rule.subject == subject), key=lambda rule: rule.id):
            click.echo(f"  {rule.id:<48} {first_line(rule.manual)}")


def _chosen(only: tuple[str, ...], skip: tuple[str, ...]) -> list[Rule]:
    from fnmatch import fnmatchcase

    from envcheck.imagelint.rule import all_rules

    chosen = [
        rule
        for rule in all_rules()
        if (not only or any(fnmatchcase(rule.id, glob) for glob in only))
        and not any(fnmatchcase(rule.id, glob) for glob in skip)
    ]
    if not chosen:
        raise click.UsageError("No rule is left: `envcheck image rules` lists the names for --only and --skip.")
    return chosen


def _machine(driver: str | None, platform: str | None) -> Machine:
    """Return what the images shall run on: what was said, else this machine's driver."""
    from envcheck.imagelint.image import machine_of_platform
    from envcheck.imagelint.rule import Machine

    if platform is not None and machine_of_platform(platform) is None:
        raise click.UsageError(f"--platform takes linux/amd64 or linux/arm64, not {platform!r}.")
    if driver is not None:
        if not re.fullmatch(r"\d{2,4}(?:\.\d+){0,2}", driver):
            raise click.UsageError(f"--driver takes a version such as 570.124.06, not {driver!r}.")
        return Machine(driver=driver, driver_source="--driver", platform=platform)
    from envcheck.probes.driver import MODULE_VERSION, VERSION_FILE
    from envcheck.system import Live

    found = MODULE_VERSION.search(Live().read(VERSION_FILE).text)
    if found is None:
        return Machine(platform=platform)
    return Machine(driver=found[1], driver_source=VERSION_FILE, platform=platform)


def _pairs(given: tuple[str, ...]) -> dict[str, str]:
    import os

    found = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals:
            if name not in os.environ:
                raise click.UsageError(f"--build-arg takes NAME=VALUE, not {text!r}.")
            value = os.environ[name]
        found[name] = value
    return found


def _rendered(report: LintReport, rules: list[Rule], form: str, *, quiet: bool, colour: bool) -> str:
    if form == "text":
        from envcheck.imagelint import text

        return text.page(report, colour=colour, quiet=quiet)
    import json

    if form == "json":
        import msgspec

        return json.dumps(msgspec.to_builtins(report), indent=2, ensure_ascii=False)
    from envcheck.imagelint import sarif

    return json.dumps(sarif.log(report, rules), indent=2, ensure_ascii=False)


def _write(text: str, target_file: str | None) -> None:
    if target_file is None:
        output.write(text)
        return
    from pathlib import Path

    try:
        Path(target_file).write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        raise click.UsageError(f"{target_file} cannot be written: {error.strerror}") from error
