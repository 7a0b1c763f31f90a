"""A thin bar that is divided among named parts, such as states; for a cell of a table.

Belongs here: drawing the bar. Does not belong: the numbers, which stand beside it as text.
"""

from collections.abc import Mapping
from html import escape

from cp_pipeline.charts.coverage import STATE_COLOURS

# Yes, unknown, no: told apart without red and green, too.
ANSWER_COLOURS = {"yes": "#2a9d68", "unknown": "#9aa7b5", "no": "#b8432f"}
_COLOURS = {**STATE_COLOURS, **ANSWER_COLOURS}
_WIDTH, _HEIGHT, _LEAST = 120, 10, 1.5


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
