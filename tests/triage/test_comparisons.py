from __future__ import annotations

from envcheck import triage
from envcheck.checks.gpu_health import gpu_power_limit_is_as_delivered
from envcheck.facts import Facts, Gpu, Message, Nvml
from envcheck.messages import weigh
from envcheck.messages.signs import signs_of
from envcheck.report import Severity
from envcheck.testing import run_check


def card(index: int, limit: float, clock: int, reasons: list[str]) -> Gpu:
    return Gpu(
        index=index,
        name="NVIDIA A100-SXM4-40GB",
        power_limit_watts=limit,
        clock_megahertz=clock,
        clock_max_megahertz=1410,
        throttle_reasons=reasons,
    )


def test_a_card_with_half_the_power_of_its_equals_is_named_when_it_runs_into_its_limit() -> None:
    gpus = [card(0, 400, 1380, []), card(1, 200, 705, ["SwPowerCap"])]
    _, found = run_check(gpu_power_limit_is_as_delivered, nvml=Nvml(state="ok", gpus=gpus))
    assert [(finding.cause, finding.severity) for finding in found] == [("gpu-throttled", Severity.WARNING)]
    assert "200 W" in found[0].title


def test_cards_that_all_run_at_their_full_power_limit_are_healthy() -> None:
    gpus = [card(0, 400, 1290, ["SwPowerCap"]), card(1, 400, 1300, ["SwPowerCap"])]
    _, found = run_check(gpu_power_limit_is_as_delivered, nvml=Nvml(state="ok", gpus=gpus))
    assert found == []


def test_a_lower_limit_that_holds_nothing_down_is_only_said() -> None:
    gpus = [card(0, 400, 1400, []), card(1, 300, 1400, [])]
    _, found = run_check(gpu_power_limit_is_as_delivered, nvml=Nvml(state="ok", gpus=gpus))
    assert [finding.severity for finding in found] == [Severity.NOTE]


def test_of_two_causes_that_explain_each_other_away_the_better_supported_one_is_left() -> None:
    text = "$ docker run --gpus all x nvidia-smi\nFailed to initialize NVML: Unknown Error\nno-cgroups = true\n"
    facts = triage.facts_from([("paste", text.encode())])
    assert facts.messages is not None
    found = weigh.answers(facts.messages.found or [], facts)
    assert found[0].cause == "rootless-or-cgroup-config"


def hosts(output: str) -> set[str]:
    return signs_of([Message(family="asked-on-hosts", text="", source="", values={"output": output})], Facts())


def test_hosts_that_answer_with_different_versions_are_seen() -> None:
    assert "text:hosts-answer-differently" in hosts("n1: Version: 2.20.5\nn2: Version: 2.21.5\n")
    assert "text:hosts-answer-differently" in hosts("a1\n2.1.0 12.1\na2\n2.2.0 12.1\n")


def test_hosts_that_answer_alike_are_no_skew() -> None:
    assert "text:hosts-answer-differently" not in hosts("n1: Version: 2.20.5\nn2: Version: 2.20.5\n")
    assert "text:hosts-answer-differently" not in hosts("torch 2.1.0\nnumpy 1.26.4\ntorch 2.1.0\nnumpy 1.26.4\n")


def test_the_power_limits_of_a_query_become_facts() -> None:
    text = (
        "index, name, enforced.power.limit [W], power.default_limit [W], clocks_event_reasons.sw_power_cap\n"
        "0, NVIDIA L40S, 200.00 W, 350.00 W, Active\n"
    )
    facts = triage.facts_from([("paste", f"$ nvidia-smi --query-gpu=index\n{text}".encode())])
    assert facts.nvml is not None
    (gpu,) = facts.nvml.gpus or []
    assert (gpu.power_limit_watts, gpu.power_limit_default_watts) == (200, 350)
    assert gpu.throttle_reasons == ["SwPowerCap"]


def test_the_version_of_a_library_is_read_from_its_file_where_there_is_but_one() -> None:
    one = b"$ ls /usr/lib/x86_64-linux-gnu/libcuda.so*\n/usr/lib/x86_64-linux-gnu/libcuda.so.535.183.01\n"
    facts = triage.facts_from([("paste", one)])
    assert facts.driver is not None
    assert facts.driver.library_version == "535.183.01"
    two = triage.facts_from([("paste", one + b"/opt/libcuda.so.470.57.02\n")])
    assert two.driver is None or two.driver.library_version is None
