"""What linting ends in: faults, each with its place; what each file is; and the verdict.

These Structs are the public JSON of `envcheck image lint --format json`.
"""

from __future__ import annotations

import msgspec

from envcheck.imagelint.source import Place
from envcheck.report import Evidence, Remedy, Severity, Verdict

SCHEMA_VERSION = 1


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """Something wrong in a file.

    Attributes:
        rule: id of the rule; filled in by the engine.
        cause: slug of the vocabulary of causes.
        severity: `error`: it will not build, start or compute; `warning`: it fails on some machines, or wastes what
            was paid for; `note`: good to know.
        place: where to mend it.
        title: what is wrong, one sentence.
        evidence: what was seen.
        remedies: best first.
        detail: why this follows, where the title does not say it all.
    """

    cause: str
    severity: Severity
    place: Place
    title: str
    evidence: list[Evidence] = []
    remedies: list[Remedy] = []
    detail: str = ""
    rule: str = ""


class LintedFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file that was looked at.

    Attributes:
        path: as it was named.
        kind: `dockerfile`, `compose`, `kubernetes`; empty where it is none of them.
        problem: why it could not be examined; empty where it was.
        images: what each image that is built or started needs, one sentence each.
    """

    path: str
    kind: str
    problem: str = ""
    images: list[str] = []


class LintReport(msgspec.Struct, frozen=True, kw_only=True):
    """The whole answer.

    Attributes:
        schema_version: version of this form.
        envcheck_version: version of the program that wrote it.
        verdict: the answer.
        driver: version of the NVIDIA driver that images were compared with; empty where none was known.
        files: in the order in which they were named.
        faults: by file and line.
        ignored: how many faults comments in the files silenced.
        crashed: rules that could not judge a file for a defect of their own, one sentence each.
    """

    schema_version: int
    envcheck_version: str
    verdict: Verdict
    driver: str
    files: list[LintedFile]
    faults: list[Fault]
    ignored: int = 0
    crashed: list[str] = []


def verdict_of(files: list[LintedFile], faults: list[Fault], crashed: list[str]) -> Verdict:
    """Return the answer: the gravest fault; unknown where there is no error and something could not be examined."""
    severities = {fault.severity for fault in faults}
    if Severity.ERROR in severities:
        return Verdict.ERROR
    if crashed or any(file.problem for file in files):
        return Verdict.UNKNOWN
    return Verdict.WARNING if Severity.WARNING in severities else Verdict.OK
