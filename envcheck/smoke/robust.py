"""Statistics that a few wild values do not move: medians, quartiles, slopes."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

MOST_PAIRS_FROM = 400
"""Points of which every pair is looked at; of more, evenly spaced ones are taken."""

NORMAL_DEVIATION = 1.4826
"""Standard deviation of a normal distribution over its median absolute deviation.  Source: Rousseeuw and Croux,
"Alternatives to the Median Absolute Deviation", 1993."""


def quartiles(values: Sequence[float]) -> tuple[float, float, float]:
    """Return the lower quartile, the median and the upper quartile; of one value, that value three times.

    Raises:
        ValueError: there is no value.
    """
    if not values:
        raise ValueError("no value has no quartiles")
    if len(values) == 1:
        return values[0], values[0], values[0]
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, middle, high


def relative_spread(values: Sequence[float]) -> float:
    """Return the distance of the quartiles over the median: the noise from one repeat to the next, as a ratio."""
    low, middle, high = quartiles(values)
    return (high - low) / middle if middle else 0.0


def slope(x: Sequence[float], y: Sequence[float]) -> float:
    """Return the median slope of all pairs of points; 0 of fewer than two.

    Source: Theil, "A rank-invariant method of linear and polynomial regression analysis", 1950; Sen, 1968.
    """
    step = max(1, -(-len(x) // MOST_PAIRS_FROM))
    points = list(zip(x, y, strict=True))[::step]
    slopes = [
        (later - earlier) / (after - before)
        for index, (before, earlier) in enumerate(points)
        for after, later in points[index + 1 :]
        if after != before
    ]
    return statistics.median(slopes) if slopes else 0.0


def rising_share(y: Sequence[float]) -> float:
    """Return which share of all pairs rises from the earlier to the later value: 1 always, 0.5 by chance."""
    step = max(1, -(-len(y) // MOST_PAIRS_FROM))
    kept = list(y)[::step]
    pairs = len(kept) * (len(kept) - 1) // 2
    rising = sum(later > earlier for index, earlier in enumerate(kept) for later in kept[index + 1 :])
    return rising / pairs if pairs else 0.5


def trend(y: Sequence[float]) -> float:
    """Return how sure it is that values rise (above 0) or fall, in standard deviations of what chance gives.

    3.1 and more comes of chance once in a thousand times.  0 of fewer than two values.
    Source: Mann, "Nonparametric tests against trend", 1945; Kendall, "Rank Correlation Methods", 1948.
    """
    step = max(1, -(-len(y) // MOST_PAIRS_FROM))
    kept = list(y)[::step]
    count = len(kept)
    if count < 2:  # noqa: PLR2004 - one value has no trend
        return 0.0
    score = sum(
        (later > earlier) - (later < earlier) for index, earlier in enumerate(kept) for later in kept[index + 1 :]
    )
    return score / math.sqrt(count * (count - 1) * (2 * count + 5) / 18)


def noise_about_line(x: Sequence[float], y: Sequence[float]) -> float:
    """Return the deviation of points from their own robust line, as a standard deviation of a normal distribution."""
    if len(x) < 3:  # noqa: PLR2004 - two points lie on a line
        return 0.0
    inclination = slope(x, y)
    rest = [value - inclination * at for at, value in zip(x, y, strict=True)]
    middle = statistics.median(rest)
    return NORMAL_DEVIATION * statistics.median(abs(value - middle) for value in rest)
