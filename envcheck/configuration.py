"""Where intent is declared: `[tool.envcheck]` of the nearest pyproject.toml, ENVCHECK_REQUIRE, the command line."""

from __future__ import annotations

import os
import re
import sys
from typing import Any

from envcheck.intent import Intent, UsageError, parse, requirement_of
from envcheck.system import System

VARIABLE = "ENVCHECK_REQUIRE"
"""Requirements for whoever has no file to write to, such as an image: separated by `;`, `,` or line breaks."""

BETWEEN = re.compile(r"[;\n]|,(?=\s*[A-Za-z])")
"""What separates requirements; a comma within one, as in `python>=3.10,<3.13`, is followed by an operator."""


def read(system: System, required: list[str], mute: list[str]) -> Intent:
    """Return the declared intent: of the nearest pyproject.toml with `[tool.envcheck]`, the variable, the command line.

    Raises:
        UsageError: a file or a requirement cannot be understood.
    """
    source, table = _table(system)
    for key in table:
        if key not in {"require", "mute"}:
            raise UsageError(f"{source}: [tool.envcheck] has no key {key!r}; it knows `require` and `mute`")
    from_file = [requirement_of(text, source) for text in _strings(table, "require", source)]
    written = (text.strip() for text in BETWEEN.split(system.getenv(VARIABLE) or ""))
    from_variable = [requirement_of(text, VARIABLE) for text in written if text]
    from_line = parse(required, mute)
    return Intent(
        requirements=from_file + from_variable + from_line.requirements,
        mute=[*_strings(table, "mute", source), *from_line.mute],
        source=source if table else "",
    )


def _table(system: System) -> tuple[str, dict[str, Any]]:
    folder = system.ask("working_directory") or ""
    while folder:
        path = os.path.join(folder, "pyproject.toml")  # noqa: PTH118
        reading = system.read(path)
        if reading.outcome == "ok" and "tool.envcheck" in reading.text:
            table = parse_toml(reading.text, path).get("tool", {}).get("envcheck", {})
            if not isinstance(table, dict):
                raise UsageError(f"{path}: tool.envcheck must be a table")
            return path, table
        parent = os.path.dirname(folder)  # noqa: PTH120
        folder = parent if parent != folder else ""
    return "", {}


def parse_toml(text: str, path: str) -> dict[str, Any]:
    """Parse TOML.

    Raises:
        UsageError: it is damaged.
    """
    if sys.version_info >= (3, 11):
        import tomllib  # noqa: PLC0415 - only where a file is there
    else:
        import tomli as tomllib  # noqa: PLC0415
    try:
        table: dict[str, Any] = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{path}: not valid TOML: {error}") from error
    return table


def _strings(table: dict[str, Any], key: str, source: str) -> list[str]:
    values = table.get(key, [])
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise UsageError(f'{source}: tool.envcheck.{key} must be a list of strings, such as ["gpus>=1"]')
    return values
