"""What every recogniser is given: the lines of a paste, and the commands among them."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from envcheck.triage.shell import Command, commands
from envcheck.triage.text import Line


class Paste(msgspec.Struct, frozen=True):
    """Pasted text, all documents one behind the other.

    Attributes:
        lines: what was pasted.
        whole: the texts of the lines, joined by line breaks.
        commands: what was typed, where a prompt shows it.
    """

    lines: Sequence[Line]
    whole: str
    commands: Sequence[Command]


def paste_of(lines: Sequence[Line]) -> Paste:
    """Return lines as a paste."""
    return Paste(lines, "\n".join(line.text for line in lines), list(commands(lines)))
