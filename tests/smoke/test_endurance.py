"""The endurance run: each fault that only a load brings to light is caught by name, and a healthy run stays silent."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fake_driver
import pytest

from envcheck.facts import Gpu, KernelMessage, Nvml
from envcheck.report import Finding
from envcheck.smoke import endurance, endurance_page, endurance_proofs
from envcheck.smoke.choice import Choice
from envcheck.smoke.endurance_proofs import Outcome, Watched
from envcheck.smoke.endurance_record import Kept, Machine, RecordError, Round, Session, Writer, encoded, read
from envcheck.smoke.proof import Proof
from envcheck.smoke.result import Status

STUBS = Path(__file__).parent / "stubs"
ROOT = Path(__file__).parents[2]


def silent(framework: str, event: dict[str, Any]) -> None:
    """Show nothing."""


def choice(**options: Any) -> Choice:
    defaults = {"interpreter": sys.executable, "frameworks": ("torch",), "by_name": True, "size": "quick"}
    return Choice(**(defaults | {"minutes": 0.05} | options))


@pytest.fixture
def stub(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Proof]:
    """Keep a torch of NumPy busy, with faults of one's choice; a round takes a twentieth of a second."""
    monkeypatch.setattr(endurance, "SHORTEST_ROUND", 0.05)

    def run(faults: str = "", listen: Any = silent, **options: Any) -> Proof:
        if "slow" in faults.split():
            # The fall that is planted is larger than what a busy machine adds to it.
            monkeypatch.setattr(endurance_proofs, "DISTURBED_CORES", 1e9)
        monkeypatch.setenv("PYTHONPATH", str(STUBS))
        monkeypatch.setenv("STUB_TORCH", faults)
        (proof,) = endurance.prove(choice(**options), listen)
        return proof

    return run


def causes(findings: list[Finding]) -> list[str]:
    return [finding.cause for finding in findings]


# What is judged, without a load.


def rounds_of(rates: list[float], **told: Any) -> list[Round]:
    return [
        Round(session=1, framework="torch", device="cpu", at=float(at), samples_per_second=rate, **told)
        for at, rate in enumerate(rates)
    ]


def watched(**options: Any) -> Watched:
    defaults = {"framework": "torch", "seconds": 60.0, "outcomes": [Outcome(device="cpu", worked=True)]}
    return Watched(**(defaults | options))


def proof_of(seen: Watched) -> Proof:
    return endurance_proofs.proofs(seen, choice())[0]


FALLING = [1000.0 - 12 * number for number in range(40)]


def test_a_rate_that_falls_steadily_is_called_slower() -> None:
    proof = proof_of(watched(rounds=rounds_of(FALLING)))
    assert causes(proof.findings) == ["processor-throttled"]
    assert "slower within 0.5 minutes" in proof.findings[0].title
    assert proof.status is Status.PASSED


def test_a_fall_with_a_fall_of_the_clock_says_so() -> None:
    machines = [
        Machine(session=1, framework="torch", at=float(at), megahertz=3600.0 - 30 * at, celsius=60.0 + at)
        for at in range(40)
    ]
    (finding,) = proof_of(watched(rounds=rounds_of(FALLING), machines=machines)).findings
    texts = " ".join(piece.text for piece in finding.evidence)
    assert "the cores' clock fell from 3,420 to 2,610 MHz" in texts
    assert "99 °C" in texts


def test_a_rate_that_only_scatters_is_not_called_slower() -> None:
    scattered = [1000.0 + 300 * (-1) ** number - 2 * number for number in range(40)]
    assert not proof_of(watched(rounds=rounds_of(scattered))).findings


def test_a_fall_that_other_programs_explain_is_said_to_be_noise() -> None:
    busy = rounds_of(FALLING, cores_of_others=1.2, cores_waited_for=0.9)
    proof = proof_of(watched(rounds=busy))
    assert not proof.findings
    assert "noisy: in 100% of the rounds other programs held cores" in proof.summary


def machines_of(mebibytes: list[float]) -> list[Machine]:
    return [
        Machine(session=1, framework="torch", at=float(at), resident_bytes={"cpu": int(size * 2**20)})
        for at, size in enumerate(mebibytes)
    ]


def test_memory_that_grows_to_the_end_is_a_leak() -> None:
    seen = watched(rounds=rounds_of([1000.0] * 40), machines=machines_of([400.0 + 5 * at for at in range(40)]))
    (finding,) = proof_of(seen).findings
    assert finding.cause == "memory-leak"
    assert "grows by 300 MiB a minute" in finding.title


