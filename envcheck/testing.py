"""For authors of checks and probes: one call to run a check on made-up facts, one to make up a machine.

outcome, findings = run_check(driver_supports_torch, driver=NvidiaDriver(...), torch=Framework(...))

system = machine(files={"/proc/meminfo": "MemTotal: 16 kB"}, answers={"logical_cores": 8})
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import msgspec

from envcheck import check as checks
from envcheck.check import Judge
from envcheck.doctor import run_check as run_one
from envcheck.facts import Facts
from envcheck.intent import Intent
from envcheck.report import CheckOutcome, Finding
from envcheck.system import Completed, Recording, Status

__all__ = ["machine", "run_check"]


def run_check(judge: Judge, *, intent: Intent | None = None, **groups: Any) -> tuple[CheckOutcome, list[Finding]]:  # noqa: ANN401
    """Run one check as the engine would.

    Args:
        judge: the check's function.
        intent: declared requirements; none by default.
        groups: fact groups by name, as in `Facts`; those left out are unknown.

    Returns:
        How the check ended, and its findings.
    """
    known = {name: group for name, group in groups.items() if name in Facts.__struct_fields__}
    facts = Facts(**known, extensions={name: group for name, group in groups.items() if name not in known})
    result, findings = run_one(getattr(judge, checks.ATTRIBUTE), facts, [], intent or Intent())
    return result.outcome, findings


def machine(
    *,
    files: Mapping[str, str] | None = None,
    runs: Mapping[str, Completed] | None = None,
    answers: Mapping[str, Any] | None = None,
    variables: Mapping[str, str] | None = None,
    programs: Mapping[str, str] | None = None,
    links: Mapping[str, str] | None = None,
    more: Mapping[str, Any] | None = None,
) -> Recording:
    """Return a made-up machine.

    Args:
        files: path → content; the folders above them exist too.
        runs: key of a run (the arguments joined by blanks, or `inside SCRIPT …`) → how it ended.
        answers: question → answer; see `envcheck.questions`.
        variables: environment variables.
        programs: program → path that PATH finds.
        links: path → target of a symbolic link.
        more: raw observations, such as `{"status /dev/nvidia0": {...}, "entries /dev": [...], "space /tmp": {...}}`.
    """
    observations: dict[str, Any] = {}
    folders: dict[str, set[str]] = {}
    for path, text in (files or {}).items():
        observations[f"read {path}"] = {"outcome": "ok", "text": text}
        observations[f"status {path}"] = _status(path, "file", len(text))
        _note(folders, path)
    for path, target in (links or {}).items():
        observations[f"link {path}"] = target
        _note(folders, path)
    for folder, names in folders.items():
        observations[f"entries {folder}"] = sorted(names)
        observations[f"status {folder}"] = _status(folder, "folder", 0)
    for key, completed in (runs or {}).items():
        observations[f"run {key}"] = msgspec.to_builtins(completed)
    observations.update({f"ask {question}": answer for question, answer in (answers or {}).items()})
    observations.update({f"getenv {name}": value for name, value in (variables or {}).items()})
    observations["variables"] = dict(variables or {})
    observations.update({f"which {program}": path for program, path in (programs or {}).items()})
    observations.update(more or {})
    return Recording(observations)


def _note(folders: dict[str, set[str]], path: str) -> None:
    """Enter a path, and every folder above it, into its parent."""
    while (parent := os.path.dirname(path)) != path:  # noqa: PTH120
        folders.setdefault(parent, set()).add(os.path.basename(path))  # noqa: PTH119
        path = parent


def _status(path: str, kind: str, size: int) -> dict[str, Any]:
    mode = "0644" if kind == "file" else "0755"
    return msgspec.to_builtins(  # type: ignore[no-any-return]
        Status(
            outcome="ok",
            kind=kind,
            real_path=path,
            mode=mode,
            group="root",
            size=size,
            readable=True,
            writable=True,
            executable=kind == "folder",
        )
    )
