"""The pace: what is measured, against which peak, with how much noise, and what follows for the number of threads."""

from __future__ import annotations

import sys
import time
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fake_driver
import pytest

from envcheck.smoke import pace, pace_proofs, roofline
from envcheck.smoke.backends import Target, targets
from envcheck.smoke.choice import Choice
from envcheck.smoke.pace_proofs import Gathered
from envcheck.smoke.proof import Proof
from envcheck.smoke.result import Failure, Status
from envcheck.system import Live
from envcheck.testing import machine

STUBS = Path(__file__).parent / "stubs"
MACHINE = Gathered(framework="", events=[])


def choice(**options: Any) -> Choice:
    return Choice(**{"interpreter": sys.executable, "frameworks": ("torch",), "size": "quick"} | options)


def silent(framework: str, event: dict[str, Any]) -> None:
    """Show nothing."""


@pytest.fixture
def stub(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Gathered]:
    """Measure in a torch of NumPy with faults of one's choice."""
    monkeypatch.setattr(pace, "LOAD_SECONDS", {"quick": 1.5})

    def measure(faults: str = "", **options: Any) -> Gathered:
        monkeypatch.setenv("PYTHONPATH", str(STUBS))
        monkeypatch.setenv("STUB_TORCH", faults)
        monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
        asked = choice(**options)
        (target,) = targets(("torch",), sys.executable)
        return pace._measured(target, asked, silent, Live())

    return measure


def proofs_of(gathered: Gathered, **options: Any) -> dict[str, Proof]:
    return {proof.name: proof for proof in pace_proofs.proofs(MACHINE, [gathered], choice(**options))[1:]}


def values_of(proof: Proof) -> dict[str, float | None]:
    return {measure.name: measure.value for measure in proof.measures}


def measured(name: str, seconds: list[float], task: str = "threads", **told: Any) -> dict[str, Any]:
    event = {"event": "measured", "name": name, "seconds": seconds, "task": task, "flops": 1e9, "dtype": "float32"}
    return {**event, "cores_of_others": 0.0, "cores_waited_for": 0.0, **told}


def swept(default: int, allowed: float, rates: dict[int, dict[str, list[float]]], **told: Any) -> Gathered:
    """What a sweep tells: threads → kernel → seconds of each repeat."""
    events: list[dict[str, Any]] = [
        {"event": "device", "used": "cpu", "name": "cpu"},
        {"event": "threads", "threads": default, "allowed_cores": allowed, "counts": sorted(rates)},
        {"event": "plan", "tasks": ["threads"]},
    ]
    for threads, kernels in rates.items():
        events += [measured(name, seconds, threads=threads, **told) for name, seconds in kernels.items()]
    return Gathered(framework="torch", events=events, swept=True)


FAST, SLOW = [0.010, 0.0101, 0.0102], [0.030, 0.031, 0.032]


def test_more_threads_than_cores_that_are_slower_are_suspected() -> None:
    gathered = swept(8, 2.0, {2: {"GEMM": FAST, "step": FAST}, 8: {"GEMM": SLOW, "step": SLOW}})
    suspected = pace_proofs.suspicion(gathered)
    assert suspected is not None
    assert (suspected.default, suspected.best) == (8, 2)


def test_a_gain_within_the_noise_is_no_suspicion() -> None:
    noisy = {"GEMM": [0.010, 0.020, 0.040], "step": [0.010, 0.020, 0.040]}
    calm = {"GEMM": [0.009, 0.019, 0.039], "step": [0.009, 0.019, 0.039]}
    assert pace_proofs.suspicion(swept(8, 2.0, {2: calm, 8: noisy})) is None


def test_no_verdict_is_drawn_while_other_programs_hold_the_cores() -> None:
    rates = {2: {"GEMM": FAST, "step": FAST}, 8: {"GEMM": SLOW, "step": SLOW}}
    gathered = swept(8, 2.0, rates, cores_of_others=1.5, cores_waited_for=0.8)
    assert pace_proofs.suspicion(gathered) is None
    proof = proofs_of(gathered)["threads"]
    assert "noisy: other programs used up to 1.5 of the cores, no verdict is drawn" in proof.summary
    assert proof.status is Status.PASSED
    assert not proof.findings


