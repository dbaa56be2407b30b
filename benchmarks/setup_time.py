"""Wall time of `envcheck setup` against bare uv that installs the same lock, in one run on one machine.

    python benchmarks/setup_time.py [--framework tf] [--rounds 3] [--warm]

The two take turns, and turns to begin, each with an empty cache of its own (with --warm: with one that holds all).
The proof (here the imports, and `uv pip check`) is shown apart; planning, solving and writing to disk count.
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

from envcheck.install import pip_configuration, uv
from envcheck.system import Live

PROOF = {"verify", "check"}


def environment(cache: pathlib.Path, *, configured: bool) -> dict[str, str]:
    """Return the variables for a program; bare uv is told where the user's pip looks, as envcheck finds out itself."""
    system = Live()
    found = pip_configuration.uv_variables(pip_configuration.read(system), system) if configured else {}
    return {**os.environ, **found, "UV_CACHE_DIR": str(cache)}


def envcheck(framework: str, folder: pathlib.Path, cache: pathlib.Path) -> tuple[float, dict[str, object]]:
    """Return seconds without the proof, and the report."""
    command = [sys.executable, "-m", "envcheck", "setup", "--framework", framework, "--directory", str(folder)]
    began = time.monotonic()
    variables = environment(cache, configured=False)
    ended = subprocess.run([*command, "--json", "--no-training"], env=variables, check=True, capture_output=True)
    whole = time.monotonic() - began
    report = json.loads(ended.stdout)
    return whole - sum(step["seconds"] for step in report["steps"] if step["name"] in PROOF), report


def bare(plan: dict[str, object], lock: pathlib.Path, folder: pathlib.Path, cache: pathlib.Path) -> float:
    """Return seconds that uv takes for an environment and the lock in it."""
    program, variables = uv.program() or "uv", environment(cache, configured=True)
    indexes = {wanted["index"] for wanted in plan["requirements"] if wanted["index"]}
    extra = [f"--index={index}" for index in indexes] + ["--index-strategy=unsafe-best-match"] * bool(indexes)
    began = time.monotonic()
    subprocess.run([program, "venv", "-q", "--python", plan["python"]["path"], folder], env=variables, check=True)
    install = [program, "pip", "install", "-q", "--python", folder, "--requirement", lock, *extra]
    subprocess.run(install, env=variables, check=True)
    return time.monotonic() - began


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--framework", default="tf")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--warm", action="store_true")
    given = parser.parse_args()
    ratios = []
    with tempfile.TemporaryDirectory(prefix="envcheck-benchmark-") as temporary:
        folder = pathlib.Path(temporary)
        lock = folder / "lock.txt"
        (folder / "first").mkdir()
        _, first = envcheck(given.framework, folder / "first", folder / "cache-ours")
        lock.write_text(pathlib.Path(first["lock"]).read_text())
        bare(first["plan"], lock, folder / "first-bare", folder / "cache-bare")
        for number in range(given.rounds):
            if not given.warm:
                for cache in ("cache-ours", "cache-bare"):
                    shutil.rmtree(folder / cache)
            project, beside = folder / f"project-{number}", folder / f"bare-{number}"
            project.mkdir()
            calls = {
                "ours": lambda here=project: envcheck(given.framework, here, folder / "cache-ours"),
                "bare": lambda here=beside: (bare(first["plan"], lock, here, folder / "cache-bare"), {}),
            }
            order = ["ours", "bare"] if number % 2 else ["bare", "ours"]
            seconds = {name: calls[name]() for name in order}
            ours, report = seconds["ours"]
            ratios.append(ours / seconds["bare"][0])
            steps = ", ".join(f"{step['name']} {step['seconds']:.1f}" for step in report["steps"])
            print(f"envcheck setup {ours:.1f} s, bare uv {seconds['bare'][0]:.1f} s, ratio {ratios[-1]:.2f}  ({steps})")
            shutil.rmtree(project)
            shutil.rmtree(beside)
    kind = "cache full" if given.warm else "cache empty"
    print(f"{given.framework}, {kind}: median ratio {statistics.median(ratios):.2f} of {len(ratios)} rounds")
    return 0


if __name__ == "__main__":
    sys.exit(main())
