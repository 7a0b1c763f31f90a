"""The coverage map: subjects and data sets, coloured by the state of each pair.

Belongs here: how many subjects share a row, colours, labels. Does not belong: the meaning of a
state (``warehouse.schema``, ``lineage.partition_status``).

Up to ``ROWS_WITH_NAMES`` subjects have one row each. Above that, several subjects share a row, and
the states divide a cell in proportion to their numbers of subjects. So 2,000 subjects fit on a
screen, and a single failed one is still visible.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby

from cp_pipeline.charts.svg import FAINT, INK, Sheet

ROWS_WITH_NAMES = 60
_SHARED_ROWS = 120
_COLOURS = {
    "current": "#2a9d68",
    "stale": "#e9b949",
    "missing": "#9aa7b5",
    "failed": "#d1495b",
    "pending": "#5b8fd9",
    "withdrawn": "#7b68a6",
}
# The order in a shared cell, from the left: the states that need attention come first.
_MOST_URGENT_FIRST = ("failed", "stale", "missing", "pending", "withdrawn", "current", "")
_NO_EXPORT = "#f0f2f4"
_CELL, _GAP, _SUBJECT_WIDTH, _NAME_PIXELS = 26, 2, 76, 6.2
_LEAST_SHARE_PIXELS = 2.0
_LEGEND = 92

Cell = tuple[tuple[str, int], ...]


def coverage_map(states: Mapping[tuple[int, str], str]) -> str:
    """Draw the state of each subject and data set; return an SVG picture.

    Args:
        states: the state of each subject and data set, as in ``lineage.partition_status``; a
            missing pair has no export.
    """
    subjects = sorted({subject for subject, _ in states})
    datasets = sorted({dataset for _, dataset in states})
    shared = max(1, -(-len(subjects) // _SHARED_ROWS)) if len(subjects) > ROWS_WITH_NAMES else 1
    rows = [subjects[start : start + shared] for start in range(0, len(subjects), shared)]
    height = 14 if len(subjects) <= ROWS_WITH_NAMES else 5
    names = max((len(dataset) for dataset in datasets), default=0) * _NAME_PIXELS * 0.72 + 14
    width = max(
        _SUBJECT_WIDTH + len(datasets) * _CELL + names * 0.7, (len(_COLOURS) + 1) * _LEGEND + 20
    )
    sheet = Sheet(width, names + len(rows) * height + 44)
    for place, dataset in enumerate(datasets):
        left = _SUBJECT_WIDTH + place * _CELL
        sheet.text(left + _CELL / 2, names - 6, dataset, turned=-45)
        cells = [_cell(states, row, dataset) for row in rows]
        for start, count, cell in _runs(cells):
            _draw(sheet, left, names + start * height, height, count, cell)
    _name_rows(sheet, rows, names, height)
    _legend(sheet, Counter(states.values()), names + len(rows) * height + 28)
    return sheet.drawn()


def _cell(states: Mapping[tuple[int, str], str], row: Sequence[int], dataset: str) -> Cell:
    counted = Counter(states.get((subject, dataset), "") for subject in row)
    return tuple((state, counted[state]) for state in _MOST_URGENT_FIRST if counted[state])


def _runs(cells: Sequence[Cell]) -> Iterator[tuple[int, int, Cell]]:
    """Group adjacent cells that look the same: yield the start, the number and one of the cells."""
    start = 0
    for look, alike in groupby(cells, key=lambda cell: cell[0][0] if len(cell) == 1 else cell):
        some = list(alike)
        if isinstance(look, str):
            yield start, len(some), some[0]
        else:
            yield from ((start + place, 1, cell) for place, cell in enumerate(some))
        start += len(some)


def _draw(sheet: Sheet, left: float, top: float, height: float, count: int, cell: Cell) -> None:
    wide = _CELL - _GAP
    subjects = sum(number for _, number in cell)
    room = wide - _LEAST_SHARE_PIXELS * len(cell)
    for state, number in cell:
        share = wide if len(cell) == 1 else _LEAST_SHARE_PIXELS + room * number / subjects
        sheet.box(left, top, share, height * count, _COLOURS.get(state, _NO_EXPORT))
        left += share
    if len(cell) == 1 and height > _GAP * 4:
        for place in range(1, count + 1):
            sheet.box(left - wide, top + place * height - 1, wide, 1, "#ffffff")


def _name_rows(sheet: Sheet, rows: Sequence[Sequence[int]], top: float, height: float) -> None:
    every = 1 if height > _GAP * 4 else 4
    for place, row in enumerate(rows):
        if place % every == 0:
            base = top + place * height + height / 2 + 4
            sheet.text(_SUBJECT_WIDTH - 8, base, str(row[0]), anchor="end", size=10, colour=INK)


def _legend(sheet: Sheet, counted: Mapping[str, int], base: float) -> None:
    for place, (state, colour) in enumerate(_COLOURS.items()):
        left = 10 + place * _LEGEND
        sheet.box(left, base - 9, 10, 10, colour)
        words = f"{state} {counted.get(state, 0):,}"
        sheet.text(left + 14, base, words, size=10, colour=INK if counted.get(state) else FAINT)
    left = 10 + len(_COLOURS) * _LEGEND
    sheet.box(left, base - 9, 10, 10, _NO_EXPORT)
    sheet.text(left + 14, base, "no export", size=10, colour=FAINT)
