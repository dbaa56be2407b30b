"""Examine (probes, side by side) → diagnose (checks) → Report."""

from __future__ import annotations

import fnmatch
import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

import envcheck
from envcheck.causes import depth
from envcheck.check import Check
from envcheck.describe import describe
from envcheck.facts import Facts, Framework, Group, Message, Messages, Packages, UnknownFactError
from envcheck.intent import Intent, judge
from envcheck.interpreter import Interpreter
from envcheck.probe import Ended, Probe
from envcheck.report import (
    SCHEMA_VERSION,
    CheckOutcome,
    CheckResult,
    Confidence,
    Finding,
    Outcome,
    ProbeResult,
    Report,
    Requirement,
    Severity,
    Verdict,
)
from envcheck.system import System

SLACK_SECONDS = 2.0
"""What a probe may take beyond its deadline to hand in what it has; then it is given up."""

WAIT_SECONDS = 0.2
"""How long an interrupt may go unseen."""

FRAMEWORKS = ("torch", "tensorflow", "keras")

DISTRIBUTIONS = {
    "torch": "torch",
    "tensorflow": "tensorflow",
    "tensorflow-cpu": "tensorflow",
    "tensorflow-gpu": "tensorflow",
    "tensorflow-intel": "tensorflow",
    "tensorflow-macos": "tensorflow",
    "tensorflow-rocm": "tensorflow",
    "tf-nightly": "tensorflow",
    "keras": "keras",
}
"""Distribution → the framework that it provides."""

Progress = Callable[[str, Outcome], None]
Ends = queue.SimpleQueue[tuple[Probe, ProbeResult, dict[str, Group]]]


class Examined(msgspec.Struct, frozen=True):
    """What the probes brought.

    Attributes:
        facts: all that is known.
        probes: how each probe ended.
        quick: whether probes that import a framework were left out.
    """

    facts: Facts
    probes: list[ProbeResult]
    quick: bool = False


def examine(
    system: System,
    interpreter: Interpreter,
    probes: Sequence[Probe],
    *,
    quick: bool = False,
    limit: float | None = None,
    progress: Progress | None = None,
    meanwhile: Callable[[], object] | None = None,
) -> Examined:
    """Run probes side by side, each with its own deadline, and return what they brought.

    Args:
        system: the machine.
        interpreter: the interpreter under test.
        probes: what to ask.
        quick: leave out probes that import a framework.
        limit: seconds that no probe may exceed, whatever its own deadline.
        progress: told the name and outcome of each probe that ends.
        meanwhile: called once the probes are under way: work that would otherwise be done after them.
    """
    asked = [probe for probe in probes if not (quick and probe.imports)]
    ended: Ends = queue.SimpleQueue()
    began = time.monotonic()
    waiting = {}
    # The longest first: what waits for a child leaves the processor to the others.
    for probe in sorted(asked, key=lambda probe: -probe.deadline):
        seconds = min(probe.deadline, limit) if limit else probe.deadline
        waiting[probe.name] = (probe, began + seconds + SLACK_SECONDS)
        # A daemon thread: one that hangs in the kernel must not keep the program from ending.
        threading.Thread(
            target=_look, args=(probe, system, interpreter, seconds, quick, ended.put), daemon=True
        ).start()
    if meanwhile:
        meanwhile()
    results, groups = _gather(waiting, ended, began, progress or (lambda _name, _outcome: None))
    left_out = {
        probe.name: ProbeResult(
            probe=probe.name, outcome=Outcome.SKIPPED, seconds=0.0, reason="--quick imports nothing", fills=probe.fills
        )
        for probe in probes
        if probe not in asked
    }
    known = set(Facts.__struct_fields__)
    facts = Facts(
        **{name: group for name, group in groups.items() if name in known},  # type: ignore[arg-type]
        extensions={name: group for name, group in groups.items() if name not in known},
    )
    return Examined(with_messages(with_metadata(facts)), [(results | left_out)[probe.name] for probe in probes], quick)


