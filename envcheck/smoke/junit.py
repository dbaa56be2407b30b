"""The smoke suite's report as JUnit XML, the form that continuous integration shows.

One test suite for each part and framework, one test case for each thing that was tried, its measures as properties; one
suite more for what `--require` asked for.  Source of the form: the schema that Jenkins's xUnit plug-in publishes
(junit-10.xsd), which GitLab, GitHub's reporters and Azure read as well.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from xml.etree import ElementTree as ET

from envcheck.smoke.page import finding_lines
from envcheck.smoke.proof import Proof, SmokeReport
from envcheck.smoke.reference import proof_of
from envcheck.smoke.result import Status, Threshold

NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that XML 1.0 cannot hold (its production 2, Char)."""


def document(report: SmokeReport) -> str:
    """Return the report as an XML document."""
    proofs = [*map(proof_of, report.results), *report.proofs]
    root = ET.Element("testsuites", name="envcheck smoke")
    groups: dict[tuple[str, str], list[Proof]] = {}
    for proof in proofs:
        groups.setdefault((proof.part, proof.framework), []).append(proof)
    for (part, framework), members in groups.items():
        _suite(root, f"{part} {framework}".strip(), [_case(proof) for proof in members])
    if report.thresholds:
        _suite(root, "required", [_required(threshold) for threshold in report.thresholds])
    ET.indent(root) if hasattr(ET, "indent") else None
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def _suite(root: ET.Element, name: str, cases: Sequence[ET.Element]) -> None:
    def count(tag: str) -> str:
        return str(sum(case.find(tag) is not None for case in cases))

    seconds = sum(float(case.get("time", "0")) for case in cases)
    suite = ET.SubElement(
        root,
        "testsuite",
        name=name,
        tests=str(len(cases)),
        failures=count("failure"),
        errors=count("error"),
        skipped=count("skipped"),
        time=f"{seconds:.3f}",
    )
    suite.extend(cases)


def _case(proof: Proof) -> ET.Element:
    where = f"envcheck.smoke.{proof.part}"
    case = ET.Element(
        "testcase",
        classname=f"{where}.{proof.framework}" if proof.framework else where,
        name=_clean(proof.name),
        time=f"{proof.seconds or 0:.3f}",
    )
    known = [
        ("framework version", proof.framework_version),
        ("device", proof.device_name or proof.device),
        *((name, str(value)) for name, value in proof.settings.items()),
        *(
            (measure.name, f"{measure.value:.6g} {measure.unit}".strip())
            for measure in proof.measures
            if measure.value is not None
        ),
    ]
    properties = [(name, value) for name, value in known if value]
    if properties:
        holder = ET.SubElement(case, "properties")
        for name, value in properties:
            ET.SubElement(holder, "property", name=_clean(name), value=_clean(value))
    if proof.status is Status.ABSENT:
        ET.SubElement(case, "skipped", message=_clean(proof.summary))
    elif proof.status is Status.FAILED:
        _outcome(case, "failure", proof)
    elif proof.status is not Status.PASSED:
        _outcome(case, "error", proof)
    return case


def _outcome(case: ET.Element, tag: str, proof: Proof) -> None:
    cause = proof.findings[0].cause if proof.findings else ""
    kind = cause or (proof.failure.type or proof.failure.kind if proof.failure else "condition")
    element = ET.SubElement(case, tag, message=_clean(proof.summary), type=_clean(kind))
    lines = [f"{one.name}: {one.seen}" for one in proof.conditions if not one.holds]
    if proof.failure is not None:
        lines += [proof.failure.reason, *proof.failure.traceback, proof.failure.python_stack]
    for finding in proof.findings:
        lines += finding_lines(finding)
    element.text = _clean("\n".join(line for line in lines if line.strip()))
    if proof.failure is not None and proof.failure.stderr:
        ET.SubElement(case, "system-err").text = _clean(proof.failure.stderr)


def _required(threshold: Threshold) -> ET.Element:
    case = ET.Element("testcase", classname="envcheck.smoke.required", name=_clean(threshold.text), time="0.000")
    tag = {"fails": "failure", "unknown": "error"}.get(threshold.state)
    if tag:
        ET.SubElement(case, tag, message=_clean(threshold.seen), type="threshold")
    return case


def _clean(text: str) -> str:
    return NOT_XML.sub("\ufffd", text)
