"""A lint report for code hosts: SARIF 2.1.0 (OASIS Static Analysis Results Interchange Format)."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

from envcheck.imagelint.faults import Fault, LintReport
from envcheck.imagelint.rule import Rule
from envcheck.imagelint.source import Place
from envcheck.manual import body, first_line
from envcheck.report import Severity

SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
LEVELS = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.NOTE: "note"}
UNEXAMINED = "file-can-be-examined"


def log(report: LintReport, rules: Sequence[Rule]) -> dict[str, Any]:
    """Return the report as a SARIF log of one run.

    Args:
        report: what was found.
        rules: all that were run; those without results are described as well.
    """
    ordered = sorted(rules, key=lambda rule: rule.id)
    numbers = {rule.id: number for number, rule in enumerate(ordered)}
    unexamined = [file for file in report.files if file.problem]
    return {
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [
            {
                "tool": {
                    "driver": {
                        "name": "envcheck",
                        "version": report.envcheck_version,
                        "rules": [_described(rule) for rule in ordered],
                    }
                },
                "columnKind": "unicodeCodePoints",
                "results": [_result(fault, numbers) for fault in report.faults],
                "invocations": [
                    {
                        "executionSuccessful": not (unexamined or report.crashed),
                        "toolExecutionNotifications": [
                            *({"level": "error", "message": {"text": sentence}} for sentence in report.crashed),
                            *(
                                {
                                    "level": "error",
                                    "message": {"text": file.problem},
                                    "descriptor": {"id": UNEXAMINED},
                                    "locations": [{"physicalLocation": {"artifactLocation": {"uri": uri(file.path)}}}],
                                }
                                for file in unexamined
                            ),
                        ],
                    }
                ],
            }
        ],
    }


def _described(rule: Rule) -> dict[str, Any]:
    text = body(rule.manual)
    return {
        "id": rule.id,
        "name": "".join(word.capitalize() for word in rule.id.split("-")),
        "shortDescription": {"text": first_line(rule.manual)},
        "fullDescription": {"text": first_line(rule.manual)},
        "help": {"text": text},
        "properties": {"tags": ["containers", *rule.causes]},
    }


def _result(fault: Fault, numbers: dict[str, int]) -> dict[str, Any]:
    cures = [
        " ".join([f"{remedy.action}:", *remedy.commands]) if remedy.commands else remedy.action
        for remedy in fault.remedies
    ]
    parts = [f"{fault.title}.", fault.detail, *(f"Cure: {cure}" for cure in cures)]
    result: dict[str, Any] = {
        "ruleId": fault.rule,
        "level": LEVELS[fault.severity],
        "message": {"text": "\n".join(part for part in parts if part)},
        "locations": [_location(fault.place)],
        "partialFingerprints": {"envcheckFault/v1": fingerprint(fault)},
        "properties": {"cause": fault.cause},
    }
    if fault.rule in numbers:
        result["ruleIndex"] = numbers[fault.rule]
    return result


def _location(place: Place) -> dict[str, Any]:
    return {
        "physicalLocation": {
            "artifactLocation": {"uri": uri(place.path)},
            "region": {"startLine": place.line, "endLine": place.end_line},
        }
    }


def uri(path: str) -> str:
    """Return a path as a reference of SARIF: relative ones stay so, which code hosts need to find the file."""
    if path == "-":
        return "stdin"
    text = path.replace(os.sep, "/")
    return f"file://{quote(text)}" if text.startswith("/") else quote(text.removeprefix("./"))


def fingerprint(fault: Fault) -> str:
    """Return what stays the same while lines move: rule, file and sentence."""
    return hashlib.sha256(f"{fault.rule}\0{fault.place.path}\0{fault.title}".encode()).hexdigest()[:32]
