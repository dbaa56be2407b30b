"""Pasted text → facts: the same checks judge them that judge a machine."""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

from envcheck.facts import Facts, Message, Messages
from envcheck.triage.merge import merged
from envcheck.triage.paste import paste_of
from envcheck.triage.recognisers import RECOGNISERS
from envcheck.triage.text import Line, lines_of, read_ends

if TYPE_CHECKING:
    from envcheck.triage.pieces import Piece

__all__ = ["facts_from", "messages_in", "read_ends"]


def facts_from(documents: list[tuple[str, bytes]]) -> Facts:
    """Return what can be known from pasted text.

    Args:
        documents: name (a file's, or `standard input`) and content; what stands first counts first.

    Returns:
        Facts; `Facts()` where nothing was recognised.  Any bytes are taken.
    """
    from envcheck.triage import reports  # noqa: PLC0415 - only what is needed

    saved = [reports.facts_of(content) for _, content in documents]
    lines = [
        line
        for (name, content), report in zip(documents, saved, strict=True)
        if report is None
        for line in lines_of(name, content)
    ]
    facts = merged(pieces_in(lines), [report for report in saved if report is not None])
    found = _messages(lines)
    if not found:
        return facts
    known = facts.messages.found if facts.messages and facts.messages.found else []
    import msgspec  # noqa: PLC0415 - loaded by then

    return msgspec.structs.replace(facts, messages=Messages(found=[*known, *found]))


def messages_in(text: str, source: str) -> list[Message]:
    """Return the messages of known families in what a program printed.

    Args:
        text: standard error, or the text of an exception with its traceback.
        source: what people call it, such as `import torch`.
    """
    lines = lines_of(source, text.encode("utf-8", "replace"))
    return _messages([Line(line.text, source, line.stamp) for line in lines])


def pieces_in(lines: Sequence[Line]) -> list[Piece]:
    """Return what the recognisers make of lines."""
    paste = paste_of(lines)
    pieces: list[Piece] = []
    for name, literals in RECOGNISERS:
        if any(literal in paste.whole for literal in literals):
            recogniser = importlib.import_module(f"envcheck.triage.recognisers.{name}")
            # One that breaks on a paste that nobody thought of harms no other.
            with contextlib.suppress(Exception):
                pieces += recogniser.recognise(paste)
    return pieces


def _messages(lines: Sequence[Line]) -> list[Message]:
    from envcheck.triage import messages  # noqa: PLC0415 - its tables are read on first use

    return messages.recognise(lines)
