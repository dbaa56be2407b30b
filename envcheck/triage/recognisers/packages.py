"""Installed packages: pip and uv (list, freeze, show, install), conda and mamba (list), poetry (show).

What a requirements file or a failed resolution asks for is not installed, and is not read as such.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from envcheck.facts import Package
from envcheck.triage.builds import build_of, normalised
from envcheck.triage.paste import Paste
from envcheck.triage.pieces import Piece
from envcheck.triage.shell import Command
from envcheck.triage.text import Line

NAME = r"_?[A-Za-z0-9](?:[A-Za-z0-9._-]{0,80}[A-Za-z0-9])?"
VERSION = r"\d+(?:\.\d+)*(?:[._-]?(?:a|b|rc|c|alpha|beta|dev|post|pre)\.?\d*)*(?:\+[A-Za-z0-9._-]{1,40})?"
ROW = rf"^(?P<name>{NAME})\s+(?:\(!\)\s+)?(?P<version>{VERSION})(?:\s+(?P<rest>\S.*))?$"
PINNED = rf"^(?P<name>{NAME})==(?P<version>{VERSION})$"
FROM_FILE = rf"^(?P<name>{NAME}) @ \S+/{NAME}-(?P<version>{VERSION})-\S+\.whl"
REPORTED = rf"^\[(?P<tool>pip3?|conda)\] (?P<name>{NAME})(?:==|\s+)(?P<version>{VERSION})(?:\s+(?P<rest>\S.*))?$"
PIP_HEADER = r"^Package\s+Version\b"
RULE_LINE = r"^-{3,}[ -]*$"
CONDA_HEADER = r"^# packages in environment at (?P<prefix>[^:]+(?::\\[^:]+)?):"
MAMBA_HEADER = r"^\s*Name\s+Version\s+Build\s+Channel"
INSTALLED = r"^Successfully installed (?P<names>.+)$"
ONE = rf"(?P<name>{NAME})-(?P<version>\d{VERSION[3:]})$"
SATISFIED = (
    rf"^Requirement already (?:satisfied|up-to-date): (?P<name>{NAME})\S* .{{0,40}}in "
    rf"(?P<location>\S+)(?: \(from .{{1,200}}\))? \((?P<version>{VERSION})\)$"
)
SATISFIED_PLAIN = rf"^Requirement already satisfied: (?P<name>{NAME})==(?P<version>{VERSION}) in (?P<location>\S+)"
UV_ADDED = rf"^ \+ (?P<name>{NAME})==(?P<version>{VERSION})"
HELD = (
    rf"^(?:ERROR: )?(?P<name>{NAME}) (?P<version>{VERSION}) (?:has requirement|requires) "
    rf"(?P<wish>[^,]{{1,200}}(?:,[^,b][^,]{{0,60}}){{0,6}}), "
    rf"(?:but you(?:'ll)? have (?P<other>{NAME}) (?P<held>{VERSION})|which is not installed)"
)
"""As `pip check`, and pip after an installation, name requirements that do not hold."""

LEAST_PINS = 3
"""Lines `name==version` that must follow each other, without a command that says so, to be what pip freeze prints."""


def recognise(paste: Paste) -> Iterator[Piece]:
    """Yield packages; the state after the last installation counts before lists that were printed earlier."""
    yield from _together(_after_installation(paste.lines))
    yield from _together(_shown(paste.lines))
    yield from _together(_tables(paste.lines))
    yield from _together(_of_commands(paste.commands))
    yield from _together(_frozen(paste.lines))


Found = tuple[Package, Line]


def _together(found: Iterable[Found]) -> Iterator[Piece]:
    packages: dict[str, Package] = {}
    source = ""
    for package, line in found:
        source = source or line.source
        packages[package.name] = package
    if packages:
        conda = [name for name, package in packages.items() if package.installer == "conda"]
        values = {"installed": list(packages.values()), "complete": False, "conda_managed": conda or None}
        yield Piece("packages", values, source)
        yield from _frameworks(packages, source)


def _package(name: str, version: str, installer: str = "", location: str = "") -> Package:
    return Package(name=normalised(name), version=version, installer=installer, location=location)


def _frameworks(packages: dict[str, Package], source: str) -> Iterator[Piece]:
    """Yield for what accelerator a build of torch was made, as the local part of its version says."""
    torch = packages.get("torch")
    if torch is not None and "+" in torch.version:
        yield Piece("torch", {"name": "torch", **build_of(torch.version.partition("+")[2])}, source)


def _after_installation(lines: Sequence[Line]) -> Iterator[Found]:
    for line in lines:
        text = line.text
        if text.startswith("Successfully installed"):
            found = re.match(INSTALLED, text)
            for word in found["names"].split() if found else ():
                if one := re.match(ONE, word):
                    yield _package(one["name"], one["version"], "pip"), line
        elif text.startswith(" + ") and (found := re.match(UV_ADDED, text)):
            yield _package(found["name"], found["version"], "uv"), line
        elif text.startswith("Requirement already") and (
            found := re.match(SATISFIED, text) or re.match(SATISFIED_PLAIN, text)
        ):
            yield _package(found["name"], found["version"], "", found["location"]), line
        elif ("but you have" in text or "not installed" in text) and (found := re.search(HELD, text)):
            yield from _held(found, line)


def _held(found: re.Match[str], line: Line) -> Iterator[Found]:
    wish = found["wish"].strip()
    yield Package(name=normalised(found["name"]), version=found["version"], requires=[wish]), line
    if found["other"]:
        yield _package(found["other"], found["held"]), line


def _shown(lines: Sequence[Line]) -> Iterator[Found]:
    """Read `pip show`: name and version on lines of their own, one behind the other."""
    for place, line in enumerate(lines[:-1]):
        if line.text.startswith("Name: "):
            version = re.match(rf"Version: (?P<version>{VERSION})\s*$", lines[place + 1].text)
            name = re.match(rf"Name: (?P<name>{NAME})\s*$", line.text)
            if not version or not name:
                continue
            location = next(
                (later.text[10:] for later in lines[place : place + 12] if later.text.startswith("Location: ")), ""
            )
            installer = next(
                (later.text[11:] for later in lines[place : place + 14] if later.text.startswith("Installer: ")), ""
            )
            yield _package(name["name"], version["version"], installer, location), line


def _tables(lines: Sequence[Line]) -> Iterator[Found]:
    """Read the tables of pip, uv, conda and mamba below their headers, and collect_env's lists."""
    kind = ""
    for line in lines:
        text = line.text
        if re.match(PIP_HEADER, text):
            kind = "pip"
        elif re.match(CONDA_HEADER, text) or re.match(MAMBA_HEADER, text):
            kind = "conda"
        elif kind and (re.match(RULE_LINE, text.strip()) or text.startswith("#") or "─" in text):
            continue
        elif text.startswith("[") and (found := re.match(REPORTED, text)):
            yield _row(found, "conda" if found["tool"] == "conda" else "pip"), line
        elif kind and (found := re.match(ROW, text.strip())):
            yield _row(found, kind), line
        elif kind and text.strip() and not (text.strip() == "..." or text.lstrip().startswith(("(", "["))):
            kind = ""


