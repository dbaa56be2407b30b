"""Commands in a pasted transcript, each with what it printed."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import msgspec

from envcheck.triage.text import Line

PROMPT = re.compile(
    r"(?:"
    r"(?P<environment>\([\w./@+-]{1,80}\)) ?"
    r")?(?:"
    r"(?P<user>[\w.+-]{1,64})@[\w.-]{1,80}(?:[: ][^\s$#%>\u276f]{0,120})? ?[$#%>\u276f] ?"
    r"|\[[^\]\n]{1,120}\] ?[$#%>\u276f] ?"
    r"|PS [A-Za-z]:\\[^>\n]{0,200}> ?"
    r"|[A-Za-z]:\\[^>\n|\"]{0,200}> ?"
    r"|(?:bash|sh|zsh)-\d\.\d[$#] "
    r"|[~/][\w./~-]{0,120} ?[$#%\u276f] "
    r"|[$%\u276f\u279c] ?(?=[\w./!~])"
    r"|(?:In \[\d{1,6}\]: ?)?!(?=[a-z])"
    r")(?P<command>\S.{0,2000})"
)
BARE = re.compile(
    r"(?:[#>] )?(?P<command>(?:sudo )?(?:uname|nvidia-smi|nvcc|lsmod|lspci|ldd|ldconfig|pip3?|python[\d.]{0,4}|conda"
    r"|mamba|docker|dmesg|cat /(?:etc|proc|sys)\S+|env|printenv|ulimit|df|free|lsb_release|mokutil|dkms|id|groups"
    r"|getenforce|ls -\w*l\w* /dev/\S+|sw_vers|systeminfo|wsl|kubectl|rocminfo|which|whoami|gcc|g\+\+)"
    r"(?: [^|\n]{0,400}(?:\| ?\S.{0,200})?)?)$"
)
"""A command whose prompt was not copied; nothing but the command stands on its line."""

MOST_OUTPUT = 2000
"""Lines of one command's output that are looked at."""


class Command(msgspec.Struct, frozen=True):
    """A command that somebody typed.

    Attributes:
        text: the command line.
        source: `FILE:LINE` where it stands.
        output: the lines until the next prompt.
        environment: what the prompt gives in brackets before it, such as `base`; empty where there is nothing.
        user: the user's name in the prompt; only `root` is ever of interest.
    """

    text: str
    source: str
    output: Sequence[Line]
    environment: str = ""
    user: str = ""


def commands(lines: Sequence[Line]) -> Iterator[Command]:
    """Yield the commands of a transcript in order."""
    starts = [(index, found) for index, line in enumerate(lines) if (found := _prompt(line.text))]
    for place, (index, found) in enumerate(starts):
        end = starts[place + 1][0] if place + 1 < len(starts) else len(lines)
        groups = found.groupdict()
        yield Command(
            text=_without_sudo(groups["command"].strip()),
            source=lines[index].source,
            output=lines[index + 1 : min(end, index + 1 + MOST_OUTPUT)],
            environment=(groups.get("environment") or "").strip("()"),
            user=groups.get("user") or "",
        )


def _prompt(text: str) -> re.Match[str] | None:
    if not text or text.startswith(">>>"):
        return None
    return PROMPT.match(text) or BARE.match(text)


def _without_sudo(command: str) -> str:
    return re.sub(r"^sudo (?:-\w+ )*", "", command)
