"""Secrets in the user's environment reach no output; a recording gives the same report as the machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

SECRET = "Zq7vXw9Lk2Rt5Yb8Nm3P"  # noqa: S105 - planted


def doctor(*arguments, home):
    planted = {
        "HOME": str(home),
        "PIP_INDEX_URL": f"https://someone:{SECRET}@index.example.com/simple",
        "UV_INDEX_PRIVATE_PASSWORD": SECRET,
        "PYTORCH_HUB_TOKEN": f"hf_{SECRET}",
        "HF_TOKEN": f"hf_{SECRET}",
        "https_proxy": f"http://someone:{SECRET}@proxy.example.com:3128",
        "VIRTUAL_ENV": sys.prefix,
    }
    return subprocess.run(
        [sys.executable, "-m", "envcheck", "doctor", "--quick", *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, **planted},
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("arguments", [["--json"], ["-v"], []], ids=["json", "verbose page", "page"])
def test_a_secret_of_the_environment_is_in_no_report(arguments, tmp_path):
    completed = doctor(*arguments, home=tmp_path)
    assert completed.returncode in {0, 1}, completed.stderr
    assert SECRET not in completed.stdout + completed.stderr


def test_a_recording_holds_no_secret_and_gives_the_same_report(tmp_path):
    home = tmp_path / "home-of-somebody"
    home.mkdir()
    recording = tmp_path / "machine.json"
    live = json.loads(doctor("--json", "--record", str(recording), home=home).stdout)
    text = recording.read_text()
    assert SECRET not in text
    assert "home-of-somebody" not in text
    played = json.loads(doctor("--json", "--replay", str(recording), home=tmp_path).stdout)
    assert played["verdict"] == live["verdict"]
    assert [item["check"] for item in played["findings"]] == [item["check"] for item in live["findings"]]
    assert [(item["check"], item["outcome"]) for item in played["checks"]] == [
        (item["check"], item["outcome"]) for item in live["checks"]
    ]
    assert played["facts"]["storage"]["places"][1]["path"] == "/home/user"
