"""Write docs/checks.md from the docstrings of the checks; with `--check`, only say whether it is current."""

from __future__ import annotations

import pathlib
import sys

from envcheck.check import all_checks
from envcheck.manual import document

PAGE = pathlib.Path(__file__).parent.parent / "docs" / "checks.md"


def main() -> int:
    """Write or compare the page."""
    own = [check for check in all_checks() if check.judge.__module__.startswith("envcheck.checks.")]
    text = document(own)
    if "--check" not in sys.argv:
        PAGE.write_text(text, encoding="utf-8")
        return 0
    if not PAGE.is_file() or PAGE.read_text(encoding="utf-8") != text:
        print("docs/checks.md is not current; run: make docs", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
