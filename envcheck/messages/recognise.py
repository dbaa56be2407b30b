"""Find families of messages in text, in time linear in its size.

Every family has literals, one of which stands in each of its texts; only near a literal that is there does a regular
expression run, on a window of bounded size.
"""

from __future__ import annotations

import bisect
import re
from collections.abc import Sequence
from functools import cache

from envcheck.facts import Message
from envcheck.messages.table import Family, families

WINDOW_BEFORE = 1200
WINDOW_AFTER = 1600
"""Characters around a text in which what speaks against it is looked for."""

SLACK = 40
"""Characters behind a text that its expression may look at: the end of a word or line."""

OCCURRENCES = 40
"""Places of one literal that are looked at; a log repeats itself."""

KEPT = 5
"""Messages of one family that are kept; of those that name the same, the first."""

TEXT_LIMIT = 500

WHOLE = 3_000_000
"""Characters that are searched whole; of a longer text, its beginning, its end, and what lies near alarming words."""

ALARMING = (
    "error", "fail", "xid", "nvrm", "killed", "out of memory", "not found", "cannot", "denied", "unable", "mismatch",
    "no space", "timed out", "unsupported", "no such file", "incompatible", "invalid",
)  # fmt: skip

DIGITS = "0123456789"
"""Groups `symbol` and `symbol2` of one expression name the same thing."""

UPPER_TO_LOWER = {code: code + 32 for code in range(ord("A"), ord("Z") + 1)}


def recognise(lines: Sequence[str], sources: Sequence[str]) -> list[Message]:
    """Return the messages that lines hold, in order of appearance.

    Args:
        lines: text, one entry a line, without line ends.
        sources: where each line was read; as long as `lines`.
    """
    if sum(map(len, lines)) > WHOLE:
        lines, sources = _alarming(lines, sources)
    text = "\n".join(_without_code(lines))
    lower = text.lower()
    if len(lower) != len(text):
        lower = text.translate(UPPER_TO_LOWER)
    flat_lower = lower.replace("\n", " ").replace("\t", " ")
    starts = [0]
    for line in lines:
        starts.append(starts[-1] + len(line) + 1)
    found: list[tuple[int, Message]] = []
    for row in families().values():
        for begin, end, values in places(row, text, flat_lower):
            first = bisect.bisect_right(starts, begin) - 1
            last = max(first, bisect.bisect_right(starts, max(begin, end - 1)) - 1)
            shown = "\n".join(line.strip() for line in lines[first : last + 1])[:TEXT_LIMIT]
            found.append((begin, Message(family=row.id, text=shown, source=sources[first], values=values)))
    found.sort(key=lambda entry: entry[0])
    return [message for _, message in found]


def places(row: Family, text: str, flat_lower: str) -> list[tuple[int, int, dict[str, str]]]:
    """Return where a family's texts stand: begin, end, and what they name.

    Args:
        row: the family.
        text: lines joined by line ends.
        flat_lower: the same in lower case, with blanks for line ends.
    """
    places: dict[object, tuple[int, int, dict[str, str]]] = {}
    for part in row.parts:
        for hint, before, after in part.hints:
            position, seen = flat_lower.find(hint), 0
            while position >= 0 and seen < OCCURRENCES and len(places) < KEPT:
                end = position + len(hint)
                place = _place(row, part.pattern, text, max(0, position - before), position, end, end + after)
                if place is not None:
                    places.setdefault(tuple(place[2].items()) or place[0], place)
                seen += 1
                position = flat_lower.find(hint, max(end, place[1] if place else 0))
    return list(places.values())


def _place(
    row: Family, pattern: str, text: str, first: int, begin: int, end: int, last: int
) -> tuple[int, int, dict[str, str]] | None:
    """Return one place: a literal stands from begin to end, its text may lie between first and last."""
    values: dict[str, str] = {}
    if pattern:
        match = _compiled(pattern, row.lines).search(text, first, last + SLACK)
        if match is None:
            return None
        begin, end = match.span()
        values = {name.rstrip(DIGITS): value.strip() for name, value in match.groupdict().items() if value is not None}
    if row.unless:
        window = text[max(0, begin - WINDOW_BEFORE) : end + WINDOW_AFTER]
        if _compiled(row.unless, row.lines).search(window):
            return None
    return begin, end, values


@cache
def _compiled(pattern: str, lines: bool) -> re.Pattern[str]:
    if not lines:
        # Terminals wrap lines at blanks.
        pattern = pattern.replace(" ", r"\s")
    return re.compile(pattern, re.IGNORECASE | re.MULTILINE | re.DOTALL)


FRAME = re.compile(r'^\s*(?:\S+ )?File "[^"]{1,400}", line \d+, in ')
"""A frame of a traceback; the line of source code stands below it. Source: CPython, Lib/traceback.py."""

NUMBERED = re.compile(r"^\s*(?:-+> ?\d+|\d{1,5}) {1,}(?!\|)[^|]*$")
"""A line of source code in IPython's tracebacks, `---> 12 f(x)` or `     11 x = 1`. Source: IPython, ultratb.py."""

NUMBERED_HEAD = re.compile(r"^(?:\S*/\S+ in \S+\(|<ipython-input|File \S+:\d+, in |(?:Cell|Input) In ?\[|-{5,}> \d)")


EXCEPTION = re.compile(r"^[\w.]+(?:Error|Exception|Warning)\b")


def _without_code(lines: Sequence[str]) -> list[str]:
    """Return lines with the source code that tracebacks quote blanked out: what a program could say, it did not say."""
    cleaned = list(lines)
    in_notebook = False
    for index, line in enumerate(lines):
        if FRAME.match(line) and index + 1 < len(lines) and not FRAME.match(lines[index + 1]):
            following = lines[index + 1]
            # A wrapped frame, or none at all: code is indented deeper than its frame.
            if len(following) - len(following.lstrip()) > len(line) - len(line.lstrip()):
                cleaned[index + 1] = " " * len(following)
        if NUMBERED_HEAD.match(line) or line.startswith("---> "):
            in_notebook = True
        if in_notebook and NUMBERED.match(line):
            cleaned[index] = " " * len(line)
        elif (
            line.strip() and not line.startswith((" ", "\t")) and re.match(r"[\w.]+(?:Error|Exception|Warning)\b", line)
        ):
            in_notebook = False
    return cleaned


def _alarming(lines: Sequence[str], sources: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the begin and the end of a long text, and of its middle the lines near alarming words."""
    edge = WHOLE // 3
    head, size = 0, 0
    while head < len(lines) and size < edge:
        size += len(lines[head])
        head += 1
    tail, size = len(lines), 0
    while tail > head and size < edge:
        tail -= 1
        size += len(lines[tail])
    kept: set[int] = set()
    room = edge
    for index in range(head, tail):
        line = lines[index]
        lower = line[:2000].lower()
        if any(word in lower for word in ALARMING):
            kept.update(range(max(head, index - 1), min(tail, index + 2)))
            room -= len(line)
            if room < 0:
                break
    chosen = [*range(head), *sorted(kept), *range(tail, len(lines))]
    return [lines[index][:20000] for index in chosen], [sources[index] for index in chosen]
