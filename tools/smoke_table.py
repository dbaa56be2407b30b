"""Train every workload on this machine and print the table of docs/smoke.md: score, bar, time and peak memory.

    python tools/smoke_table.py [--size standard] [--frameworks torch,tensorflow] [--seed 0] [--python PATH]

Run it where little else runs; the load average before and after stands under the table.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import get_args

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from envcheck.smoke import workloads  # noqa: E402 - the checkout's own, wherever this is called from
from envcheck.smoke.choice import Choice, Size  # noqa: E402
from envcheck.smoke.proof import Proof  # noqa: E402
from envcheck.smoke.result import Status  # noqa: E402

SECONDS = 3600.0


def cell(proof: Proof) -> str:
    """Return what one training reached, how long it took and the memory that it took."""
    if proof.status is not Status.PASSED:
        return f"{proof.status.value}: {proof.summary}"
    score = next((f"{one.value:.3f}" for one in proof.measures if one.name.startswith("test ")), "")
    memory = "" if proof.peak_memory_bytes is None else f", {proof.peak_memory_bytes / 2**20:.0f} MiB"
    return f"{score}, {proof.seconds:.0f} s{memory}"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=get_args(Size), default="standard")
    parser.add_argument("--frameworks", default="torch,tensorflow")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--python", default=sys.executable)
    asked = parser.parse_args()
    frameworks = tuple(asked.frameworks.split(","))
    before = os.getloadavg()[0]
    proofs = workloads.prove(
        Choice(
            interpreter=asked.python,
            parts=("workload",),
            frameworks=frameworks,
            by_name=True,
            size=asked.size,
            device="cpu",
            seed=asked.seed,
            timeout_seconds=SECONDS,
        ),
        lambda framework, event: (
            print(framework, event["name"], file=sys.stderr) if event["event"] == "proof" else None
        ),
    )
    names = list(dict.fromkeys(proof.framework for proof in proofs))
    print(" | ".join(["| workload", "score", "bar", *names]), "|")
    print("|---" * (3 + len(names)) + "|")
    for name in dict.fromkeys(proof.name for proof in proofs):
        found = {proof.framework: proof for proof in proofs if proof.name == name}
        first = next(iter(found.values()))
        score = next((one for one in first.measures if one.name.startswith("test ")), None)
        cells = [cell(found[framework]) for framework in names]
        told = [score.name.removeprefix("test "), score.note.removesuffix(" is needed")] if score else ["", ""]
        print(" | ".join([f"| `{name}`", *told, *cells]), "|")
    print(f"\nLoad average {before:.1f} before, {os.getloadavg()[0]:.1f} after, {os.cpu_count()} cores.")


if __name__ == "__main__":
    main()
