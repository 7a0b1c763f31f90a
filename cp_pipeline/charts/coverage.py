"""The coverage map: subjects and data sets, coloured by the state of each pair.

Belongs here: how many subjects share a row, sites, colours, labels. Does not belong: the meaning
of a state (``warehouse.schema``, ``lineage.partition_status``).

Up to ``ROWS_WITH_NAMES`` subjects have one row each. Above that, several subjects share a row, and
the states divide a cell in proportion to their numbers of subjects. So 2,000 subjects fit on a
screen, and a single failed one is still visible.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from cp_pipeline.charts.svg import FAINT, INK, Sheet

ROWS_WITH_NAMES = 60
_SHARED_ROWS = 120
STATE_COLOURS = {
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
_LEGEND, _LEGEND_BOX, _LEGEND_PIXELS = 80, 28, 5.6
_LONGEST_SITE, _LABEL_HEIGHT, _SITE_PIXELS = 24, 14, 5.6

_NUMBERED = re.compile(r"([^0-9]*)([0-9]{0,9})")

Cell = tuple[tuple[str, int], ...]


def coverage_map(
    states: Mapping[str, Mapping[int, str]], names: Mapping[int, tuple[str, str]] | None = None
) -> str:
    """Draw the state of each subject and data set; return an SVG picture.

    Args:
        states: of each data set, the state of each subject, as in ``lineage.partition_status``; a
            subject that is missing has no export.
        names: the site and the label of each subject whose names are known. Subjects of a site
            stand together, and those without a name stand last, under their numbers.
    """
    datasets = sorted(states, key=_in_order)
    subjects = {subject for each in states.values() for subject in each}
    sites = _sites(subjects, names or {})
    rows = [row for site in sites for row in site.rows]
    height = 14 if len(subjects) <= ROWS_WITH_NAMES else 5
    top = max((len(dataset) for dataset in datasets), default=0) * _NAME_PIXELS * 0.72 + 14
    left = _SUBJECT_WIDTH + _width_of_sites(sites)
    counted = Counter(state for each in states.values() for state in each.values())
    width = max(left + len(datasets) * _CELL + top * 0.7, _width_of_legend(counted))
    shared = max(map(len, rows), default=0)
    sheet = Sheet(width, top + len(rows) * height + (44 if shared < 2 else 60))  # noqa: PLR2004
    for place, dataset in enumerate(datasets):
        column = left + place * _CELL
        sheet.text(column + _CELL / 2, top - 6, dataset, turned=-45)
        cells = [_cell(states[dataset], row) for row in rows]
        for start, count, cell in _runs(cells):
            _draw(sheet, column, top + start * height, height, count, cell)
    _name_sites(sheet, sites, top, height, left + len(datasets) * _CELL)
    _name_rows(sheet, sites, names or {}, left - 8, top, height)
    base = top + len(rows) * height + 28
    if shared > 1:
        words = f"Each row: up to {shared} subjects of a site, from the one named"
        sheet.text(10, base + 18, words, size=10, colour=FAINT)
    _legend(sheet, counted, base)
    return sheet.drawn()


def _in_order(name: str) -> list[tuple[str, int]]:
    """Sort names by the numbers in them: 8 comes before 10."""
    return [(text, int(number or -1)) for text, number in _NUMBERED.findall(name)]


@dataclass(frozen=True, slots=True)
class _Site:
    """A site: its name (empty if unknown), and the rows of its subjects."""

    name: str
    rows: tuple[tuple[int, ...], ...]


def _sites(subjects: Iterable[int], names: Mapping[int, tuple[str, str]]) -> list[_Site]:
    """Sort subjects into sites, and decide how many share a row: those of one site only."""

    def place(subject: int) -> tuple[bool, str, str, int]:
        site, label = names.get(subject, ("", ""))
        return not site, site, label, subject

    ordered = sorted(subjects, key=place)
    grouped = {
        name: [*some] for name, some in groupby(ordered, key=lambda each: names.get(each, ("",))[0])
    }
    shared = 1
    if len(ordered) > ROWS_WITH_NAMES:
        # Each site may end with a row that is not full.
        shared = -(-len(ordered) // max(_SHARED_ROWS - len(grouped) // 2, _SHARED_ROWS // 3))
    return [
        _Site(
            name, tuple(tuple(some[at : at + shared]) for at in range(0, len(some), max(shared, 1)))
        )
        for name, some in grouped.items()
    ]


def _width_of_sites(sites: Sequence[_Site]) -> float:
    longest = max((len(_short(site.name)) for site in sites), default=0)
    if longest and len(sites) > _SHARED_ROWS // 3:
        # Room for the number of sites without a name.
        longest = min(longest + 4, _LONGEST_SITE)
    return longest * _SITE_PIXELS + 10 if longest else 0


def _short(name: str, longest: int = _LONGEST_SITE) -> str:
    return name if len(name) <= longest else name[: longest - 1] + "…"


def _name_sites(
    sheet: Sheet, sites: Sequence[_Site], top: float, height: float, right: float
) -> None:
    """Write the name of each site beside its first row, with a line above it.

    Names of sites with few subjects would cover each other. So the last one that has room says how
    many sites follow it.
    """
    if not any(site.name for site in sites):
        return
    at, free_from = top, top
    named: list[tuple[float, str, int]] = []
    for site in sites:
        if at >= free_from:
            named.append((at, site.name or "no site", 0))
            free_from = at + _LABEL_HEIGHT
        else:
            named[-1] = (*named[-1][:2], named[-1][2] + 1)
        at += height * len(site.rows)
    for place, name, more in named:
        sheet.box(4, place - 1, right - 4, 1, FAINT)
        end = f" +{more}" if more else ""
        words = _short(name, _LONGEST_SITE - len(end)) + end
        sheet.text(8, place + max(height / 2 + 4, 9), words, size=10)


def _cell(states: Mapping[int, str], row: Sequence[int]) -> Cell:
    counted = Counter(states.get(subject, "") for subject in row)
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
        sheet.box(left, top, share, height * count, STATE_COLOURS.get(state, _NO_EXPORT))
        left += share
    if len(cell) == 1 and height > _GAP * 4:
        for place in range(1, count + 1):
            sheet.box(left - wide, top + place * height - 1, wide, 1, "#ffffff")


def _name_rows(
    sheet: Sheet,
    sites: Sequence[_Site],
    names: Mapping[int, tuple[str, str]],
    right: float,
    top: float,
    height: float,
) -> None:
    """Write the label of the first subject of a row; of low rows, only where there is room."""
    at, free_from = top, top
    for site in sites:
        for place, row in enumerate(site.rows):
            is_first = place == 0 or height > _GAP * 4
            room = height * (len(site.rows) - place)
            if at >= free_from and (is_first or room >= _LABEL_HEIGHT):
                label = names.get(row[0], ("", str(row[0])))[1]
                base = at + max(height / 2 + 4, 9)
                sheet.text(right, base, label, anchor="end", size=10, colour=INK)
                free_from = at + (height if height > _GAP * 4 else _LABEL_HEIGHT)
            at += height


def _legend_entries(counted: Mapping[str, int]) -> Iterator[tuple[float, str, str, bool]]:
    """Yield the place of each entry, its words, its colour, and whether there is one in the map."""
    left = 10.0
    for state, colour in (*STATE_COLOURS.items(), ("no export", _NO_EXPORT)):
        number = counted.get(state, 0)
        words = state if colour == _NO_EXPORT else f"{state} {number:,}"
        yield left, words, colour, number > 0
        left += max(_LEGEND, _LEGEND_BOX + len(words) * _LEGEND_PIXELS)


def _width_of_legend(counted: Mapping[str, int]) -> float:
    *_, (left, words, *_) = _legend_entries(counted)
    return left + _LEGEND_BOX + len(words) * _LEGEND_PIXELS


def _legend(sheet: Sheet, counted: Mapping[str, int], base: float) -> None:
    for left, words, colour, is_there in _legend_entries(counted):
        sheet.box(left, base - 9, 10, 10, colour)
        sheet.text(left + 14, base, words, size=10, colour=INK if is_there else FAINT)
