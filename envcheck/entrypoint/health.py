"""What a health check requires: what the gate judged at the start, as far as it can be asked without an import."""

from __future__ import annotations

import contextlib
from typing import Any

import msgspec

from envcheck import trusted
from envcheck.intent import Intent, name_in, requirement_of

FRAMEWORK_OF = {
    "torch.cuda": "torch",
    "torch.rocm": "torch",
    "torch.mps": "torch",
    "torch.xpu": "torch",
    "tensorflow.gpu": "tensorflow",
}
"""Requirement that only an imported framework can answer → the probe that imports it."""

SOURCE = "the gate's readiness file"


def intent(declared: Intent, ready: str) -> Intent:
    """Return what a health check judges: what was declared, and what the gate was given beside it.

    What only an imported framework can answer stays as the gate judged it: to compute on a GPU whose memory a training
    fills would fail, and tell of no fault.

    Args:
        declared: what the variable, the file and the command line declare.
        ready: path of the readiness file; nothing is taken from one that is not there, or that others may have written.

    Raises:
        UsageError: a requirement in the readiness file cannot be understood.
    """
    known = {requirement.text for requirement in declared.requirements}
    more = [requirement_of(text, SOURCE) for text in judged(ready) if text not in known]
    asked = [one for one in [*declared.requirements, *more] if name_in(one.text) not in FRAMEWORK_OF]
    return msgspec.structs.replace(declared, requirements=asked)


def judged(ready: str) -> list[str]:
    """Return the requirements that stand in a readiness file of this user's or of root's."""
    content: Any = None
    with contextlib.suppress(ValueError, msgspec.MsgspecError):
        content = msgspec.json.decode(trusted.read(ready, others={0}) or b"")
    listed = content.get("requirements") if isinstance(content, dict) else None
    texts = (one.get("text") for one in listed or [] if isinstance(one, dict)) if isinstance(listed, list) else ()
    return [text for text in texts if isinstance(text, str)]
