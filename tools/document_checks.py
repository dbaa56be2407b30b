"""Write docs/checks.md and docs/image-lint.md from the docstrings of checks and rules.

With `--check`, only say whether they are current.
"""

from __future__ import annotations

import pathlib
import sys

from envcheck import manual
from envcheck.check import all_checks
from envcheck.imagelint import manual as rule_manual
from envcheck.imagelint.rule import all_rules

DOCS = pathlib.Path(__file__).parent.parent / "docs"


def pages() -> dict[pathlib.Path, str]:
    """Return what each page is to hold; checks and rules of third parties are left out."""
    checks = [check for check in all_checks() if check.judge.__module__.startswith("envcheck.checks.")]
    rules = [rule for rule in all_rules() if rule.judge.__module__.startswith("envcheck.imagelint.rules.")]
    return {
        DOCS / "checks.md": manual.document(checks),
        DOCS / "image-lint.md": rule_manual.document(rules),
    }


def main() -> int:
    """Write or compare the pages."""
    code = 0
    for page, text in pages().items():
        if "--check" not in sys.argv:
            page.write_text(text, encoding="utf-8")
        elif not page.is_file() or page.read_text(encoding="utf-8") != text:
            print(f"docs/{page.name} is not current; run: make docs", file=sys.stderr)
            code = 1
    return code


if __name__ == "__main__":
    sys.exit(main())
