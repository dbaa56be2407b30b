"""Pasted text, line by line, freed of what pasting does to it; every line remembers where it stood.

What is taken off: byte order marks and the encodings that Windows shells write, terminal escapes, control characters,
carriage returns, quoting marks of mail and issue threads, code fences, entities of HTML, wrappers of container logs,
the prefixes of launchers (`[rank0]:`), time stamps, and line breaks that a terminal's width made.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from typing import IO

MOST_BYTES = 64 * 1024 * 1024
"""A longer document is read at both ends."""

CHUNK_BYTES = 1024 * 1024

FIRST_LINES, LAST_LINES = 5_000, 10_000
"""Lines at the ends of a document that are always read; between them a long log's telling lines alone are."""

TELLING_LINES = 10_000
"""Lines that are read between the ends of a long log."""

MOST_HITS = 20_000
"""Places of one telling word that are looked at, as many from each half of the log."""

MOST_ALIKE = 20
"""Lines that differ in digits alone and are read: it is one message, said again and again."""

LONGEST_PACKED, LONGEST_LINE = 40_000, 6_000
"""Characters that are read of a line that packs several into one, and of one line; a longer one is data."""


class Line(msgspec.Struct, frozen=True):
    """One line of what was pasted.

    Attributes:
        text: the line without escapes, quoting marks and time stamps.
        source: `FILE:LINE`, lines counted from 1.
        stamp: the time stamp, with what stood beside it, that was taken off.
    """

    text: str
    source: str
    stamp: str = ""


def read_ends(file: IO[bytes]) -> bytes:
    """Return the content of a file of any length: of a longer one than `MOST_BYTES` both ends.

    What lies between them is read past and stands for as many empty lines, so that lines keep their numbers.
    """
    half = MOST_BYTES // 2
    head = file.read(half)
    tail, skipped = bytearray(), 0
    while chunk := file.read(CHUNK_BYTES):
        tail += chunk
        if len(tail) > half + 8 * CHUNK_BYTES:
            skipped += tail.count(b"\n", 0, len(tail) - half)
            del tail[: len(tail) - half]
    return head + b"\n" * skipped + bytes(tail)


def lines_of(name: str, content: bytes) -> list[Line]:
    """Return the lines of a document.

    Args:
        name: how people call it: a file's name, or `standard input`.
        content: its bytes, in any encoding.

    Returns:
        Lines in order, without passwords, keys and tokens.  Blank ones are kept, for they end blocks; time and memory
        grow with the size of the document, and of a very long one the ends and the telling lines between them are read.
    """
    if len(content) <= MOST_BYTES:
        numbered = _chosen(decoded(content), 1)
    else:
        half = MOST_BYTES // 2
        skipped = content[half:-half].count(b"\n")
        head, tail = decoded(content[:half]), decoded(content[-half:], like=content[:4])
        numbered = [*_chosen(head, 1), *_chosen(tail, head.count("\n") + skipped + 1)]
    stripped = [(number, part) for number, text in numbered for part in _parts(text)]
    from envcheck.redact import mask_secrets  # noqa: PLC0415 - its patterns take time to compile

    joined = _joined(_unprefixed(stripped, name))
    return [Line(mask_secrets(line.text), line.source, line.stamp) for line in joined]


def decoded(content: bytes, like: bytes = b"") -> str:
    """Return the text of bytes: UTF-8, or UTF-16 as Windows shells write it, with or without a byte order mark."""
    start = like or content[:4]
    if start.startswith((b"\xff\xfe", b"\xfe\xff")):
        big = start.startswith(b"\xfe\xff")
        text = content.decode("utf-16-be" if big else "utf-16-le", "replace")
    elif content[:400:2].count(0) > len(content[:400]) // 4:
        text = content.decode("utf-16-be", "replace")
    elif content[1:400:2].count(0) > len(content[:400]) // 4:
        text = content.decode("utf-16-le", "replace")
    else:
        text = content.decode("utf-8", "replace")
    text = text.removeprefix("\ufeff").replace("\r\n", "\n")
    # A file of an old Macintosh ends its lines by carriage returns alone; elsewhere they redraw a progress bar.
    return text if "\n" in text else text.replace("\r", "\n")


TELLING = (
    "error",
    "fail",
    "xid",
    "nvrm",
    "exception",
    "traceback",
    "killed",
    "warn",
    "nccl",
    "cuda",
    "out of memory",
    "denied",
    "not found",
    "no such file",
    "segfault",
    "invalid opcode",
    "fatal",
    "oom",
)
"""Words, in lower case, of which at least one stands in every message that matters in a long log."""


