"""Environment variables: `env`, exports, `echo $NAME`, `ENV` and `-e` of containers, assignments before a command."""

from __future__ import annotations

import re
from collections.abc import Iterator

from envcheck.triage.paste import Paste
from envcheck.triage.pieces import Piece
from envcheck.variables import NAMES, PREFIXES

ASSIGNED = (
    r"^\s*(?:export |set |setx |ENV |- |\$env:|\+ export |os\.environ\[['\"]|%env |env: )?"
    r"(?P<name>[A-Za-z][A-Z0-9a-z_]{2,60})(?:['\"]\])?"
    r"(?P<equals>\s?=\s?|: )(?P<quote>[\"']?)(?P<value>[^\"'\s][^\"'\n]{0,1500}|)(?P=quote)\s*;?$"
)
BEFORE_COMMAND = r"(?<![\w./-])(?P<name>[A-Z][A-Z0-9_]{2,60})=(?P<value>[^\s\"';]{0,400})(?= +\S)"
OPTION = r"(?:-e|--env)[ =]\"?(?P<name>[A-Z][A-Z0-9_]{2,60})=(?P<value>[^\s\"']{0,400})"
ECHO = r"^echo (?:\"?\$\{?|%|\$env:)(?P<name>[A-Za-z_]{3,60})[}%]?\"?$"


def matters(name: str) -> bool:
    """Tell whether training depends on a variable of this name."""
    return name in NAMES or name.startswith(PREFIXES)


def recognise(paste: Paste) -> Iterator[Piece]:
    """Yield variables that matter to training; secrets are masked."""
    for line in paste.lines:
        text = line.text
        if "=" not in text and ": " not in text:
            continue
        found = re.match(ASSIGNED, text)
        if found and matters(found["name"]) and (found["equals"] != ": " or found["name"].isupper()):
            yield from _piece(found["name"], found["value"].strip(), line.source)
    for command in paste.commands:
        for found in [*re.finditer(BEFORE_COMMAND, command.text), *re.finditer(OPTION, command.text)]:
            if matters(found["name"]):
                yield from _piece(found["name"], found["value"], command.source)
        asked = re.match(ECHO, command.text)
        if asked and matters(asked["name"]) and command.output:
            yield from _piece(asked["name"], command.output[0].text.strip()[:1500], command.output[0].source)


def _piece(name: str, value: str, source: str) -> Iterator[Piece]:
    from envcheck.redact import mask_values  # noqa: PLC0415 - only where there is a variable

    # A reference to another variable says nothing of what it holds.
    if value.startswith(("os.environ", "os.getenv", "str(")) or "${" in value:
        return
    yield Piece("variables", {"values": mask_values({name: value})}, source)
    if name == "CUDA_HOME" and value:
        yield Piece("toolkits", {"cuda_home": value}, source)
    elif name == "NVIDIA_DRIVER_CAPABILITIES":
        yield Piece("containers", {"driver_capabilities": value}, source)
    elif name == "NVIDIA_VISIBLE_DEVICES":
        yield Piece("containers", {"visible_devices": value}, source)
    elif name == "NVIDIA_REQUIRE_CUDA":
        yield Piece("containers", {"required_cuda": value}, source)
