"""Each run holds a lock while its process lives.

Belongs here: when a run takes its lock. Does not belong: the locks (``locks.run_locks``), ending a
run whose process is gone (``instance.orphaned_runs``).
"""

import dagster as dg

from cp_pipeline.defs.resources import PipelineResource
from cp_pipeline.settings import variable_names


def locking_runs(source: PipelineResource) -> dg.ResourceDefinition:
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
