"""Captured `nvidia-smi -q -x` of healthy machines, which stand beside the project where they are there at all."""

from __future__ import annotations

import os
import pathlib

import pytest
from running import run_cli

SHARED = pathlib.Path(os.environ.get("ENVCHECK_SHARED", pathlib.Path(__file__).parents[3] / "shared"))
CAPTURED = sorted((SHARED / "gpu" / "fixtures").glob("*.xml"))


@pytest.mark.skipif(not CAPTURED, reason="the captured machines are not beside the project")
@pytest.mark.parametrize("path", CAPTURED, ids=lambda path: path.stem)
def test_a_captured_gpu_that_is_well_is_read_and_nothing_is_held_against_it(path: pathlib.Path) -> None:
    ran = run_cli(["doctor", "--from", str(path), "--json"])
    assert {finding["severity"] for finding in ran.report["findings"]} <= {"note"}
    assert ran.report["facts"]["nvml"]["gpus"][0]["name"]


CLOCKS = """\
        Clocks Event Reasons
            Idle                              : Not Active
            SW Power Cap                      : Not Active
            HW Slowdown                       : Not Active
                HW Thermal Slowdown           : Not Active
                HW Power Brake Slowdown       : Not Active
            SW Thermal Slowdown               : Not Active
"""


@pytest.mark.parametrize(
    "text",
    [
        "<clocks_event_reason_hw_power_brake_slowdown>Not Active</clocks_event_reason_hw_power_brake_slowdown>\n",
        "<gpu_reset_status>\n<reset_required>No</reset_required>\n</gpu_reset_status>\n",
        CLOCKS,
    ],
)
def test_a_reading_that_says_that_a_fault_is_not_there_is_no_fault(text: str, tmp_path: pathlib.Path) -> None:
    paste = tmp_path / "paste.txt"
    paste.write_text(text)
    ran = run_cli(["doctor", "--from", str(paste), "--json"])
    assert ran.report["findings"] == []
