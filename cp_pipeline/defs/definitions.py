"""All Dagster definitions, the same for production, the command line and tests.

Belongs here: combining the definitions. Does not belong: a definition (``assets``, ``jobs``, …).
"""

import dagster as dg

from cp_pipeline.defs.answer_check import centrepoint_answers
from cp_pipeline.defs.assets import dataset_exports, export_files, listed_executions, load_assets
from cp_pipeline.defs.checks import dataset_exports_checks
from cp_pipeline.defs.jobs import compact, load_partitions_job, sync
from cp_pipeline.defs.locked_runs import locking_runs
from cp_pipeline.defs.problems import telling_definitions
from cp_pipeline.defs.publish_job import publishing_definitions
from cp_pipeline.defs.resources import PipelineResource
from cp_pipeline.defs.sensors import new_program_executions
from cp_pipeline.defs.study_details import study_details
from cp_pipeline.settings import SENSOR_SECONDS


def build_defs(
    source: PipelineResource | None = None,
    sensor_seconds: int = SENSOR_SECONDS,
    models: dg.Definitions | None = None,
) -> dg.Definitions:
    """Return all definitions.

    Args:
        source: opens the pipeline; by default with the settings of the environment.
        sensor_seconds: the seconds between two ticks of a sensor.
        models: the SQL models, and the resource that builds them
            (``dbt_project.model_definitions``). Reading them takes seconds. Without them, the
            definitions can load but not publish.
    """
    loading = dg.Definitions(
        assets=dg.with_source_code_references(
            [export_files, listed_executions, dataset_exports, study_details]
        ),
        asset_checks=[dataset_exports_checks, centrepoint_answers],
        jobs=[sync, load_partitions_job, load_assets, compact],
        sensors=[new_program_executions(sensor_seconds)],
        resources={"source": locking_runs(source or PipelineResource())},
        # One slot lets one step run at a time. So a process for each step would only cost time and
        # memory.
        executor=dg.in_process_executor,
    )
    if models is None:
        return loading
    keys = [
        key
        for assets in models.assets or ()
        if isinstance(assets, dg.AssetsDefinition)
        for key in sorted(assets.keys)
    ]
    publishing = publishing_definitions(keys, sensor_seconds)
    telling = telling_definitions(sensor_seconds, _check_keys(loading, models))
    return dg.Definitions.merge(loading, models, publishing, telling)


def _check_keys(*definitions: dg.Definitions) -> list[dg.AssetCheckKey]:
    """Return the keys of all checks, those of the models too."""
    return sorted(
        {
            key
            for each in definitions
            for assets in (*(each.assets or ()), *(each.asset_checks or ()))
            if isinstance(assets, dg.AssetsDefinition)
            for key in assets.check_keys
        },
        key=dg.AssetCheckKey.to_user_string,
    )
