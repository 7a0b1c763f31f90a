"""All Dagster definitions, the same for production, the command line and tests.

Belongs here: combining the definitions, and the resource with which a run holds its lock. Does not
belong: another definition (``assets``, ``jobs``, …), the locks (``locks.run_locks``).
"""

import dagster as dg

from cp_pipeline.defs.answer_check import centrepoint_answers
from cp_pipeline.defs.assets import dataset_exports, export_files, listed_executions, load_assets
from cp_pipeline.defs.checks import dataset_exports_checks
from cp_pipeline.defs.jobs import compact, load_partitions_job, sync
from cp_pipeline.defs.problems import telling_definitions
from cp_pipeline.defs.publish_job import publishing_definitions
from cp_pipeline.defs.resources import PipelineResource
from cp_pipeline.defs.sensors import new_program_executions
from cp_pipeline.defs.study_details import study_details
from cp_pipeline.settings import SENSOR_SECONDS, variable_names


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
        resources={"source": _locking_runs(source or PipelineResource())},
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
    telling = telling_definitions(sensor_seconds)
    return dg.Definitions.merge(loading, models, publishing, telling)


def _locking_runs(source: PipelineResource) -> dg.ResourceDefinition:
    """Return the resource ``source``. A run that uses it holds its lock until its process ends.

    Dagster creates resources before the run's step waits for its slot. So a run that is killed
    while it waits is found too. A sensor has no run, and needs no lock.
    """

    def with_lock(context: dg.InitResourceContext) -> PipelineResource:
        if context.run is not None:
            source.run_locks().hold(context.run.run_id)
        return source

    names = ", ".join(f"`{name}`" for name in variable_names())
    return dg.ResourceDefinition(
        with_lock,
        description=(
            "Opens CentrePoint, the landing and the warehouse. Its settings are the variables "
            f"{names}. Their values are read in the run, and are stored and shown nowhere."
        ),
    )
