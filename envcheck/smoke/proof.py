"""What a part of the smoke suite hands on: one `Proof` for each thing that was tried.

Plain data: the page, the HTML report, JUnit and `--require` are made from it, whatever the part.  These Structs are
public JSON, as those of `result.py` are: a field is added with a default.
"""

from __future__ import annotations

from typing import Any

import msgspec

from envcheck.report import Finding
from envcheck.smoke.result import SCHEMA_VERSION, Condition, Failure, SmokeResult, Status, Threshold


class Measure(msgspec.Struct, frozen=True, kw_only=True):
    """A number that was measured.

    Attributes:
        name: such as `samples per second`.
        value: the median of the repeats; None where it could not be measured.
        unit: such as `GFLOP/s`, `s`, `B/s`; empty for a ratio.
        low: the lower end of its spread; None where there is one repeat.
        high: the upper end.
        repeats: how often it was measured, without the warm-up.
        note: what a reader must know to understand it, one sentence.
    """

    name: str
    value: float | None
    unit: str = ""
    low: float | None = None
    high: float | None = None
    repeats: int = 1
    note: str = ""


class Curve(msgspec.Struct, frozen=True, kw_only=True):
    """A course of numbers; `y` is None where a number is not finite or not known."""

    name: str
    x_label: str
    y_label: str
    x: list[float]
    y: list[float | None]


class Matrix(msgspec.Struct, frozen=True, kw_only=True):
    """A table of numbers with named rows and columns, such as a confusion matrix or an attention map."""

    name: str
    rows: list[str]
    columns: list[str]
    values: list[list[float]]
    row_label: str = ""
    column_label: str = ""


class Picture(msgspec.Struct, frozen=True, kw_only=True):
    """A small grey picture: `pixels` from 0 (dark) to 255, row by row from the top; base64 in JSON."""

    name: str
    caption: str
    width: int
    height: int
    pixels: bytes


class Chart(msgspec.Struct, frozen=True, kw_only=True):
    """A drawing of our own, ready to stand in a page: one `<svg>` element."""

    name: str
    svg: str


class Proof(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that the suite tried, in one framework.

    Attributes:
        part: `reference`, `workload`, `arithmetic`, `pace`, `endurance` or `distributed`.
        name: of what was tried, such as `residual` or `softmax`.
        framework: `tensorflow`, `torch`, `keras-tensorflow`, `keras-torch`, `keras-jax`; empty where none is needed.
        title: what was tried, in a few words.
        proves: what it proves that the others do not, one sentence.
        status: how it ended.
        summary: how it went, one sentence.
        settings: what was asked for, by name.
        framework_version: such as `2.13.0+cpu`.
        device: where it ran, such as `cpu` or `cuda:0`.
        device_name: as the framework names it; empty where it is the processor.
        dtype: the number format, such as `float32`; empty where there are several.
        seconds: wall time of all of it.
        step_seconds: wall time of each step, in order.
        peak_memory_bytes: highest resident memory of the child while it ran.
        device_peak_bytes: highest memory that the framework took on the device.
        conditions: what had to hold.
        measures: what was measured.
        curves: courses over time, steps or epochs.
        matrices: confusion matrices and attention maps.
        pictures: such as digits that were read wrongly.
        charts: ready drawings.
        failure: where and how it ended early.
        findings: what is to be mended, in the form of `envcheck doctor`.
    """

    part: str
    name: str
    framework: str
    title: str
    status: Status
    summary: str
    proves: str = ""
    settings: dict[str, str | int | float | bool] = {}
    framework_version: str = ""
    device: str = ""
    device_name: str = ""
    dtype: str = ""
    seconds: float | None = None
    step_seconds: dict[str, float] = {}
    peak_memory_bytes: int | None = None
    device_peak_bytes: int | None = None
    conditions: list[Condition] = []
    measures: list[Measure] = []
    curves: list[Curve] = []
    matrices: list[Matrix] = []
    pictures: list[Picture] = []
    charts: list[Chart] = []
    failure: Failure | None = None
    findings: list[Finding] = []


class SmokeReport(msgspec.Struct, frozen=True, kw_only=True):
    """The whole answer of `envcheck smoke`.

    Attributes:
        schema_version: version of this form.
        envcheck_version: version of the program that wrote it.
        verdict: `ok`, `warning` (it trains, with something to mend), `error`, `unknown` or `usage`.
        exit_code: what the command ends with: 0, 1, 2 or 3.
        summary: the answer as a sentence.
        interpreter: path of the interpreter under test.
        interpreter_reason: why that one.
        results: the reference network's training, one entry a framework.
        proofs: all else that was tried.
        thresholds: what `--require` asked for.
    """

    schema_version: int
    envcheck_version: str
    verdict: str
    exit_code: int
    summary: str
    interpreter: str
    interpreter_reason: str
    results: list[SmokeResult]
    proofs: list[Proof] = []
    thresholds: list[Threshold] = []


def schema() -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of a report."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"envcheck smoke report, version {SCHEMA_VERSION}",
        **msgspec.json.schema(SmokeReport),
    }
