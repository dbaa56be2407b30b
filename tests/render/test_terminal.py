"""The page on a terminal."""

from __future__ import annotations

import msgspec

from envcheck.facts import Facts, Gpu, Nvml, Platform
from envcheck.render.terminal import clean, page
from envcheck.report import (
    CheckOutcome,
    CheckResult,
    Evidence,
    Finding,
    Remedy,
    Report,
    Requirement,
    Severity,
    Verdict,
)

FINDING = Finding(
    check="driver-module-matches-libraries",
    cause="driver-library-mismatch",
    severity=Severity.ERROR,
    title="The loaded driver is 535.54.03, its libraries are 535.86.05",
    evidence=[Evidence("NVRM version: 535.54.03", "/proc/driver/nvidia/version")],
    remedies=[Remedy(action="Reboot", commands=["sudo reboot"], changes="loads the new module")],
    consequences=[
        Finding(check="torch-sees-gpu", cause="no-gpu-present", severity=Severity.ERROR, title="torch sees no GPU")
    ],
)


def report(**fields: object) -> Report:
    values: dict[str, object] = {
        "schema_version": 1,
        "envcheck_version": "0",
        "verdict": Verdict.OK,
        "summary": "all is well",
        "findings": [],
        "requirements": [],
        "not_examined": [],
        "facts": Facts(platform=Platform(system="Linux", machine="x86_64")),
        "probes": [],
        "checks": [CheckResult(check="a", area="b", outcome=CheckOutcome.PASS)],
    }
    return Report(**{**values, **fields})  # type: ignore[arg-type]


def test_the_verdict_is_the_first_line_then_cause_evidence_and_cure() -> None:
    text = page(report(verdict=Verdict.ERROR, summary=FINDING.title, findings=[FINDING]))
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    assert lines[0].startswith("ERROR  The loaded driver")
    order = [
        next(number for number, line in enumerate(lines) if words in line)
        for words in (
            "driver-library-mismatch",
            "/proc/driver/nvidia/version",
            "torch sees no GPU",
            "Reboot",
            "sudo reboot",
        )
    ]
    assert order == sorted(order)
    assert "needs care" in text


def test_quiet_is_the_verdict_alone() -> None:
    assert page(report(findings=[FINDING]), quiet=True) == "OK  all is well\n"


def test_a_healthy_page_fits_a_screen() -> None:
    assert len(page(report()).splitlines()) <= 24


def test_markup_and_escapes_from_the_machine_stay_text() -> None:
    hostile = "[bold]x[/bold] \x1b[31mred\x1b[0m \x1b]0;title\x07 \u202egnol"
    found = msgspec.structs.replace(FINDING, title=hostile, evidence=[Evidence(hostile, hostile)])
    text = page(report(summary=hostile, findings=[found], not_examined=[hostile]), verbose=True)
    assert "[bold]x[/bold]" in text
    assert "\x1b" not in text
    assert "\x07" not in text
    assert "\u202e" not in text


def test_commands_are_never_wrapped() -> None:
    command = "python -m pip install " + "a-very-long-requirement " * 12
    found = msgspec.structs.replace(FINDING, remedies=[Remedy(action="Install", commands=[command.strip()])])
    assert command.strip() in page(report(findings=[found]), width=60)


def test_colours_repeat_what_words_say() -> None:
    plain = page(report(verdict=Verdict.ERROR, findings=[FINDING]))
    coloured = page(report(verdict=Verdict.ERROR, findings=[FINDING]), colour=True)
    assert "\x1b[" in coloured
    assert [line.split() for line in clean(coloured).splitlines()] == [line.split() for line in plain.splitlines()]


def test_muted_findings_unmet_requirements_and_what_was_not_examined_are_shown() -> None:
    muted = msgspec.structs.replace(FINDING, muted=True)
    text = page(
        report(
            findings=[muted],
            requirements=[Requirement(text="gpus>=1", state="fails", reason="none")],
            not_examined=["kernel log: it may not be read"],
        )
    )
    assert "muted" in text
    assert "gpus>=1: fails (none)" in text
    assert "kernel log" in text


def test_verbose_shows_facts_probes_and_checks() -> None:
    text = page(report(), verbose=True)
    assert "machine: x86_64" in text
    assert "pass" in text


def test_each_gpu_has_a_row() -> None:
    facts = Facts(
        nvml=Nvml(state="ok", driver_version="580", cuda_version="13.0", gpus=[Gpu(index=0, name="A"), Gpu(index=1)])
    )
    text = page(report(facts=facts))
    assert "gpu 0" in text
    assert "gpu 1" in text
