"""An interrupt of the kernel ends the notebook's examination, and all that it has started."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from running import MARK, ROOT, left_running, processes_with

SCRIPT = "from envcheck import notebook; print(notebook.answer(['--timeout', '60']))"


@pytest.mark.skipif(os.name != "posix", reason="signals as POSIX has them")
def test_an_interrupted_examination_leaves_no_framework_hanging(tmp_path: Path) -> None:
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch" / "__init__.py").write_text("import time; time.sleep(600)")
    mark = f"interrupted-{os.getpid()}"
    variables = {"PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}", MARK: mark}
    with subprocess.Popen(
        [sys.executable, "-c", SCRIPT], env={**os.environ, **variables}, stdout=subprocess.PIPE, text=True, cwd=tmp_path
    ) as process:
        deadline = time.monotonic() + 60
        while not any("frameworks_probe" in " ".join(one.cmdline()) for one in processes_with(mark)):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        said, _ = process.communicate(timeout=20)
    assert "interrupted; nothing is left running" in said
    assert left_running(mark, 3) == []