def _chosen(text: str, first: int) -> list[tuple[int, str]]:
    """Return the lines that are read, each with its number."""
    if text.count("\n") <= FIRST_LINES + LAST_LINES + TELLING_LINES:
        return list(enumerate(text.split("\n"), first))
    start, end = 0, len(text)
    for _ in range(FIRST_LINES):
        start = text.index("\n", start) + 1
    for _ in range(LAST_LINES):
        end = text.rindex("\n", 0, end)
    number = first + FIRST_LINES
    chosen = list(enumerate(text[: start - 1].split("\n"), first))
    position, seen = start, dict[str, int]()
    for place in _telling(text[start:end].lower(), start)[:TELLING_LINES]:
        number += text.count("\n", position, place)
        position = place
        line = text[place : _line_end(text, place, end)][:LONGEST_PACKED]
        kind = line[:200].translate(WITHOUT_DIGITS)
        seen[kind] = seen.get(kind, 0) + 1
        if seen[kind] <= MOST_ALIKE:
            chosen.append((number, line))
    number += text.count("\n", position, end) + 1
    return [*chosen, *enumerate(text[end + 1 :].split("\n"), number)]


def _telling(lower: str, offset: int) -> list[int]:
    """Return where lines start in which a telling word stands, in order; `offset` is added to each."""
    starts: set[int] = set()
    middle = len(lower) // 2
    for word in TELLING:
        for begin, end in ((0, middle), (middle, len(lower))):
            place = lower.find(word, begin, end)
            for _ in range(MOST_HITS // 2):
                if place < 0:
                    break
                starts.add(lower.rfind("\n", 0, place) + 1 + offset)
                place = lower.find(word, _line_end(lower, place, end), end)
    return sorted(starts)


def _line_end(text: str, place: int, end: int) -> int:
    found = text.find("\n", place, end)
    return end if found < 0 else found


WITHOUT_DIGITS = {ord(digit): None for digit in "0123456789"}

ESCAPE = (
    r"\x1b\][^\x07\x1b]{0,2000}(?:\x07|\x1b\\)?"  # titles and links
    r"|\x1b[P^_X][^\x1b]{0,2000}(?:\x1b\\)?"
    r"|(?:\x1b\[|\x9b)[0-?]{0,40}[ -/]{0,8}[@-~]?"  # colours and movements
    r"|\x1b[ -/]{0,4}[0-~]?"
    r"|\^\[\[[0-9;]{0,20}m"  # as an editor or `cat -v` shows colours
    r"|\[0m|(?<![\w\]])\[(?:\d{1,3};){0,4}\d{0,3}m(?=[\w\[ '\"(<]|$)"  # whose escape character was lost in copying
)
CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]")
SPACES = str.maketrans({"\u00a0": " ", "\u3000": " ", "\u2007": " ", "\u202f": " "})
QUOTED = re.compile(r"^\s{0,3}(?:>(?!>> )\s?)+(?!>> )")
FENCE = re.compile(r"^\s*(?:`{3,}|~{3,})[\w+.-]*\s*$")
ENTITIES = (
    ("&gt;", ">"),
    ("&lt;", "<"),
    ("&quot;", '"'),
    ("&#39;", "'"),
    ("&#x27;", "'"),
    ("&nbsp;", " "),
    ("&amp;", "&"),
)
LOG_DRIVER = '{"log":"'
"""Docker's json-file driver wraps every line in an object."""


def _parts(text: str) -> Iterator[str]:
    """Yield what one line of a document says: one line, or several where a program or a copy packed them together."""
    text = text[:LONGEST_PACKED].rstrip()
    if text.startswith(LOG_DRIVER):
        text = _unwrapped(text)
    if "\x1b" in text or "\x9b" in text or ("m" in text and ("[0m" in text or "[m" in text or "^[[" in text)):
        text = re.sub(ESCAPE, "", text)
    if "\r" in text:
        # Of a progress bar that was redrawn, each different picture once.
        for part in dict.fromkeys(text.split("\r")):
            yield from _cleaned(part)
    else:
        yield from _cleaned(text)


MANY_BREAKS = 3
DRIVE = re.compile(r"\b[A-Za-z]:\\")
"""In paths of Windows, a backslash and an n are no line break."""


def _cleaned(text: str) -> Iterator[str]:
    text = CONTROL.sub("", text)
    if not text.isascii():
        text = text.translate(SPACES)
    if text.lstrip().startswith(">"):
        text = QUOTED.sub("", text, count=1)
    if FENCE.match(text):
        text = ""
    if "&" in text and ";" in text:
        for entity, character in ENTITIES:
            text = text.replace(entity, character)
    if text.count("\\n") >= MANY_BREAKS and not DRIVE.search(text):
        # An exception in a string of JSON, or in a list that Python printed.
        yield from (part[:LONGEST_LINE].replace('\\"', '"').replace("\\t", "\t") for part in text.split("\\n"))
    else:
        yield text[:LONGEST_LINE]


