"""Lint files that a test writes, as the command does."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Mapping

from envcheck.imagelint.faults import Fault, LintReport
from envcheck.imagelint.lint import Options, documents_of, lint
from envcheck.imagelint.rule import Machine, all_rules

RULES = all_rules()


def report_on(folder: pathlib.Path, files: Mapping[str, str], *names: str, **options: object) -> LintReport:
    """Write files into a folder and lint those that are named; all of them where none is."""
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode())
        path.chmod(0o755)
    machine = Machine(
        driver=options.pop("driver", None),  # type: ignore[arg-type]
        driver_source="--driver",
        platform=options.pop("platform", None),  # type: ignore[arg-type]
    )
    before = pathlib.Path.cwd()
    os.chdir(folder)
    try:
        return lint(documents_of(names or ["."], None), RULES, Options(machine=machine, **options))  # type: ignore[arg-type]
    finally:
        os.chdir(before)


def faults(folder: pathlib.Path, files: Mapping[str, str], *names: str, **options: object) -> list[Fault]:
    """As report_on; return the faults."""
    report = report_on(folder, files, *names, **options)
    assert [file.problem for file in report.files if file.problem] == []
    return report.faults


def seen(found: list[Fault]) -> list[tuple[str, int, str]]:
    """Return faults as (rule, line, severity)."""
    return [(fault.rule, fault.place.line, fault.severity.value) for fault in found]
