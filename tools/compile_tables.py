"""Compile the tables of envcheck/compat and envcheck/messages: tables/NAME.toml -> NAME.json beside it.

The TOML files are what people read and edit. envcheck itself reads the JSON files: parsing all tables as TOML takes
150 ms and needs Python 3.11, decoding the JSON takes 3 ms and works on every Python that envcheck supports.

    python tools/compile_tables.py           write the JSON files that are out of date
    python tools/compile_tables.py --check   exit 1 if one is out of date (a test runs this)
"""

from __future__ import annotations

import datetime as dt
import json
import sys
from pathlib import Path

import tomllib
from message_hints import parts_of

PACKAGE = Path(__file__).resolve().parent.parent / "envcheck"
TABLES = PACKAGE / "compat" / "tables"
FOLDERS = [TABLES, PACKAGE / "messages" / "tables"]


def compiled(text: str) -> str:
    """Return the JSON form of one TOML table, one row on a line so that changes can be reviewed.

    Args:
        text: the content of a TOML file whose top level holds values, tables and arrays of tables.

    Returns:
        The same content as JSON; dates become ISO 8601 strings.

    Raises:
        tomllib.TOMLDecodeError: the text is not TOML.
    """
    parts = []
    for name, value in tomllib.loads(text).items():
        if name == "family":
            value = [_prepared(row) for row in value]  # noqa: PLW2901 - the row as the package reads it
        if isinstance(value, list) and value and isinstance(value[0], dict):
            rows = ",\n".join(_json(row) for row in value)
            parts.append(f"{_json(name)}: [\n{rows}\n]")
        else:
            parts.append(f"{_json(name)}: {_json(value)}")
    return "{\n" + ",\n".join(parts) + "\n}\n"


def _prepared(row: dict[str, object]) -> dict[str, object]:
    """Return a family of messages with its pattern in parts; see message_hints."""
    parts = parts_of(str(row.get("pattern", "")), list(row.get("hints", [])))  # type: ignore[call-overload]
    return {**{name: value for name, value in row.items() if name not in {"pattern", "hints"}}, "parts": parts}


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, default=_iso_date)


def _iso_date(value: object) -> str:
    if isinstance(value, dt.date):
        return value.isoformat()
    message = f"a table may hold text, numbers, lists and dates, not {type(value).__name__}"
    raise TypeError(message)


def main() -> int:
    """Write, or with --check only compare, the JSON form of every table."""
    check = sys.argv[1:] == ["--check"]
    stale = []
    for source in [path for folder in FOLDERS for path in sorted(folder.glob("*.toml"))]:
        target = source.with_suffix(".json")
        text = compiled(source.read_text(encoding="utf-8"))
        if not target.exists() or target.read_text(encoding="utf-8") != text:
            stale.append(target.name)
            if not check:
                target.write_text(text, encoding="utf-8")
    if check and stale:
        print(f"out of date: {', '.join(stale)}; run python tools/compile_tables.py")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
