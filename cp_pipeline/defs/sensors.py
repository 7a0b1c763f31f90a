"""The sensor ``new_program_executions``: the study keeps itself current.

Belongs here: when to ask CentrePoint, which run to request, and saying why none is requested.
Does not belong: what is new (``ingest.look_survey``), which failed partitions may be tried again
(``ingest.retry_schedule``).

A tick looks for new program executions and requests at most one run; of a burst, as many as may
write at once, which is one unless the warehouse is a DuckLake. It never takes long: what it
could not finish, the next tick goes on with. A run lists the files of many subjects; a tick lists
the files of few. Once a day a run lists the whole study, which alone finds withdrawn exports.
"""

import hashlib
import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from math import ceil

import dagster as dg

from cp_pipeline.centrepoint import PAGE_SIZE
from cp_pipeline.defs.active_runs import Covers, active_runs
from cp_pipeline.defs.asset_tags import TAGS
from cp_pipeline.defs.assets import load_assets
from cp_pipeline.defs.events import EXPORT_FILES, listing_metadata, observations
from cp_pipeline.defs.instance.event_batches import EventBatches
from cp_pipeline.defs.instance.pool import slots_of_pool
from cp_pipeline.defs.jobs import load_partitions_job
from cp_pipeline.defs.jobs import sync as sync_job
from cp_pipeline.defs.load_steps import STUDY_TAG
from cp_pipeline.defs.missing_events import newest_event, recover_orphaned_runs
from cp_pipeline.defs.partitions import register
from cp_pipeline.defs.resources import PipelineResource
from cp_pipeline.domain.errors import PipelineError
from cp_pipeline.domain.exports import Partition
from cp_pipeline.domain.texts import NO_EXPORTS, count
from cp_pipeline.ingest import (
    SUBJECTS_AT_ONCE,
    Look,
    LookPosition,
    LookSurvey,
    Pipeline,
    Plan,
    RetrySchedule,
)

# Dagster ends a tick after 60 s, and its cursor is lost then. So a tick waits for CentrePoint for
# so long in all, and for another process that holds the warehouse.
LOOK_SECONDS = 12.0
_WAREHOUSE_SECONDS = 5.0
_LONGEST_PAUSE = timedelta(hours=1)
_UPLOADS_EVERY = timedelta(hours=1)
# Looks take at most this share of the minute's requests, however often the sensor ticks.
_SHARE_OF_REQUESTS = 0.25
# More are not shown as stale while they wait for their run; an observation takes 2 ms.
_OBSERVED = 500
# Missing events are stored by so many a tick.
_EVENTS = 2000


@dataclass(slots=True)
class Memory:
    """What one tick tells the next, as JSON in Dagster's cursor.

    ``not_before``: seconds since 1970; no look earlier. ``troubles``: ticks in a row that could not
    ask CentrePoint. ``asked``: a digest of what was last requested, and ``times`` how often, which
    grows only where a run for it changed nothing. ``at``: when this was written; a clock that has
    gone back since may have been wrong by years. ``study`` and ``offset``: where the look goes on.
    ``uploads_at``: when the times of uploads were last recorded.
    """

    not_before: float = 0.0
    troubles: int = 0
    asked: str = ""
    times: int = 0
    at: float = 0.0
    study: int = 0
    offset: int = 0
    uploads_at: float = 0.0

    @classmethod
    def read(cls, cursor: str | None) -> "Memory":
        """What the last tick said; nothing, if another version of cp-pipeline wrote it."""
        try:
            said = json.loads(cursor or "{}")
            # Up to 0.1.0.
            said.pop("looked_after", None)
            return cls(**said)
        except (ValueError, TypeError, AttributeError):
            return cls()

    def write(self) -> str:
        """For the next tick."""
        return json.dumps(asdict(self))


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
    """Look at CentrePoint once, and request at most one run.

    Args:
        instance: where partitions are registered and runs are looked up.
        source: opens the configured studies.
        memory: of the tick before; changed, and stored in the result.
        seconds: between ticks.
        now: the current time (UTC).
    """
    moment = now or datetime.now(UTC)
    if moment.timestamp() < memory.at:
        memory.not_before = 0.0
    memory.at = moment.timestamp()
    if memory.at < memory.not_before:
        message = f"the next look is at {_clock(memory.not_before)}"
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
        return _request_partitions(instance, pipeline, found.plan, wanted, memory, seconds, moment)
    # One after another: there is one slot, and a run of a burst takes a while.
    if not active and not found.failure and (found.to_list or listing_is_due):
        slots = slots_of_pool(instance) if pipeline.storage.has_many_writers else 1
        return _request_sync(pipeline, found.to_list, slots, memory, seconds, moment)
    if found.changed:
        metadata = listing_metadata(pipeline.states(), pipeline.names())
        event = dg.AssetMaterialization(EXPORT_FILES, metadata=metadata)
        instance.report_runless_asset_event(event)
    reason = _nothing_to_request(found, retry_schedule, active)
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
    last = pipeline.last_whole_listing()
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


def _request_partitions(
    instance: dg.DagsterInstance,
    pipeline: Pipeline,
    plan: Plan,
    wanted: Collection[Partition],
    memory: Memory,
    seconds: int,
    moment: datetime,
) -> dg.SensorResult:
    stale = [item for item in plan.replaced if item.partition in set(wanted)]
    with EventBatches(instance) as events:
        for observation in observations(stale[:_OBSERVED]):
            events.log(observation)
    by_dataset: dict[str, list[int]] = {}
    for partition in sorted(wanted):
        by_dataset.setdefault(partition.dataset_name, []).append(partition.subject_id)
    config = {"partitions": by_dataset, "refresh": False}
    versions = sorted(
        f"{each.export_file.key} {each.export_file.version}"
        for partition in wanted
        for each in plan.to_load[partition]
    )
    ops = {"load_chosen_partitions": {"config": config}}
    return _request(pipeline, "load_partitions", [ops], versions, memory, seconds, moment)


