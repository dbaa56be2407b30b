"""Pictures of the smoke report as inline SVG: courses, matrices and small grey pictures.

Colours come from the page's own variables (`--ink`, `--line-1` …), so that they fit a dark page as well; no colour
stands for something that is not also said in words.
"""

from __future__ import annotations

import base64
import math
import struct
import zlib
from collections.abc import Sequence
from html import escape

from envcheck.smoke.proof import Curve, Matrix, Picture

WIDTH, HEIGHT = 360, 200
LEFT, RIGHT, TOP, BOTTOM = 52, 12, 22, 34
DASHES = ("", "6 3", "2 3", "8 3 2 3")
"""Of the first curve, the second …: they are told apart without their colours."""
TICKS = 4


def curves(group: Sequence[Curve]) -> str:
    """Return courses with the same axes as one drawing, each named beside its own kind of line."""
    points = [
        [(x, y) for x, y in zip(curve.x, curve.y, strict=False) if y is not None and math.isfinite(y)]
        for curve in group
    ]
    every = [point for course in points for point in course]
    if not every:
        return ""
    across = _scale([x for x, _ in every], LEFT, WIDTH - RIGHT)
    down = _scale([y for _, y in every], HEIGHT - BOTTOM, TOP)
    title = f"{', '.join(curve.name for curve in group)} by {group[0].x_label}"
    parts = [_open(WIDTH, HEIGHT + 14 * len(group), title), _axes(across, down, group[0])]
    for number, (curve, course) in enumerate(zip(group, points, strict=True)):
        style = f'stroke="var(--line-{number % 4 + 1})" stroke-dasharray="{DASHES[number % len(DASHES)]}"'
        drawn = " ".join(f"{across.at(x):.1f},{down.at(y):.1f}" for x, y in course)
        legend = HEIGHT + 14 * number + 6
        parts += [
            f'<polyline fill="none" stroke-width="1.8" {style} points="{drawn}"/>',
            f'<line x1="{LEFT}" x2="{LEFT + 30}" y1="{legend}" y2="{legend}" stroke-width="1.8" {style}/>',
            _text(LEFT + 36, legend + 4, f"{curve.name}: {_last(curve)}"),
        ]
    return "".join([*parts, "</svg>"])


def _last(curve: Curve) -> str:
    last = curve.y[-1] if curve.y else None
    return "not finite at the end" if last is None else f"{last:.4g} at the end"


class _Scale:
    """A linear scale from values to pixels."""

    def __init__(self, low: float, high: float, start: float, end: float) -> None:
        self.low, self.high, self.start, self.end = low, high, start, end

    def at(self, value: float) -> float:
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)


def _scale(values: Sequence[float], start: float, end: float) -> _Scale:
    low, high = min(values), max(values)
    if low == high:
        low, high = low - 0.5, high + 0.5
    return _Scale(low, high, start, end)


def _axes(across: _Scale, down: _Scale, curve: Curve) -> str:
    parts = []
    for number in range(TICKS + 1):
        value = down.low + (down.high - down.low) * number / TICKS
        y = down.at(value)
        parts.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="var(--faint)"/>')
        parts.append(_text(LEFT - 6, y + 4, f"{value:.3g}", anchor="end"))
    for value in (across.low, across.high):
        anchor = "start" if value == across.low else "end"
        parts.append(_text(across.at(value), HEIGHT - BOTTOM + 14, f"{value:.4g}", anchor=anchor))
    middle = (LEFT + WIDTH - RIGHT) / 2
    parts.append(_text(middle, HEIGHT - BOTTOM + 14, curve.x_label, anchor="middle"))
    parts.append(_text(LEFT - 6, TOP - 10, curve.y_label, anchor="start"))
    return "".join(parts)


CELL = 26
LARGE = 16
"""Rows or columns from which a cell has no room for its number."""


