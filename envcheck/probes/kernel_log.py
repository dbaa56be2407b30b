"""Lines of the kernel's log that say something about a GPU, its driver or memory."""

from __future__ import annotations

import re

from envcheck.facts import KernelLog, KernelMessage
from envcheck.probe import Ended, probe
from envcheck.report import Outcome
from envcheck.system import Completed, System

RESTRICTED = "/proc/sys/kernel/dmesg_restrict"

FILTER = '{ %s || echo "$0 $?"; } | LC_ALL=C grep -aF "$@"'
"""A log is read through grep: it may be long, and only lines of known kinds are to be seen, kept or recorded."""

FAILED = "envcheck-log-unreadable"

LOGS: tuple[tuple[str, str], ...] = (
    ("dmesg", "dmesg"),
    ("journalctl -k", "journalctl -k -b -q --no-pager -o short-iso"),
)

MOST_MESSAGES = 2000
"""Lines that are kept: the newest; a failing card may write hundreds in a second."""

TIME = re.compile(
    r"^(?:\[\s*(\d+\.\d+)\]|\[?(\d{4}-\d\d-\d\dT[\d:.,+-]+)\]?|\[([A-Z][a-z]{2} [A-Z][a-z]{2} [^\]]{8,20})\])"
)


@probe(fills=["kernel_log"], deadline=4)
def kernel_log(system: System, deadline: float, quick: bool) -> KernelLog:
    """Read dmesg, else the journal (which may take its time, so not in a quick examination)."""
    if (system.ask("uname") or {}).get("system") != "Linux":
        raise Ended(Outcome.SKIPPED, "only Linux keeps this log")
    logs = LOGS[:1] if quick else LOGS
    if system.read(RESTRICTED).text.strip() == "1" and system.ask("user_id"):
        logs = tuple(log for log in logs if log[0] != "dmesg")
    for name, command in logs:
        completed = _filtered(system, name, command, deadline / len(logs))
        if _readable(completed):
            return KernelLog(
                readable=True,
                messages=messages(completed.stdout, name),
                sources={"readable": name, "messages": name},
            )
    return KernelLog(readable=False, sources={"readable": "dmesg, journalctl"})


def _filtered(system: System, name: str, command: str, deadline: float) -> Completed:
    from envcheck.compat import xid  # noqa: PLC0415 - a table

    wordings = dict.fromkeys(wording for message in xid.kernel_messages() for wording in message.contains)
    arguments = [argument for wording in [FAILED, *wordings] for argument in ("-e", wording)]
    return system.run(["/bin/sh", "-c", FILTER % command, FAILED, *arguments], deadline, key=f"kernel log from {name}")


def _readable(completed: Completed) -> bool:
    """Tell whether the log was read; grep ends with 1 where no line is of interest, with 2 in trouble."""
    if completed.outcome != "ok" or completed.exit_code not in {0, 1} or FAILED in completed.stdout:
        return False
    # journalctl ends well, and shows nothing, where this user may see no journal.
    return not re.search(r"not permitted|ermission|No journal files|not found", completed.stderr)


def messages(text: str, source: str) -> list[KernelMessage]:
    """Return the lines of known kinds, oldest first, each line once under its most telling kind.

    Args:
        text: a kernel log, or a part of one.
        source: where it was read.
    """
    from envcheck.compat import xid  # noqa: PLC0415 - a table

    found: dict[int, KernelMessage] = {}
    for line in xid.recognise_all(text):
        number = line.parts.get("xid") or line.parts.get("sxid")
        # A later row of the table is the more special one, such as an Xid whose line names the recovery action.
        found[line.number] = KernelMessage(
            kind=line.message.id,
            text=line.line.strip()[:500],
            source=source,
            time=_time(line.line),
            device=xid.pci_address(line.parts.get("pci", "")),
            number=int(number) if number and number.isdigit() else None,
        )
    return [found[number] for number in sorted(found)][-MOST_MESSAGES:]


def _time(line: str) -> str:
    found = TIME.match(line)
    return next((part for part in found.groups() if part), "") if found else ""
