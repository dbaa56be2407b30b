"""From what an installer said when it failed to one sentence for the user, and what would change it."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TypeAlias

import msgspec

from envcheck.install.pip_configuration import masked
from envcheck.plan import Plan

KEPT_LINES = 12
"""Lines of the installer that a fault shows."""


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """Why a set-up did not come to its end.

    Attributes:
        kind: such as `index-unreachable`; see `EXPLANATIONS` and `RULES`.
        step: where it happened: `prepare`, `environment`, `solve`, `install`, `verify`, `swap`.
        sentence: what happened.
        change: what would change that.
        evidence: what was said, the last lines.
    """

    kind: str
    step: str
    sentence: str
    change: str
    evidence: tuple[str, ...] = ()


class FaultError(Exception):
    """A set-up did not come to its end."""

    def __init__(self, fault: Fault) -> None:
        """Keep the fault."""
        super().__init__(fault.sentence)
        self.fault = fault


COMPILERS = r"(gcc|g\+\+|cc|clang|cl\.exe|cmake|ninja|nvcc|rustc|cargo)"

Said: TypeAlias = "tuple[str, str]"
"""Sentence, and what would change it."""


def of_operating_system(error: OSError, step: str) -> Fault:
    """Return the fault that an error of the operating system stands for."""
    import errno  # noqa: PLC0415

    path = error.filename or "the environment's folder"
    kinds = {
        errno.ENOSPC: ("disk-full", f"the disk is full at {path}", "room on the disk; --directory on another one"),
        errno.EDQUOT: ("disk-full", f"your quota is used up at {path}", "a larger quota, or --directory elsewhere"),
        errno.EROFS: ("read-only", f"{path} is on a read-only file system", "--directory on one that can be written"),
        errno.EACCES: ("no-permission", f"you may not write to {path}", "--directory where you may write"),
        errno.EPERM: ("no-permission", f"you may not write to {path}", "--directory where you may write"),
    }
    kind, sentence, change = kinds.get(
        error.errno or 0, ("file-error", f"{path}: {error.strerror or error}", "see the words of the operating system")
    )
    return Fault(kind=kind, step=step, sentence=sentence, change=change)


def of_output(output: str, step: str, plan: Plan) -> Fault:
    """Return the fault that an installer's words stand for.

    Args:
        output: what it said.
        step: what it was doing.
        plan: what was to be installed: it says who wanted what.
    """
    # Messages are wrapped to columns; a sentence must be one line to be found.
    text = re.sub(r"[ \t]*[│╰├─▶×]+[ \t]*", " ", output)
    flat = re.sub(r"\s+", " ", text)
    evidence = tuple(masked(line) for line in text.splitlines() if line.strip())[-KEPT_LINES:]
    for kind, pattern, explain in RULES:
        found = re.search(pattern, flat, re.IGNORECASE)
        if found:
            sentence, change = explain(found, flat, plan)
            return Fault(kind=kind, step=step, sentence=masked(sentence), change=change, evidence=evidence)
    last = evidence[-1].strip() if evidence else "it said nothing"
    return Fault(
        kind="installer-failed",
        step=step,
        sentence=f"the installer failed: {last}",
        change="the installer's own words are below",
        evidence=evidence,
    )


def _place(flat: str) -> str:
    found = re.search(r"https?://[^\s`)]+", flat)
    return found[0].rstrip("/") if found else "the index"


def _unreachable(_: re.Match[str], flat: str, plan: Plan) -> Said:
    place = _place(flat)
    change = "a connection to it; or wheels in a folder: `envcheck setup --download DIR` elsewhere, then here "
    change += "--offline --wheelhouse DIR"
    if any(wanted.index and place.startswith(wanted.index) for wanted in plan.requirements):
        change += "; or --pytorch-index with the address of a mirror"
    return f"{place} cannot be reached", change


def _certificate(_: re.Match[str], flat: str, __: Plan) -> Said:
    return (
        f"the certificate of {_place(flat)} is signed by nobody that is trusted here",
        "your organisation's certificate: pip config set global.cert FILE",
    )


def _proxy(_: re.Match[str], flat: str, __: Plan) -> Said:
    return f"a proxy wants to know who you are before it lets through to {_place(flat)}", (
        "the proxy with your name: pip config set global.proxy http://USER:PASSWORD@HOST:PORT"
    )


def _status(found: re.Match[str], flat: str, _: Plan) -> Said:
    number = int(found[1])
    forbidden = number in {401, 403}
    change = "credentials for it in pip's configuration" if forbidden else "try again later, or another index"
    return f"{_place(flat)} answers {found[1]} ({found[2].strip()})", change


def _slow(_: re.Match[str], flat: str, __: Plan) -> Said:
    return (
        f"{_place(flat)} stopped answering in the middle",
        "try again; or a nearer mirror: pip config set global.index-url",
    )


def _hash(found: re.Match[str], _: str, __: Plan) -> Said:
    return (
        f"what the index delivered for {found[1]} is not what it announced: its checksum differs",
        "another index or mirror; this one is broken, or somebody tampers with it",
    )


def _archive(found: re.Match[str], _: str, __: Plan) -> Said:
    return f"the wheel {found[1]} arrived damaged or cut off", "try again; if it stays so, another index or mirror"


def _absent(found: re.Match[str], flat: str, plan: Plan) -> Said:
    name = found[1]
    hint = re.search(
        r"hint: You require (.+?), but we only found wheels for `[^`]+` \(v?([^)]+)\) with the following", flat
    )
    if hint:
        return f"{name} {hint[2]} has no wheel for {hint[1]}", "another --python, or another version"
    wanted = next(
        (one for one in plan.requirements if one.text.split("=")[0].split("[")[0] == name.split("=")[0]), None
    )
    where = f"{wanted.index} has" if wanted is not None and wanted.index else "the places where your pip looks have"
    who = f" ({wanted.why})" if wanted is not None else ""
    change = "another version (--framework NAME==VERSION), or an index that has it"
    return f"{where} no {wanted.text if wanted is not None else name}{who}", change


def _conflict(_: re.Match[str], flat: str, plan: Plan) -> Said:
    """Tell the resolver's answer in terms of the wish: who wanted each of the requirements that it names."""
    words = flat.split("Because", 1)[-1].split("hint:", maxsplit=1)[0].strip()
    named = []
    for wanted in (*plan.requirements, *plan.constraints):
        name = re.split(r"[\[=<>!~; ]", wanted.text)[0]
        if name and re.search(rf"(?<![\w.-]){re.escape(name)}(?![\w.-])", words, re.IGNORECASE):
            named.append(f"{wanted.text} ({wanted.why})")
    who = f": {'; '.join(dict.fromkeys(named))}" if named else ""
    return f"the requirements exclude each other{who} — because {words}", "widen or drop one of them"


