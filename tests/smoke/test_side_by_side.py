"""The quick suite tries what is independent at once: on which machines, in which order, and that all of it ends."""

from __future__ import annotations

import signal
import sys
import time
from types import SimpleNamespace

import pytest

from envcheck.facts import Cpu, Memory
from envcheck.smoke import side_by_side, suite
from envcheck.smoke.choice import Choice
from envcheck.system import Live

GIB = 2**30
HANG = "import subprocess, time\nsubprocess.Popen(['sleep', '600'])\ntime.sleep(600)\n"


class Machine:
    """What is asked of a system beside its processor and memory."""

    def __init__(self, name: str, *present: str) -> None:
        self.name, self.present = name, present

    def ask(self, _: str) -> dict[str, str]:
        return {"system": self.name}

    def status(self, path: str) -> SimpleNamespace:
        return SimpleNamespace(outcome="ok" if path in self.present else "absent")


@pytest.fixture
def machine(monkeypatch):
    def make(cores: int | None, **memory: int) -> None:
        monkeypatch.setattr(side_by_side, "cpu", lambda _: Cpu(allowed_cores=cores))
        monkeypatch.setattr(side_by_side, "memory", lambda _: Memory(**memory))

    return make


def quick(**more: object) -> Choice:
    return Choice(interpreter=sys.executable, parts=("arithmetic", "workload"), size="quick", **more)


def test_as_many_children_as_cores_and_memory_allow(machine):
    machine(4, available_bytes=16 * GIB)
    assert side_by_side.children_at_once(quick(), Machine("Linux")) == 4
    machine(64, available_bytes=16 * GIB)
    assert side_by_side.children_at_once(quick(), Machine("Linux")) == 8
    machine(4, available_bytes=16 * GIB, cgroup_limit_bytes=6 * GIB, cgroup_used_bytes=3 * GIB)
    assert side_by_side.children_at_once(quick(), Machine("Linux")) == 1
    reclaimable = {"cgroup_used_bytes": 3 * GIB, "cgroup_reclaimable_bytes": 2 * GIB}
    machine(4, available_bytes=16 * GIB, cgroup_limit_bytes=6 * GIB, **reclaimable)
    assert side_by_side.children_at_once(quick(), Machine("Linux")) == 2


@pytest.mark.parametrize(
    ("choice", "system"),
    [
        (quick(), Machine("Linux", "/dev/nvidiactl")),
        (quick(device="cuda"), Machine("Linux")),
        (quick(), Machine("Darwin")),
        (Choice(interpreter=sys.executable, parts=("arithmetic", "workload")), Machine("Linux")),
        (Choice(interpreter=sys.executable, parts=("pace",), size="quick"), Machine("Linux")),
    ],
    ids=["a GPU may be chosen", "a GPU is chosen", "another system", "rates count", "pace"],
)
def test_one_at_a_time_where_something_would_be_shared_or_measured(machine, choice, system):
    machine(8, available_bytes=64 * GIB)
    assert side_by_side.children_at_once(choice, system) == 1


def test_one_at_a_time_where_cores_or_memory_are_unknown(machine):
    machine(None, available_bytes=64 * GIB)
    assert side_by_side.children_at_once(quick(), Machine("Linux")) == 1
    machine(8)
    assert side_by_side.children_at_once(quick(), Machine("Linux")) == 1


def test_the_report_is_the_same_however_many_run_at_once(stub, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(stub("raise SystemExit('no licence')\n")))
    choice = quick(frameworks=("torch",), by_name=True)
    seen = []
    for at_once in (1, 3):
        monkeypatch.setattr(side_by_side, "children_at_once", lambda *_, at_once=at_once: at_once)
        told: list[str] = []
        proofs = suite.prove(choice, lambda name, _, told=told: told.append(name), Live())
        seen.append([(proof.part, proof.name, proof.framework, proof.status, proof.summary) for proof in proofs])
        assert set(told) == {"torch"}
    assert seen[0] == seen[1]
    assert {part for part, *_ in seen[0]} == {"arithmetic", "workload"}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_all_that_runs_at_once(start, stub, nothing_is_left, number):
    with start("--quick", "--framework", "torch", stubs=stub(HANG)) as process:
        assert b"importing" in process.stdout.readline()
        time.sleep(0.3)
        process.send_signal(number)
        nothing_is_left(1.5)
        _, stderr = process.communicate(timeout=5)
    assert process.returncode == 130
    assert stderr.decode().split("\n")[-2:] == ["envcheck: interrupted; nothing is left running", ""]
