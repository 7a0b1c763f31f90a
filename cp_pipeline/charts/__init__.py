"""Charts: SVG pictures of numbers.

Belongs here: shapes and colours. Does not belong: where the numbers come from, or where a chart is
shown.
"""

from cp_pipeline.charts.bars import ANSWER_COLOURS, bars, share_bar
from cp_pipeline.charts.coverage import ROWS_WITH_NAMES, STATE_COLOURS, coverage_map
from cp_pipeline.charts.curves import curve
from cp_pipeline.charts.svg import in_markdown, label_in_markdown

__all__ = [
    "ANSWER_COLOURS",
    "ROWS_WITH_NAMES",
    "STATE_COLOURS",
    "bars",
    "coverage_map",
    "curve",
    "in_markdown",
    "label_in_markdown",
    "share_bar",
]