def test_a_cache_that_fills_and_levels_off_is_no_leak() -> None:
    filling = [400.0 + 10 * min(at, 20) for at in range(60)]
    assert not proof_of(watched(rounds=rounds_of([1000.0] * 60), machines=machines_of(filling))).findings


def test_a_run_too_short_for_a_verdict_on_speed_says_so() -> None:
    proof = proof_of(watched(rounds=rounds_of([1000.0, 500.0])))
    assert "too short to judge speed and memory" in proof.summary
    assert not proof.findings


def looks(gpus: list[dict[str, Any]]) -> list[Machine]:
    base = {"index": 0, "name": "NVIDIA H100 80GB HBM3", "utilization_percent": 100, "clock_max_megahertz": 1980}
    return [
        Machine(session=1, framework="torch", at=float(at), gpus=[Gpu(**(base | gpu))], gpu_state="ok")
        for at, gpu in enumerate(gpus)
    ]


def test_clocks_that_are_held_down_for_a_moment_are_a_change_of_state_and_no_fault() -> None:
    once = looks([{"throttle_reasons": ["HwThermalSlowdown"]} if at == 5 else {} for at in range(30)])
    assert not proof_of(watched(rounds=rounds_of([1000.0] * 30), machines=once)).findings


def test_clocks_that_stay_held_down_are_a_finding_with_how_long_they_were() -> None:
    hot = looks([{"throttle_reasons": ["HwThermalSlowdown"]} if at > 9 else {} for at in range(30)])
    (finding,) = proof_of(watched(rounds=rounds_of([1000.0] * 30), machines=hot)).findings
    assert finding.cause == "gpu-throttled"
    assert "in 20 of 30 looks, first after 10 s" in finding.evidence[-1].text


def test_memory_errors_that_were_counted_meanwhile_are_named() -> None:
    worse = looks([{"ecc_uncorrected": int(at > 3), "ecc_corrected": 0} for at in range(10)])
    proof = proof_of(watched(rounds=rounds_of([1000.0] * 10), machines=worse))
    assert causes(proof.findings) == ["gpu-memory-fault"]
    assert proof.status is Status.FAILED
    growing = looks([{"ecc_uncorrected": 0, "ecc_corrected": at} for at in range(10)])
    (finding,) = proof_of(watched(rounds=rounds_of([1000.0] * 10), machines=growing)).findings
    assert finding.title == "GPU 0 corrected 9 memory errors under load"


def test_an_xid_that_the_kernel_wrote_meanwhile_is_judged_as_doctor_does() -> None:
    line = KernelMessage(
        kind="xid",
        text="[ 99.0] NVRM: Xid (PCI:0000:0f:00): 79, GPU has fallen off the bus.",
        source="dmesg",
        time="99.0",
        device="0000:0f:00.0",
        number=79,
    )
    proof = proof_of(watched(rounds=rounds_of([1000.0] * 30), kernel_messages=[line]))
    assert causes(proof.findings) == ["gpu-fell-off-bus"]
    assert proof.status is Status.FAILED


def test_a_machine_check_under_load_is_a_warning() -> None:
    line = KernelMessage(
        kind="machine-check", text="mce: [Hardware Error]: Machine check events logged", source="dmesg"
    )
    (finding,) = proof_of(watched(rounds=rounds_of([1000.0] * 30), kernel_messages=[line])).findings
    assert (finding.cause, finding.severity.value) == ("hardware-computes-wrongly", "warning")


def test_only_lines_that_are_new_in_the_kernel_log_count() -> None:
    old, new = (KernelMessage(kind="xid", text=text, time=time) for text, time in (("a", "1.0"), ("b", "2.0")))
    assert endurance.added([old], [old, new]) == [new]
    assert endurance.added(None, [old]) is None


def test_each_gpu_that_a_program_may_see_gets_a_load_of_its_own() -> None:
    two = Nvml(state="ok", gpus=[Gpu(index=0), Gpu(index=1), Gpu(index=2, state="NVML_ERROR_GPU_IS_LOST")])
    loads = endurance.loads_of(two, "auto", None)
    assert [load.variables["CUDA_VISIBLE_DEVICES"] for load in loads] == ["0", "1"]
    assert [load.device for load in endurance.loads_of(two, "cuda:1", None)] == ["cuda:1"]
    assert [load.device for load in endurance.loads_of(two, "auto", "1")] == ["auto"]
    assert [load.device for load in endurance.loads_of(None, "auto", None)] == ["auto"]


