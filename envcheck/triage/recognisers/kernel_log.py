"""Lines of the kernel's log: Xid, NVRM, module loading, the out-of-memory killer; from dmesg, journalctl, syslog."""

from __future__ import annotations

import re
from collections.abc import Iterator

from envcheck.facts import KernelMessage
from envcheck.triage.paste import Paste
from envcheck.triage.pieces import Piece

TIME = (
    r"\[\s*(\d+\.\d+)\]|(\d{4}-\d\d-\d\d[T ][\d:.,+-]+)|\[([A-Z][a-z]{2} [A-Z][a-z]{2} [^\]]{8,20})\]"
    r"|^([A-Z][a-z]{2} [ \d]\d [\d:]{8})"
)
UNREADABLE = r"dmesg: read kernel buffer failed: Operation not permitted"
MOST_MESSAGES = 2000


def recognise(paste: Paste) -> Iterator[Piece]:
    """Yield messages of known kinds, oldest first, each line once under its most telling kind."""
    from envcheck.compat import xid  # noqa: PLC0415 - a table

    found: dict[int, KernelMessage] = {}
    for line in xid.recognise_all(paste.whole):
        place = line.number - 1
        if not 0 <= place < len(paste.lines):
            continue
        pasted = paste.lines[place]
        number = line.parts.get("xid") or line.parts.get("sxid")
        # A later row of the table is the more special one, such as an Xid whose line names the recovery action.
        found[place] = KernelMessage(
            kind=line.message.id,
            text=pasted.text.strip()[:500],
            source=pasted.source,
            time=_time(pasted.stamp),
            device=xid.pci_address(line.parts.get("pci", "")),
            number=int(number) if number and number.isdigit() else None,
        )
    if found:
        messages = [found[place] for place in sorted(found)][-MOST_MESSAGES:]
        yield Piece("kernel_log", {"readable": True, "messages": messages}, messages[0].source)
    for written in paste.lines:
        if re.search(UNREADABLE, written.text):
            yield Piece("kernel_log", {"readable": False}, written.source)


def _time(stamp: str) -> str:
    found = re.search(TIME, stamp)
    return next((part for part in found.groups() if part), "") if found else ""