def test_threads_that_are_of_no_use_to_a_small_network_alone_accuse_nobody() -> None:
    gathered = swept(64, 64.0, {8: {"GEMM": SLOW, "step": FAST}, 64: {"GEMM": FAST, "step": SLOW}})
    assert pace_proofs.suspicion(gathered) is None
    assert values_of(proofs_of(gathered)["threads"])["training step, best number of threads"] == 8


def test_a_backend_that_does_not_tell_its_threads_is_measured_as_it_is() -> None:
    plan = {"event": "plan", "tasks": ["threads"]}
    step = measured("step", FAST, items=32, unit="samples/s", threads=None)
    proof = proofs_of(Gathered(framework="keras-jax", events=[plan, step]))["threads"]
    assert values_of(proof)["training step"] == pytest.approx(32 / 0.0101)


def test_a_suspicion_that_the_second_look_does_not_share_is_dropped() -> None:
    suspected = pace_proofs.suspicion(swept(8, 2.0, {2: {"GEMM": FAST}, 8: {"GEMM": SLOW}}))
    assert suspected is not None
    assert pace_proofs.confirmed(suspected, [measured("GEMM", SLOW)], [measured("GEMM", SLOW)]) is None
    assert pace_proofs.confirmed(suspected, [measured("GEMM", SLOW)], [measured("GEMM", FAST)]) is not None


def test_the_finding_says_the_setting_that_was_tried_and_how_to_make_it() -> None:
    suspected = pace_proofs.suspicion(swept(8, 2.0, {2: {"GEMM": FAST}, 8: {"GEMM": SLOW}}))
    assert suspected is not None
    finding = pace_proofs.oversubscription("tensorflow", suspected)
    assert finding.cause == "thread-oversubscription"
    assert finding.remedies[0].commands == ["export OMP_NUM_THREADS=2 TF_NUM_INTRAOP_THREADS=2"]
    assert "3.1 times as fast" in finding.title
    assert any("2 cores may be used" in piece.text for piece in finding.evidence)


def on_gpu(name: str) -> Gathered:
    gemm = [
        measured("GEMM", [0.002, 0.002, 0.002], task="GEMM", flops=1e12, dtype=dtype)
        for dtype in ("float32", "tf32", "float16")
    ]
    device = {"event": "device", "used": "cuda:0", "name": name}
    return Gathered(framework="torch", events=[device, {"event": "plan", "tasks": ["GEMM"]}, *gemm])


def test_a_gpus_rate_is_said_in_percent_of_its_data_sheet() -> None:
    values = values_of(proofs_of(on_gpu("NVIDIA H100 80GB HBM3"))["kernels"])
    assert values["GEMM float16, share of peak"] == pytest.approx(100 * 500 / 989, rel=0.01)
    assert "GEMM tf32, share of peak" not in values


def test_of_an_unknown_gpu_no_peak_is_invented() -> None:
    values = values_of(proofs_of(on_gpu("NVIDIA Example 9000"))["kernels"])
    assert values["GEMM float16"] == pytest.approx(500_000)
    assert not [name for name in values if "share" in name]


def test_a_processor_is_measured_against_the_best_that_it_has_reached_itself() -> None:
    numpy = Gathered(framework="", events=[measured("GEMM", [0.02], task="GEMM")])
    torch = Gathered(framework="torch", events=[measured("GEMM", [0.01], task="GEMM")])
    assert pace_proofs.machine_peaks([numpy, torch])["float32"] == (100.0, "PyTorch")


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ({"cached_share": 0.0, "cache_dropped": True}, "the page cache was dropped before"),
        ({"cached_share": 0.6, "cache_dropped": True}, "60% of it stayed in the page cache"),
        ({"cached_share": None, "cache_dropped": False}, "cannot drop its page cache"),
    ],
)
def test_a_disk_rate_says_whether_it_is_the_disks(told: dict[str, Any], said: str) -> None:
    event = measured("disk read", [0.1], task="disk", bytes=1e8, folder="/data", written=True, **told)
    (proof,) = pace_proofs.proofs(Gathered(framework="", events=[event]), [], choice(frameworks=()))
    note = next(measure.note for measure in proof.measures if measure.name == "disk read")
    assert said in note