# The record.


def test_a_torn_line_is_left_out_and_cut_off_before_the_next_one(tmp_path: Path) -> None:
    path = tmp_path / "record"
    lines = [Session(session=1, framework="torch", device="cpu", began=1.0), *rounds_of([1.0, 2.0])]
    path.write_bytes(b"".join(map(encoded, lines))[:-9])
    kept = read(path)
    assert kept.lines == lines[:2]
    assert kept.unreadable == 1
    writer = Writer(path, kept)
    writer.add(lines[2:])
    writer.close()
    assert read(path) == Kept(lines, 0, path.stat().st_size)


def test_a_file_that_is_no_record_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "thesis.txt"
    path.write_text("years of work\n")
    with pytest.raises(RecordError, match="is no record of an endurance run"):
        read(path)
    (proof,) = endurance.prove(choice(record=str(path)), silent)
    assert proof.status is Status.UNUSABLE_DATA
    assert path.read_text() == "years of work\n"


def test_a_load_that_envcheck_fails_to_watch_is_no_success(
    stub: Callable[..., Proof], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(endurance._Watch, "_tell_round", broken)
    proof = stub(minutes=0.01)
    assert proof.status is Status.FAILED
    assert "ZeroDivisionError" in proof.summary


def test_what_is_unknown_of_a_gpu_takes_no_room_in_the_record() -> None:
    line = encoded(looks([{"temperature_celsius": 60}])[0])
    assert b"null" not in line
    assert len(line) < 400


# With a load.


def test_a_healthy_run_is_silent_and_keeps_what_it_saw(stub: Callable[..., Proof], tmp_path: Path) -> None:
    events: list[dict[str, Any]] = []
    record = tmp_path / "record.jsonl"
    proof = stub(listen=lambda _, event: events.append(event), record=str(record))
    assert proof.status is Status.PASSED
    assert not proof.findings, proof.findings
    assert all(condition.holds for condition in proof.conditions)
    assert {"training rate", "product", "resident memory"} <= {curve.name for curve in proof.curves}
    assert [event for event in events if event["event"] == "endurance"]
    kinds = {json.loads(line)["kind"] for line in record.read_text().splitlines()}
    assert kinds == {"session", "round", "machine"}


def test_a_run_goes_on_from_its_record_to_its_minutes_in_all(stub: Callable[..., Proof], tmp_path: Path) -> None:
    record = str(tmp_path / "record.jsonl")
    first = stub(record=record, minutes=0.015)
    second = stub(record=record, minutes=0.03)
    assert "minutes were kept from" in second.summary
    assert second.seconds is not None
    assert first.seconds is not None
    assert first.seconds < second.seconds < 4.5
    began = time.monotonic()
    third = stub(record=record, minutes=0.03)
    assert "nothing was left to do" in third.summary
    assert third.status is Status.PASSED
    assert time.monotonic() - began < 5


def test_a_leak_and_numbers_that_are_none_are_each_caught_by_name(stub: Callable[..., Proof]) -> None:
    proof = stub("leak nan")
    assert causes(proof.findings) == ["hardware-computes-wrongly", "memory-leak"]
    assert "no longer finite" in proof.findings[0].title
    assert proof.status is Status.FAILED
    assert [condition.name for condition in proof.conditions if not condition.holds] == ["results-finite"]


def test_a_result_that_changes_and_a_slow_down_are_each_caught_by_name(stub: Callable[..., Proof]) -> None:
    proof = stub("wrong slow", minutes=0.08)
    assert causes(proof.findings) == ["hardware-computes-wrongly", "processor-throttled"]
    assert "The same product comes out otherwise" in proof.findings[0].title


@pytest.fixture
def driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[dict[str, str]], None]:
    """Put a fake NVIDIA driver before the machine's own; call it again and the driver answers otherwise."""

    def answer(more: dict[str, str]) -> None:
        busy = {"*.utilization": "100", "*.clock.1": "1900", "*.pcie_generation": "5"}
        for name, value in fake_driver.variables(tmp_path, busy | more).items():
            monkeypatch.setenv(name, value or "")

    return answer


def test_a_gpu_that_is_lost_under_load_is_named(
    stub: Callable[..., Proof], driver: Callable[[dict[str, str]], None]
) -> None:
    driver({})
    gone = threading.Timer(1.5, driver, [{"0.return.nvmlDeviceGetName": "15", "*.ecc_errors.1.0": "3"}])
    gone.start()
    proof = stub("cuda lost", minutes=0.1)
    gone.cancel()
    assert proof.device == "cuda:0"
    assert proof.status is Status.FAILED
    assert proof.failure is not None
    assert "unspecified launch failure" in proof.failure.reason


