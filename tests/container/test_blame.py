"""Who has to change something: host, image or start."""

from __future__ import annotations

import pytest

from envcheck.causes import CAUSES
from envcheck.container import blame
from envcheck.container.examine import without_gpus
from envcheck.doctor import diagnose
from envcheck.facts import Facts, Gpu, Nvml
from envcheck.intent import Intent
from envcheck.report import Finding, Report, Severity

EMPTY = diagnose(Facts(), [], [], Intent())
GPU_HOST = diagnose(Facts(nvml=Nvml(state="ok", gpus=[Gpu(index=0, state="ok")])), [], [], Intent())


def reported(*causes: str) -> Report:
    found = [Finding(cause=cause, severity=Severity.ERROR, title=cause, check=f"check-{cause}") for cause in causes]
    return diagnose(Facts(), [], [], Intent(), known=found)


@pytest.mark.parametrize(
    ("cause", "side"),
    [
        ("driver-too-old", "host"),
        ("gpu-fell-off-bus", "host"),
        ("container-toolkit-missing", "host"),
        ("cpu-only-build", "image"),
        ("container-image-cuda-too-new", "image"),
        ("package-not-installed", "image"),
        ("shm-too-small", "start"),
        ("container-capabilities-missing", "start"),
        ("container-gpu-not-requested", "start"),
        ("rank-died", ""),
    ],
)
def test_a_cause_says_who_has_to_change_something(cause: str, side: str) -> None:
    (finding,) = blame.judged(reported(cause), GPU_HOST).findings
    assert finding.at_fault == side


def test_every_side_is_of_a_cause_that_there_is() -> None:
    known = {cause for members in CAUSES.values() for cause in members}
    assert set(blame.EXCEPTIONS) <= known
    assert set(blame.SIDES) <= set(CAUSES)


def test_what_is_wrong_on_the_host_too_is_the_host_s_fault() -> None:
    (finding,) = blame.judged(reported("cuda-libraries-missing"), reported("cuda-libraries-missing")).findings
    assert finding.at_fault == "host"


def test_a_host_without_a_gpu_has_none_to_give() -> None:
    (finding,) = blame.judged(reported("container-gpu-not-requested"), EMPTY).findings
    assert (finding.cause, finding.at_fault) == ("no-gpu-present", "host")


def test_the_first_line_says_who_is_at_fault() -> None:
    assert blame.judged(reported("shm-too-small"), EMPTY).summary == (
        "the way in which the container was started is at fault: shm-too-small"
    )


def test_options_that_ask_for_a_gpu_are_left_out_where_none_can_be_given() -> None:
    given = ["--gpus", "all", "--shm-size", "1g", "--runtime=nvidia", "--device", "nvidia.com/gpu=all", "--rm"]
    assert without_gpus(given) == ["--shm-size", "1g", "--rm"]
