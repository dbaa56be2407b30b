"""Several processes that must train as one: ranks that die, hang, sum wrongly or drift apart are named."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from envcheck.smoke import distributed
from envcheck.smoke.child import Ending
from envcheck.smoke.choice import Choice
from envcheck.smoke.proof import Proof
from envcheck.smoke.result import Status

CHOICE = Choice(interpreter="/env/bin/python", parts=("distributed",), ranks=2, size="quick")

# Runs in the second rank alone, in the third step of its training.
IN_RANK_ONE = """
if os.environ.get("RANK") == "1":
    whole, calls = real.nn.functional.cross_entropy, []
    def cross_entropy(*arguments, **named):
        calls.append(1)
        if len(calls) == 3:
            {fault}
        return whole(*arguments, **named)
    real.nn.functional.cross_entropy = cross_entropy
"""

WRONG_SUM = """
whole = real.distributed.all_reduce
def all_reduce(tensor, *arguments, **named):
    whole(tensor, *arguments, **named)
    tensor.reshape(-1)[-1] += 1
real.distributed.all_reduce = all_reduce
"""

SILENT_SUM = "real.distributed.all_reduce = lambda tensor, *arguments, **named: None"

NO_SHARED_GRADIENTS = """
class Alone(real.nn.Module):
    def __init__(self, module, **named):
        super().__init__()
        self.module = module
    def forward(self, *arguments):
        return self.module(*arguments)
real.nn.parallel.DistributedDataParallel = Alone
"""


def in_rank_one(fault: str) -> str:
    return IN_RANK_ONE.format(fault=fault)


def proof_in(ran: Any) -> dict[str, Any]:
    (proof,) = ran.json()["proofs"]
    return proof


@pytest.fixture
def torch_ranks(smoke, interpreter_with) -> Callable[..., dict[str, Any]]:
    """Train in PyTorch's ranks, with one thing about PyTorch spoiled."""

    def run(stubs=None, *told: str, code: int = 1) -> dict[str, Any]:
        arguments = ["--distributed", "--quick", "--framework", "torch", "--json", *told]
        ran = smoke(*arguments, "--python", interpreter_with("torch"), stubs=stubs)
        assert ran.code == code, ran.stderr
        return proof_in(ran)

    return run


@pytest.mark.slow
def test_a_rank_that_is_killed_is_named_and_nothing_is_left(torch_ranks, spoiled, nothing_is_left) -> None:
    proof = torch_ranks(spoiled(in_rank_one("os.kill(os.getpid(), 9)")))
    assert proof["findings"][0]["cause"] == "rank-died"
    assert proof["summary"].startswith("rank 1 ")
    assert "SIGKILL" in proof["summary"]
    nothing_is_left(5)


@pytest.mark.slow
def test_a_rank_that_hangs_is_named_before_the_deadline_with_where_it_is(torch_ranks, spoiled, nothing_is_left) -> None:
    began = time.monotonic()
    proof = torch_ranks(spoiled(in_rank_one("import time; time.sleep(1000)")), "--timeout", "80")
    assert time.monotonic() - began < 80
    assert "rank 1 hung" in proof["summary"]
    assert "while rank 0 waited for it" in proof["summary"]
    assert "in cross_entropy" in proof["failure"]["python_stack"]
    nothing_is_left(5)


@pytest.mark.smoke
def test_ranks_of_pytorch_train_as_one_process_does(torch_ranks, nothing_is_left) -> None:
    proof = torch_ranks(None, "--ranks", "3", code=0)
    assert proof["status"] == "passed"
    assert {one["name"] for one in proof["conditions"]} == {
        "ranks-meet",
        "all-reduce",
        "all-gather",
        "same-weights",
        "same-loss",
    }
    nothing_is_left(5)


@pytest.mark.smoke
def test_ranks_of_tensorflow_train_as_one_process_does(smoke, interpreter_with, nothing_is_left) -> None:
    ran = smoke("--distributed", "--quick", "--framework", "tf", "--json", "--python", interpreter_with("tensorflow"))
    assert ran.code == 0, ran.stdout + ran.stderr
    assert proof_in(ran)["status"] == "passed"
    nothing_is_left(5)


@pytest.mark.smoke
@pytest.mark.parametrize(
    ("spoil", "broken"),
    [(WRONG_SUM, "all-reduce"), (SILENT_SUM, "all-reduce"), (NO_SHARED_GRADIENTS, "same-weights")],
)
def test_ranks_that_sum_wrongly_or_drift_apart_are_named(torch_ranks, spoiled, spoil: str, broken: str) -> None:
    proof = torch_ranks(spoiled(spoil))
    assert broken in [one["name"] for one in proof["conditions"] if not one["holds"]]


@pytest.mark.smoke
def test_an_interrupt_leaves_no_rank_running(start, interpreter_with, nothing_is_left) -> None:
    import signal

    with start("--distributed", "--framework", "torch", "--python", interpreter_with("torch")) as process:
        time.sleep(6)
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 130
    nothing_is_left(5)


@pytest.mark.smoke
def test_a_killed_envcheck_takes_its_ranks_with_it(start, interpreter_with, nothing_is_left) -> None:
    with start("--distributed", "--framework", "torch", "--python", interpreter_with("torch")) as process:
        time.sleep(6)
        process.kill()
    nothing_is_left(10)


# What follows judges events as the ranks write them.


