"""What a health check requires: what the gate judged at the start, as far as it can be asked without an import."""

from __future__ import annotations

import contextlib
import os
import stat
from typing import Any

import msgspec

from envcheck.intent import FORM, Intent, requirement_of
from envcheck.system import READ_LIMIT

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
    asked = [one for one in [*declared.requirements, *more] if name_of(one.text) not in FRAMEWORK_OF]
    return msgspec.structs.replace(declared, requirements=asked)


def judged(ready: str) -> list[str]:
    """Return the requirements that stand in a readiness file of this user's or of root's."""
    content: Any = None
    with contextlib.suppress(OSError, ValueError, msgspec.MsgspecError):
        # Neither a link nor a pipe that somebody has put there.
        flags = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
        with os.fdopen(os.open(ready, os.O_RDONLY | flags), "rb") as file:
            found = os.fstat(file.fileno())
            mine = not hasattr(os, "getuid") or found.st_uid in {0, os.getuid()}
            if stat.S_ISREG(found.st_mode) and mine and not found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
                content = msgspec.json.decode(file.read(READ_LIMIT))
    listed = content.get("requirements") if isinstance(content, dict) else None
    texts = (one.get("text") for one in listed or [] if isinstance(one, dict)) if isinstance(listed, list) else ()
    return [text for text in texts if isinstance(text, str)]


def name_of(requirement: str) -> str:
    """Return the name of a requirement."""
    found = FORM.match(requirement)
    return found["name"].lower() if found else requirement
