"""Measure envcheck against named rivals, in turn and in one run, and print a table of ratios.

    python benchmarks/run.py [--runs N] [--write] [--only WORDS]

Each row runs the rival and envcheck alternately (A B A B …) after one warm-up of each, so that a machine whose speed
drifts drifts for both; the ratio is the median over the pairs. `--write` puts the table into README.md.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import re
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).parent.parent
PYTHON = str(ROOT / ".venv" / "bin" / "python")
ENVCHECK = str(ROOT / ".venv" / "bin" / "envcheck")
TORCH_ONLY = ROOT / ".cache" / "benchmark-torch"
MARKS = re.compile(r"(<!-- benchmarks -->\n).*?(<!-- /benchmarks -->)", re.DOTALL)


def seconds(command: list[str], stdin: bytes = b"") -> float:
    """Return the wall time of a command; one that fails to run ends the benchmark."""
    began = time.perf_counter()
    done = subprocess.run(command, input=stdin, capture_output=True, check=False, cwd=tempfile.gettempdir())
    took = time.perf_counter() - began
    if done.returncode not in {0, 1, 3}:
        sys.exit(f"{' '.join(command)} ended with {done.returncode}: {done.stderr.decode()[-500:]}")
    return took


def compare(ours: list[str], rival: list[str], runs: int) -> tuple[float, float, float]:
    """Return the median seconds of both, and the median ratio of the pairs."""
    seconds(ours), seconds(rival)
    pairs = [(seconds(rival), seconds(ours)) for _ in range(runs)]
    return (
        statistics.median(pair[1] for pair in pairs),
        statistics.median(pair[0] for pair in pairs),
        statistics.median(pair[1] / pair[0] for pair in pairs),
    )


def own_memory(command: list[str]) -> float:
    """Return the highest resident memory in MB of the command's own process, children not counted."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=tempfile.gettempdir())
    status = pathlib.Path(f"/proc/{process.pid}/status")
    highest = 0
    while process.poll() is None:
        try:
            found = re.search(r"VmHWM:\s+(\d+)", status.read_text())
        except OSError:
            break
        highest = max(highest, int(found[1]) if found else 0)
        time.sleep(0.002)
    process.wait()
    return highest / 1000


def torch_only() -> str:
    """Return the interpreter of an environment that has PyTorch and nothing else of weight; it is made once."""
    python = TORCH_ONLY / "bin" / "python"
    if not (TORCH_ONLY / "ready").exists():
        subprocess.run([sys.executable, "-m", "venv", str(TORCH_ONLY)], check=True)
        subprocess.run([str(python), str(ROOT / "environments" / "install.py"), "torch-cpu"], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "numpy"], check=True)
        (TORCH_ONLY / "ready").touch()
    return str(python)


def added() -> list[tuple[str, list[str], str, list[str], int]]:
    """Return what is put before or into something else: ours, the other alone, and the milliseconds allowed."""
    shell, folder = ["/bin/sh", "-c", ":"], pathlib.Path(tempfile.gettempdir())
    test, image = folder / "test_envcheck_benchmark.py", folder / "envcheck-benchmark.Dockerfile"
    test.write_text("def test_nothing():\n    pass\n")
    image.write_text('FROM debian:12\nCMD ["sh"]\n')
    pytest = [PYTHON, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(test)]
    gate = [ENVCHECK, "entrypoint", "--ready-file", str(folder / "envcheck-benchmark-ready.json"), "--require"]
    return [
        ("`entrypoint`, memory required", [*gate, "memory>=64MiB", "--", *shell], "`sh -c :`", shell, 200),
        ("`entrypoint`, Python required", [*gate, "python>=3", "--", *shell], "`sh -c :`", shell, 200),
        ("pytest with the plug-in", pytest, "without", [*pytest, "-p", "no:envcheck"], 0),
        ("hook `image lint`", [ENVCHECK, "image", "lint", str(image)], "`python -c pass`", [PYTHON, "-c", "pass"], 0),
        (
            "hook `doctor --quick`",
            [ENVCHECK, "doctor", "--quick", "--strict", "--python", str(ROOT / ".venv")],
            "`python -c pass`",
            [PYTHON, "-c", "pass"],
            0,
        ),
    ]


