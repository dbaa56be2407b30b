"""Filling a folder with the wheels of a plan, for a machine without a network."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from envcheck.install import child, faults, uv
from envcheck.install.faults import Fault, FaultError
from envcheck.install.steps import Listener
from envcheck.install.uv import Places
from envcheck.plan import Plan
from envcheck.system import System

LOCK = uv.LOCK
"""The lock that is left beside the wheels: `pip install --no-index --find-links DIR -r DIR/lock.txt` works too."""


def fill(plan: Plan, folder: Path, places: Places, system: System, listen: Listener, deadline: float) -> list[str]:
    """Solve the plan and let pip fetch every wheel of the lock; pip reads the user's configuration itself.

    Returns:
        The names of the wheels in the folder.

    Raises:
        FaultError: something cannot be had.
        KeyboardInterrupt: the user wants to stop.
    """
    program = uv.program()
    if program is None:
        raise FaultError(
            Fault(kind="no-uv", step="prepare", sentence="uv is not here", change="python -m pip install uv")
        )
    until = time.monotonic() + deadline
    with tempfile.TemporaryDirectory(prefix="envcheck-download-") as temporary:
        record, environment = Path(temporary) / "record", Path(temporary) / "environment"
        try:
            record.mkdir()
            (record / "pyproject.toml").write_text(uv.project_file(plan), "utf-8")
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise FaultError(faults.of_operating_system(error, "prepare")) from error
        make, solve, *_ = uv.commands(plan, environment, record, program, "download")
        interpreter = uv.interpreter_of(environment)
        if plan.lock:
            (record / LOCK).write_bytes(Path(plan.lock).read_bytes())
        # The environment gets pip, which can download without installing; uv cannot.
        steps = [
            ("environment", list(make.argv)),
            ("environment", [program, "pip", "install", "--python", str(interpreter), "pip"]),
            *([] if plan.lock else [("solve", list(solve.argv))]),
            ("install", _pip(plan, interpreter, ("--require-hashes", "--requirement", str(record / LOCK)), folder)),
            *([("install", _pip(plan, interpreter, uv.beside_lock(plan), folder))] if plan.lock else []),
        ]
        for step, argv in steps:
            listen(step, {"install": "downloading"}.get(step, step))
            ended = child.run(argv, uv.variables(places, system), lambda _: None, max(until - time.monotonic(), 0.1))
            if ended.outcome == "timeout":
                sentence = f"downloading did not end within the {deadline:g} s that it may take"
                raise FaultError(Fault(kind="too-slow", step=step, sentence=sentence, change="--timeout SECONDS"))
            if not ended.good:
                raise FaultError(faults.of_output(ended.output, step, plan))
            listen(step, "")
        (folder / LOCK).write_bytes((record / LOCK).read_bytes())
    return sorted(path.name for path in folder.iterdir() if path.suffix == ".whl")


def _pip(plan: Plan, interpreter: Path, what: tuple[str, ...], folder: Path) -> list[str]:
    indexes = dict.fromkeys(wanted.index for wanted in plan.requirements if wanted.index)
    extra = [part for index in indexes for part in ("--extra-index-url", index)]
    how = ["--disable-pip-version-check", "--no-deps", "--only-binary=:all:", "--dest", str(folder)]
    return [str(interpreter), "-m", "pip", "download", *how, *extra, *what]
