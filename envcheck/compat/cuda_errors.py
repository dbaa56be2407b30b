"""CUDA's error codes, by number, by name, and as frameworks print them.

Table: cuda_errors (cudaGetErrorName and cudaGetErrorString of CUDA 12.9 and 13.5, asked for every code; cuda.h).
"""

from __future__ import annotations

import re
from functools import cache
from typing import Literal

import msgspec

from envcheck.compat import table


class CudaError(msgspec.Struct, frozen=True):
    """An error of the CUDA runtime (cudaError_t) and of the driver (CUresult), which share their numbers."""

    code: int
    meaning: str
    severity: Literal["info", "warning", "error"]
    causes: list[str]
    """Slugs of the causes vocabulary, likeliest first; empty where the code alone points to none."""
    source: list[str]
    driver_name: str | None = None
    """CUDA_ERROR_..."""
    runtime_name: str | None = None
    """cudaError..."""
    text: str | None = None
    """What cudaGetErrorString returns."""
    since: str | None = None


class _Table(msgspec.Struct, frozen=True):
    error: list[CudaError]


@cache
def cuda_errors() -> list[CudaError]:
    """Return every error of the table, by number."""
    return sorted(table.read("cuda_errors", _Table).error, key=lambda row: row.code)


def by_code(code: int | None) -> CudaError | None:
    """Return an error by its number, or None where the table does not have it."""
    return next((row for row in cuda_errors() if row.code == code), None)


def by_name(name: str | None) -> CudaError | None:
    """Return an error by its name: "CUDA_ERROR_OUT_OF_MEMORY" or "cudaErrorMemoryAllocation"; None if unknown."""
    return _by_name().get(name or "")


@cache
def _by_name() -> dict[str, CudaError]:
    rows = cuda_errors()
    return {name: row for row in rows for name in (row.driver_name, row.runtime_name) if name is not None}


@cache
def _texts() -> list[tuple[str, CudaError]]:
    """Return the texts of errors, longest first so that no text hides a longer one that begins with it."""
    rows = [(row.text, row) for row in cuda_errors() if row.text is not None]
    return sorted(rows, key=lambda entry: len(entry[0]), reverse=True)


_NAME = re.compile(r"\b(?:CUDA_ERROR_[A-Z0-9_]+|cudaError[A-Z]\w+)\b")
_PRINTED = re.compile(
    r"(?:CUDA (?:driver |runtime |Runtime |kernel )?error(?: \d+)?(?: in [^:\n]{1,200})?|"
    r"CUDA runtime implicit initialization on GPU:\d+ failed\. Status|Error \d+|cudaGetDeviceCount\(\)[^:\n]{0,80}): "
    r"(?P<text>[^\n]{1,200})"
)


def in_text(text: str) -> list[CudaError]:
    """Return the errors that a text names, each once, in the order of their first appearance.

    Found are names ("CUDA_ERROR_...", "cudaError...") anywhere, and texts after the words with which frameworks
    introduce them ("CUDA error: ...", "Error 802: ..."). A text alone ("out of memory") may be anything.
    """
    found = [(match.start(), by_name(match[0])) for match in _NAME.finditer(text)]
    for match in _PRINTED.finditer(text):
        printed = match["text"].strip()
        found.append((match.start(), next((row for words, row in _texts() if printed.startswith(words)), None)))
    rows = [row for _, row in sorted(found, key=lambda entry: entry[0]) if row is not None]
    return list({row.code: row for row in rows}.values())
