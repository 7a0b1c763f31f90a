"""A curve over time.

Belongs here: scaling and drawing. Does not belong: averaging (``warehouse.profile``).
"""

import math
from collections.abc import Iterator, Sequence

from cp_pipeline.charts.svg import FAINT, Sheet

# As wide as the value column of a partition's page in a browser window of 1,440 pixels.
_LEFT, _TOP, _WIDTH, _HEIGHT = 8, 22, 360, 70
_COLOUR = "#26a"
_DOT = 5


def curve(title: str, first: str, last: str, means: Sequence[float | None]) -> str:
    """Draw the means of equal time intervals; return an SVG picture.

    An interval without a mean is a gap. A mean between two gaps is a dot, for example in a file
    with one row per day.

    Args:
        title: the title of the curve.
        first: the start of the first interval, as text.
        last: the end of the last interval, as text.
        means: one value per interval.
    """
    sheet = Sheet(_WIDTH + 2 * _LEFT, _TOP + _HEIGHT + 22)
    known = [mean for mean in means if mean is not None and math.isfinite(mean)]
    low, high = min(known, default=0.0), max(known, default=0.0)
    sheet.text(_LEFT, 14, title)
    sheet.text(_LEFT + _WIDTH, 14, f"{low:,.4g} to {high:,.4g}", anchor="end", colour=FAINT)
    step = _WIDTH / max(len(means), 1)
    lines = [
        [
            (
                round(_LEFT + (start + place + 0.5) * step),
                round(_TOP + (1 - _share(mean, low, high)) * _HEIGHT),
            )
            for place, mean in enumerate(stretch)
        ]
        for start, stretch in _stretches(means)
    ]
    sheet.lines([line for line in lines if len(line) > 1], _COLOUR)
    sheet.lines([line for line in lines if len(line) == 1], _COLOUR, _DOT)
    sheet.text(_LEFT, _TOP + _HEIGHT + 15, first, colour=FAINT)
    sheet.text(_LEFT + _WIDTH, _TOP + _HEIGHT + 15, last, anchor="end", colour=FAINT)
    return sheet.drawn()


def _share(mean: float, low: float, high: float) -> float:
    """Return a value's position from 0 (lowest) to 1; halve the values first to avoid overflow."""
    span = high / 2 - low / 2
    return (mean / 2 - low / 2) / span if span else 0.5


def _stretches(means: Sequence[float | None]) -> Iterator[tuple[int, list[float]]]:
    """Yield each sequence of values without a gap, with the index of its first value."""
    start, stretch = 0, list[float]()
    for place, mean in enumerate(means):
        if mean is None or not math.isfinite(mean):
            if stretch:
                yield start, stretch
            stretch = []
            continue
        if not stretch:
            start = place
        stretch.append(mean)
    if stretch:
        yield start, stretch