def _gather(
    waiting: dict[str, tuple[Probe, float]], ended: Ends, began: float, progress: Progress
) -> tuple[dict[str, ProbeResult], dict[str, Group]]:
    """Take in what each probe brings; one that does not come back by its time is given up."""
    results: dict[str, ProbeResult] = {}
    groups: dict[str, Group] = {}
    while waiting:
        soonest = min(until for _, until in waiting.values())
        try:
            # In short waits: an interrupt that arrives just before a wait begins is seen when it ends.
            probe, result, brought = ended.get(timeout=min(max(soonest - time.monotonic(), 0.01), WAIT_SECONDS))
        except queue.Empty:
            for probe, until in list(waiting.values()):
                if until <= time.monotonic():
                    del waiting[probe.name]
                    results[probe.name] = _result(probe, Outcome.TIMEOUT, began, "it did not come back in time")
            continue
        if waiting.pop(probe.name, None):
            results[probe.name] = result
            groups.update(brought)
            progress(probe.name, result.outcome)
    return results, groups


def _look(
    probe: Probe,
    system: System,
    interpreter: Interpreter,
    deadline: float,
    quick: bool,
    hand_in: Callable[[tuple[Probe, ProbeResult, dict[str, Group]]], None],
) -> None:
    began = time.monotonic()
    available = {"system": system, "interpreter": interpreter, "deadline": deadline, "quick": quick}
    brought: dict[str, Group] = {}
    outcome, reason = Outcome.OK, ""
    try:
        answer = probe.look(**{name: available[name] for name in probe.needs})
        brought = answer if isinstance(answer, dict) else {probe.fills[0]: answer}
    except Ended as end:
        outcome, reason = end.outcome, end.reason
    except Exception as error:  # noqa: BLE001 - a probe that breaks is reported and harms no other
        outcome, reason = Outcome.CRASH, f"{type(error).__name__}: {error}"
    hand_in((probe, _result(probe, outcome, began, reason), brought))


def _result(probe: Probe, outcome: Outcome, began: float, reason: str) -> ProbeResult:
    return ProbeResult(
        probe=probe.name,
        outcome=outcome,
        seconds=round(time.monotonic() - began, 4),
        reason=reason,
        fills=probe.fills,
    )


def with_metadata(facts: Facts) -> Facts:
    """Return facts in which each framework that metadata lists has a group, imported or not."""
    packages = facts.packages
    if packages is None or packages.installed is None:
        return facts
    changes = {name: _from_metadata(name, getattr(facts, name), packages) for name in FRAMEWORKS}
    return msgspec.structs.replace(facts, **{name: group for name, group in changes.items() if group})


def with_messages(facts: Facts) -> Facts:
    """Return facts with the messages of known families that frameworks printed when they could not be imported.

    What a framework prints that works is no evidence: TensorFlow alarms on healthy machines.
    """
    found: list[Message] = list(facts.messages.found or []) if facts.messages else []
    for name in FRAMEWORKS:
        framework: Framework | None = getattr(facts, name)
        text = printed(framework) if framework and framework.state not in {None, "ok", "not-imported"} else ""
        if framework and text:
            # Most frameworks work, and then nothing of this is loaded.
            from envcheck.messages.table import family  # noqa: PLC0415
            from envcheck.triage import messages_in  # noqa: PLC0415

            said = messages_in(text, f"{name}: {framework.stage or 'import'}")
            found += [message for message in said if not ((row := family(message.family)) and row.harmless)]
    return msgspec.structs.replace(facts, messages=Messages(found=found)) if found else facts


def printed(framework: Framework) -> str:
    """Return what a framework wrote and how it ended, in the order in which a terminal shows it."""
    last = ": ".join(part for part in (framework.error_type, framework.error) if part)
    traceback = framework.traceback or ""
    ending = traceback if framework.error and framework.error in traceback else f"{traceback}\n{last}"
    return "\n".join(part for part in (framework.stderr, ending.strip()) if part)


def _from_metadata(name: str, framework: Framework | None, packages: Packages) -> Framework | None:
    found = [package for package in packages.installed or [] if DISTRIBUTIONS.get(package.name) == name]
    if not found:
        return framework
    if framework is None:
        framework = Framework(name=name, state="not-imported")
    if framework.metadata_version is not None:
        return framework
    return msgspec.structs.replace(
        framework,
        distribution=found[0].name,
        metadata_version=found[0].version,
        sources={**framework.sources, "metadata_version": packages.sources.get("installed", "installed metadata")},
    )


