"""A report as JSON."""

from __future__ import annotations

import msgspec

from envcheck.report import Report


def text(report: Report) -> str:
    """Return the report as indented JSON; its schema is `envcheck schema`."""
    return msgspec.json.format(msgspec.json.encode(report), indent=2).decode()
