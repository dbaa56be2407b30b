"""Measure what `envcheck entrypoint` adds to the start of a command, and of a container.

    python benchmarks/entrypoint_time.py [--runs N] [--image IMAGE]

Each row runs the bare command and the gated one alternately (A B A B …) after one warm-up of each; the added time is
the median over the pairs, the ratio that of the gated start to the bare one. The least added time and the processor's
time say what other work on the machine hides; `python -c pass` stands beside them as a measure of that. With --image,
an image of docker/Dockerfile is started by Docker, with and without its gate.
"""

from __future__ import annotations

import argparse
import os
import pathlib
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).parent.parent
PYTHON = str(ROOT / ".venv" / "bin" / "python")
ENVCHECK = str(ROOT / ".venv" / "bin" / "envcheck")

BUDGET_SECONDS = 0.2
"""What the gate may add where no framework has to be imported."""

BUDGETED = {"gate", "gate that asks the interpreter", "container"}

REQUIRED = "memory>=64MiB, cores>=1, shm>=1MiB"


def processor_seconds() -> float:
    """Return the processor's time of all children that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def seconds(command: list[str], variables: dict[str, str]) -> tuple[float, float]:
    """Return wall time and processor's time of a command; one that fails ends the benchmark."""
    began, used = time.perf_counter(), processor_seconds()
    done = subprocess.run(
        command, env=variables, stdin=subprocess.DEVNULL, capture_output=True, check=False, cwd=tempfile.gettempdir()
    )
    took = time.perf_counter() - began
    if done.returncode:
        sys.exit(f"{' '.join(command)} ended with {done.returncode}: {done.stderr.decode()[-500:]}")
    return took, processor_seconds() - used


def compare(bare: list[str], gated: list[str], variables: dict[str, str], runs: int) -> dict[str, float]:
    """Return medians over pairs of runs: seconds of both, added seconds (the least and the processor's too), ratio."""
    seconds(bare, variables), seconds(gated, variables)
    pairs = [(seconds(bare, variables), seconds(gated, variables)) for _ in range(runs)]
    added = [second[0] - first[0] for first, second in pairs]
    return {
        "bare": statistics.median(first[0] for first, _ in pairs),
        "gated": statistics.median(second[0] for _, second in pairs),
        "added": statistics.median(added),
        "least": min(added),
        "processor": statistics.median(second[1] - first[1] for first, second in pairs),
        "ratio": statistics.median(second[0] / first[0] for first, second in pairs),
    }


def main() -> int:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=15)
    parser.add_argument("--image", help="of docker/Dockerfile, known to the Docker daemon")
    given = parser.parse_args()
    plain = {
        name: value for name, value in os.environ.items() if name not in {"VIRTUAL_ENV", "PYTHONDONTWRITEBYTECODE"}
    }
    gate = [ENVCHECK, "entrypoint", "--require", REQUIRED.split(",", maxsplit=1)[0], "--"]
    ready = {"ENVCHECK_READY_FILE": str(pathlib.Path(tempfile.gettempdir()) / "envcheck-benchmark-ready.json")}
    shell = ["/bin/sh", "-c", ":"]
    rows = {
        "gate off": (shell, [ENVCHECK, "entrypoint", "--mode", "off", "--", *shell]),
        "gate": (shell, [*gate, *shell]),
        "gate that asks the interpreter": (shell, [*gate[:-1], "--require", "python>=3", "--", *shell]),
        "`python -c pass` in its place": (shell, [PYTHON, "-c", "pass"]),
    }
    docker = shutil.which("docker")
    if given.image and docker:
        start = [docker, "run", "--rm", "--network", "none", "--shm-size", "1g"]
        gated = [*start, "--env", f"ENVCHECK_REQUIRE={REQUIRED}", given.image, *shell]
        bare = [*start, "--entrypoint", shell[0], given.image, *shell[1:]]
        rows["container"] = (bare, gated)
        rows["container, gate off"] = (bare, [*start, "--env", "ENVCHECK_MODE=off", given.image, *shell])
    print("| start | bare | gated | added | least added | processor's time added | ratio | budget |")
    print("|---|---|---|---|---|---|---|---|")
    for name, (first, second) in rows.items():
        found = compare(first, second, {**plain, **ready}, given.runs)
        budget = f"{BUDGET_SECONDS * 1000:.0f} ms" if name in BUDGETED else ""
        columns = ("bare", "gated", "added", "least", "processor")
        times = " | ".join(f"{found[column] * 1000:.0f} ms" for column in columns)
        print(f"| {name} | {times} | {found['ratio']:.1f} | {budget} |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