def test_a_gpu_that_grows_hot_and_miscounts_under_load_is_named(
    stub: Callable[..., Proof], driver: Callable[[dict[str, str]], None]
) -> None:
    driver({})
    worse = {"*.throttle_mask": "64", "*.temperature.0": "93", "*.clock.1": "700", "*.ecc_errors.1.0": "3"}
    change = threading.Timer(1.0, driver, [worse])
    change.start()
    proof = stub("cuda device-leak", minutes=0.11)
    change.cancel()
    assert {"gpu-memory-fault", "gpu-throttled", "memory-leak"} <= set(causes(proof.findings))
    assert proof.status is Status.FAILED
    assert {"GPU 0 temperature", "GPU 0 clock", "memory on the device"} <= {curve.name for curve in proof.curves}


INTERRUPTED = """
import json, sys, msgspec
from envcheck.smoke import endurance
from envcheck.smoke.choice import Choice
chosen = Choice(interpreter=sys.executable, frameworks=("torch",), by_name=True, size="quick", minutes=10.0)
found = endurance.prove(chosen, lambda framework, event: print(event["event"], flush=True))
print(json.dumps([msgspec.to_builtins(proof) for proof in found]))
"""


@pytest.mark.parametrize("number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.smoke)])
def test_ctrl_c_ends_it_at_once_with_the_verdict_so_far(
    number: int, mark: str, nothing_is_left: Callable[[float], None]
) -> None:
    environment = {**os.environ, "ENVCHECK_TEST_MARK": mark, "PYTHONPATH": f"{STUBS}{os.pathsep}{ROOT}"}
    with subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED], stdout=subprocess.PIPE, env=environment, text=True
    ) as process:
        assert process.stdout is not None
        lines = []
        for line in process.stdout:
            lines.append(line)
            if lines.count("endurance\n") == 2:
                process.send_signal(number)
                break
        sent = time.monotonic()
        rest = process.stdout.read().splitlines()
    assert time.monotonic() - sent < 15
    (proof,) = json.loads(rest[-1])
    assert "it was stopped by hand" in proof["summary"]
    assert proof["status"] in {"passed", "unexamined"}
    nothing_is_left(5)


def test_a_framework_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    (proof,) = endurance.prove(choice(interpreter="/usr/bin/nowhere/python"), silent)
    assert proof.status is Status.UNEXAMINED


# The live page.


def page_event(at: float, rate: float) -> dict[str, Any]:
    (line,) = rounds_of([rate])
    seen = Machine(
        session=1,
        framework="torch",
        at=at,
        resident_bytes={"cpu": 400 << 20},
        celsius=71.0,
        gpus=[Gpu(index=0, temperature_celsius=60, clock_megahertz=1900, throttle_reasons=["SwPowerCap"])],
        gpu_state="ok",
    )
    return endurance.page_event(seen, [line], 600.0, ["something was found\x1b[2J"])


def test_the_live_page_shows_time_rate_heat_and_what_was_found() -> None:
    page = endurance_page.Page()
    page.tell("torch", page_event(30.0, 1200.0))
    text = "\n".join(page.lines)
    for shown in ("0.5 of 10 minutes", "1,200 samples/s", "400 MiB", "71 °C", "1,900 MHz", "SwPowerCap", "found"):
        assert shown in text


def test_without_a_terminal_there_is_one_line_a_minute_and_no_escape_gets_through() -> None:
    lines: list[str] = []
    listen = endurance_page.plain(lines.append)
    for at in range(0, 150, 10):
        listen("torch", page_event(float(at), 1200.0))
    assert len(lines) == 3
    assert "\x1b" not in lines[0]


@pytest.mark.smoke
@pytest.mark.parametrize("framework", ["torch", "tensorflow", "keras-torch", "keras-tensorflow"])
def test_real_frameworks_stay_silent_for_a_minute(framework: str, interpreter_with: Callable[[str], str]) -> None:
    interpreter = interpreter_with(framework.rpartition("-")[2])
    (proof,) = endurance.prove(choice(interpreter=interpreter, frameworks=(framework,), minutes=1.0), silent)
    assert proof.status is Status.PASSED, proof.summary
    assert not proof.findings, proof.findings
