"""Third parties add a check by installing a distribution with an entry point; nothing of envcheck is touched."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys

CHECK = '''
from collections.abc import Iterator

from envcheck.check import check
from envcheck.facts import Cpu
from envcheck.report import Finding, Severity


@check(area="house", causes=["thread-oversubscription"])
def cores_are_enough_for_the_house(cpu: Cpu) -> Iterator[Finding]:
    """The machine has the cores that our house asks for."""
    if cpu.logical_cores is not None and cpu.logical_cores < 100000:
        yield Finding(cause="thread-oversubscription", severity=Severity.ERROR, title="Too few cores for the house")
'''


def doctor(site: pathlib.Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(site)}
    command = [sys.executable, "-m", "envcheck", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60, check=False)


def installed(site: pathlib.Path, module: str, source: str) -> None:
    (site / f"{module}.py").write_text(source)
    metadata = site / f"{module}-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(f"[envcheck.checks]\nhouse = {module}\n")


def test_a_check_from_outside_judges_like_our_own(tmp_path: pathlib.Path) -> None:
    installed(tmp_path, "house_checks", CHECK)
    done = doctor(tmp_path, "doctor", "--quick", "--json", "--only", "cores-are-enough-*")
    assert done.returncode == 1, done.stderr
    report = json.loads(done.stdout)
    assert report["findings"][0]["check"] == "cores-are-enough-for-the-house"
    assert "our house asks for" in doctor(tmp_path, "explain", "cores-are-enough-for-the-house").stdout


def test_a_plug_in_that_breaks_is_named_and_breaks_nothing(tmp_path: pathlib.Path) -> None:
    installed(tmp_path, "broken_checks", "raise RuntimeError('broken')")
    done = doctor(tmp_path, "checks")
    assert done.returncode == 0
    assert "broken_checks was left out: RuntimeError: broken" in done.stderr
