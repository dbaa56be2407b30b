"""Pasted text → facts: the same checks judge them that judge a machine."""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

from envcheck.facts import Facts, Message, Messages, Pasted
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
    found = _messages(lines)
    pieces = pieces_in(lines)
    kept = [report for report in saved if report is not None]
    if not found and not kept and set(pieces) <= {"hints"}:
        # The form of a path alone is nothing that could be judged; a paste of which nothing is known is not healthy.
        return Facts()
    facts = merged([piece for group in pieces.values() for piece in group], kept)
    import msgspec  # noqa: PLC0415 - loaded by then

    contradictions = facts.pasted.contradictions if facts.pasted else None
    known = facts.messages.found if facts.messages and facts.messages.found else []
    return msgspec.structs.replace(
        facts,
        messages=Messages(found=[*known, *found]) if known or found else facts.messages,
        pasted=Pasted(formats=list(pieces), contradictions=contradictions) if pieces or contradictions else None,
    )


def messages_in(text: str, source: str) -> list[Message]:
    """Return the messages of known families in what a program printed.

    Args:
        text: standard error, or the text of an exception with its traceback.
        source: what people call it, such as `import torch`.
    """
    lines = lines_of(source, text.encode("utf-8", "replace"))
    return _messages([Line(line.text, source, line.stamp) for line in lines])


def pieces_in(lines: Sequence[Line]) -> dict[str, list[Piece]]:
    """Return what the recognisers make of lines: format → pieces, in order of authority."""
    paste = paste_of(lines)
    pieces: dict[str, list[Piece]] = {}
    for name, literals in RECOGNISERS:
        if any(literal in paste.whole for literal in literals):
            recogniser = importlib.import_module(f"envcheck.triage.recognisers.{name}")
            found: list[Piece] = []
            # One that breaks on a paste that nobody thought of harms no other.
            with contextlib.suppress(Exception):
                found.extend(recogniser.recognise(paste))
            if found:
                pieces[name] = found
    return pieces


def _messages(lines: Sequence[Line]) -> list[Message]:
    from envcheck.triage import messages  # noqa: PLC0415 - its tables are read on first use

    return messages.recognise(lines)
