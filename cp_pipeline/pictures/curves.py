"""A curve over time.

Belongs here: scaling and drawing. Does not belong: averaging (``warehouse.first_look``).
"""

import math
from collections.abc import Iterator, Sequence

from cp_pipeline.pictures.svg import FAINT, Sheet

_LEFT, _TOP, _WIDTH, _HEIGHT = 8, 22, 480, 70
_COLOUR = "#2563a8"


def curve(title: str, first: str, last: str, means: Sequence[float | None]) -> str:
    """Means of equal stretches of time, as an SVG picture; a stretch without any is a gap.

    Args:
        title: what is drawn.
        first: when the first stretch begins, in words.
        last: when the last one ends.
        means: one value a stretch.
    """
    sheet = Sheet(_WIDTH + 2 * _LEFT, _TOP + _HEIGHT + 22)
    known = [mean for mean in means if mean is not None and math.isfinite(mean)]
    low, high = min(known, default=0.0), max(known, default=0.0)
    sheet.text(_LEFT, 14, title)
    sheet.text(_LEFT + _WIDTH, 14, f"{low:,.4g} to {high:,.4g}", anchor="end", colour=FAINT)
    sheet.box(_LEFT, _TOP + _HEIGHT, _WIDTH, 0.7, FAINT)
    step = _WIDTH / max(len(means), 1)
    for start, stretch in _stretches(means):
        points = [
            (
                round(_LEFT + (start + place + 0.5) * step, 1),
                round(_TOP + _HEIGHT - _share(mean, low, high) * _HEIGHT, 1),
            )
            for place, mean in enumerate(stretch)
        ]
        sheet.line(points, _COLOUR)
    sheet.text(_LEFT, _TOP + _HEIGHT + 15, first, colour=FAINT)
    sheet.text(_LEFT + _WIDTH, _TOP + _HEIGHT + 15, last, anchor="end", colour=FAINT)
    return sheet.drawn()


def _share(mean: float, low: float, high: float) -> float:
    """Where a value lies between the lowest and the highest; halves first, lest it overflows."""
    span = high / 2 - low / 2
    return (mean / 2 - low / 2) / span if span else 0.5


def _stretches(means: Sequence[float | None]) -> Iterator[tuple[int, list[float]]]:
    """Runs of values without a gap, with the place where each begins."""
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
