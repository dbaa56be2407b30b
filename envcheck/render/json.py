"""A report as JSON."""

from __future__ import annotations

from typing import Any

import msgspec

from envcheck.report import Report


def text(report: Report) -> str:
    """Return the report as indented JSON; its schema is `envcheck schema`."""
    try:
        encoded = msgspec.json.encode(report)
    except UnicodeEncodeError:
        # A name on this machine is no UTF-8, and Python holds it as half characters that JSON cannot.
        encoded = msgspec.json.encode(_whole_characters(msgspec.to_builtins(report)))
    return msgspec.json.format(encoded, indent=2).decode()


def _whole_characters(value: Any) -> Any:  # noqa: ANN401 - JSON-like
    """Return a JSON-like value in which a question mark stands for each half character."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, dict):
        return {_whole_characters(key): _whole_characters(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_whole_characters(item) for item in value]
    return value
