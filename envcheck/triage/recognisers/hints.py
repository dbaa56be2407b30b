"""The operating system, where nothing but the form of paths and prompts tells it; the least trusted of all."""

from __future__ import annotations

import re
from collections.abc import Iterator

from envcheck.triage.paste import Paste
from envcheck.triage.pieces import Piece

WINDOWS = (
    r"(?:^|[\s\"'(\[])(?:PS )?[A-Za-z]:\\(?:Users|Program|Windows|ProgramData|Python|tools|dev)\b"
    r"|[\\/]site-packages\\|\.pyd\b"
)
MACOS = (
    r"(?:^|[\s\"'(:])(?:/Users/[\w.-]+/|/opt/homebrew/|/Library/Frameworks/|/System/Library/)"
    r"|\.dylib\b|macosx_\d"
)
LINUX = (
    r"(?:^|[\s\"'(:=])(?:/home/[\w.-]+/|/usr/lib/|/usr/local/lib/|/root/|/proc/|/dev/|/etc/)"
    r"|manylinux|apt(?:-get)? install"
)
HINTS = (("Windows", WINDOWS), ("Darwin", MACOS), ("Linux", LINUX))


def recognise(paste: Paste) -> Iterator[Piece]:
    """Yield the system for which most lines speak."""
    votes = dict[str, int]()
    first = dict[str, str]()
    for system, pattern in HINTS:
        compiled = re.compile(pattern)
        for line in paste.lines:
            if ("/" in line.text or "\\" in line.text or "_" in line.text) and compiled.search(line.text[:1000]):
                votes[system] = votes.get(system, 0) + 1
                first.setdefault(system, line.source)
    if votes:
        likeliest = max(votes, key=lambda system: votes[system])
        yield Piece("platform", {"system": likeliest}, first[likeliest])
