"""Score `envcheck doctor --from -` on the cases beside the project, and hold the figure that was recorded.

    python tools/score.py            score; exit 1 where fewer cases are right than docs/score.json records
    python tools/score.py --record   score, and write docs/score.json where the figure rose
    python tools/score.py --misses   name each case that is wrong, too

The cases stand in ../shared/cases, outside the project; where they are not, there is nothing to score and the exit
status is 0.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CASES = ROOT.parent / "shared" / "cases"
RECORD = ROOT / "docs" / "score.json"


def scored(misses: bool) -> list[dict[str, object]]:
    """Run every case and return its answer; the table goes to standard output."""
    program = Path(sys.executable).with_name("envcheck")
    with tempfile.TemporaryDirectory() as folder:
        answers = Path(folder) / "answers.json"
        command = [
            sys.executable,
            str(CASES / "score.py"),
            "--command",
            f"{program} doctor --from - --json",
            "--json",
            str(answers),
            *(["--show-misses"] if misses else []),
        ]
        subprocess.run(command, check=True)
        return json.loads(answers.read_text(encoding="utf-8"))  # type: ignore[no-any-return]


def summary(answers: list[dict[str, object]]) -> dict[str, object]:
    """Return what is recorded: how many cases are right, in all and by area."""
    areas = sorted({str(answer["area"]) for answer in answers})
    return {
        "cases": len(answers),
        "right_first": sum(bool(answer["top1"]) for answer in answers),
        "right_among_three": sum(bool(answer["top3"]) for answer in answers),
        "right_first_by_area": {
            area: sum(bool(answer["top1"]) for answer in answers if answer["area"] == area) for area in areas
        },
    }


def main() -> int:
    """Score and compare."""
    if not (CASES / "score.py").exists():
        print("score: there are no cases beside the project; nothing to score")
        return 0
    answers = scored("--misses" in sys.argv[1:])
    now = summary(answers)
    recorded = json.loads(RECORD.read_text(encoding="utf-8")) if RECORD.exists() else {"cases": 1, "right_first": 0}
    share = int(str(now["right_first"])) / max(1, len(answers))
    before = recorded["right_first"] / recorded["cases"]
    if "--record" in sys.argv[1:] and share >= before:
        RECORD.write_text(json.dumps(now, indent=2) + "\n", encoding="utf-8")
    if share < before:
        print(f"score: {share:.1%} right, {before:.1%} is recorded in docs/score.json", file=sys.stderr)
        return 1
    print(f"score: {now['right_first']} of {now['cases']} right ({share:.1%}); recorded {before:.1%}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
