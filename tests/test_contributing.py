"""CONTRIBUTING.md promises a check in ten minutes: its steps are carried out in a copy of the tree."""

from __future__ import annotations

import os
import pathlib
import re
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).parent.parent
FILES = re.compile(r"<!-- file: (\S+) -->\n```python\n(.*?)```", re.DOTALL)


def test_the_check_of_the_guide_works_as_it_says(tmp_path: pathlib.Path) -> None:
    shutil.copytree(ROOT / "envcheck", tmp_path / "envcheck", ignore=shutil.ignore_patterns("__pycache__"))
    files = dict(FILES.findall((ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")))
    assert sorted(files) == ["envcheck/checks/swap.py", "tests/checks/test_swap.py"]
    for name, content in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
        command = [sys.executable, "-m", *arguments]
        return subprocess.run(
            command, capture_output=True, text=True, cwd=tmp_path, env=environment, timeout=100, check=False
        )

    tested = run("pytest", "-q", "-p", "no:cacheprovider", "tests")
    assert tested.returncode == 0, tested.stdout
    assert "3 passed" in tested.stdout
    assert "training crawls" in run("envcheck", "explain", "swap-is-not-nearly-full").stdout
    seen = run("envcheck", "doctor", "--quick", "--only", "swap-*", "-v")
    assert "swap-is-not-nearly-full" in seen.stdout, seen.stderr
