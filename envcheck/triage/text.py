"""Pasted text, line by line, freed of what pasting does to it; every line remembers where it stood."""

from __future__ import annotations

import msgspec


class Line(msgspec.Struct, frozen=True):
    """One line of what was pasted.

    Attributes:
        text: the line without escapes, quoting marks and time stamps.
        source: `FILE:LINE`, lines counted from 1.
    """

    text: str
    source: str