def _unwrapped(text: str) -> str:
    try:
        wrapped = msgspec.json.decode(text, type=dict[str, str])
    except (msgspec.MsgspecError, UnicodeError):
        return text
    return wrapped.get("log", text).rstrip()


STAMP = re.compile(
    r"(?:"
    r"[(\[]?\d{4}[-/]\d\d[-/]\d\d[T ,]{1,2}\d\d:\d\d:\d\d(?:[.,]\d{1,9})?"
    r"(?: ?(?:Z|UTC|[+-]\d\d:?\d\d))?[)\]]?(?::? |:|$)"
    r"|\[\s{0,8}\d{1,9}\.\d{6}\](?:\[\s{0,4}[TC]\d{1,7}\])? ?"
    r"|\[[A-Z][a-z]{2} [A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d \d{4}\] ?"
    r"|[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d(?:\.\d{1,6})? (?=\S)"
    r"|\[\d\d:\d\d:\d\d(?:\.\d{1,6})?\] "
    r"|(?:[\w.-]{1,64} )?kernel: "
    r")"
)
LAUNCHER = re.compile(
    r"(?:\[(?:rank|default|trainer|worker)\d{1,5}\]: ?|\[\d{1,4},\d{1,5}\]<std(?:err|out)>: ?"
    r"|\([\w.:-]{1,60} (?:pid|PID)=\d{1,10}(?:, ip=[\w.:]{1,60})?\) )"
)
COMPOSE = re.compile(r"([A-Za-z0-9][\w.-]{0,60}[-_]\d{1,4})\s{1,40}\| ?")
PREFIXES = 4
"""Stamps that may stand one behind the other: a log collector's, the journal's and the kernel's own."""


def _unprefixed(stripped: list[tuple[int, str]], name: str) -> Iterator[Line]:
    """Yield lines without time stamps and the prefixes of launchers."""
    for number, original in stripped:
        text, stamp = original, ""
        first = text[:1]
        if first and (first in "[(" or first.isdigit() or first.isalpha()):
            if "| " in text[:110] and (found := COMPOSE.match(text)):
                text = text[found.end() :]
            for _ in range(PREFIXES):
                found = STAMP.match(text) or LAUNCHER.match(text)
                if not found:
                    break
                stamp += found[0]
                text = text[found.end() :]
        yield Line(text, f"{name}:{number}", stamp)


NARROWEST = 60
"""Columns of the narrowest terminal whose wrapped lines are told from lines that are short by themselves."""

COLUMNS = "   "
"""Blanks inside a line that show a table, whose rows are of one length by themselves."""

STARTS_ANEW = re.compile(r"^\s\s|^[|+=*#$>-]|^Traceback |^\w*Error|^\w+@|^$|^[A-Z]{4,}[: ]|^File ")


BEGIN = 6
"""Characters, digits aside, that rows of one listing begin with in common and broken lines do not."""


def _begin_alike(one: str, other: str) -> bool:
    """Tell whether two lines are rows of one listing, such as the GPUs of `nvidia-smi -L`, and no line that broke."""
    first, second = (text[: 2 * BEGIN].translate(WITHOUT_DIGITS)[:BEGIN] for text in (one, other))
    return len(first) == BEGIN and first == second


def _joined(lines: Iterable[Line]) -> Iterator[Line]:
    """Yield lines, those again in one that a terminal's width had broken.

    A document is wrapped where at least two of its lines are as long as the longest, none of them part of a table.
    """
    every = list(lines)
    lengths: dict[int, int] = {}
    for line in every:
        lengths[len(line.text) + len(line.stamp)] = lengths.get(len(line.text) + len(line.stamp), 0) + 1
    width = max(lengths, default=0)
    if width < NARROWEST or lengths[width] < 2:  # noqa: PLR2004
        yield from every
        return
    index = 0
    while index < len(every):
        line = every[index]
        index += 1
        text = line.text
        last = line
        while (
            index < len(every)
            and len(last.text) + len(last.stamp) in {width, width - 1}
            and not text.startswith(("|", "+", "=", "-", "*", "#"))
            and COLUMNS not in last.text.strip()
            and COLUMNS not in every[index].text.strip()
            and not every[index].stamp
            and not STARTS_ANEW.match(every[index].text)
            and not _begin_alike(last.text, every[index].text)
            and len(text) < LONGEST_LINE
        ):
            # One column less than the width: the blank at which the line broke was lost.
            text += " " * (width - len(last.text) - len(last.stamp))
            last = every[index]
            text += last.text
            index += 1
        yield line if last is line else Line(text, line.source, line.stamp)