def diagnose(
    facts: Facts,
    probes: Sequence[ProbeResult],
    checks: Sequence[Check],
    intent: Intent,
    options: Mapping[str, Any] | None = None,
    known: Sequence[Finding] = (),
) -> Report:
    """Judge facts by checks and return the report; `known` was found elsewhere, such as on a container's host."""
    results: list[CheckResult] = []
    findings: list[Finding] = list(known)
    for check in checks:
        result, found = run_check(check, facts, probes, intent)
        results.append(result)
        findings += found
    requirements = [judge(requirement, facts) for requirement in intent.requirements]
    muted = [finding for finding in findings if _matches(finding.check, intent.mute)]
    counted = ordered(folded([finding for finding in findings if finding not in muted]))
    not_examined = unexamined(facts, probes, results, requirements)
    verdict = verdict_of(counted, facts, probes, requirements)
    return Report(
        schema_version=SCHEMA_VERSION,
        envcheck_version=envcheck.__version__,
        verdict=verdict,
        summary=_summary(verdict, counted, facts, requirements, not_examined, bool((options or {}).get("quick"))),
        findings=counted + [msgspec.structs.replace(finding, muted=True) for finding in ordered(muted)],
        requirements=requirements,
        not_examined=not_examined,
        facts=facts,
        probes=list(probes),
        checks=results,
        options=dict(options or {}),
    )


def run_check(
    check: Check, facts: Facts, probes: Sequence[ProbeResult], intent: Intent
) -> tuple[CheckResult, list[Finding]]:
    """Run one check; whatever happens in it stays in it."""
    given: dict[str, Any] = {"intent": intent, "facts": facts, **facts.extensions}
    for name in Facts.__struct_fields__:
        given.setdefault(name, getattr(facts, name))
    found: list[Finding] = []
    outcome, reason = CheckOutcome.PASS, ""
    missing = [name for name in check.needs if given.get(name) is None]
    if missing:
        outcome, reason = _why_missing(missing[0], probes)
    else:
        try:
            # Not a comprehension: what was found before a fact turned out to be unknown counts.
            for finding in check.judge(**{name: given.get(name) for name in [*check.needs, *check.wants]}):
                found.append(_at_home(finding, check, facts))  # noqa: PERF401
        except UnknownFactError as unknown:
            outcome, reason = CheckOutcome.SKIP, f"{unknown} is not known"
        except Exception as error:  # noqa: BLE001 - a check that breaks is reported and harms no other
            outcome, reason = CheckOutcome.CRASH, f"{type(error).__name__}: {error}"
    if found and outcome is not CheckOutcome.CRASH:
        outcome = CheckOutcome.FAIL
    return CheckResult(check=check.id, area=check.area, outcome=outcome, reason=reason), found


def _at_home(finding: Finding, check: Check, facts: Facts) -> Finding:
    """Return a finding with its check's name, and with remedies that can work on this machine."""
    if not finding.remedies:
        return msgspec.structs.replace(finding, check=check.id)
    from envcheck import possible  # noqa: PLC0415 - only where something is wrong

    return msgspec.structs.replace(finding, check=check.id, remedies=possible.fitting(finding.remedies, facts))


def _why_missing(group: str, probes: Sequence[ProbeResult]) -> tuple[CheckOutcome, str]:
    for probe in probes:
        if group in probe.fills:
            absent = probe.outcome is Outcome.ABSENT
            return (
                CheckOutcome.ABSENT if absent else CheckOutcome.SKIP
            ), probe.reason or f"{group}: {probe.outcome.value}"
    return CheckOutcome.SKIP, f"nothing is known of {group}"


