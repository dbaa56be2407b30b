"""What the gate asks and judges, by its functions; the gate as a process is in test_entrypoint.py."""

from __future__ import annotations

import pathlib
from typing import Any

import pytest

from envcheck.entrypoint import gate
from envcheck.intent import Intent, UsageError
from envcheck.probe import Probe
from envcheck.report import Requirement, Verdict
from envcheck.system import Recording

LINUX = {"ask uname": {"system": "Linux", "machine": "x86_64"}}
WITH_DRIVER: dict[str, Any] = {
    **LINUX,
    "read /proc/driver/nvidia/version": {"outcome": "ok", "text": "NVRM version: NVIDIA UNIX x86_64  580.95.05\n"},
}


def declared(*texts: str) -> Intent:
    return Intent(requirements=[Requirement(text=text) for text in texts])


def probes(observations: dict[str, Any], *texts: str) -> dict[str, Probe]:
    return {probe.name: probe for probe in gate.probes_for(Recording(observations), declared(*texts))}


def areas(observations: dict[str, Any], *texts: str) -> set[str]:
    asked = gate.probes_for(Recording(observations), declared(*texts))
    return {check.area for check in gate.checks_for(declared(*texts), asked)}


def test_the_interpreter_is_not_started_where_nothing_is_asked_of_it() -> None:
    assert "python" not in probes(LINUX, "memory>=1GiB", "shm>=1GiB", "gpus>=1")


@pytest.mark.parametrize("text", ["python>=3.10", "torch>=2", "tensorflow", "keras>=3", "torch.cuda", "tensorflow.gpu"])
def test_the_interpreter_is_asked_where_a_requirement_is_about_it(text: str) -> None:
    assert "python" in probes(LINUX, text)


def test_the_interpreter_is_asked_where_a_driver_has_to_be_fit_for_what_is_installed() -> None:
    assert "python" in probes(WITH_DRIVER, "memory>=1GiB")
    assert "cuda" in areas(WITH_DRIVER)
    assert "cuda" not in areas(LINUX)


def test_what_only_makes_a_start_late_is_never_asked() -> None:
    assert not gate.LEFT_OUT & set(probes(WITH_DRIVER, "torch.cuda", "tensorflow.gpu"))


@pytest.mark.parametrize(
    ("text", "imported"),
    [("torch>=2", set()), ("torch.cuda", {"torch"}), ("tensorflow.gpu", {"tensorflow"}), ("gpus>=1", set())],
)
def test_a_framework_is_imported_only_where_nothing_else_can_answer(text: str, imported: set[str]) -> None:
    """The gate asks in quick mode, which leaves out every probe that says that it imports."""
    asked = probes(LINUX, text)
    assert {name for name in ("torch", "tensorflow", "keras") if not asked[name].imports} == imported
    assert gate.frameworks(declared(text)) == imported


def test_what_the_image_was_built_with_is_judged_only_for_the_framework_that_was_asked_for() -> None:
    assert not areas(WITH_DRIVER, "gpus>=1") & gate.OF_THE_IMAGE
    assert areas(WITH_DRIVER, "torch.cuda") & gate.OF_THE_IMAGE == {"torch"}
    assert {"containers", "driver", "intent", "memory"} <= areas(WITH_DRIVER, "gpus>=1")


def test_this_machine_is_judged_by_what_was_declared_on_the_line_in_the_variable_and_in_the_file(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pyproject.toml").write_text('[tool.envcheck]\nrequire = ["cores>=1"]\n')
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ENVCHECK_REQUIRE", "memory>=1MiB")
    report = gate.judge(["memory>=2MiB"], 15)
    assert {item.text: item.state for item in report.requirements} == dict.fromkeys(
        ("cores>=1", "memory>=1MiB", "memory>=2MiB"), "holds"
    )
    assert not {probe.probe for probe in report.probes} & gate.LEFT_OUT


def test_what_no_machine_has_is_an_error_with_its_requirement(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ENVCHECK_REQUIRE", raising=False)
    report = gate.judge(["memory>=900TiB"], 15)
    assert report.verdict is Verdict.ERROR
    assert [(item.text, item.state) for item in report.requirements] == [("memory>=900TiB", "fails")]
    assert any(finding.required and finding.remedies for finding in report.findings)


def test_a_requirement_that_makes_no_sense_is_the_user_s_to_mend(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match="gpuz>=1"):
        gate.judge(["gpuz>=1"], 15)
