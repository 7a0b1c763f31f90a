"""The sensor ``new_program_executions``: the study keeps itself current.

Belongs here: when to ask CentrePoint, and whether to request a run.
Does not belong: what is new (``ingest.look_survey``), which failed partitions may be tried again
(``ingest.retry_schedule``), the run (``sensor_requests``), the words if there is none
(``sensor_reasons``).

A tick looks for new program executions and requests at most one run; of a burst, as many as may
write at once, which is one unless the warehouse is a DuckLake. It never takes long: what it
could not finish, the next tick goes on with. A run lists the files of many subjects; a tick lists
the files of few. Once a day a run lists the whole study, which alone finds withdrawn exports.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from math import ceil

import dagster as dg

from cp_pipeline.centrepoint import PAGE_SIZE
from cp_pipeline.defs.active_runs import Covers, active_runs
from cp_pipeline.defs.asset_tags import TAGS
from cp_pipeline.defs.assets import load_assets
from cp_pipeline.defs.events import EXPORT_FILES, listing_metadata
from cp_pipeline.defs.instance.pool import slots_of_pool
from cp_pipeline.defs.jobs import load_partitions_job, sync as sync_job
from cp_pipeline.defs.missing_events import newest_event, recover_orphaned_runs
from cp_pipeline.defs.partitions import register
from cp_pipeline.defs.resources import PipelineResource
from cp_pipeline.defs.sensor_memory import Memory, growing
from cp_pipeline.defs.sensor_reasons import clock, nothing_to_request
from cp_pipeline.defs.sensor_requests import request_partitions, request_sync
from cp_pipeline.domain.errors import PipelineError
from cp_pipeline.domain.exports import Partition
from cp_pipeline.ingest import LookPosition, LookSurvey, Pipeline
from cp_pipeline.warehouse import last_whole_listing

# Dagster ends a tick after 60 s, and its cursor is lost then. So a tick waits for CentrePoint for
# so long in all, and for another process that holds the warehouse.
LOOK_SECONDS = 12.0
_WAREHOUSE_SECONDS = 5.0
_UPLOADS_EVERY = timedelta(hours=1)
# Looks take at most this share of the minute's requests, however often the sensor ticks.
_SHARE_OF_REQUESTS = 0.25
# Missing events are stored by so many a tick.
_EVENTS = 2000


def new_program_executions(seconds: int) -> dg.SensorDefinition:
    """The sensor, ticking every so many seconds."""

    @dg.sensor(
        name="new_program_executions",
        # The last one is never requested. Dagster shows a sensor on the page of an asset only if
        # the sensor has a job of that asset, and the others are op jobs.
        jobs=[load_partitions_job, sync_job, load_assets],
        minimum_interval_seconds=seconds,
        default_status=dg.DefaultSensorStatus.RUNNING,
        tags=TAGS,
        description=(
            "Asks CentrePoint which programs were executed since the last look (100 subjects a "
            "request), lists the files of those, and loads exactly these partitions in one run. "
            "If many subjects are new, the job `sync` lists and loads them in one run, 200 at a "
            "time. Once a day (CP_WHOLE_LISTING_HOURS), `sync` lists the whole study. A partition "
            "that failed is tried again with growing pauses, six times in all; then it waits for a "
            "person. CP_SENSOR_SECONDS sets how often."
        ),
    )
    def sensor(
        context: dg.SensorEvaluationContext, source: dg.ResourceParam[PipelineResource]
    ) -> dg.SensorResult:
        return tick(context.instance, source, Memory.read(context.cursor), seconds)

    return sensor


def tick(
    instance: dg.DagsterInstance,
    source: PipelineResource,
    memory: Memory,
    seconds: int,
    now: datetime | None = None,
) -> dg.SensorResult:
    """Look at CentrePoint once, and request at most one run; ``seconds`` are between ticks.

    The ``memory`` of the tick before is changed, and stored in the result.
    """
    moment = now or datetime.now(UTC)
    if moment.timestamp() < memory.at:
        memory.not_before = 0.0
    memory.at = moment.timestamp()
    if memory.at < memory.not_before:
        message = f"the next look is at {clock(memory.not_before)}"
        return dg.SensorResult(skip_reason=message, cursor=memory.write())
    listed_after = newest_event(instance)
    try:
        pipeline = source.open()
        pipeline.wait_at_most(_WAREHOUSE_SECONDS)
        found = _look(pipeline, memory, moment)
        retry_schedule = pipeline.retry_schedule(found.plan, moment)
        listing_is_due = _listing_is_due(pipeline, found, moment)
    except PipelineError as error:
        return _in_trouble(memory, error, seconds, moment)
    if not found.look.pages and found.look.has_subjects:
        silence = PipelineError(f"CentrePoint did not answer within {LOOK_SECONDS:.0f} s.")
        return _in_trouble(memory, silence, seconds, moment)
    memory.troubles = 0
    memory.not_before = _next_look(moment, found, pipeline).timestamp()
    register(instance, [*found.plan.to_load, *found.plan.pending])
    active = active_runs(instance, source.run_locks())
    if not active:
        recover_orphaned_runs(pipeline, instance, source.run_locks(), listed_after, _EVENTS)
    wanted = [each for each in retry_schedule.due if not _is_covered(each, active)]
    if wanted:
        return request_partitions(instance, pipeline, found.plan, wanted, memory, seconds, moment)
    # One after another: there is one slot, and a run of a burst takes a while.
    if not active and not found.failure and (found.to_list or listing_is_due):
        slots = slots_of_pool(instance) if pipeline.storage.has_many_writers else 1
        return request_sync(pipeline, found.to_list, slots, memory, seconds, moment)
    if found.changed:
        metadata = listing_metadata(pipeline.states(), pipeline.names())
        event = dg.AssetMaterialization(EXPORT_FILES, metadata=metadata)
        instance.report_runless_asset_event(event)
    reason = nothing_to_request(found, retry_schedule, active)
    return dg.SensorResult(skip_reason=reason, cursor=memory.write())


def _look(pipeline: Pipeline, memory: Memory, moment: datetime) -> LookSurvey:
    """Take a look, or a part of one; the memory says where the next one begins."""
    since = moment.timestamp() - memory.uploads_at
    uploads = not 0 <= since < _UPLOADS_EVERY.total_seconds()
    start = LookPosition(memory.study, memory.offset)
    found = pipeline.look(start, LOOK_SECONDS, uploads=uploads, now=moment)
    position = found.look.position or LookPosition()
    memory.study, memory.offset = position.study, position.offset
    if uploads and found.look.position is None:
        memory.uploads_at = moment.timestamp()
    return found


def _listing_is_due(pipeline: Pipeline, found: LookSurvey, moment: datetime) -> bool:
    """Whether a run must list the whole study.

    Once a day. If the service does not list subjects, as often as its share of requests allows.
    """
    last = last_whole_listing(pipeline.questions, pipeline.centrepoint.settings.study_ids)
    if not found.look.has_subjects and last is None:
        return True
    if not found.recorded or found.to_list or found.look.position is not None:
        # Nothing was ever listed, or a run of a burst comes first.
        return False
    if last is None:
        return True
    pause = timedelta(hours=pipeline.centrepoint.settings.whole_listing_hours)
    if not found.look.has_subjects:
        requests = ceil(found.recorded / PAGE_SIZE)
        pause = min(pause, max(_share(pipeline, requests), timedelta(hours=1)))
    # Also a time far in the future: the clock was set back.
    return abs(moment - last) >= pause


def _is_covered(partition: Partition, active: Mapping[str, Covers]) -> bool:
    return any(covers(partition) for covers in active.values())


def _next_look(moment: datetime, found: LookSurvey, pipeline: Pipeline) -> datetime:
    """When to look again without taking too many of the minute's requests."""
    # A look, a count and a listing of a small study are not worth a pause.
    return moment + _share(pipeline, max(found.requests - 3, 0))


def _share(pipeline: Pipeline, requests: int) -> timedelta:
    allowed = pipeline.centrepoint.settings.requests_per_minute * _SHARE_OF_REQUESTS
    return timedelta(minutes=requests / allowed)


def _in_trouble(
    memory: Memory, error: PipelineError, seconds: int, moment: datetime
) -> dg.SensorResult:
    memory.troubles += 1
    memory.not_before = (moment + growing(seconds, memory.troubles - 1)).timestamp()
    message = f"{error} Trying again at {clock(memory.not_before)}."
    return dg.SensorResult(skip_reason=message, cursor=memory.write())
