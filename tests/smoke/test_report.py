"""What a run leaves for people and machines: the page, the HTML report, JUnit, thresholds and the history."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from msgspec.structs import replace

from envcheck.intent import UsageError
from envcheck.report import Finding, Severity
from envcheck.smoke import drawing, history, html_page, junit, page, suite, thresholds
from envcheck.smoke.proof import Curve, Matrix, Measure, Picture, Proof, SmokeReport
from envcheck.smoke.result import Condition, Failure, Status, Threshold

PROCESSOR = "Some Processor, 2 cores"

TRAINED = Proof(
    part="workload",
    name="residual",
    framework="torch",
    title="residual network",
    proves="batch norm and shortcuts learn",
    status=Status.PASSED,
    summary="reaches 0.91",
    device="cpu",
    seconds=4.2,
    peak_memory_bytes=3 * 2**30,
    conditions=[Condition(name="loss-falls", holds=True, seen="2.3 to 0.4")],
    measures=[
        Measure(name="test accuracy", value=0.91),
        Measure(name="training rate", value=1000.0, unit="samples/s", low=900.0, high=1100.0, repeats=5),
    ],
    curves=[
        Curve(name="training loss", x_label="epoch", y_label="nats", x=[1.0, 2.0, 3.0], y=[2.3, None, 0.4]),
        Curve(name="validation loss", x_label="epoch", y_label="nats", x=[1.0, 2.0, 3.0], y=[2.3, 1.0, 0.5]),
    ],
    matrices=[Matrix(name="confusion", rows=["a", "b"], columns=["a", "b"], values=[[5.0, 0.0], [1.0, 4.0]])],
    pictures=[Picture(name="one", caption="<3> taken for 8", width=2, height=2, pixels=b"\x00\x10\x80\xff")],
)

BROKEN = replace(
    TRAINED,
    framework="tensorflow",
    status=Status.FAILED,
    summary="the softmax of its attention is wrong \x1b[31m",
    measures=[],
    curves=[],
    conditions=[Condition(name="loss-falls", holds=False, seen="it rose from 2.3 to 9.1")],
    failure=Failure(step="train", kind="exception", reason="ended in ValueError", traceback=["x.py:1 in f: g()"]),
    findings=[Finding(check="smoke", cause="broken-install", severity=Severity.ERROR, title="it is broken <b>")],
)


def report_of(*proofs: Proof, required: tuple[Threshold, ...] = ()) -> SmokeReport:
    return suite.report([], list(proofs), list(required), "/env/bin/python", "--python")


def judged(text: str, *proofs: Proof, past: tuple[history.Entry, ...] = ()) -> Threshold:
    return thresholds.judge(thresholds.wanted(text), proofs, PROCESSOR, past)


@pytest.mark.parametrize(
    ("text", "state"),
    [
        ("accuracy>=0.9", "holds"),
        ("accuracy>=0.95", "fails"),
        ("torch:accuracy>=0.9", "holds"),
        ("torch:residual:accuracy >= 0.9", "holds"),
        ("tf:accuracy>=0.9", "unknown"),
        ("samples-per-second>1000", "fails"),
        ("samples-per-second>=1000", "holds"),
        ("samples-per-second>=90%", "unknown"),
        ("device=cpu", "holds"),
        ("device=cuda", "fails"),
        ("seconds<=5", "holds"),
        ("peak-memory<=2GiB", "fails"),
        ("peak-memory<=4GiB", "holds"),
    ],
)
def test_a_requirement_holds_fails_or_is_unknown(text: str, state: str) -> None:
    assert judged(text, TRAINED).state == state


@pytest.mark.parametrize(
    "text", ["", "acuracy>=1", "accuracy", "accuracy>=much", "device>=cuda", "peak-memory<=big", "accuracy>=90%"]
)
def test_a_requirement_that_says_nothing_is_wrong_usage(text: str) -> None:
    with pytest.raises(UsageError):
        thresholds.wanted(text)


def test_one_training_that_misses_a_requirement_is_named() -> None:
    slow = replace(TRAINED, framework="tensorflow", measures=[Measure(name="test accuracy", value=0.5)])
    threshold = judged("accuracy>=0.9", TRAINED, slow)
    assert (threshold.state, "tensorflow" in threshold.seen, "torch" in threshold.seen) == ("fails", True, False)


def past(*rates: float, **changes: str) -> tuple[history.Entry, ...]:
    proofs = [replace(TRAINED, measures=[Measure(name="training rate", value=rate)], **changes) for rate in rates]
    entries = [history.entry_of(proof, PROCESSOR) for proof in proofs]
    return tuple(entry for entry in entries if entry is not None)


def test_a_machine_that_became_slower_than_it_was_fails_its_share() -> None:
    assert judged("samples-per-second>=90%", TRAINED, past=past(1010, 990, 1050)).state == "holds"
    assert judged("samples-per-second>=90%", TRAINED, past=past(2000, 2100, 1900)).state == "fails"


def test_runs_of_another_machine_workload_or_device_are_not_compared() -> None:
    others = (*past(9000, name="recurrent"), *past(9000, device="cuda:0", device_name="Some GPU"))
    others += tuple(replace(entry, machine="another") for entry in past(9000))
    assert judged("samples-per-second>=90%", TRAINED, past=others).state == "unknown"


def test_the_history_survives_a_torn_line_and_keeps_what_follows(tmp_path: Path) -> None:
    path = tmp_path / "state" / "smoke.jsonl"
    assert history.append(path, past(1.0)) == ""
    with path.open("ab") as file:
        file.write(b'{"when": 1, "mach')
    assert history.append(path, past(2.0)) == ""
    assert [entry.rate for entry in history.read(path)] == [1.0, 2.0]


def test_a_long_history_loses_its_older_half(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "KEPT_BYTES", 2000)
    path = tmp_path / "smoke.jsonl"
    for rate in range(1, 40):
        history.append(path, past(float(rate)))
    rates = [entry.rate for entry in history.read(path)]
    assert rates[-1] == 39.0
    assert 1.0 not in rates
    assert path.stat().st_size < 2500


def test_a_history_that_cannot_be_written_is_said_and_harms_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert "file" in history.append(tmp_path / "file" / "smoke.jsonl", past(1.0))


def test_a_training_that_failed_is_no_history() -> None:
    assert history.entry_of(replace(TRAINED, status=Status.FAILED), PROCESSOR) is None


def test_junit_counts_what_failed_and_says_why() -> None:
    required = (Threshold(text="accuracy>=1", state="fails", seen="0.91"),)
    root = ET.fromstring(junit.document(report_of(TRAINED, BROKEN, required=required)))  # noqa: S314 - our own
    suites = {one.get("name"): one for one in root}
    assert suites["workload torch"].get("failures") == "0"
    assert suites["workload tensorflow"].get("failures") == "1"
    assert suites["required"].get("failures") == "1"
    failure = suites["workload tensorflow"].find("testcase/failure")
    assert failure is not None
    assert failure.get("type") == "broken-install"
    assert "it rose from 2.3 to 9.1" in (failure.text or "")
    properties = {one.get("name"): one.get("value") for one in suites["workload torch"].iter("property")}
    assert properties["training rate"] == "1000 samples/s"


def test_what_was_not_examined_is_an_error_and_what_is_absent_is_skipped_in_junit() -> None:
    unknown = replace(BROKEN, status=Status.UNEXAMINED, findings=[])
    absent = replace(TRAINED, framework="keras-jax", status=Status.ABSENT)
    root = ET.fromstring(junit.document(report_of(unknown, absent)))  # noqa: S314 - our own
    assert [(one.get("errors"), one.get("skipped")) for one in root] == [("1", "0"), ("0", "1")]


def test_the_html_report_escapes_what_came_from_the_machine() -> None:
    text = html_page.page(report_of(TRAINED, BROKEN))
    assert "it is broken &lt;b&gt;" in text
    assert "it is broken <b>" not in text
    assert "&lt;3&gt; taken for 8" in text
    assert "<script" not in text
    assert "http" not in text.replace("http://www.w3.org/2000/svg", "")


def test_the_html_report_draws_courses_matrix_and_pictures() -> None:
    text = html_page.page(report_of(TRAINED))
    assert text.count("<svg") == 3
    assert "validation loss: 0.5 at the end" in text
    assert "image/png;base64" in text


def test_a_course_without_a_finite_number_is_no_drawing() -> None:
    assert drawing.curves([Curve(name="loss", x_label="epoch", y_label="nats", x=[1.0], y=[None])]) == ""


def test_a_small_picture_is_a_png_that_can_be_read_back() -> None:
    content = drawing.png(TRAINED.pictures[0])
    assert struct.unpack(">II", content[16:24]) == (2, 2)
    start = content.index(b"IDAT") + 4
    assert zlib.decompress(content[start:-16]) == b"\x00\x00\x10\x00\x80\xff"


def test_the_page_names_the_part_that_does_not_hold_and_its_cause() -> None:
    report = report_of(TRAINED, BROKEN)
    text = page.page(report)
    assert report.exit_code == 1
    assert text.splitlines()[0].startswith("ERROR")
    assert "workload: 1 of 2 hold" in text
    assert "BROKEN" in text
    assert "broken-install" in text
    assert "\x1b" not in text


def test_a_cause_that_stops_many_is_told_once() -> None:
    text = page.page(report_of(BROKEN, replace(BROKEN, name="recurrent")))
    assert text.count("FAIL    ") >= 2
    assert text.count("it is broken <b>") == 1


def test_an_unmet_requirement_is_an_error_though_all_trains() -> None:
    report = report_of(TRAINED, required=(Threshold(text="accuracy>=1", state="fails", seen="0.91"),))
    assert report.exit_code == 1
    assert page.page(report).splitlines()[0] == "ERROR    this environment trains, but not as was required of it"


def test_a_requirement_that_could_not_be_judged_is_unknown_not_met() -> None:
    report = report_of(TRAINED, required=(Threshold(text="accuracy>=1", state="unknown", seen="nothing"),))
    assert report.exit_code == 3


@pytest.mark.parametrize(
    ("values", "line"),
    [([1.0, 0.5, 0.0], "^-_"), ([1.0, None, 0.0], "^!_"), ([None, None], "!!"), ([2.0, 2.0], "--")],
)
def test_a_course_is_a_line_of_ascii_where_the_terminal_shows_no_more(values: list[float | None], line: str) -> None:
    assert page.sparkline(values, blocks=False) == line


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--quick", "--full"], "two wishes"),
        (["--arithmetic", "--epochs", "3"], "--epochs speaks of the reference network"),
        (["--mixed-precision"], "--mixed-precision speaks of the workloads"),
        (["--record", "x"], "--record speaks of --minutes"),
        (["--workload", "residuel"], "did you mean residual?"),
        (["--require", "speed>=1"], "is no requirement of a training"),
        (["--html", "nowhere/x.html"], "there is no folder nowhere"),
    ],
)
def test_an_option_that_would_do_nothing_is_wrong_usage(smoke, arguments: list[str], said: str) -> None:
    ran = smoke(*arguments)
    assert ran.code == 2
    assert said in ran.stderr
    assert len(ran.stderr.splitlines()) == 1


def test_a_run_writes_its_reports_and_is_compared_with_the_next(smoke, interpreter_with, tmp_path: Path) -> None:
    told = ["--framework", "torch", "--python", interpreter_with("torch"), "--epochs", "2", "--samples", "300"]
    first = smoke(*told, "--junit", str(tmp_path / "a.xml"), "--html", str(tmp_path / "a.html"))
    second = smoke(*told, "--require", "samples-per-second>=1%")
    assert (first.code, second.code) == (0, 0)
    assert ET.fromstring((tmp_path / "a.xml").read_text()).find("testsuite") is not None  # noqa: S314 - our own
    assert "reference convolutional network" in (tmp_path / "a.html").read_text()
    assert "PASS     required samples-per-second>=1%: holds" in second.stdout


def test_the_json_report_is_valid_by_the_printed_schema() -> None:
    import jsonschema
    import msgspec

    from envcheck.smoke.proof import schema

    jsonschema.validate(msgspec.json.decode(msgspec.json.encode(report_of(TRAINED, BROKEN))), schema())
