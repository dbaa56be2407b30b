"""Wall time of `envcheck setup` against bare uv, in one run on one machine.

    python benchmarks/setup_time.py [--framework tf] [--rounds 3] [--case first|again|stack] [--cold]

Bare uv is given the very lock that envcheck installs and does `uv venv` and `uv pip install --requirement LOCK`.  The
two take turns, and turns to begin, each with a cache of its own that holds all; with --cold each cache is empty.

again (the default)  a project that has a generation already: its lock is taken, as bare uv takes it
stack                `--stack NAME` in a new folder: the stack's own lock is taken
first                `--framework` in a new folder: envcheck solves, bare uv gets the lock for nothing; a second ratio
                     is against bare uv that solves as well (`uv pip compile --generate-hashes`, then the same)

What counts is the whole command from its start to its end: reading the machine, planning, installing, writing to disk,
swapping.  The proof alone does not (the imports and `uv pip check`); it is shown apart.  What was installed is written
back to disk while the proof runs; what is left of that when the proof ends counts.
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from typing import Any

from envcheck.install import pip_configuration, uv
from envcheck.system import Live

PROOF = {"verify", "check"}


def environment(cache: pathlib.Path, *, configured: bool) -> dict[str, str]:
    """Return the variables for a program; bare uv is told where the user's pip looks, as envcheck finds out itself."""
    system = Live()
    found = pip_configuration.uv_variables(pip_configuration.read(system), system) if configured else {}
    return {**os.environ, **found, "UV_CACHE_DIR": str(cache)}


def envcheck(wish: list[str], folder: pathlib.Path, cache: pathlib.Path) -> tuple[float, dict[str, Any]]:
    """Return seconds without the proof, and the report."""
    command = [sys.executable, "-m", "envcheck", "setup", *wish, "--directory", str(folder)]
    began = time.monotonic()
    variables = environment(cache, configured=False)
    ended = subprocess.run([*command, "--json", "--no-training"], env=variables, check=True, capture_output=True)
    whole = time.monotonic() - began
    report = json.loads(ended.stdout)
    return whole - sum(step["seconds"] for step in report["steps"] if step["name"] in PROOF), report


def bare(report: dict[str, Any], folder: pathlib.Path, cache: pathlib.Path, *, solve: bool) -> float:
    """Return seconds that uv takes for an environment and the lock in it, solved by itself or given to it."""
    program, variables, plan = uv.program() or "uv", environment(cache, configured=True), report["plan"]
    indexes = {wanted["index"] for wanted in plan["requirements"] if wanted["index"]}
    extra = [f"--index={index}" for index in indexes] + ["--index-strategy=unsafe-best-match"] * bool(indexes)
    lock, project = folder.with_suffix(".lock.txt"), pathlib.Path(report["lock"]).with_name("pyproject.toml")
    lock.write_bytes(pathlib.Path(report["lock"]).read_bytes())
    inputs = folder.with_name(f"{folder.name}-project") / "pyproject.toml"
    inputs.parent.mkdir()
    inputs.write_bytes(project.read_bytes())
    python = ["--python", plan["python"]["path"]]
    commands = [[program, "venv", "-q", *python, folder]]
    if solve:
        compiling = ["pip", "compile", "-q", "--generate-hashes", "--no-header", *python, "--output-file", lock, inputs]
        commands.append([program, *compiling])
        lock.unlink()
    install = ["pip", "install", "-q", "--python", folder, "--requirement", lock, *extra]
    commands.append([program, *install, *(["pip"] if plan["lock"] else [])])
    began = time.monotonic()
    for command in commands:
        subprocess.run(command, env=variables, check=True)
    return time.monotonic() - began


def rounds(given: argparse.Namespace, folder: pathlib.Path) -> tuple[list[float], list[float]]:
    """Measure; return the ratios against uv that is given the lock, and against uv that solves it."""
    wish = ["--stack", given.stack] if given.case == "stack" else ["--framework", given.framework]
    ours, theirs = folder / "cache-ours", folder / "cache-bare"
    first = folder / "first"
    first.mkdir()
    _, report = envcheck(wish, first, ours)
    bare(report, folder / "first-bare", theirs, solve=True)
    against_lock, against_solving = [], []
    kinds = ["envcheck", "bare", "bare, solving"] if given.case == "first" else ["envcheck", "bare"]
    for number in range(given.rounds):
        project = first
        if given.case != "again":
            project = folder / f"project-{number}"
            project.mkdir()
        seconds = {}
        for kind in kinds[number % len(kinds) :] + kinds[: number % len(kinds)]:
            if given.cold:
                shutil.rmtree(ours if kind == "envcheck" else theirs)
            os.sync()  # what the one has left to be written must not slow down the other
            if kind == "envcheck":
                seconds[kind], report = envcheck(wish, project, ours)
            else:
                seconds[kind] = bare(report, folder / f"bare-{number}{len(seconds)}", theirs, solve="solving" in kind)
        against_lock.append(seconds["envcheck"] / seconds["bare"])
        if "bare, solving" in seconds:
            against_solving.append(seconds["envcheck"] / seconds["bare, solving"])
        steps = ", ".join(f"{step['name']} {step['seconds']:.1f}" for step in report["steps"])
        print(
            *(f"{kind} {value:.2f} s," for kind, value in seconds.items()),
            f"ratio {against_lock[-1]:.2f}  (lock: {report['locked_by']}; {steps})",
            flush=True,
        )
    return against_lock, against_solving


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--framework", default="tf")
    parser.add_argument("--stack", default="tf-cpu")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--case", choices=["again", "stack", "first"], default="again")
    parser.add_argument("--cold", action="store_true")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="envcheck-benchmark-") as temporary:
        against_lock, against_solving = rounds(given, pathlib.Path(temporary))
    kind = "cache empty" if given.cold else "cache full"
    name = given.stack if given.case == "stack" else given.framework
    for ratios, rival in ((against_lock, "the lock given"), (against_solving, "solving as well")):
        if ratios:
            spread = f"{min(ratios):.2f} to {max(ratios):.2f}"
            median = f"median ratio {statistics.median(ratios):.2f} of {len(ratios)} rounds ({spread})"
            print(f"{name}, case {given.case}, {kind}, against bare uv, {rival}: {median}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
