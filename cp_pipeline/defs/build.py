"""One assembly for production, the command line and tests.

Belongs here: the list of what there is. Does not belong: anything else.
"""

import dagster as dg

from cp_pipeline.defs.assets import dataset_exports, export_files
from cp_pipeline.defs.jobs import sync
from cp_pipeline.defs.source import ExportsSource


def build_defs(source: ExportsSource | None = None) -> dg.Definitions:
    """All definitions.

    Args:
        source: where exports come from and go to; by default what the environment names.
    """
    return dg.Definitions(
        assets=[export_files, dataset_exports],
        jobs=[sync],
        resources={"source": source or ExportsSource()},
    )
