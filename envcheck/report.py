"""What an examination ends in: findings, the outcome of every probe and check, and the verdict.

These Structs are the public JSON: `envcheck schema` prints their JSON Schema.  A field is added with a default; a
field that changes its meaning or goes away raises `SCHEMA_VERSION`.
"""

from __future__ import annotations

import enum
from typing import Any

import msgspec

from envcheck.facts import Facts, Group

SCHEMA_VERSION = 1


class Severity(str, enum.Enum):
    """How grave a finding is.

    `error`: something that this environment must do, it can't.  `warning`: it works, with something to mend.
    `note`: good to know; it never changes the verdict.
    """

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


class Confidence(str, enum.Enum):
    """How sure a finding is of its cause: `certain` where the evidence admits no other, else `likely` or `possible`."""

    CERTAIN = "certain"
    LIKELY = "likely"
    POSSIBLE = "possible"


class Verdict(str, enum.Enum):
    """The answer: see the exit codes of `doctor`."""

    OK = "ok"
    WARNING = "warning"
    ERROR = "error"
    UNKNOWN = "unknown"


class Outcome(str, enum.Enum):
    """How a probe ended.

    `absent`: what it looks at is not on this machine.  `denied`: it may not be read.  `skipped`: it was not asked.
    """

    OK = "ok"
    ABSENT = "absent"
    DENIED = "denied"
    TIMEOUT = "timeout"
    CRASH = "crash"
    GARBLED = "garbled"
    SKIPPED = "skipped"


class CheckOutcome(str, enum.Enum):
    """How a check ended.

    `absent`: what it judges is not on this machine.  `skip`: a fact that it needs is unknown.
    """

    PASS = "pass"  # noqa: S105 - an outcome, no password
    FAIL = "fail"
    ABSENT = "absent"
    SKIP = "skip"
    CRASH = "crash"


class Evidence(msgspec.Struct, frozen=True):
    """Something that was seen.

    Attributes:
        text: what was seen, one line or a few.
        source: where it was read: a path, a command, `FILE:LINE` of a paste.
    """

    text: str
    source: str = ""


class Remedy(msgspec.Struct, frozen=True, kw_only=True):
    """One way to mend a finding.

    Attributes:
        action: what to do, as a sentence in the imperative.
        commands: to be typed one after another; empty where no command can do it.
        safe: whether it can be undone and touches nothing but the environment under test.
        changes: what it changes on the machine.
        shell: `sh`, `powershell`, `dockerfile`, `yaml`, `json`: what the commands are written for.
    """

    action: str
    commands: list[str] = []
    safe: bool = False
    changes: str = ""
    shell: str = "sh"


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """What is wrong, why, and what cures it.

    Attributes:
        check: id of the check that found it; filled in by the engine.
        cause: slug of the vocabulary of causes.
        severity: how grave.
        confidence: how sure.
        title: what is wrong, one sentence.
        evidence: what was seen.
        explains: ids of checks (globs allowed) whose findings are consequences of this one.
        remedies: best first.
        links: where to read more.
        detail: why this follows, where the title does not say it all.
        told: whether it rests on what a program printed; it then stands behind a finding of the same cause that rests
            on facts.
        required: whether declared intent asks for what fails here.
        consequences: findings folded under this one; filled in by the engine.
        muted: the user asked not to be told; it counts for nothing.
        at_fault: who has to change something about what a container sees: `host`, `image`, `start` (how the container
            was started); empty where that cannot be said, and on any other machine.
    """

    cause: str
    severity: Severity
    title: str
    confidence: Confidence = Confidence.CERTAIN
    evidence: list[Evidence] = []
    explains: list[str] = []
    remedies: list[Remedy] = []
    links: list[str] = []
    detail: str = ""
    check: str = ""
    told: bool = False
    required: bool = False
    consequences: list[Finding] = []
    muted: bool = False
    at_fault: str = ""


class CheckResult(msgspec.Struct, frozen=True, kw_only=True):
    """How one check ended.

    Attributes:
        check: its id.
        area: its family.
        outcome: see CheckOutcome.
        reason: why it was skipped, or how it crashed.
    """

    check: str
    area: str
    outcome: CheckOutcome
    reason: str = ""


class ProbeResult(msgspec.Struct, frozen=True, kw_only=True):
    """How one probe ended.

    Attributes:
        probe: its name.
        outcome: see Outcome.
        reason: why it has no facts, or only some of them.
        seconds: wall time.
        fills: the fact groups that it is there to fill.
    """

    probe: str
    outcome: Outcome
    seconds: float
    reason: str = ""
    fills: list[str] = []


class Requirement(msgspec.Struct, frozen=True, kw_only=True):
    """Something that this environment must have.

    Attributes:
        text: as the user wrote it, such as `gpus>=1`.
        source: where: `--require` or a file.
        state: `holds`, `fails`, `unknown`; empty before it was judged.
        reason: what was seen.
    """

    text: str
    source: str = ""
    state: str = ""
    reason: str = ""


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """The whole answer.

    Attributes:
        schema_version: version of this form.
        envcheck_version: version of the program that wrote it.
        verdict: the answer.
        summary: the answer as a sentence.
        findings: in order of importance; muted ones last.
        requirements: declared intent, judged.
        not_examined: what could not be examined, one sentence each.
        facts: all that is known.
        probes: how each probe ended.
        checks: how each check ended.
        options: how the examination was asked for, such as `quick`.
    """

    schema_version: int
    envcheck_version: str
    verdict: Verdict
    summary: str
    findings: list[Finding]
    requirements: list[Requirement]
    not_examined: list[str]
    facts: Facts
    probes: list[ProbeResult]
    checks: list[CheckResult]
    options: dict[str, Any] = {}


def seen(group: Group, *fields: str) -> list[Evidence]:
    """Return fields of a fact group as evidence, each with where it was read; unknown fields are left out."""
    evidence = []
    for field in fields:
        value = getattr(group, field)
        if value is None:
            continue
        if isinstance(value, list):
            value = ", ".join(str(item) for item in value) or "none"
        elif value == "":
            value = "none"
        label = field.replace("_", " ")
        evidence.append(Evidence(f"{label}: {value}", group.sources.get(field, "")))
    return evidence


def schema() -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of a report."""
    described = msgspec.json.schema(Report)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"envcheck report, version {SCHEMA_VERSION}",
        **described,
    }
