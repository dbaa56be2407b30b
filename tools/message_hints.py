"""Prepare patterns of messages for quick search: parts, and of every part literals that must stand in its texts.

`envcheck.messages.recognise` runs an expression only near one of its literals, and no farther than the expression
reaches.  Hand-written literals are easily forgotten when an alternative is added, so they are worked out here, from the
parsed expression, when the tables are compiled.
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
"""Stands for what is not literally known; the character after it tells how wide it can be."""

WIDTH = 0xE000
"""Code of the character that stands for a gap of no width."""

WIDEST = 1600
"""Reach of an expression that has no end of its own, and the farthest that is looked."""

MOST = 60_000
"""Alternatives beyond which an expression is refused."""

MOST_GROUPS = 20
MOST_BLANKS = 60
MOST_CHARACTERS = 120
"""How often a group, a blank and a character are repeated at most where the table sets no bound."""

SHORTEST = 3
FEW = 3


class HintError(Exception):
    """A part has no literal that could be searched for."""


def parts_of(pattern: str, given: Sequence[str]) -> list[dict[str, Any]]:
    """Return the parts of a pattern, each with the places at which to look for it.

    Args:
        pattern: as it stands in the table; empty where the literals say it all.
        given: hand-written literals, used where a part has none of its own.

    Returns:
        For each part its `pattern` and `hints`: literal in lower case, how far before it the part can begin and how
        far behind it the part can reach.

    Raises:
        HintError: a part has no literal of at least three characters, and none is given.
    """
    if not pattern:
        return [{"pattern": "", "hints": [[hint, 0, 0] for hint in given]}]
    return [{"pattern": part, "hints": _hints(part, given)} for part in _split(_bounded(pattern))]


def _bounded(pattern: str) -> str:
    """Return a pattern whose repeats all have an end, so that what it costs has one, too."""
    parts, index, atom = [], 0, ""
    while index < len(pattern):
        character = pattern[index]
        if character == "\\":
            atom = pattern[index : index + 2]
        elif character == "[":
            atom = pattern[index : _class_end(pattern, index) + 1]
        elif character in "*+" and atom != "(":
            most = MOST_GROUPS if atom == ")" else MOST_BLANKS if atom in {r"\s", " "} else MOST_CHARACTERS
            parts.append(f"{{{0 if character == '*' else 1},{most}}}")
            index += 1
            continue
        else:
            atom = character
        parts.append(atom)
        index += len(atom)
    return "".join(parts)


def _hints(pattern: str, given: Sequence[str]) -> list[list[Any]]:
    texts = sorted({text.lower() for text in _texts(parser.parse(pattern.replace(" ", r"\s"), re.IGNORECASE))})
    hints: dict[str, list[Any]] = {}
    look_ahead = WIDEST // 2 if "(?=" in pattern or "(?!" in pattern else 0
    for text in texts:
        pieces = [piece for piece in re.split(f"{GAP}.", text) if len(piece.strip()) >= SHORTEST]
        known = [hint for hint in hints if hint in text]
        if known:
            chosen = [min(known, key=len)]
        elif pieces:
            chosen = [max(pieces, key=lambda piece: len(piece.strip()))]
        else:
            chosen = list(given)
        if not chosen:
            message = f"no literal in {pattern!r}"
            raise HintError(message)
        for hint in chosen:
            position = text.find(hint)
            whole = _width(text)
            before = _width(text[:position]) if position >= 0 else whole
            after = _width(text[position + len(hint) :]) if position >= 0 else whole
            entry = hints.setdefault(hint, [hint, 0, 0])
            entry[1] = min(WIDEST, max(entry[1], before))
            entry[2] = min(WIDEST, max(entry[2], after + look_ahead))
    return list(hints.values())


def _width(text: str) -> int:
    gaps = re.findall(f"{GAP}(.)", text)
    return len(text) - 2 * len(gaps) + sum(ord(gap) - WIDTH for gap in gaps)


def _split(pattern: str) -> list[str]:
    """Return the alternatives of a pattern that is one choice and nothing else; else the pattern alone."""
    inner = pattern
    if pattern.startswith("(?:") and _closing(pattern, 0) == len(pattern) - 1:
        inner = pattern[3:-1]
    parts, depth, start, index = [], 0, 0, 0
    while index < len(inner):
        character = inner[index]
        if character == "\\":
            index += 1
        elif character == "[":
            index = _class_end(inner, index)
        elif character in "()":
            depth += 1 if character == "(" else -1
        elif character == "|" and depth == 0:
            parts.append(inner[start:index])
            start = index + 1
        index += 1
    return [*parts, inner[start:]]


def _closing(pattern: str, index: int) -> int:
    depth = 0
    while index < len(pattern):
        if pattern[index] == "\\":
            index += 1
        elif pattern[index] == "[":
            index = _class_end(pattern, index)
        elif pattern[index] == "(":
            depth += 1
        elif pattern[index] == ")":
            depth -= 1
            if depth == 0:
                return index
        index += 1
    return -1


def _class_end(pattern: str, index: int) -> int:
    """Return where the character class that begins at an index ends."""
    index += 1
    if pattern[index] == "^":
        index += 1
    if pattern[index] == "]":
        index += 1
    while pattern[index] != "]":
        index += 2 if pattern[index] == "\\" else 1
    return index


def _texts(sequence: Iterable[Any]) -> set[str]:
    """Return what a parsed expression can match, with gaps where it is not literal."""
    found = {""}
    for node in sequence:
        pieces = _pieces(node)
        found = {before + piece for before in found for piece in pieces}
        if len(found) > MOST:
            message = f"more than {MOST} alternatives"
            raise HintError(message)
    return {_joined(text) for text in found}


def _joined(text: str) -> str:
    """Make one gap of several in a row."""
    return re.sub(f"(?:{GAP}.){{2,}}", lambda gaps: _gap(_width(gaps[0])), text)


def _gap(width: int) -> str:
    return GAP + chr(WIDTH + min(width, WIDEST))


def _pieces(node: Any) -> set[str]:  # noqa: ANN401 - the parser's own nodes
    kind, value = node
    if kind is kinds.LITERAL:
        return {" " if chr(value).isspace() else chr(value)}
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
    if kind in {kinds.MAX_REPEAT, kinds.MIN_REPEAT}:
        least, most, repeated = value
        widest = min(WIDEST, int(repeated.getwidth()[1]))
        rest = _gap(min(WIDEST, widest * min(int(most) - 1 if least else int(most), WIDEST)))
        if least == 0:
            return {rest}
        return {text if most == 1 else text + rest for text in _texts(repeated)}
    return {_gap(1 if kind is not kinds.GROUPREF else WIDEST // 8)}