def rows(runs: int, only: str) -> list[list[str]]:
    """Measure and return the table's rows."""
    collect = [torch_only(), "-m", "torch.utils.collect_env"]
    own_torch = ["--python", torch_only()]
    both = ["--python", str(ROOT / ".venv")]
    timed = [
        ("`envcheck --help`", [ENVCHECK, "--help"], "`python -c pass`", [PYTHON, "-c", "pass"], "60 ms"),
        ("`doctor --quick`, PyTorch", [ENVCHECK, "doctor", "--quick", *own_torch], "`collect_env`", collect, "0.12"),
        ("`doctor`, PyTorch", [ENVCHECK, "doctor", *own_torch], "`collect_env`", collect, "1.0"),
        (
            "`doctor`, both frameworks",
            [ENVCHECK, "doctor", *both],
            "`import tensorflow`",
            [PYTHON, "-c", "import tensorflow"],
            "1.15",
        ),
    ]
    table = []
    for name, ours, rival_name, rival, budget in added():
        if only in name:
            mine, theirs, ratio = compare(ours, rival, runs)
            cells = [name, f"{mine * 1000:.0f} ms", rival_name, f"{theirs * 1000:.0f} ms", f"{ratio:.2f}"]
            table.append([*cells, f"{(mine - theirs) * 1000:+.0f} ms of {budget}" if budget else ""])
    for name, ours, rival_name, rival, budget in timed:
        if only in name:
            mine, theirs, ratio = compare(ours, rival, runs)
            table.append([name, f"{mine * 1000:.0f} ms", rival_name, f"{theirs * 1000:.0f} ms", f"{ratio:.2f}", budget])
    if only in "triage":
        # Start-up is everything that is loaded and drawn where there is nothing to recognise.
        empty = pathlib.Path(tempfile.gettempdir()) / "envcheck-benchmark-empty.txt"
        empty.write_text("")
        mine, theirs, ratio = compare(
            [ENVCHECK, "doctor", "--from", str(ROOT / "benchmarks" / "paste.txt")],
            [ENVCHECK, "doctor", "--from", str(empty)],
            runs,
        )
        row = ["`doctor --from` one paste", f"{mine * 1000:.0f} ms", "the same, empty", f"{theirs * 1000:.0f} ms"]
        table.append([*row, f"{ratio:.2f}", f"{(mine - theirs) * 1000:+.0f} ms of 50"])
    if only in "memory":
        highest = statistics.median(own_memory([ENVCHECK, "doctor", *both]) for _ in range(3))
        table.append(["`doctor`, own memory", f"{highest:.0f} MB", "", "", "", "40 MB"])
    throughput = ROOT / "benchmarks" / "smoke_throughput.py"
    if only in "smoke" and throughput.is_file():
        done = subprocess.run([PYTHON, str(throughput), "--json"], capture_output=True, text=True, check=False)
        for row in json.loads(done.stdout):
            name = f"`smoke`, {row['network']} in {row['framework']}, samples/s"
            table.append(
                [name, f"{row['ours']:.0f}", "bare script", f"{row['bare']:.0f}", f"{row['ratio']:.2f}", "≥ 0.97"]
            )
    return table


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=7, help="counted pairs of each row")
    parser.add_argument("--only", default="", help="rows whose name holds these words")
    parser.add_argument("--write", action="store_true", help="put the table into README.md")
    options = parser.parse_args()
    head = ["what", "envcheck", "rival", "takes", "ratio", "budget"]
    lines = [
        " | ".join(["", *cells, ""]).strip() for cells in [head, ["---"] * len(head), *rows(options.runs, options.only)]
    ]
    text = "\n".join(lines) + "\n"
    print(text)
    if options.write:
        page = ROOT / "README.md"
        page.write_text(
            MARKS.sub(lambda found: found[1] + text + found[2], page.read_text(encoding="utf-8")), encoding="utf-8"
        )


if __name__ == "__main__":
    main()
