"""Charts: SVG pictures of numbers.

Belongs here: shapes and colours. Does not belong: where the numbers come from, or where a chart is
shown.
"""

from cp_pipeline.charts.bars import bars
from cp_pipeline.charts.coverage import coverage_map
from cp_pipeline.charts.curves import curve
from cp_pipeline.charts.svg import in_markdown, label_in_markdown

__all__ = ["bars", "coverage_map", "curve", "in_markdown", "label_in_markdown"]
