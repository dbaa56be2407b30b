"""Text from the machine, made fit for a terminal; apart from the page, for it costs no start-up time."""

from __future__ import annotations

import re

CONTROL = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]"
)


def clean(text: str) -> str:
    """Return text without control characters, terminal escapes and marks that turn the direction of writing."""
    return CONTROL.sub("", text.replace("\r\n", "\n")).replace("\t", "    ")
