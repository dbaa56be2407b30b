"""NVML: what its return codes and the reasons for lowered clocks mean.

Tables: nvml_returns (nvml.h; libnvidia-ml of seven drivers, asked for the text of each code) and throttle_reasons.
"""

from __future__ import annotations

from functools import cache
from typing import Literal

import msgspec

from envcheck.compat import table


class NvmlReturn(msgspec.Struct, frozen=True):
    """A value of nvmlReturn_t."""

    value: int
    name: str
    """NVML_ERROR_..."""
    meaning: str
    severity: Literal["info", "warning", "error"]
    cause: str
    """The likeliest slug of the causes vocabulary; empty where none follows from the code alone."""
    source: str
    text: str | None = None
    """What nvmlErrorString returns; libraries that are older than a code say "Unknown Error"."""
    causes: list[str] = []
    """Several, likeliest first, where several are usual."""
    smi_exit: int | None = None
    """Exit status of nvidia-smi (535) when NVML fails to start with the code."""


class ThrottleReason(msgspec.Struct, frozen=True):
    """A bit of nvmlDeviceGetCurrentClocksEventReasons."""

    bit: int
    """The bit's value: 1, 2, 4, 8, ...; 0 is the row for "none"."""
    short: str
    name: str
    meaning: str
    fault_under_load: bool
    """Whether it is a fault when it lasts while the GPU is busy. An idle GPU is never judged."""
    severity: Literal["info", "warning", "error"]
    cause: str
    source: str
    query: str | None = None
    """Field of nvidia-smi --query-gpu, driver 535 and newer."""
    query_old: str | None = None


class _Returns(msgspec.Struct, frozen=True):
    rows: list[NvmlReturn] = msgspec.field(name="return")


class _Reasons(msgspec.Struct, frozen=True):
    reason: list[ThrottleReason]


@cache
def nvml_returns() -> list[NvmlReturn]:
    """Return every return code of the table."""
    return table.read("nvml_returns", _Returns).rows


@cache
def _reasons() -> list[ThrottleReason]:
    return table.read("throttle_reasons", _Reasons).reason


def nvml_return(code: int | str | None) -> NvmlReturn | None:
    """Return the row of a return code by its number, its name, or the text that nvmlErrorString gives.

    "Unknown Error" is what libraries say for codes that they do not know; its row is NVML_ERROR_UNKNOWN.

    Returns:
        The row, or None where the table does not have the code.
    """
    if code is None:
        return None
    if isinstance(code, int):
        return next((row for row in nvml_returns() if row.value == code), None)
    wanted = code.strip().casefold().removeprefix("nvml_").removeprefix("error_")
    for row in nvml_returns():
        short = row.name.casefold().removeprefix("nvml_").removeprefix("error_")
        if wanted == short or (row.text is not None and wanted == row.text.casefold()):
            return row
    return None


def throttle_reasons(mask: int | None) -> list[ThrottleReason]:
    """Return the reasons that are set in a bit mask, lowest bit first; empty for 0, unknown, and unknown bits."""
    return [] if not mask else [row for row in _reasons() if row.bit and row.bit & mask]


def throttle_reason(name: str) -> ThrottleReason | None:
    """Return a reason by a name of any tool: "SwPowerCap", "sw_power_cap", "SW Power Cap", the query's field.

    Returns:
        The row, or None where the name is not known.
    """
    wanted = _squeezed(name.rpartition(".")[2])
    return next((row for row in _reasons() if wanted in {_squeezed(row.short), _squeezed(row.name)}), None)


def _squeezed(name: str) -> str:
    text = name.casefold()
    for prefix in ("nvmlclockseventreason", "nvmlclocksthrottlereason"):
        text = text.removeprefix(prefix)
    return "".join(letter for letter in text if letter.isalnum())
