"""A roofline picture: what kernels reach, under what memory and arithmetic allow.

Source of the form: Williams, Waterman and Patterson, "Roofline: An Insightful Visual Performance Model", 2009.  Lines
and text take the colour of the page that the picture stands in, so that it reads on dark and on light; every mark has
its own shape and its name beside it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from xml.sax.saxutils import escape

import msgspec

WIDTH, HEIGHT = 760, 420
LEFT, RIGHT, TOP, BOTTOM = 90, 200, 40, 56
LETTER = 6.5
"""Width of a letter of a label, about."""

LABEL_GAP = 15.0
"""Least distance between the base lines of two labels."""

SHAPES = ("circle", "square", "triangle", "diamond", "cross", "ring")


class Roof(msgspec.Struct, frozen=True, kw_only=True):
    """A line that nothing can be above.

    Attributes:
        label: what it is.
        gigaflops: for arithmetic, GFLOP/s; None of a memory's roof.
        gigabytes: for memory, GB/s; None of an arithmetic's roof.
        nominal: whether it is a data sheet's figure and not a measured one; it is drawn dashed.
    """

    label: str
    gigaflops: float | None = None
    gigabytes: float | None = None
    nominal: bool = False


class Point(msgspec.Struct, frozen=True, kw_only=True):
    """A kernel: floating-point operations for each byte that it must move, and the GFLOP/s that it reached."""

    label: str
    intensity: float
    gigaflops: float


def svg(title: str, roofs: Sequence[Roof], points: Sequence[Point]) -> str:
    """Return the picture as one `<svg>` element.

    Raises:
        ValueError: there is no roof or no point to draw.
    """
    if not roofs or not points:
        raise ValueError("a roofline needs a roof and a kernel")
    scale = _Scale.around(roofs, points)
    said = "; ".join(f"{point.label}: {_number(point.gigaflops)} GFLOP/s" for point in points)
    parts = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
            f'font-family="sans-serif" font-size="12" fill="currentColor" stroke="none" '
            f'aria-label="{escape(f"{title}. {said}", {chr(34): "&quot;"})}">'
        ),
        f"<title>{escape(title)}</title>",
        f'<text x="{LEFT}" y="20" font-size="14">{escape(title)}</text>',
        *_axes(scale),
    ]
    labels: list[tuple[float, float, str]] = []
    ceiling = max((roof.gigaflops for roof in roofs if roof.gigaflops), default=scale.highest)
    for roof in roofs:
        parts.append(_roof(scale, roof, ceiling, roofs))
        labels.append(_roof_label(scale, roof))
    for number, point in enumerate(points):
        x, y = scale.x(point.intensity), scale.y(point.gigaflops)
        parts.append(_mark(SHAPES[number % len(SHAPES)], x, y))
        # Below the mark: the roof that it comes close to is above it.
        labels.append((x + 8, y + 15, f"{point.label}, {_number(point.gigaflops)}"))
    parts += [f'<text x="{x:.1f}" y="{y:.1f}">{escape(text)}</text>' for x, y, text in _apart(labels)]
    return "".join([*parts, "</svg>"])


class _Scale(msgspec.Struct, frozen=True):
    """The ends of both axes: powers of ten."""

    leftmost: float
    rightmost: float
    lowest: float
    highest: float

    @staticmethod
    def around(roofs: Sequence[Roof], points: Sequence[Point]) -> _Scale:
        heights = [point.gigaflops for point in points] + [roof.gigaflops for roof in roofs if roof.gigaflops]
        across = [point.intensity for point in points]
        return _Scale(
            10 ** math.floor(math.log10(min(across)) - 0.1),
            10 ** math.ceil(math.log10(max(across)) + 0.1),
            10 ** math.floor(math.log10(min(heights)) - 0.1),
            10 ** math.ceil(math.log10(max(heights)) + 0.1),
        )

    def x(self, intensity: float) -> float:
        share = math.log10(intensity / self.leftmost) / math.log10(self.rightmost / self.leftmost)
        return LEFT + share * (WIDTH - LEFT - RIGHT)

    def y(self, gigaflops: float) -> float:
        share = math.log10(gigaflops / self.lowest) / math.log10(self.highest / self.lowest)
        return HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)


def _axes(scale: _Scale) -> list[str]:
    right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM
    parts = [
        f'<path d="M{LEFT} {TOP}V{bottom}H{right}" fill="none" stroke="currentColor"/>',
        (
            f'<text x="{(LEFT + right) / 2}" y="{HEIGHT - 12}" text-anchor="middle">'
            "arithmetic intensity, floating-point operations for each byte moved</text>"
        ),
        f'<text transform="translate(16 {(TOP + bottom) / 2}) rotate(-90)" text-anchor="middle">GFLOP/s</text>',
    ]
    for power in range(round(math.log10(scale.leftmost)), round(math.log10(scale.rightmost)) + 1):
        x = scale.x(10**power)
        parts.append(
            f'<path d="M{x:.1f} {TOP}V{bottom}" stroke="currentColor" opacity="0.15"/>'
            f'<text x="{x:.1f}" y="{bottom + 18}" text-anchor="middle">{_number(10**power)}</text>'
        )
    for power in range(round(math.log10(scale.lowest)), round(math.log10(scale.highest)) + 1):
        y = scale.y(10**power)
        parts.append(
            f'<path d="M{LEFT} {y:.1f}H{right}" stroke="currentColor" opacity="0.15"/>'
            f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{_number(10**power)}</text>'
        )
    return parts


def _roof(scale: _Scale, roof: Roof, ceiling: float, roofs: Sequence[Roof]) -> str:
    if roof.gigabytes:
        # Slope one: bandwidth times intensity, from where it enters the picture to the arithmetic roof.
        start = max(scale.leftmost, scale.lowest / roof.gigabytes)
        end = min(scale.rightmost, ceiling / roof.gigabytes)
        line = (start, start * roof.gigabytes, end, end * roof.gigabytes)
    else:
        height = roof.gigaflops or scale.highest
        memory = max((other.gigabytes for other in roofs if other.gigabytes), default=0.0)
        start = max(scale.leftmost, height / memory) if memory else scale.leftmost
        line = (min(start, scale.rightmost), height, scale.rightmost, height)
    dashes = ' stroke-dasharray="6 4"' if roof.nominal else ""
    x1, y1, x2, y2 = scale.x(line[0]), scale.y(line[1]), scale.x(line[2]), scale.y(line[3])
    return f'<path d="M{x1:.1f} {y1:.1f}L{x2:.1f} {y2:.1f}" stroke="currentColor" stroke-width="1.6"{dashes}/>'


def _roof_label(scale: _Scale, roof: Roof) -> tuple[float, float, str]:
    kind = ", data sheet" if roof.nominal else ""
    if roof.gigabytes:
        start = max(scale.leftmost, scale.lowest / roof.gigabytes)
        text = f"{roof.label}, {_number(roof.gigabytes)} GB/s{kind}"
        # To the left of the line, where nothing can be: it ends where the line passes.
        along = start * (min(scale.rightmost, scale.highest / roof.gigabytes) / start) ** 0.55
        return scale.x(along) - 10 - LETTER * len(text), scale.y(along * roof.gigabytes) - 4, text
    height = roof.gigaflops or scale.highest
    return WIDTH - RIGHT + 6, scale.y(height) + 4, f"{roof.label}, {_number(height)}{kind}"


def _apart(labels: Sequence[tuple[float, float, str]]) -> list[tuple[float, float, str]]:
    """Return labels moved down where they would lie on one another, and into the picture."""
    placed: list[tuple[float, float, str]] = []
    for x, y, text in sorted(labels, key=lambda label: label[1]):
        x = max(min(x, WIDTH - LETTER * len(text) - 4), 4.0)  # noqa: PLW2901 - moved into the picture
        while any(
            abs(y - other_y) < LABEL_GAP and x < other_x + LETTER * len(other) and other_x < x + LETTER * len(text)
            for other_x, other_y, other in placed
        ):
            y += 3.0  # noqa: PLW2901 - moved down
        placed.append((x, y, text))
    return placed


def _mark(shape: str, x: float, y: float) -> str:
    drawn = {
        "circle": f'<circle cx="{x:.1f}" cy="{y:.1f}" r="5"/>',
        "square": f'<rect x="{x - 4.5:.1f}" y="{y - 4.5:.1f}" width="9" height="9"/>',
        "triangle": f'<path d="M{x:.1f} {y - 6:.1f}l6 10h-12z"/>',
        "diamond": f'<path d="M{x:.1f} {y - 6.5:.1f}l6.5 6.5l-6.5 6.5l-6.5-6.5z"/>',
        "cross": f'<path d="M{x - 5:.1f} {y - 5:.1f}l10 10m0-10l-10 10" stroke="currentColor" stroke-width="2.4"/>',
        "ring": f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4.5" fill="none" stroke="currentColor" stroke-width="2.4"/>',
    }
    return drawn[shape]


def _number(value: float) -> str:
    if value >= 100 or value == int(value):  # noqa: PLR2004 - three digits are enough
        return f"{value:,.0f}"
    return f"{value:.3g}"
