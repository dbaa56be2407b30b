"""Messages in what was pasted: lines → families of `envcheck.messages`, each with where it stood."""

from __future__ import annotations

from collections.abc import Sequence

from envcheck.facts import Message
from envcheck.messages import recognise as families
from envcheck.messages.table import Family, family
from envcheck.triage.text import Line

__all__ = ["Family", "family", "recognise"]


def recognise(lines: Sequence[Line]) -> list[Message]:
    """Return the messages that lines hold, in order of appearance."""
    return families.recognise([line.text for line in lines], [line.source for line in lines])