def _requires_python(found: re.Match[str], _: str, __: Plan) -> Said:
    return f"{found[1]} needs Python {found[2]}", "another --python, or another version of it"


def _no_wheel(found: re.Match[str], _: str, __: Plan) -> Said:
    return f"{found[1]} has no wheel for this Python and platform", "another --python, or another version of it"


def _build(found: re.Match[str], flat: str, _: Plan) -> Said:
    compiler = re.search(
        r"(gcc|g\+\+|cc|clang|cl\.exe|cmake|ninja|nvcc|rustc|cargo)\W[^.]{0,40}(failed|not found|No such)", flat
    )
    missing = f" and {compiler[1]} is missing or fails" if compiler else ""
    return (
        f"{found[1]} comes as source code for this Python{missing}",
        "a version with a wheel (another --python often has one), or a compiler: Debian and Ubuntu build-essential",
    )


def _disk(_: re.Match[str], __: str, ___: Plan) -> Said:
    return "the disk is full", "room on the disk, or --directory on another one; UV_CACHE_DIR moves the cache"


def _read_only(_: re.Match[str], __: str, ___: Plan) -> Said:
    return "the target is on a read-only file system", "--directory on one that can be written"


def _permission(found: re.Match[str], __: str, ___: Plan) -> Said:
    return (
        f"you may not write to {found[1] or 'the target'}",
        "--directory where you may write; UV_CACHE_DIR for the cache",
    )


def _managed(_: re.Match[str], __: str, ___: Plan) -> Said:
    return "this Python belongs to the operating system", "an environment of its own, which `envcheck setup` makes"


def _python(found: re.Match[str], __: str, ___: Plan) -> Said:
    return f"there is no Python here for {found[1]}", "that Python installed, or another --python"


