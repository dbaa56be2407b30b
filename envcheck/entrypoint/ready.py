"""The readiness file: there from the moment the command is started, with what was judged; gone while it is examined."""

from __future__ import annotations

import contextlib
import os
import time

import msgspec

from envcheck.report import Report

DEFAULT = "/tmp/envcheck/ready.json"  # noqa: S108 - a fixed place, so that a probe of the orchestrator finds it
"""Where it is written unless told otherwise; /run belongs to root, and images run as somebody else."""


def place(given: str | None = None) -> str:
    """Return where the file is: as given, as the variable says, or the usual place."""
    return given or os.environ.get("ENVCHECK_READY_FILE") or DEFAULT


def remove(path: str) -> None:
    """Remove what an earlier start of the same container has left."""
    with contextlib.suppress(OSError):
        os.unlink(path)  # noqa: PTH108 - as cheap as it gets


def write(path: str, mode: str, report: Report | None) -> str:
    """Write the file in one step, and return why it could not be written; empty where it was.

    Args:
        path: where; folders above it are made.
        mode: `strict`, `warn` or `off`.
        report: what was judged; None where nothing was examined.
    """
    content = {
        "verdict": report.verdict.value if report else "not-examined",
        "summary": report.summary if report else "",
        "mode": mode,
        "requirements": [
            {"text": item.text, "state": item.state, "reason": item.reason}
            for item in (report.requirements if report else [])
        ],
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }
    temporary = f"{path}.{os.getpid()}"
    try:
        os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)  # noqa: PTH100, PTH103, PTH120
        # A name that is there, or a link, is somebody else's; whoever asks for readiness may be another user.
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        with os.fdopen(handle, "wb") as file:
            file.write(msgspec.json.encode(content) + b"\n")
        os.replace(temporary, path)  # noqa: PTH105
    except OSError as error:
        remove(temporary)
        return f"{path}: {error.strerror}"
    return ""
