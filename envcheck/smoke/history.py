"""What this machine reached before: the rates of earlier trainings, one JSON object a line.

A rate means something only beside those of the same machine, so the file lies in the user's own state folder and a line
says for which processor or GPU it is.
"""

from __future__ import annotations

import contextlib
import os
import statistics
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from envcheck.smoke.proof import Proof
from envcheck.smoke.result import Status

COMPARED = 20
"""Of the earlier trainings, the newest so many."""

KEPT_BYTES = 1024 * 1024
"""A longer file loses its older half."""

RATES = ("training rate",)
"""Measures that are kept."""


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One training of the past.

    Attributes:
        when: seconds since 1970, UTC.
        machine: what computed: the GPU's name, else the processor's, and its cores.
        name: of the workload.
        framework: as in `Proof`.
        settings: what else decides the rate, as text.
        version: the framework's.
        rate: samples a second.
    """

    when: float
    machine: str
    name: str
    framework: str
    settings: str
    version: str
    rate: float


def default_path() -> Path:
    """Return where the history lies: `ENVCHECK_HISTORY`, else a file in the user's state folder."""
    import platformdirs  # noqa: PLC0415

    named = os.environ.get("ENVCHECK_HISTORY")
    return Path(named) if named else Path(platformdirs.user_state_dir("envcheck", appauthor=False)) / "smoke.jsonl"


def read(path: Path) -> list[Entry]:
    """Return all whole lines of a history, oldest first; a line that is torn or of another form is passed over."""
    try:
        content = path.read_bytes()
    except OSError:
        return []
    return list(_entries(content))


def _entries(content: bytes) -> Iterator[Entry]:
    for line in content.splitlines():
        with contextlib.suppress(msgspec.DecodeError, msgspec.ValidationError):
            yield msgspec.json.decode(line, type=Entry)


def entry_of(proof: Proof, machine: str) -> Entry | None:
    """Return what is kept of a proof; None where it did not pass or has no rate."""
    rate = rate_of(proof)
    if proof.status is not Status.PASSED or rate is None:
        return None
    return Entry(
        when=time.time(),
        machine=machine,
        name=proof.name,
        framework=proof.framework,
        settings=_settings(proof),
        version=proof.framework_version,
        rate=rate,
    )


def rate_of(proof: Proof) -> float | None:
    """Return a proof's training rate in samples a second."""
    rates = [measure.value for measure in proof.measures if measure.name in RATES]
    return rates[0] if rates else None


def _settings(proof: Proof) -> str:
    # The seed changes no rate; all else may.
    kept = {name: value for name, value in proof.settings.items() if name != "seed"}
    return " ".join(f"{name}={value}" for name, value in sorted(kept.items())) + f" on {proof.device}"


def usual_rate(proof: Proof, machine: str, entries: Sequence[Entry]) -> tuple[float | None, int]:
    """Return the median rate of the newest trainings like this one on this machine, and how many there were.

    Another version of the framework is compared as well: that it is slower is what a person wants to hear.
    """
    alike = [
        entry.rate
        for entry in entries
        if (entry.machine, entry.name, entry.framework, entry.settings)
        == (machine, proof.name, proof.framework, _settings(proof))
    ][-COMPARED:]
    return (statistics.median(alike), len(alike)) if alike else (None, 0)


def append(path: Path, entries: Sequence[Entry]) -> str:
    """Add lines at the end of a history; return why that was not possible, or an empty text."""
    lines = b"".join(msgspec.json.encode(entry) + b"\n" for entry in entries)
    if not lines:
        return ""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # One write in append mode: two runs at a time do not tear each other's lines.
        with path.open("ab", buffering=0) as file:
            if file.tell() and not path.read_bytes().endswith(b"\n"):
                lines = b"\n" + lines
            file.write(lines)
        if path.stat().st_size > KEPT_BYTES:
            _shorten(path)
    except OSError as error:
        return f"{path}: {error.strerror or error}"
    return ""


def _shorten(path: Path) -> None:
    lines = path.read_bytes().splitlines(keepends=True)
    beside = path.with_name(f"{path.name}.{os.getpid()}")
    beside.write_bytes(b"".join(lines[len(lines) // 2 :]))
    beside.replace(path)


def machine_of(proof: Proof, processor: str) -> str:
    """Return what a rate belongs to: the GPU where one computed, else the processor."""
    return proof.device_name or processor
