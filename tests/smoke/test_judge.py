"""What follows from what a child reported: conditions, status, findings, exit codes and facts for the checks."""

from __future__ import annotations

import pytest

from envcheck.report import Confidence, Severity
from envcheck.smoke import judge
from envcheck.smoke.child import Ending
from envcheck.smoke.result import Settings, SmokeResult, Status, as_facts
from envcheck.smoke.suite import verdict_of
from envcheck.smoke.training import summary_of

ENDED = Ending(outcome="ok", exit_code=0, seconds=9.0)


def healthy(**changes):
    """The events of a healthy training; `name=None` leaves one out, `name={...}` changes its fields."""
    events = {
        "python": {"version": "3.11.7"},
        "step": {"step": "evaluate"},
        "framework": {"version": "2.13.0", "build": {"cuda": None}},
        "device": {"asked": "auto", "used": "cpu", "name": "cpu", "why": ""},
        "data": {"train": 1200, "validation": 300, "test": 1000, "numpy": "2.4.6"},
        "network": {"parameters": 225034},
        "untrained": {"loss": 2.3, "accuracy": 0.1, "finite": True},
        "threads": {"threads": 2, "allowed_cores": 2.0},
        "trained": {"samples_per_second": 2000.0, "cores_used": 1.9, "cores_waited_for": 0.02},
        "moved": {"layers": {"conv1": 0.7, "conv2": 0.8, "dense1": 0.5, "dense2": 0.2}, "finite": True},
        "test": {"loss": 0.2, "accuracy": 0.95, "finite": True, "samples": 1000},
        "where": {"devices": ["cpu"]},
        "memory": {"peak_bytes": 400_000_000, "device_peak_bytes": None},
        "end": {},
    }
    losses = changes.pop("losses", [1.6, 0.5, 0.1])
    for name, change in changes.items():
        if change is None:
            del events[name]
        else:
            events[name] = events[name] | change
    listed = [{"event": name, "at": float(at), **fields} for at, (name, fields) in enumerate(events.items())]
    epochs = [
        {
            "event": "epoch",
            "at": 5.0,
            "epoch": number,
            "loss": loss,
            "validation_loss": loss,
            "finite": loss is not None,
        }
        for number, loss in enumerate(losses, 1)
    ]
    return [*listed[:-1], *epochs, listed[-1]]


def judged(settings=None, ending=ENDED, **changes) -> SmokeResult:
    return judge.result_of("torch", settings or Settings(), "/env/bin/python", healthy(**changes), ending)


def broken(result):
    return [condition.name for condition in result.conditions if not condition.holds]


def test_a_healthy_training_passes():
    result = judged()
    assert (result.status, broken(result), result.findings) == (Status.PASSED, [], [])
    assert verdict_of([result]) == ("ok", 0)


@pytest.mark.parametrize(
    ("changes", "condition"),
    [
        ({"losses": [1.6, 0.5, 1.7]}, "loss-falls"),
        ({"losses": [2.4]}, "loss-falls"),
        ({"test": {"accuracy": 0.89}}, "test-accuracy"),
        ({"test": {"loss": None, "finite": False}}, "loss-finite"),
        ({"moved": {"layers": {"conv1": 0.0, "conv2": 0.8}}}, "parameters-moved"),
        ({"moved": {"layers": {}}}, "parameters-moved"),
        ({"where": {"devices": ["cuda:0"]}}, "device"),
        ({"where": {"devices": ["cpu", "cuda:0"]}}, "device"),
        ({"where": {"devices": []}, "device": {"used": ""}}, "device"),
    ],
)
def test_each_condition_that_does_not_hold_fails_the_training(changes, condition):
    result = judged(**changes)
    assert result.status is Status.FAILED
    assert broken(result) == [condition]
    assert verdict_of([result]) == ("error", 1)


def test_a_loss_that_is_not_finite_is_named_alone_for_the_rest_follows_from_it():
    result = judged(losses=[1.6, None], moved={"layers": {"conv1": None}, "finite": False})
    assert broken(result) == ["loss-finite", "loss-falls"]
    assert summary_of(result).count(";") == 0


def test_the_device_of_a_gpu_needs_no_number_to_be_the_same():
    assert judged(device={"used": "mps"}, where={"devices": ["mps:0"]}).status is Status.PASSED


@pytest.mark.parametrize(
    ("samples", "updates", "bar"),
    [(1200, 380, 0.90), (1200, 299, 0.75), (400, 130, 0.75), (160, 30, 0.40), (80, 3, None)],
)
def test_little_training_is_asked_for_little(samples, updates, bar):
    assert judge.accuracy_bar(samples, updates) == bar


