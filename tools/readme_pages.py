"""Put the pages of recorded machines into README.md, between its marks; `make machines` calls it."""

from __future__ import annotations

import pathlib
import re

ROOT = pathlib.Path(__file__).parent.parent
PAGE = re.compile(r"(<!-- machine: (\S+) -->\n```\n).*?(```)", re.DOTALL)


def main() -> None:
    """Write README.md."""
    readme = ROOT / "README.md"
    machines = ROOT / "tests" / "machines"
    text = PAGE.sub(
        lambda found: found[1] + (machines / f"{found[2]}.txt").read_text(encoding="utf-8") + found[3],
        readme.read_text(encoding="utf-8"),
    )
    readme.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