def _matches(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


SEVERITIES = list(Severity)
CONFIDENCES = list(Confidence)


def ordered(findings: Sequence[Finding]) -> list[Finding]:
    """Return findings in order of importance.

    What was required comes first, then the graver, then the surer, then the deeper cause.
    """
    return sorted(
        findings,
        key=lambda finding: (
            not finding.required,
            SEVERITIES.index(finding.severity),
            CONFIDENCES.index(finding.confidence),
            depth(finding.cause),
        ),
    )


def folded(findings: Sequence[Finding]) -> list[Finding]:
    """Return the root findings, each with its consequences; a consequence lends its gravity to its cause."""
    ranked = ordered(findings)
    parent: dict[int, int] = {}
    for child_index, child in enumerate(ranked):
        for index, finding in enumerate(ranked):
            if index != child_index and finding.check != child.check and _explains(finding, child):
                # Of two that explain each other, the one that ranks first is the cause.
                if index > child_index and _explains(child, finding):
                    continue
                parent[child_index] = index
                break
    children: dict[int, list[Finding]] = {}
    for child_index in list(parent):
        root, visited = child_index, {child_index}
        while root in parent and parent[root] not in visited:
            root = parent[root]
            visited.add(root)
        if root in parent:
            parent.pop(root)
        if root != child_index:
            children.setdefault(root, []).append(ranked[child_index])
    return [
        _with_consequences(finding, children.get(index, []))
        for index, finding in enumerate(ranked)
        if index not in parent
    ]


def _explains(finding: Finding, child: Finding) -> bool:
    """Tell whether one finding is the other's cause, or says on facts what the other heard said."""
    return _matches(child.check, finding.explains) or (child.told and not finding.told and child.cause == finding.cause)


def _with_consequences(finding: Finding, consequences: list[Finding]) -> Finding:
    if not consequences:
        return finding
    gravest = min([finding, *consequences], key=lambda found: SEVERITIES.index(found.severity))
    surest = min(
        [finding, *(found for found in consequences if found.told and found.cause == finding.cause)],
        key=lambda found: CONFIDENCES.index(found.confidence),
    )
    return msgspec.structs.replace(
        finding,
        consequences=consequences,
        severity=gravest.severity,
        confidence=surest.confidence,
        required=any(found.required for found in [finding, *consequences]),
    )


UNEXAMINED = {Outcome.DENIED, Outcome.TIMEOUT, Outcome.CRASH, Outcome.GARBLED}


def unexamined(
    facts: Facts, probes: Sequence[ProbeResult], checks: Sequence[CheckResult], requirements: Sequence[Requirement]
) -> list[str]:
    """Return what could not be examined, one sentence each."""
    sentences = [
        f"{probe.probe}: {probe.reason or probe.outcome.value}" for probe in probes if probe.outcome in UNEXAMINED
    ]
    if facts.kernel_log is not None and facts.kernel_log.readable is False:
        sentences.append("kernel log: it may not be read; run as root to look for Xid and out-of-memory messages")
    sentences += [
        f"check {check.check} crashed: {check.reason}" for check in checks if check.outcome is CheckOutcome.CRASH
    ]
    sentences += [
        f"the paste says two things of {item.fact}: {item.value} ({item.source}) and {item.other_value} "
        f"({item.other_source}); the first was taken"
        for item in (facts.pasted.contradictions if facts.pasted else None) or []
    ]
    sentences += [f"required {item.text}: {item.reason}" for item in requirements if item.state == "unknown"]
    return sentences


ESSENTIAL = {"python", "packages", *FRAMEWORKS}
"""Fact groups without which nothing can be said of an environment, where their probe looked and did not see."""


def verdict_of(
    findings: Sequence[Finding], facts: Facts, probes: Sequence[ProbeResult], requirements: Sequence[Requirement]
) -> Verdict:
    """Return the verdict; what was required and could not be examined is never called healthy."""
    severities = {finding.severity for finding in findings}
    if Severity.ERROR in severities:
        return Verdict.ERROR
    blind = [
        probe.probe
        for probe in probes
        if probe.outcome in UNEXAMINED
        and any(name in ESSENTIAL and getattr(facts, name, None) is None for name in probe.fills)
    ]
    if blind or any(requirement.state == "unknown" for requirement in requirements):
        return Verdict.UNKNOWN
    return Verdict.WARNING if Severity.WARNING in severities else Verdict.OK


def _summary(
    verdict: Verdict,
    findings: Sequence[Finding],
    facts: Facts,
    requirements: Sequence[Requirement],
    not_examined: Sequence[str],
    quick: bool,
) -> str:
    """Return the verdict as one sentence."""
    if verdict is Verdict.ERROR:
        return findings[0].title
    if verdict is Verdict.UNKNOWN:
        return not_examined[0] if not_examined else "something that was required could not be examined"
    holding = sum(requirement.state == "holds" for requirement in requirements)
    what = f"{holding} of {len(requirements)} requirements hold; " if requirements else ""
    what += describe(facts)
    if quick:
        what += " (quick: frameworks were not imported)"
    if verdict is Verdict.WARNING:
        return f"works, with something to mend: {findings[0].title}"
    return what
