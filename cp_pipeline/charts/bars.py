"""A bar chart of a few named quantities, such as the timings of a run.

Belongs here: drawing the bars. Does not belong: measuring (``ingest.timings``).
"""

from collections.abc import Mapping

from cp_pipeline.charts.svg import FAINT, Sheet

_ROW, _NAMES, _WIDTH, _NUMBERS = 22, 150, 300, 70
_COLOUR = "#2563a8"


def bars(title: str, quantities: Mapping[str, float], unit: str) -> str:
    """Draw one bar for each quantity, in the given order; return an SVG picture."""
    sheet = Sheet(_NAMES + _WIDTH + _NUMBERS, 30 + _ROW * len(quantities))
    sheet.text(8, 17, title)
    most = max(quantities.values(), default=0.0) or 1.0
    for place, (name, quantity) in enumerate(quantities.items()):
        top = 28 + _ROW * place
        length = quantity / most * _WIDTH
        sheet.text(_NAMES - 8, top + 12, name, anchor="end")
        sheet.box(_NAMES, top + 2, max(length, 0.5), _ROW - 8, _COLOUR)
        sheet.text(_NAMES + length + 6, top + 12, f"{quantity:,.2f} {unit}", colour=FAINT)
    return sheet.drawn()