def test_too_little_training_is_judged_by_its_loss_alone():
    result = judged(Settings(samples=50, epochs=1), data={"train": 40}, losses=[2.2], test={"accuracy": 0.2})
    assert result.status is Status.PASSED
    assert "test-accuracy" not in [condition.name for condition in result.conditions]


def test_one_thread_that_is_much_faster_is_a_warning_and_the_verdict_says_so():
    slow = judged(trained={"samples_per_second": 300.0, "cores_waited_for": 1.0})
    assert judge.threads_seem_to_hurt(slow)
    result = judge.with_one_thread(slow, 2400.0)
    (finding,) = result.findings
    assert (finding.cause, finding.severity) == ("thread-oversubscription", Severity.WARNING)
    assert finding.confidence is Confidence.LIKELY, "threads do not outnumber the cores: other work holds them"
    assert "8.0 times" in finding.title
    assert verdict_of([result]) == ("warning", 0)


def test_more_threads_than_cores_are_certainly_too_many_where_one_is_faster():
    slow = judged(threads={"threads": 64, "allowed_cores": 1.5})
    assert judge.threads_seem_to_hurt(slow)
    (finding,) = judge.with_one_thread(slow, 4000.0).findings
    assert finding.confidence is Confidence.CERTAIN


@pytest.mark.parametrize("one", [None, 0.0, 2900.0])
def test_one_thread_that_is_hardly_faster_is_no_finding(one):
    assert judge.with_one_thread(judged(threads={"threads": 64}), one).findings == []


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"threads": {"threads": 1}, "trained": {"cores_waited_for": 1.0}},
        {"where": {"devices": ["cuda:0"]}, "trained": {"cores_waited_for": 1.0}},
        {"threads": {"threads": 64, "allowed_cores": 64.0}},
    ],
)
def test_threads_that_are_in_nobodys_way_are_not_measured_again(changes):
    assert not judge.threads_seem_to_hurt(judged(**changes))


def test_a_training_that_ran_out_of_time_is_measured_with_one_thread():
    events = [event for event in healthy(step={"step": "train"}) if event["event"] not in {"end", "trained", "where"}]
    events.append({"event": "progress", "at": 8.0, "samples_per_second": 90.0})
    ending = Ending(outcome="timeout", seconds=300.0)
    result = judge.result_of("torch", Settings(), "/env/bin/python", events, ending)
    assert (result.failure.kind, result.failure.step) == ("timeout", "train")
    assert judge.threads_seem_to_hurt(result)
    assert [found.cause for found in judge.with_one_thread(result, 900.0).findings] == ["thread-oversubscription"]


def test_an_instruction_that_the_processor_lacks_has_its_cause():
    events = [{"event": "python", "at": 0.1, "version": "3.11.7"}, {"event": "step", "at": 0.1, "step": "import"}]
    result = judge.result_of("torch", Settings(), "python", events, Ending(outcome="signal", signal="SIGILL"))
    assert result.failure.cause == "cpu-instructions-missing"
    assert [finding.cause for finding in result.findings] == ["cpu-instructions-missing"]


def test_a_killed_training_points_at_memory_and_claims_nothing():
    events = [{"event": "python", "at": 0.1, "version": "3.11.7"}, {"event": "step", "at": 0.1, "step": "train"}]
    result = judge.result_of("torch", Settings(), "python", events, Ending(outcome="signal", signal="SIGKILL"))
    assert "memory runs out" in result.failure.reason
    assert (result.failure.cause, result.findings) == ("", [])


def test_the_worst_decides_and_an_error_is_worse_than_what_is_unknown():
    passed, failed = judged(), judged(losses=[1.0, 2.0])
    unknown = judge.result_of("torch", Settings(), "/bin/true", [], ENDED)
    absent = judge.without_findings(passed, Status.ABSENT)
    assert verdict_of([passed, absent]) == ("ok", 0)
    assert verdict_of([passed, unknown]) == ("unknown", 3)
    assert verdict_of([unknown, failed]) == ("error", 1)
    assert verdict_of([absent, absent]) == ("error", 1)


def test_the_checks_of_doctor_get_the_evidence():
    slow = judge.with_one_thread(judged(trained={"samples_per_second": 300.0}), 2400.0)
    failed = judged(ending=Ending(outcome="signal", signal="SIGSEGV", stderr="boom"), end=None)
    absent = judge.without_findings(slow, Status.ABSENT)
    runs = as_facts([slow, failed, absent]).runs
    assert [run.passed for run in runs] == [True, False]
    assert (runs[0].samples_per_second, runs[0].samples_per_second_one_thread, runs[0].allowed_cores) == (
        300.0,
        2400.0,
        2,
    )
    assert (runs[1].failed_step, runs[1].signal, runs[1].stderr) == ("evaluate", "SIGSEGV", "boom")
