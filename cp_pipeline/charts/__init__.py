"""Charts: SVG pictures of numbers.

Belongs here: shapes and colours. Does not belong: where the numbers come from, or where a chart is
shown.
"""

from cp_pipeline.charts.bars import (
    ANSWER_COLOURS as ANSWER_COLOURS,
    bars as bars,
    share_bar as share_bar,
)
from cp_pipeline.charts.coverage import (
    ROWS_WITH_NAMES as ROWS_WITH_NAMES,
    STATE_COLOURS as STATE_COLOURS,
    coverage_map as coverage_map,
)
from cp_pipeline.charts.curves import curve as curve
from cp_pipeline.charts.svg import (
    in_markdown as in_markdown,
    label_in_markdown as label_in_markdown,
)