def _row(found: re.Match[str], kind: str) -> Package:
    rest = (found.groupdict().get("rest") or "").split()
    if kind != "conda":
        return _package(found["name"], found["version"])
    by_pip = "pypi" in rest
    name = {"pytorch": "torch", "pytorch-gpu": "torch"}.get(found["name"], found["name"])
    local = "" if by_pip or name != "torch" or not rest else _local(rest[0])
    version = found["version"] + local
    return _package(name, version, "pip" if by_pip else "conda")


def _local(build: str) -> str:
    """Return the local part that says the same as a conda build, such as `py3.10_cuda11.8_cudnn8.7.0_0`."""
    known = build_of(build)
    if known.get("accelerator") == "cuda":
        return "+cu" + known["cuda"].replace(".", "")
    return "+cpu" if known.get("accelerator") == "cpu" else ""


LISTS = r"^(?:[\w./\\-]*python[\d.]* -m |uv )?(?:pip[\d.]*|conda|mamba|micromamba|poetry) (?:list|freeze|show)\b"


def _of_commands(commands: Sequence[Command]) -> Iterator[Found]:
    """Read what `pip list | grep torch` and its like print: rows without a header."""
    for command in commands:
        if not re.match(LISTS, command.text):
            continue
        if any(re.match(PIP_HEADER, line.text) or re.match(CONDA_HEADER, line.text) for line in command.output):
            continue
        kind = "conda" if re.match(r"(?:conda|mamba|micromamba) ", command.text) else "pip"
        for line in command.output:
            text = line.text.strip()
            found = re.match(ROW, text) or re.match(PINNED, text) or _from_file(text)
            if found:
                yield _row(found, kind), line
            elif not text:
                break


def _from_file(text: str) -> re.Match[str] | None:
    """Match `torch @ file:///wheels/torch-2.1.0-cp311-….whl`."""
    return re.match(FROM_FILE, text) if " @ " in text else None


def _frozen(lines: Sequence[Line]) -> Iterator[Found]:
    """Read `pip freeze` that was pasted without its command; what a requirements file pins is a wish."""
    run: list[Found] = []
    wished = False
    for line in [*lines, Line("", "")]:
        text = line.text.strip()
        if found := re.match(PINNED, text) or _from_file(text):
            run.append((_package(found["name"], found["version"]), line))
            continue
        if len(run) >= LEAST_PINS and not wished:
            yield from run
        run = []
        if text:
            wished = bool(
                re.search(
                    r"requirements?[\w.-]*\.(?:txt|in)|environment\.ya?ml|pyproject|dependencies|Dockerfile", text
                )
            )
