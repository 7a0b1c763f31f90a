"""One assembly for production, the command line and tests.

Belongs here: the list of what there is. Does not belong: anything else.
"""

import dagster as dg

from cp_pipeline.defs.assets import dataset_exports, export_files, listed_executions
from cp_pipeline.defs.checks import dataset_exports_checks
from cp_pipeline.defs.jobs import compact, load_partitions_job, sync
from cp_pipeline.defs.locked_runs import locking_runs
from cp_pipeline.defs.publish_job import publishing_definitions
from cp_pipeline.defs.resources import PipelineResource
from cp_pipeline.defs.sensors import new_program_executions
from cp_pipeline.settings import SENSOR_SECONDS


def build_defs(
    source: PipelineResource | None = None,
    sensor_seconds: int = SENSOR_SECONDS,
    models: dg.Definitions | None = None,
) -> dg.Definitions:
    """All definitions.

    Args:
        source: where exports come from and go to; by default what the environment names.
        sensor_seconds: how often CentrePoint is asked what is new.
        models: the SQL models, and what builds them (``dbt_project.model_definitions``). Reading
            them takes seconds; without them there is only what loads.
    """
    loading = dg.Definitions(
        assets=dg.with_source_code_references([export_files, listed_executions, dataset_exports]),
        asset_checks=[dataset_exports_checks],
        jobs=[sync, load_partitions_job, compact],
        sensors=[new_program_executions(sensor_seconds)],
        resources={"source": locking_runs(source or PipelineResource())},
        # Steps wait for one slot, so processes of their own would only take time and memory.
        executor=dg.in_process_executor,
    )
    if models is None:
        return loading
    keys = [
        key
        for each in models.assets or ()
        if isinstance(each, dg.AssetsDefinition)
        for key in sorted(each.keys)
    ]
    publishing = publishing_definitions(keys, [dataset_exports.key], sensor_seconds)
    return dg.Definitions.merge(loading, models, publishing)
