"""The rows of tables/*.toml: families of messages, and rules that combine them with each other and with facts."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import msgspec

TABLES = Path(__file__).parent / "tables"

WEIGHTS = {"certain": 90, "likely": 70, "possible": 40}
"""Weight of a row that gives only its confidence."""


class Cure(msgspec.Struct, frozen=True):
    """A remedy; `{names}` in its texts are filled with what the message named.

    Attributes:
        action: a sentence in the imperative.
        commands: to be typed one after another.
        changes: what it changes on the machine.
    """

    action: str
    commands: list[str] = []
    changes: str = ""


class Part(msgspec.Struct, frozen=True):
    """One alternative of a family's pattern, and where to look for it.

    Attributes:
        pattern: regular expression (case does not matter, `.` takes line ends too). A blank in it matches a line end
            as well, for terminals wrap lines. Empty where a literal says it all.
        hints: literals in lower case, one of which stands in every text of the part; with each, how many characters
            before it the text can begin, and how many behind it the text can reach.
    """

    pattern: str
    hints: list[tuple[str, int, int]]


class Family(msgspec.Struct, frozen=True):
    """Texts that mean the same.

    Attributes:
        id: name of the family.
        parts: what its texts look like. In the TOML file: `pattern`, one expression, and `hints`, literals for what has
            none of its own; tools/compile_tables.py makes the parts.
        unless: regular expression; where it matches near the hint, the text is not of the family.
        lines: a blank in the pattern matches blanks only.
        cause: slug of the vocabulary; empty where the text is only context for rules.
        confidence: `certain`, `likely` or `possible`.
        weight: 1 to 100, how much the text speaks for its cause; 0 = as the confidence says.
        meaning: what the text says, one sentence; `{names}` are the pattern's groups.
        harmless: the text looks like a fault and is none.
        cures: remedies particular to this family; else those of the cause.
        source: where the text comes from.
    """

    id: str
    parts: list[Part]
    unless: str = ""
    lines: bool = False
    cause: str = ""
    confidence: str = "likely"
    weight: int = 0
    meaning: str = ""
    harmless: bool = False
    cures: list[Cure] = []
    source: str = ""


class Rule(msgspec.Struct, frozen=True):
    """A conclusion from several signs: ids of families, or `fact:` and `text:` signs (see `signs`).

    Attributes:
        cause: slug of the vocabulary.
        all: signs that must all be there.
        any: of these, one must be there, where the list is not empty.
        none: signs that must not be there.
        weight: 1 to 100.
        meaning: why this follows, one sentence.
        replaces: causes that this conclusion explains away.
        cures: remedies particular to this conclusion.
        source: where the rule comes from.
    """

    cause: str
    weight: int
    meaning: str
    all: list[str] = []
    any: list[str] = []
    none: list[str] = []
    replaces: list[str] = []
    cures: list[Cure] = []
    source: str = ""


class CauseCures(msgspec.Struct, frozen=True):
    """What cures a cause, where nothing more particular is known.

    Attributes:
        cause: slug of the vocabulary.
        cures: best first.
        question: the one command whose output would decide, where the evidence does not.
        links: official documentation.
    """

    cause: str
    cures: list[Cure] = []
    question: str = ""
    links: list[str] = []


class Table(msgspec.Struct, frozen=True):
    """One file of tables/."""

    family: list[Family] = []
    rule: list[Rule] = []
    cause: list[CauseCures] = []


@cache
def tables() -> dict[str, Table]:
    """Return every table by the name of its file."""
    decoder = msgspec.json.Decoder(Table)
    return {path.stem: decoder.decode(path.read_bytes()) for path in sorted(TABLES.glob("*.json"))}


@cache
def families() -> dict[str, Family]:
    """Return every family by its id."""
    return {row.id: row for table in tables().values() for row in table.family}


@cache
def rules() -> list[Rule]:
    """Return every rule."""
    return [row for table in tables().values() for row in table.rule]


@cache
def cures() -> dict[str, CauseCures]:
    """Return what cures each cause."""
    return {row.cause: row for table in tables().values() for row in table.cause}


def family(name: str) -> Family:
    """Return the family of that id.

    Raises:
        KeyError: there is none.
    """
    return families()[name]


def weight_of(row: Family) -> int:
    """Return how much a family speaks for its cause, 1 to 100."""
    return row.weight or WEIGHTS[row.confidence]
