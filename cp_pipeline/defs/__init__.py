"""Dagster: partitions, assets, checks, jobs, sensors, and the function that combines them.

Belongs here: everything that uses Dagster; it calls ``ingest`` for the work.
Does not belong: HTTP, SQL.
"""

import warnings

# We use these features on purpose, and pin Dagster's minor version. By its text, because importing
# Dagster takes a second, and not every module here needs it.
warnings.filterwarnings("ignore", message=".*is currently in beta")
