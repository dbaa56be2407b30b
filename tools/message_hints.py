"""Literals for families of messages: of every alternative of a pattern, one piece that must stand in its texts.

`envcheck.messages.recognise` runs a family's expression only near one of its literals.  Hand-written ones are easily
forgotten when an alternative is added, so they are worked out here, from the parsed expression, when the tables are
compiled.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Sequence
from typing import Any

if sys.version_info >= (3, 11):
    from re import _constants as kinds
    from re import _parser as parser
else:
    import sre_constants as kinds
    import sre_parse as parser

GAP = "\0"
"""Stands for what is not literally known."""

MOST = 60_000
"""Alternatives beyond which an expression is refused."""

SHORTEST = 3
FEW = 3


class HintError(Exception):
    """An alternative has no literal that could be searched for."""


def hints_of(pattern: str, given: Sequence[str]) -> list[str]:
    """Return literals, in lower case, one of which stands in every text that a pattern matches.

    Args:
        pattern: as it stands in the table.
        given: hand-written literals, which are kept.

    Raises:
        HintError: an alternative has no literal of at least three characters.
    """
    hints = list(given)
    if not pattern:
        return hints
    texts = sorted({text.lower() for text in _texts(parser.parse(pattern.replace(" ", r"\s"), re.IGNORECASE))})
    for text in texts:
        if any(hint in text for hint in hints):
            continue
        pieces = [piece for piece in text.split(GAP) if len(piece.strip()) >= SHORTEST]
        if not pieces:
            message = f"no literal in the alternative {text.replace(GAP, '…')!r}"
            raise HintError(message)
        hints.append(max(pieces, key=lambda piece: len(piece.strip())))
    return hints


def _texts(sequence: Iterable[Any]) -> set[str]:
    """Return what a parsed expression can match, with gaps where it is not literal."""
    found = {""}
    for kind, value in sequence:
        pieces = _pieces(kind, value)
        found = {before + piece for before in found for piece in pieces}
        if len(found) > MOST:
            message = f"more than {MOST} alternatives"
            raise HintError(message)
    return {re.sub(f"{GAP}+", GAP, text) for text in found}


def _pieces(kind: Any, value: Any) -> set[str]:  # noqa: ANN401 - the parser's own nodes
    if kind is kinds.LITERAL:
        return {chr(value)}
    if kind is kinds.BRANCH:
        return {text for branch in value[1] for text in _texts(branch)}
    if kind is kinds.SUBPATTERN:
        return _texts(value[3])
    if kind in {kinds.ASSERT, kinds.ASSERT_NOT, kinds.AT}:
        return {""}
    if kind is kinds.IN and value == [(kinds.CATEGORY, kinds.CATEGORY_SPACE)]:
        return {" "}
    if kind is kinds.IN and len(value) <= FEW and all(one[0] is kinds.LITERAL for one in value):
        return {chr(one[1]) for one in value}
    if kind in {kinds.MAX_REPEAT, kinds.MIN_REPEAT} and value[0] > 0:
        return {text if value[1] == 1 else text + GAP for text in _texts(value[2])}
    return {GAP}