def test_a_framework_that_is_missing_is_an_error_where_it_was_named_alone() -> None:
    missing = Failure(
        step="import", kind="not-installed", reason="No module named 'torch'", cause="package-not-installed"
    )
    gone = Gathered(framework="torch", events=[], failure=missing)
    there = swept(2, 2.0, {2: {"GEMM": FAST}})
    assert pace_proofs.proofs(MACHINE, [there, gone], choice())[-1].status is Status.ABSENT
    named = pace_proofs.proofs(MACHINE, [there, gone], choice(by_name=True))[-1]
    assert named.status is Status.FAILED
    assert named.findings[0].cause == "package-not-installed"


def test_a_loader_that_ends_in_a_bus_error_lacks_shared_memory() -> None:
    failure = Failure(step="loader, 2 workers", kind="exception", reason="r", message="worker is killed: Bus error")
    plan = {"event": "plan", "tasks": ["loader"]}
    gathered = Gathered(framework="torch", events=[plan], failures={"loader": failure})
    assert proofs_of(gathered)["loader"].findings[0].cause == "shm-too-small"


def test_arrays_are_larger_than_the_cache_and_leave_the_memory_free() -> None:
    assert pace.array_bytes("standard", 32 << 20, 64 << 30) == 128 << 20
    assert pace.array_bytes("quick", 512 << 20, 64 << 30) == 64 << 20
    assert pace.array_bytes("full", 512 << 20, 1 << 30) == 64 << 20
    assert pace.array_bytes("standard", None, None) == 64 << 20


def test_each_last_level_cache_is_counted_once() -> None:
    folder = "/sys/devices/system/cpu/cpu{}/cache/index{}"
    files = {}
    for core, shared in ((0, "0-1"), (1, "0-1"), (2, "2-3")):
        files |= {f"{folder.format(core, 3)}/level": "3\n", f"{folder.format(core, 3)}/size": "32768K\n"}
        files |= {f"{folder.format(core, 0)}/level": "1\n", f"{folder.format(core, 0)}/size": "32K\n"}
        files[f"{folder.format(core, 3)}/shared_cpu_list"] = shared
    assert pace.last_level_cache(machine(files=files)) == 64 << 20


ROOFS = [
    roofline.Roof(label="memory", gigabytes=100.0),
    roofline.Roof(label="float32", gigaflops=1000.0),
    roofline.Roof(label="<data & sheet>", gigaflops=2000.0, nominal=True),
]
POINTS = [
    roofline.Point(label="GEMM", intensity=85.0, gigaflops=900.0),
    roofline.Point(label="convolution", intensity=90.0, gigaflops=880.0),
    roofline.Point(label="triad", intensity=0.17, gigaflops=15.0),
]


def test_a_roofline_names_each_roof_and_kernel_and_reads_on_dark_and_light() -> None:
    drawn = roofline.svg("Roofline of <this>", ROOFS, POINTS)
    root = ET.fromstring(drawn)  # noqa: S314 - our own drawing
    texts = [element.text or "" for element in root.iter("{http://www.w3.org/2000/svg}text")]
    for label in ("memory, 100 GB/s", "float32, 1,000", "GEMM, 900", "convolution, 880", "triad, 15"):
        assert label in texts
    assert "<data & sheet>, 2,000, data sheet" in texts
    assert "currentColor" in drawn
    assert "#" not in drawn
    assert "rgb" not in drawn
    assert drawn.count("stroke-dasharray") == 1


def test_labels_of_kernels_that_lie_together_do_not_cover_each_other() -> None:
    placed = roofline._apart([(100.0, 50.0, "one kernel"), (105.0, 52.0, "another"), (400.0, 50.0, "far")])
    heights = {text: y for _, y, text in placed}
    assert abs(heights["one kernel"] - heights["another"]) >= roofline.LABEL_GAP
    assert heights["far"] == 50.0


def test_numpy_memory_and_disk_are_measured_without_a_framework() -> None:
    (proof,) = pace.prove(choice(frameworks=()), silent)
    assert proof.status is Status.PASSED, proof
    rates = {measure.name: measure for measure in proof.measures}
    for name in ("GEMM float32", "GEMM float64", "triad", "disk read"):
        assert rates[name].value
        assert rates[name].repeats >= 3
        assert rates[name].low <= rates[name].value <= rates[name].high
    assert "scatter of repeats" in rates


