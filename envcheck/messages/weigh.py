"""Decide which cause messages and facts speak for.

Each message speaks for its family's cause with a weight; rules combine signs (families that are there, facts) and speak
for causes of their own; a rule can explain other causes away.  The cause with the greatest weight is the answer, what
comes close stays a candidate.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from envcheck.facts import Facts, Message
from envcheck.messages.signs import signs_of
from envcheck.messages.table import Cure, families, rules, weight_of

CERTAIN_FROM = 85
LIKELY_FROM = 55
CANDIDATE_FROM = 25
"""Weights from which a cause counts as certain, likely, and as worth naming."""

CLOSE = 30
"""A cause whose weight lies this far or farther below the answer's is no candidate."""


class Support(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that speaks for a cause.

    Attributes:
        weight: 1 to 100.
        meaning: why, one sentence.
        messages: what was printed.
        cures: remedies particular to it.
        replaces: causes that it explains away.
        place: position of the last message among all, from 0.
    """

    weight: int
    meaning: str
    messages: list[Message] = []
    cures: list[Cure] = []
    replaces: list[str] = []
    place: int = 0


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """A cause and what speaks for it, heaviest first.

    Attributes:
        cause: slug of the vocabulary.
        weight: that of the heaviest support.
        supports: what speaks for it.
        values: what the messages name.
    """

    cause: str
    weight: int
    supports: list[Support]
    values: dict[str, str] = {}


class _Named(dict[str, str]):
    def __missing__(self, key: str) -> str:
        return "it"


def filled(template: str, values: dict[str, str]) -> str:
    """Return a sentence with what the messages named; what they did not name reads as `it`."""
    return template.format_map(_Named(values)) if "{" in template else template


def command(template: str, values: dict[str, str]) -> str | None:
    """Return a command with what the messages named, quoted for a shell; None where it needs what they did not name."""
    import re  # noqa: PLC0415 - only where something is wrong
    import shlex  # noqa: PLC0415

    names = re.findall(r"\{(\w+)\}", template)
    if any(name not in values for name in names):
        return None
    return template.format_map({name: shlex.quote(values[name]) for name in names})


def answers(messages: Sequence[Message], facts: Facts | None = None) -> list[Answer]:
    """Return the causes that messages and facts speak for, heaviest first.

    Args:
        messages: what was recognised, in order of appearance.
        facts: what else is known.
    """
    rows = families()
    known = [message for message in messages if message.family in rows]
    by_family: dict[str, list[Message]] = {}
    place: dict[str, int] = {}
    for index, message in enumerate(known):
        by_family.setdefault(message.family, []).append(message)
        place[message.family] = index
    signs = signs_of(known, facts or Facts()) | set(by_family)
    supports: dict[str, list[Support]] = {}
    for name, found in by_family.items():
        row = rows[name]
        if row.cause and not row.harmless:
            meaning = filled(row.meaning or found[-1].text, found[-1].values)
            support = Support(
                weight=weight_of(row), meaning=meaning, messages=found[-1:], cures=row.cures, place=place[name]
            )
            supports.setdefault(row.cause, []).append(support)
    for rule in rules():
        if not set(rule.all) <= signs or (rule.any and not signs & set(rule.any)) or signs & set(rule.none):
            continue
        shown = [name for name in [*rule.all, *rule.any] if name in by_family]
        found = [by_family[name][-1] for name in shown]
        values = {key: value for message in found for key, value in message.values.items()}
        support = Support(
            weight=rule.weight,
            meaning=filled(rule.meaning, values),
            messages=found,
            cures=rule.cures,
            replaces=rule.replaces,
            place=max((place[name] for name in shown), default=0),
        )
        supports.setdefault(rule.cause, []).append(support)
    return _ranked(supports)


def _ranked(supports: dict[str, list[Support]]) -> list[Answer]:
    heaviest = {cause: max(support.weight for support in found) for cause, found in supports.items()}
    explained: set[str] = set()
    # Heaviest first, so that of two causes that explain each other away one is left.
    for cause in sorted(supports, key=lambda name: -heaviest[name]):
        if cause in explained:
            continue
        explained |= {
            replaced
            for support in supports[cause]
            for replaced in support.replaces
            if replaced != cause and support.weight + 25 >= heaviest.get(replaced, 0)
        }
    ranked = []
    for cause, found in supports.items():
        if cause in explained:
            continue
        found.sort(key=lambda support: (-support.weight, -support.place))
        values: dict[str, str] = {}
        for support in found:
            for message in support.messages:
                values = {**message.values, **values}
        ranked.append(Answer(cause=cause, weight=found[0].weight, supports=found, values=values))
    # Of two that weigh the same, the one printed last: a log ends with what ended the program.
    ranked.sort(key=lambda answer: (-answer.weight, -max(support.place for support in answer.supports)))
    return ranked
