"""What the text of a failed import means: error text and standard error → causes, surest first.

Pure functions over text.  What a text means stands in the tables of `envcheck.messages`, with the source of each family
beside it, so that a live error and a pasted one get the same answer.  A text that no family knows gives an empty list,
never a guess.
"""

from __future__ import annotations

import re

import msgspec

from envcheck.facts import Framework
from envcheck.report import Confidence

TEXT_LIMIT = 60_000
"""Characters of text that are searched, from its end."""


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """A cause that a text speaks for.

    Attributes:
        cause: slug of the vocabulary.
        confidence: how surely the text alone decides.
        meaning: what the text says, one sentence.
        line: the line in which it says so.
        values: what the text names, such as `{"library": "libcudnn.so.9"}`.
    """

    cause: str
    confidence: Confidence
    meaning: str
    line: str = ""
    values: dict[str, str] = {}


CERTAIN, LIKELY, POSSIBLE = Confidence.CERTAIN, Confidence.LIKELY, Confidence.POSSIBLE


def candidates(text: str) -> list[Candidate]:
    """Return the causes that a text speaks for, surest first; see `envcheck.messages`.

    Args:
        text: an exception's text, a traceback, or what a program printed.
    """
    from envcheck.messages import recognise, weigh  # noqa: PLC0415 - only where an import failed

    lines = text[-TEXT_LIMIT:].splitlines()
    found = []
    for answer in weigh.answers(recognise.recognise(lines, [""] * len(lines))):
        seen = [message.text for support in answer.supports for message in support.messages]
        found.append(
            Candidate(
                cause=answer.cause,
                confidence=_confidence(answer.weight),
                meaning=answer.supports[0].meaning,
                line=seen[0][:400] if seen else "",
                values=answer.values,
            )
        )
    return found


def _confidence(weight: int) -> Confidence:
    from envcheck.messages import weigh  # noqa: PLC0415

    if weight >= weigh.CERTAIN_FROM:
        return CERTAIN
    return LIKELY if weight >= weigh.LIKELY_FROM else POSSIBLE


def of_framework(framework: Framework) -> list[Candidate]:
    """Return why a framework's import did not come to its end, surest first; empty where it did.

    The exception speaks before what was printed, and both before how the child ended.
    """
    if framework.state in {None, "ok", "not-imported"}:
        return []
    told = candidates(f"{framework.error_type or ''}: {framework.error or ''}")
    printed = candidates(f"{framework.traceback or ''}\n{framework.stderr or ''}")
    order = list(Confidence)
    # An exception that says it all comes before whatever else was printed; one that only hints comes after.
    ranked = [(candidate.confidence is POSSIBLE, order.index(candidate.confidence), candidate) for candidate in told]
    ranked += [(True, order.index(candidate.confidence), candidate) for candidate in printed]
    ranked.sort(key=lambda entry: entry[:2])
    found: list[Candidate] = []
    for _, _, candidate in ranked:
        if candidate.cause not in [other.cause for other in found]:
            surest = min((one for _, _, one in ranked if one.cause == candidate.cause), key=_sureness)
            found.append(surest)
    return found or [_how_it_ended(framework)]


def _sureness(candidate: Candidate) -> int:
    return list(Confidence).index(candidate.confidence)


SIGNALS = {
    "SIGILL": ("cpu-instructions-missing", LIKELY, "the processor met an instruction that it does not have"),
    "illegal instruction": (
        "cpu-instructions-missing",
        LIKELY,
        "the processor met an instruction that it does not have",
    ),
    "SIGKILL": ("host-out-of-memory", LIKELY, "the system ended the process, as it does when memory runs out"),
    "SIGBUS": ("broken-install", LIKELY, "a mapped file is shorter than it says, or its disk failed"),
    "SIGSEGV": ("broken-install", POSSIBLE, "a library touched memory that is not its own"),
    "SIGABRT": ("broken-install", POSSIBLE, "a library ended the process by itself"),
    "SIGFPE": ("framework-version-bug", POSSIBLE, "a library divided by zero"),
}


def _how_it_ended(framework: Framework) -> Candidate:
    """Return what the bare end of a child speaks for."""
    stage = framework.stage or "import"
    if framework.state == "crash":
        cause, confidence, meaning = SIGNALS.get(
            framework.signal or "", ("broken-install", POSSIBLE, "a library ended the process")
        )
        if stage in {"devices", "compute"} and cause == "broken-install":
            return Candidate(cause="frameworks-clash", confidence=POSSIBLE, meaning=meaning)
        return Candidate(cause=cause, confidence=confidence, meaning=meaning)
    if framework.state == "timeout":
        if stage in {"devices", "compute"}:
            return Candidate(cause="driver-hung", confidence=LIKELY, meaning="a call to the driver does not return")
        if "get_data" in last_frames(framework.stderr or "", 2):
            return Candidate(
                cause="slow-data-path", confidence=LIKELY, meaning="the import waits for its files to be read"
            )
        return Candidate(
            cause="broken-install", confidence=POSSIBLE, meaning="something in the import waits and does not end"
        )
    if framework.state == "exit":
        return Candidate(
            cause="broken-install",
            confidence=POSSIBLE,
            meaning="code that the import runs ends the whole process",
        )
    return Candidate(cause="broken-install", confidence=POSSIBLE, meaning="the import raises an exception")


FRAME = re.compile(r'^  File "(?P<path>[^"\n]+)", line (?P<line>\d+) in (?P<function>\S+)', re.MULTILINE)
"""A frame as faulthandler prints it, innermost first. Source: CPython, Python/traceback.c."""


def last_frames(stderr: str, count: int) -> str:
    """Return the innermost frames of the stack that faulthandler printed last; empty where it printed none."""
    begin = max(stderr.rfind("(most recent call first)"), 0)
    found = FRAME.finditer(stderr, begin) if begin else iter(())
    frames = [f"{match['path']}:{match['line']} in {match['function']}" for match in found]
    return "\n".join(frames[:count])
