"""Rules of one line: a text that must stand in it, a pattern, and the facts that the match says."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import msgspec

from envcheck.triage.paste import Paste
from envcheck.triage.pieces import Piece

Values = dict[str, Any]


class Rule(msgspec.Struct, frozen=True):
    """How one kind of line is read.

    Attributes:
        literal: a text without which the pattern cannot match; it is looked for first.
        pattern: regular expression, searched in the line.
        group: fact group that the line fills.
        values: match → field → value; an empty result fills nothing.
    """

    literal: str
    pattern: str
    group: str
    values: Callable[[re.Match[str]], Values]


def apply(rules: Sequence[Rule], paste: Paste) -> Iterator[Piece]:
    """Yield what rules read, rule by rule, each in the order of the lines."""
    for rule in rules:
        if rule.literal not in paste.whole:
            continue
        pattern = re.compile(rule.pattern)
        for line in paste.lines:
            if rule.literal in line.text and (found := pattern.search(line.text)):
                values = rule.values(found)
                if values:
                    yield Piece(rule.group, values, line.source)


def taking(**fields: str) -> Callable[[re.Match[str]], Values]:
    """Return a reader that takes named parts of the match as they are: field → name of the part."""
    return lambda found: {field: found[name] for field, name in fields.items() if found[name]}


def always(**values: object) -> Callable[[re.Match[str]], Values]:
    """Return a reader of lines that say the same whatever else stands in them."""
    return lambda _: dict(values)