def events_of(**changes: list[float]) -> list[dict[str, Any]]:
    events: list[dict[str, Any]] = [
        {"event": "python", "version": "3.12.1", "at": 0.0},
        {"event": "step", "step": "import", "rank": 0, "at": 1.0},
        {
            "event": "framework",
            "rank": 0,
            "version": "2.9.0",
            "backend": "gloo",
            "device": "cpu",
            "name": "",
            "at": 2.0,
        },
    ]
    for rank in range(2):
        events += [
            {"event": "met", "rank": rank, "world": 2, "found_rank": rank, "at": 3.0},
            {"event": "sum", "rank": rank, "right": True, "dtype": "float32", "count": 1, "at": 3.1},
            {"event": "gather", "rank": rank, "right": True, "at": 3.2},
            {"event": "bandwidth", "rank": rank, "bytes": 2**20, "seconds": [0.001, 0.002, 0.004], "at": 3.3},
        ]
    events.append({"event": "alone", "rank": 0, "losses": changes.get("alone", [2.3, 2.2, 2.1]), "at": 4.0})
    losses = changes.get("together", [2.3, 2.2, 2.1])
    together = {"event": "together", "losses": losses, "spread": 0.0, "seconds": 2.0, "images": 100, "at": 5.0}
    for rank in range(2):
        events.append({**together, "rank": rank})
        events.append({"event": "rank-end", "rank": rank, "peak_bytes": 100, "device_peak_bytes": None, "at": 5.1})
    return [*events, {"event": "end", "at": 6.0}]


def judged(events: list[dict[str, Any]], stderr: str = "") -> Proof:
    return distributed.proof_of("torch", CHOICE, events, Ending(outcome="ok", exit_code=0, seconds=6.0, stderr=stderr))


def test_ranks_that_agree_pass_with_their_bandwidth_and_both_courses() -> None:
    proof = judged(events_of())
    assert proof.status is Status.PASSED
    assert [measure.unit for measure in proof.measures] == ["MB/s", "samples/s"]
    assert proof.measures[0].value == pytest.approx(2**20 / 0.002 / 1e6)
    assert [curve.name for curve in proof.curves] == ["loss of one process", "loss of all ranks"]
    assert proof.peak_memory_bytes == 200


@pytest.mark.parametrize("together", [[2.3, 2.19, 2.1], [2.3, 2.2, float("nan")], [2.3, 2.2]])
def test_a_loss_that_leaves_that_of_one_process_is_named(together: list[float]) -> None:
    proof = judged(events_of(together=together))
    assert [one.name for one in proof.conditions if not one.holds] == ["same-loss"]
    assert proof.status is Status.FAILED


def test_a_wrong_sum_is_said_with_its_place() -> None:
    events = events_of()
    events[4].update(right=False, found=1.5, wanted=3.0, place=17, count=4099)
    proof = judged(events)
    assert proof.status is Status.FAILED
    assert "1.5 where the sum is 3 (place 17 of 4099, float32)" in proof.summary


def test_ranks_that_each_count_themselves_alone_do_not_meet() -> None:
    events = [{**event, "world": 1} if event["event"] == "met" else event for event in events_of()]
    assert "ranks-meet" in [one.name for one in judged(events).conditions if not one.holds]


def test_torchruns_own_table_gives_the_signal_of_a_lost_rank() -> None:
    lost = {"event": "lost", "lost": 1, "pid": 4721, "where": "all-reduce", "code": None, "at": 4.0}
    table = "Root Cause (first observed failure):\n  rank      : 1 (local_rank: 1)\n  exitcode  : -9 (pid: 4721)\n"
    proof = judged([*events_of()[:4], lost, {"event": "end", "at": 5.0}], table)
    assert proof.summary == "rank 1 (process 4721) was ended by SIGKILL, at all-reduce."
    assert proof.findings[0].cause == "rank-died"


def test_ranks_that_all_wait_in_one_place_are_not_blamed_one_by_one() -> None:
    hung = {"event": "hung", "hung": [0, 1], "together": True, "where": "all-reduce", "seconds": 30.0, "waiting": []}
    assert "what they send does not arrive" in judged([*events_of()[:4], {**hung, "at": 40.0}]).summary


@pytest.mark.parametrize(
    ("message", "cause"),
    [
        (
            "The client socket has timed out after 60000ms while trying to connect to (node1, 29500).",
            "rendezvous-unreachable",
        ),
        ("Gloo connectFullMesh failed: Unable to find address for: eth7", "network-interface-wrong"),
        ("NCCL error in: ProcessGroupNCCL.cpp:1, unhandled system error, NCCL version 2.21.5", "nccl-transport-failed"),
        ("division by zero", None),
    ],
)
def test_ranks_that_do_not_find_each_other_have_a_cause(message: str, cause: str | None) -> None:
    failure = {
        "event": "failure",
        "rank": 1,
        "step": "import",
        "kind": "exception",
        "type": "RuntimeError",
        "message": message,
        "traceback": [],
        "cause": "",
        "at": 9.0,
    }
    proof = judged([*events_of()[:3], failure, {"event": "end", "at": 9.5}])
    assert proof.status is Status.FAILED
    assert proof.summary.startswith("rank 1: ")
    assert [finding.cause for finding in proof.findings] == ([cause] if cause else [])


def test_keras_is_told_which_framework_to_ask_for(smoke) -> None:
    ran = smoke("--distributed", "--framework", "keras")
    assert (ran.code, "--framework tf or torch" in ran.stderr) == (2, True)