def matrix(table: Matrix) -> str:
    """Return a table as a grid of cells: the darker, the larger; with its numbers where there is room for them."""
    if not table.values:
        return ""
    cell = CELL if max(len(table.rows), len(table.columns)) <= LARGE else 14
    longest = max((len(name) for name in table.rows), default=1)
    left, top = 26 + 7 * min(longest, 24), 40 if max(map(len, table.columns), default=0) <= 2 else 90  # noqa: PLR2004
    width, height = left + cell * len(table.columns) + 8, top + cell * len(table.rows) + 20
    largest = max((abs(value) for row in table.values for value in row), default=0.0) or 1.0
    parts = [_open(width, height, f"{table.name}: {table.row_label} by {table.column_label}")]
    parts.append(_text(left, 12, f"{table.column_label} \u2192", anchor="start"))
    parts.append(_text(2, top - 6, f"{table.row_label} \u2193", anchor="start"))
    for column, name in enumerate(table.columns):
        x = left + cell * column + cell / 2
        turned = f' transform="rotate(-60 {x:.0f} {top - 6})"' if top > 40 else ""  # noqa: PLR2004
        parts.append(_text(x, top - 6, name[:24], anchor="start" if turned else "middle", extra=turned))
    for row, (name, values) in enumerate(zip(table.rows, table.values, strict=False)):
        y = top + cell * row
        parts.append(_text(left - 6, y + cell / 2 + 4, name[:24], anchor="end"))
        for column, value in enumerate(values):
            share = abs(value) / largest
            x = left + cell * column
            parts.append(
                f'<rect x="{x}" y="{y}" width="{cell}" height="{cell}" fill="var(--cell)" fill-opacity="{share:.2f}" '
                f'stroke="var(--faint)"><title>{escape(f"{name}, {table.columns[column]}: {value:.4g}")}</title></rect>'
            )
            if cell == CELL and value:
                ink = "var(--on-cell)" if share > 0.55 else "var(--ink)"  # noqa: PLR2004
                parts.append(_text(x + cell / 2, y + cell / 2 + 4, _short(value), anchor="middle", fill=ink))
    return "".join([*parts, "</svg>"])


def _short(value: float) -> str:
    return f"{value:.0f}" if value == int(value) else f"{value:.2f}".lstrip("0")


SHOWN = 84
"""Pixels of the side of a small picture in the page."""


def strip(pictures: Sequence[Picture]) -> str:
    """Return small pictures side by side, each with its caption beneath."""
    if not pictures:
        return ""
    width = (SHOWN + 12) * len(pictures)
    parts = [_open(width, SHOWN + 20, "; ".join(picture.caption for picture in pictures))]
    for number, picture in enumerate(pictures):
        x = (SHOWN + 12) * number
        parts.append(
            f'<image x="{x}" y="0" width="{SHOWN}" height="{SHOWN}" style="image-rendering: pixelated" '
            f'href="data:image/png;base64,{base64.b64encode(png(picture)).decode()}"/>'
        )
        parts.append(_text(x + SHOWN / 2, SHOWN + 14, picture.caption, anchor="middle"))
    return "".join([*parts, "</svg>"])


def png(picture: Picture) -> bytes:
    """Return a picture as a PNG file: 8 bits of grey a pixel (source: PNG specification, third edition, section 11)."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    lines = b"".join(
        b"\0" + picture.pixels[start : start + picture.width].ljust(picture.width, b"\0")
        for start in range(0, picture.width * picture.height, picture.width)
    )
    header = struct.pack(">IIBBBBB", picture.width, picture.height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")


def _open(width: float, height: float, title: str) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" viewBox="0 0 {width:.0f} {height:.0f}" '
        f'width="{width:.0f}" height="{height:.0f}" font-size="11"><title>{escape(title)}</title>'
    )


def _text(x: float, y: float, text: str, *, anchor: str = "start", fill: str = "var(--ink)", extra: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{fill}"{extra}>{escape(text)}</text>'
