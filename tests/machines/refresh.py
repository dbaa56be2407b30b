"""Write the expected page of every recorded machine anew, and the composed machines before that.

python tests/machines/refresh.py                         all pages
python tests/machines/refresh.py --add FILE NAME NOTE    a recording that was sent in
"""

from __future__ import annotations

import json
import pathlib
import subprocess
import sys

from envcheck.check import all_checks
from envcheck.configuration import read
from envcheck.doctor import diagnose, examine
from envcheck.probe import all_probes
from envcheck.recording import load
from envcheck.render import terminal
from envcheck.report import Report

HERE = pathlib.Path(__file__).resolve().parent
WIDTH = 100


def report_on(recording: pathlib.Path) -> Report:
    """Return the report on a recorded machine."""
    recorded = load(str(recording))
    quick = bool(recorded.options.get("quick"))
    examined = examine(recorded.system, recorded.interpreter, all_probes(), quick=quick)
    intent = read(recorded.system, [], [])
    return diagnose(examined.facts, examined.probes, all_checks(), intent, {"quick": quick} if quick else {})


def page_of(recording: pathlib.Path) -> str:
    """Return the page that a recorded machine gives."""
    lines = terminal.page(report_on(recording), width=WIDTH).splitlines(keepends=True)
    # How many checks passed says nothing of a machine, and changes with every check that is added.
    return "".join(line for line in lines if not line.startswith("  checks  "))


def trimmed(observations: dict[str, object]) -> dict[str, object]:
    """Leave out answers that are the same when nothing was recorded: what is not there."""
    return {key: answer for key, answer in sorted(observations.items()) if not _silent(key, answer)}


def _silent(key: str, answer: object) -> bool:
    if isinstance(answer, dict) and key.startswith(("status ", "space ", "read ")):
        return answer.get("outcome") == "absent"
    return answer is None and not key.startswith("entries ")


def add(source: str, name: str, note: str) -> pathlib.Path:
    """Take in a recording under a name."""
    described = json.loads(pathlib.Path(source).read_text(encoding="utf-8"))
    described["note"] = note
    described["observations"] = trimmed(described["observations"])
    path = HERE / f"{name}.json"
    path.write_text(json.dumps(described, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return path


def main() -> None:
    """Do what the command line says."""
    if sys.argv[1:2] == ["--add"]:
        add(*sys.argv[2:5])
    else:
        subprocess.run([sys.executable, str(HERE / "compose.py")], check=True)
    for recording in sorted(HERE.glob("*.json")):
        page = page_of(recording)
        target = recording.with_suffix(".txt")
        if not target.exists() or target.read_text(encoding="utf-8") != page:
            target.write_text(page, encoding="utf-8")
            sys.stdout.write(f"{target.name} changed\n")


if __name__ == "__main__":
    main()