def test_data_that_the_user_has_is_what_the_disk_is_measured_with(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "one.bin").write_bytes(b"x" * (3 << 20))
    target = Target(name="", package="numpy")
    gathered = pace._gather(
        target, choice(data=str(tmp_path)), silent, Live(), time.monotonic() + 60, more={"tasks": ["disk"]}
    )
    (event,) = [event for event in gathered.events if event["event"] == "measured"]
    assert (event["bytes"], event["folder"], event["written"]) == (3 << 20, str(tmp_path), False)
    assert [path.name for path in tmp_path.rglob("*")] == ["images", "one.bin"]


def test_a_gpu_is_measured_with_pinned_and_pageable_memory_and_watched_while_it_works(
    stub: Callable[..., Gathered], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hot = {"*.utilization": "100", "*.throttle_mask": "64", "*.temperature.0": "93", "*.clock.1": "700"}
    for name, value in fake_driver.variables(tmp_path, hot).items():
        monkeypatch.setenv(name, value)
    gathered = stub("cuda")
    proof = proofs_of(gathered)["kernels"]
    values = values_of(proof)
    assert proof.status is Status.PASSED
    assert proof.device == "cuda:0"
    for name in ("GEMM float32", "GEMM tf32", "GEMM float16", "convolution float32", "triad", "sustained GEMM"):
        assert values[name]
    for name in ("host to device, pinned", "device to host, pageable"):
        assert values[name]
    assert "host to device, pinned, share of peak" in values
    assert proof.charts[0].svg.startswith("<svg")
    assert "gpu-throttled" in [finding.cause for finding in proof.findings]


def test_oversubscription_is_found_by_name_with_the_setting_that_cures_it(
    stub: Callable[..., Gathered], monkeypatch: pytest.MonkeyPatch
) -> None:
    # What this stub does takes as long however busy the machine is: it sleeps.
    monkeypatch.setattr(pace_proofs, "DISTURBED_CORES", 1e9)
    (finding,) = proofs_of(stub("many-threads"))["threads"].findings
    assert finding.cause == "thread-oversubscription"
    assert finding.remedies[0].commands[0].startswith("export OMP_NUM_THREADS=")


def test_a_kernel_that_crashes_is_named_and_the_rest_is_measured(stub: Callable[..., Gathered]) -> None:
    found = proofs_of(stub("crash"))
    assert found["kernels"].status is Status.FAILED
    assert found["kernels"].failure is not None
    assert found["kernels"].failure.reason == "the step 'GEMM' ended in SIGSEGV"
    assert values_of(found["kernels"])["convolution float32"]
    assert found["loader"].status is Status.PASSED


def test_a_stuck_loader_is_named_within_its_time(
    stub: Callable[..., Gathered], mark: str, nothing_is_left: Callable[[float], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ENVCHECK_TEST_MARK", mark)
    monkeypatch.setattr(pace, "TASK_SECONDS", {"quick": 5.0})
    gathered = stub("stuck-loader")
    (finding,) = proofs_of(gathered)["loader"].findings
    assert finding.cause == "slow-data-path"
    assert "loader, 1 worker gave no batch" in finding.title
    monkeypatch.delenv("ENVCHECK_TEST_MARK")
    nothing_is_left(5)


@pytest.mark.smoke
@pytest.mark.parametrize("framework", ["torch", "tensorflow", "keras-torch", "keras-tensorflow"])
def test_real_frameworks_are_measured_whole(framework: str, interpreter_with: Callable[[str], str]) -> None:
    interpreter = interpreter_with(framework.rpartition("-")[2])
    found = pace.prove(choice(interpreter=interpreter, frameworks=(framework,), by_name=True), silent)
    assert [proof.status for proof in found] == [Status.PASSED] * len(found)
    threads = next(proof for proof in found if proof.name == "threads")
    assert values_of(threads)["training step, best number of threads"]
    if not framework.startswith("keras"):
        kernels = next(proof for proof in found if proof.name == "kernels")
        assert kernels.charts
        assert values_of(kernels)["GEMM float32, share of peak"] > 0