def _request_sync(
    pipeline: Pipeline,
    subjects: Collection[int],
    slots: int,
    memory: Memory,
    seconds: int,
    moment: datetime,
) -> dg.SensorResult:
    """Request the job ``sync`` for the whole study, or for these subjects, in ``slots`` runs."""
    some = sorted(subjects)
    ops = [
        {"sync_exports": {"config": {"subject_ids": each, "only_due": True}}}
        for each in divided(some, slots)
    ]
    return _request(pipeline, "sync", ops, map(str, some), memory, seconds, moment)


def divided(subjects: Sequence[int], slots: int) -> list[Sequence[int]]:
    """Divide the subjects of a burst among runs, each with as many as it lists at once."""
    size = max(ceil(len(subjects) / slots), SUBJECTS_AT_ONCE)
    return [subjects[start : start + size] for start in range(0, len(subjects), size)] or [subjects]


def _request(
    pipeline: Pipeline,
    job: str,
    ops: Sequence[Mapping[str, object]],
    what: Iterable[str],
    memory: Memory,
    seconds: int,
    moment: datetime,
) -> dg.SensorResult:
    digest = hashlib.sha256("\n".join([job, *what]).encode()).hexdigest()[:16]
    memory.times = memory.times + 1 if digest == memory.asked else 1
    memory.asked = digest
    # A run that neither loaded nor recorded a failure is not requested again at once, for ever.
    pause = _growing(seconds, memory.times - 1) if memory.times > 1 else timedelta(0)
    memory.not_before = max(memory.not_before, (moment + pause).timestamp())
    studies = ",".join(map(str, pipeline.centrepoint.settings.study_ids))
    requests = [
        dg.RunRequest(
            run_key=f"{digest}-{memory.times}-{moment.timestamp():.0f}-{number}",
            job_name=job,
            run_config={"ops": dict(each)},
            tags={STUDY_TAG: studies},
        )
        for number, each in enumerate(ops)
    ]
    return dg.SensorResult(run_requests=requests, cursor=memory.write())


def _in_trouble(
    memory: Memory, error: PipelineError, seconds: int, moment: datetime
) -> dg.SensorResult:
    memory.troubles += 1
    memory.not_before = (moment + _growing(seconds, memory.troubles - 1)).timestamp()
    message = f"{error} Trying again at {_clock(memory.not_before)}."
    return dg.SensorResult(skip_reason=message, cursor=memory.write())


def _growing(seconds: int, times: int) -> timedelta:
    return min(timedelta(seconds=seconds * float(2 ** min(times, 12))), _LONGEST_PAUSE)


def _next_look(moment: datetime, found: LookSurvey, pipeline: Pipeline) -> datetime:
    """When to look again without taking too many of the minute's requests."""
    # A look, a count and a listing of a small study are not worth a pause.
    return moment + _share(pipeline, max(found.requests - 3, 0))


def _share(pipeline: Pipeline, requests: int) -> timedelta:
    allowed = pipeline.centrepoint.settings.requests_per_minute * _SHARE_OF_REQUESTS
    return timedelta(minutes=requests / allowed)


def _nothing_to_request(
    found: LookSurvey, retry_schedule: RetrySchedule, active: Iterable[str]
) -> str:
    if not found.recorded and not found.to_list and not found.invalid and not found.failure:
        return NO_EXPORTS
    reasons = []
    runs = ", ".join(run_id[:8] for run_id in active)
    if retry_schedule.due:
        reasons.append(f"{count(len(retry_schedule.due), 'partition')} being loaded (run {runs})")
    if found.to_list:
        subjects = count(len(found.to_list), "subject")
        reasons.append(f"{subjects} with new executions, listed after the active run ({runs})")
    if retry_schedule.waiting:
        soonest = min(retry_schedule.waiting.values()).timestamp()
        reasons.append(
            f"{count(len(retry_schedule.waiting), 'partition')} failed and waiting, the first "
            f"until {_clock(soonest)}"
        )
    if retry_schedule.given_up:
        named = "; ".join(str(partition) for partition in sorted(retry_schedule.given_up)[:3])
        reasons.append(
            f"{count(len(retry_schedule.given_up), 'partition')} failed too often, waiting for a "
            f"person ({named})"
        )
    if found.invalid:
        reasons.append(
            f"{count(len(found.invalid), 'listed item')} cannot be used ({found.invalid[0]})"
        )
    reasons += [remark.rstrip(".") for remark in found.plan.remarks()]
    reasons += _about_the_look(found)
    if not reasons:
        return f"all {found.recorded:,} listed exports are loaded"
    return "; ".join(reasons)


def _about_the_look(found: LookSurvey) -> list[str]:
    look: Look = found.look
    reasons = []
    if found.failure is not None:
        reasons.append(str(found.failure).rstrip("."))
    if look.position is not None:
        reasons.append(f"the look goes on at subject {look.position.offset:,}")
    if look.invalid:
        reasons.append(f"{count(look.invalid, 'listed subject')} cannot be read")
    if not look.has_subjects:
        reasons.append("the service does not list subjects, so runs list all files")
    if found.without_files:
        reasons.append(f"{count(found.without_files, 'program execution')} yielded no file")
    return reasons


def _clock(timestamp: float) -> str:
    return f"{datetime.fromtimestamp(timestamp, UTC):%H:%M:%S} UTC"
