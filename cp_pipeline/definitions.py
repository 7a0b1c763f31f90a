"""The Dagster definitions that ``dagster dev`` and ``workspace.yaml`` load.

Belongs here: preparing the process, then building the definitions. Does not belong: what the
definitions are (``defs``).
"""

from pathlib import Path

from cp_pipeline.defs.dbt_project import model_definitions
from cp_pipeline.defs.definitions import build_defs
from cp_pipeline.defs.partition_words import explain_partition_errors
from cp_pipeline.env_file import read_to_the_letter
from cp_pipeline.settings import anchor_paths, for_the_owner_alone, sensor_seconds

for_the_owner_alone()
explain_partition_errors()
read_to_the_letter(Path.cwd())
anchor_paths()
defs = build_defs(sensor_seconds=sensor_seconds(), models=model_definitions())
