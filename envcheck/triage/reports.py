"""envcheck's own JSON, pasted or saved: its facts are taken as they are."""

from __future__ import annotations

import msgspec

from envcheck.facts import Facts

MOST_BYTES = 64 * 1024 * 1024


class _Report(msgspec.Struct):
    """The part of a report that counts here; whatever else a later version writes is passed over."""

    schema_version: int
    facts: Facts


def facts_of(content: bytes) -> Facts | None:
    """Return the facts of a report, or None where the content is no report of envcheck."""
    start = content.lstrip()[:1]
    if start != b"{" or b'"schema_version"' not in content or len(content) > MOST_BYTES:
        return None
    try:
        return msgspec.json.decode(content, type=_Report).facts
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return None
