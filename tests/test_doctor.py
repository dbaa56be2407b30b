"""The engine: probes side by side, checks over facts, one report."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import msgspec

from envcheck.check import Check
from envcheck.check import check as as_check
from envcheck.doctor import diagnose, examine
from envcheck.facts import Cpu, Facts, Framework, KernelLog, Memory, Package, Packages, Python, need
from envcheck.intent import Intent
from envcheck.interpreter import Interpreter
from envcheck.probe import Ended, Probe
from envcheck.probe import probe as as_probe
from envcheck.report import (
    CheckOutcome,
    Confidence,
    Finding,
    Outcome,
    ProbeResult,
    Report,
    Requirement,
    Severity,
    Verdict,
    schema,
)
from envcheck.testing import machine

HERE = Interpreter("/env/bin/python", "given")


def registered(function: object) -> Check:
    found: Check = function.__envcheck_check__  # type: ignore[attr-defined]
    return found


def look(function: object) -> Probe:
    found: Probe = function.__envcheck_probe__  # type: ignore[attr-defined]
    return found


def report_of(
    *checks: object,
    facts: Facts | None = None,
    intent: Intent | None = None,
    probes: tuple[ProbeResult, ...] = (),
) -> Report:
    return diagnose(facts or Facts(), list(probes), [registered(one) for one in checks], intent or Intent())


def finding(severity: Severity = Severity.ERROR, **fields: object) -> Finding:
    return Finding(**{"cause": "disk-full", "severity": severity, "title": "The disk is full", **fields})  # type: ignore[arg-type]


@as_check(area="made-up", causes=["disk-full"])
def disk_has_room(cpu: Cpu) -> Iterator[Finding]:
    """The disk has room."""
    yield finding(title=f"no room beside {cpu.model}")


@as_check(area="made-up", causes=["driver-library-mismatch"])
def root_holds() -> Iterator[Finding]:
    """The root holds."""
    yield finding(Severity.WARNING, cause="driver-library-mismatch", title="root", explains=["consequence-*"])


@as_check(area="made-up", causes=["no-gpu-present"])
def consequence_holds() -> Iterator[Finding]:
    """The consequence holds."""
    yield finding(Severity.ERROR, cause="no-gpu-present", title="consequence", required=True)


def test_a_check_whose_fact_is_unknown_is_skipped_and_never_passed() -> None:
    result = report_of(disk_has_room).checks[0]
    assert result.outcome is CheckOutcome.SKIP
    assert "cpu" in result.reason


def test_a_check_that_needs_an_unknown_field_is_skipped_with_its_name() -> None:
    @as_check(area="made-up", causes=[])
    def memory_is_enough(memory: Memory) -> Iterator[Finding]:
        """Memory is enough."""
        if need(memory.total_bytes, "memory.total_bytes") < 1:
            yield finding()

    result = report_of(memory_is_enough, facts=Facts(memory=Memory())).checks[0]
    assert (result.outcome, result.reason) == (CheckOutcome.SKIP, "memory.total_bytes is not known")


def test_what_is_not_on_this_machine_is_told_apart_from_what_could_not_be_seen() -> None:
    absent = ProbeResult(probe="cpu", outcome=Outcome.ABSENT, seconds=0, reason="none here", fills=["cpu"])
    result = report_of(disk_has_room, probes=(absent,)).checks[0]
    assert (result.outcome, result.reason) == (CheckOutcome.ABSENT, "none here")


def test_a_check_that_breaks_is_reported_and_harms_no_other() -> None:
    @as_check(area="made-up", causes=[])
    def breaks() -> Iterator[Finding]:
        """Break."""
        yield finding(title=str(1 // 0))

    report = report_of(breaks, disk_has_room, facts=Facts(cpu=Cpu(model="x")))
    assert [check.outcome for check in report.checks] == [CheckOutcome.CRASH, CheckOutcome.FAIL]
    assert "ZeroDivisionError" in report.checks[0].reason
    assert any("breaks crashed" in sentence for sentence in report.not_examined)


def test_a_consequence_is_folded_under_its_cause_and_lends_it_its_gravity() -> None:
    report = report_of(consequence_holds, root_holds)
    assert [found.title for found in report.findings] == ["root"]
    root = report.findings[0]
    assert root.severity is Severity.ERROR
    assert root.required
    assert [found.title for found in root.consequences] == ["consequence"]
    assert report.verdict is Verdict.ERROR


def test_two_findings_that_explain_each_other_do_not_vanish() -> None:
    @as_check(area="made-up", causes=[])
    def first_holds() -> Iterator[Finding]:
        """First."""
        yield finding(title="first", explains=["second-holds"])

    @as_check(area="made-up", causes=[])
    def second_holds() -> Iterator[Finding]:
        """Second."""
        yield finding(title="second", explains=["first-holds"], confidence=Confidence.LIKELY)

    report = report_of(first_holds, second_holds)
    assert [found.title for found in report.findings] == ["first"]
    assert [found.title for found in report.findings[0].consequences] == ["second"]


def test_the_order_is_required_then_grave_then_sure_then_deep() -> None:
    @as_check(area="made-up", causes=[])
    def all_kinds() -> Iterator[Finding]:
        """All kinds."""
        yield finding(Severity.NOTE, title="note")
        yield finding(Severity.WARNING, title="warning")
        yield finding(Severity.ERROR, title="possible", confidence=Confidence.POSSIBLE)
        yield finding(Severity.ERROR, title="shallow", cause="dependency-conflict")
        yield finding(Severity.ERROR, title="deep", cause="driver-not-loaded")
        yield finding(Severity.WARNING, title="required", required=True)

    titles = [found.title for found in report_of(all_kinds).findings]
    assert titles == ["required", "deep", "shallow", "possible", "warning", "note"]


def test_a_muted_finding_is_shown_last_and_counts_for_nothing() -> None:
    report = report_of(disk_has_room, facts=Facts(cpu=Cpu(model="x")), intent=Intent(mute=["disk-*"]))
    assert report.verdict is Verdict.OK
    assert [found.muted for found in report.findings] == [True]


def test_notes_leave_a_machine_healthy() -> None:
    @as_check(area="made-up", causes=[])
    def remarks() -> Iterator[Finding]:
        """Remark."""
        yield finding(Severity.NOTE)

    assert report_of(remarks).verdict is Verdict.OK


def test_a_requirement_that_could_not_be_examined_is_unknown_and_never_ok() -> None:
    intent = Intent(requirements=[Requirement(text="gpus>=1", source="--require")])
    report = report_of(intent=intent)
    assert report.verdict is Verdict.UNKNOWN
    assert report.requirements[0].state == "unknown"


def test_an_environment_that_could_not_be_examined_is_never_called_healthy() -> None:
    blind = ProbeResult(probe="python", outcome=Outcome.TIMEOUT, seconds=9, reason="no answer", fills=["python"])
    assert report_of(probes=(blind,)).verdict is Verdict.UNKNOWN


def test_a_kernel_log_that_may_not_be_read_is_said_so() -> None:
    report = report_of(facts=Facts(kernel_log=KernelLog(readable=False)))
    assert any("kernel log" in sentence for sentence in report.not_examined)


def test_probes_run_side_by_side_and_one_that_hangs_ends_at_its_deadline() -> None:
    @as_probe(fills=["cpu"], deadline=0.1)
    def hangs() -> Cpu:
        threading.Event().wait(60)
        return Cpu()

    @as_probe(fills=["memory"], deadline=5)
    def answers() -> Memory:
        return Memory(total_bytes=1)

    began = time.monotonic()
    examined = examine(machine(), HERE, [look(hangs), look(answers)])
    assert time.monotonic() - began < 5
    assert [probe.outcome for probe in examined.probes] == [Outcome.TIMEOUT, Outcome.OK]
    assert examined.facts.memory == Memory(total_bytes=1)


def test_a_probe_that_breaks_or_may_not_look_is_reported() -> None:
    @as_probe(fills=["cpu"], deadline=1)
    def breaks() -> Cpu:
        raise RuntimeError("broken")

    @as_probe(fills=["memory"], deadline=1)
    def denied() -> Memory:
        raise Ended(Outcome.DENIED, "not for you")

    examined = examine(machine(), HERE, [look(breaks), look(denied)])
    assert [(probe.outcome, probe.reason) for probe in examined.probes] == [
        (Outcome.CRASH, "RuntimeError: broken"),
        (Outcome.DENIED, "not for you"),
    ]


def test_quick_leaves_out_what_imports_and_takes_versions_from_metadata() -> None:
    @as_probe(fills=["torch"], deadline=1, imports=True)
    def torch() -> Framework:
        raise AssertionError("imported")

    @as_probe(fills=["packages"], deadline=1)
    def packages() -> Packages:
        return Packages(installed=[Package(name="torch", version="2.9.0")])

    examined = examine(machine(), HERE, [look(torch), look(packages)], quick=True)
    assert examined.probes[0].outcome is Outcome.SKIPPED
    assert examined.facts.torch is not None
    assert (examined.facts.torch.state, examined.facts.torch.metadata_version) == ("not-imported", "2.9.0")


def test_the_report_is_valid_by_its_own_schema_and_survives_a_round_trip() -> None:
    import jsonschema

    report = report_of(
        disk_has_room, consequence_holds, root_holds, facts=Facts(cpu=Cpu(model="x"), python=Python(version="3.11.7"))
    )
    encoded = msgspec.json.encode(report)
    jsonschema.validate(msgspec.json.decode(encoded), schema())
    assert msgspec.json.decode(encoded, type=Report) == report
