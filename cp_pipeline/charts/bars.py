"""Bars: one for each of a few named quantities, or a thin one that is divided among named parts.

Belongs here: drawing the bars. Does not belong: measuring (``ingest.timings``), the numbers that
stand beside a divided bar as text.
"""

from collections.abc import Mapping
from html import escape

from cp_pipeline.charts.coverage import STATE_COLOURS
from cp_pipeline.charts.svg import FAINT, Sheet

# Yes, unknown, no: told apart without red and green, too.
ANSWER_COLOURS = {"yes": "#2a9d68", "unknown": "#9aa7b5", "no": "#b8432f"}
_COLOURS = {**STATE_COLOURS, **ANSWER_COLOURS}
_COLOUR = "#2563a8"
_ROW, _NAMES, _LONGEST, _NUMBERS = 22, 150, 300, 70
# Of a divided bar.
_WIDTH, _HEIGHT, _LEAST = 120, 10, 1.5


def bars(title: str, quantities: Mapping[str, float], unit: str) -> str:
    """Draw one bar for each quantity, in the given order; return an SVG picture."""
    sheet = Sheet(_NAMES + _LONGEST + _NUMBERS, 30 + _ROW * len(quantities))
    sheet.text(8, 17, title)
    most = max(quantities.values(), default=0.0) or 1.0
    for place, (name, quantity) in enumerate(quantities.items()):
        top = 28 + _ROW * place
        length = quantity / most * _LONGEST
        sheet.text(_NAMES - 8, top + 12, name, anchor="end")
        sheet.box(_NAMES, top + 2, max(length, 0.5), _ROW - 8, _COLOUR)
        sheet.text(_NAMES + length + 6, top + 12, f"{quantity:,.2f} {unit}", colour=FAINT)
    return sheet.drawn()


def share_bar(parts: Mapping[str, int], whole: int = 0) -> str:
    """Draw a bar divided among parts in the given order; return an SVG picture without a sheet.

    A part that is there is seen, however small it is.

    Args:
        parts: the number of each part, by a name of ``STATE_COLOURS`` or ``ANSWER_COLOURS``.
        whole: what the width of the bar stands for; by default, the sum of the parts.
    """
    shown = {name: number for name, number in parts.items() if number > 0}
    everything = max(sum(shown.values()), whole)
    words = ", ".join(f"{name} {number:,}" for name, number in shown.items()) or "nothing"
    room = _WIDTH - _LEAST * len(shown)
    left, boxes = 0.0, []
    for name, number in shown.items():
        width = _LEAST + room * number / everything
        boxes.append(
            f"<rect x='{left:.2f}' width='{width:.2f}' height='{_HEIGHT}' fill='{_COLOURS[name]}'/>"
        )
        left += width
    return (
        f"<svg xmlns='http://www.w3.org/2000/svg' role='img' aria-label='{escape(words)}'"
        f" width='{_WIDTH}' height='{_HEIGHT}' viewBox='0 0 {_WIDTH} {_HEIGHT}'>"
        + "".join(boxes)
        + "</svg>"
    )