def _offline(found: re.Match[str], _: str, __: Plan) -> Said:
    return (
        f"{found[1]} is not here, and nothing may be fetched offline",
        "`envcheck setup --download DIR` where there is a network, then --offline --wheelhouse DIR",
    )


DAMAGED = (
    r"(?:failed to extract archive:|failed to read metadata[^`]*`|failed to unzip[^`]*`|invalid zip[^`]*`|"
    r"the wheel[^`]*`|failed to download `)\s*([^\s`]+)(?=.*(?:bad |invalid|unexpected end|eof|crc|corrupt|size))"
)

CHANNEL = r"(?:UnavailableInvalidChannel|CondaHTTPError|CondaSSLError).*?(?:channel|url:?) <?([^\s>]+)"

CUT = r"connection refused|dns error|connect error|connection reset|network is unreachable"


def _conda_absent(found: re.Match[str], _: str, __: Plan) -> Said:
    return f"conda's channels do not have {found[1]}", "another --python, or a channel that has it in .condarc"


def _channel(found: re.Match[str], _: str, __: Plan) -> Said:
    return f"conda's channel {found[1]} cannot be used", "another channel in .condarc or environment.yml"


Explain: TypeAlias = Callable[["re.Match[str]", str, Plan], Said]

RULES: tuple[tuple[str, str, Explain], ...] = (
    ("disk-full", r"no space left on device|os error 28|disk quota exceeded", _disk),
    ("read-only", r"read-only file system", _read_only),
    ("certificate-unknown", r"invalid peer certificate|certificate verify failed|UnknownIssuer", _certificate),
    (
        "proxy-required",
        r"proxy authentication|proxy authorization|unsuccessful tunnel",
        _proxy,
    ),
    ("hash-mismatch", r"hash mismatch for `([^`]+)`", _hash),
    (
        "wheel-damaged",
        DAMAGED,
        _archive,
    ),
    ("channel-lacks", r"PackagesNotFoundError.*?- ([^ ]+)", _conda_absent),
    (
        "channel-unusable",
        r"(?:UnavailableInvalidChannel|CondaHTTPError|CondaSSLError).*?(?:channel|url:?) <?([^\s>]+)",
        _channel,
    ),
    ("index-slow", r"timed out|timeout|request or response body error", _slow),
    (
        "index-unreachable",
        r"connection refused|dns error|connect error|connection reset|network is unreachable",
        _unreachable,
    ),
    ("index-answers", r"HTTP status (?:client|server) error \((\d{3}) ([^)]*)\)", _status),
    ("index-answers", r"returned a (\d{3}) ([A-Za-z ]+?) error", _status),
    ("index-answers", r"credentials \((\d{3}) ([A-Za-z ]+)\)", _status),
    ("index-answers", r"HTTP error (\d{3}) (?:Client|Server) Error: ([A-Za-z ]+?) for", _status),
    ("hash-mismatch", r"do not match the hashes from the requirements file.*? ([\w.\-]+==[^ ]+)", _hash),
    ("not-found", r"no matching distribution found for ([\w.\-=\[\]+]+)", _absent),
    ("index-unreachable", r"NewConnectionError|Max retries exceeded", _unreachable),
    ("build-failed", r"failed to (?:build|download and build) `([^`]+)`", _build),
    ("no-permission", r"(?:failed to [^:`]*`?([^`:]*)`?[^.]{0,200})?permission denied", _permission),
    ("externally-managed", r"externally[- ]managed", _managed),
    ("no-python", r"no interpreter found for ([^.]+?)(?: in | at |$)", _python),
    ("offline", r"because ([\w.\-=\[\]+]+) .{0,80}network was disabled", _offline),
    ("not-found", r"because ([\w.\-=\[\]+]+) was not found in", _absent),
    ("python-too-old", r"because (?:only )?([\w.\-=\[\]+]+) requires Python ([^ ]+)", _requires_python),
    ("not-found", r"because there (?:is|are) no versions? of ([\w.\-=\[\]+]+)", _absent),
    ("no-wheel", r"because ([\w.\-=\[\]+]+) has no wheels with a matching", _no_wheel),
    ("no-wheel", r"we only found wheels for `([^`]+)`", _no_wheel),
    ("conflict", r"no solution found", _conflict),
)
"""Kind, what installers say (uv 0.6 to 0.13, pip 23 to 26, conda 24.7), how it is explained; the first fit counts."""
