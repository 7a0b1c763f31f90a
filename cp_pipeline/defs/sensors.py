"""The sensor ``new_program_executions``: the study keeps itself current.

Belongs here: when to ask CentrePoint, what to ask for, and saying why not.
Does not belong: which failed partitions may be tried again (``ingest.retry_schedule``).

One listing a tick and at most one run, for exactly the partitions whose listed execution is not
the loaded one. A tick that has nothing to ask for says in words why.
"""

import hashlib
import json
from collections.abc import Collection, Iterable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta

import dagster as dg

from cp_pipeline.defs.active_runs import active_runs
from cp_pipeline.defs.asset_tags import TAGS
from cp_pipeline.defs.events import EXPORT_FILES, listing_metadata, observations
from cp_pipeline.defs.jobs import load_partitions_job
from cp_pipeline.defs.load_steps import STUDY_TAG, survey
from cp_pipeline.defs.missing_events import recover_orphaned_runs
from cp_pipeline.defs.resources import PipelineResource
from cp_pipeline.domain.errors import PipelineError
from cp_pipeline.domain.exports import Partition
from cp_pipeline.domain.texts import NO_EXPORTS, count
from cp_pipeline.ingest import Pipeline, Plan, RetrySchedule, Survey

# A tick may take a minute in all, so it does not wait long for a process that holds the warehouse.
_WAREHOUSE_SECONDS = 10.0
_LONGEST_PAUSE = timedelta(hours=1)
# Listing takes at most this share of the minute's requests, however often the sensor ticks.
_SHARE_OF_REQUESTS = 0.25
_ITEMS_A_REQUEST = 100
# More are not shown as stale while they wait for their run; an observation takes 2 ms.
_OBSERVED = 500
# Missing events are stored by so many a tick.
_EVENTS = 2000


@dataclass(slots=True)
class Memory:
    """What one tick tells the next, as JSON in Dagster's cursor.

    ``not_before``: seconds since 1970; no listing earlier. ``troubles``: ticks in a row that could
    not ask CentrePoint. ``asked``: a digest of the partitions and executions last asked for, and
    ``times`` how often, which grows only where a run for them changed nothing. ``at``: when this
    was written; a clock that has gone back since may have been wrong by years.
    """

    not_before: float = 0.0
    troubles: int = 0
    asked: str = ""
    times: int = 0
    at: float = 0.0

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
        job=load_partitions_job,
        minimum_interval_seconds=seconds,
        default_status=dg.DefaultSensorStatus.RUNNING,
        tags=TAGS,
        description=(
            "Asks CentrePoint what there is, and loads exactly the partitions whose program was "
            "executed since they were loaded, all in one run. A partition that failed is tried "
            "again with growing pauses, six times in all; then it waits for a person. "
            "CP_SENSOR_SECONDS sets how often."
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
    """One look at CentrePoint.

    Args:
        instance: where partitions are registered and runs are looked up.
        source: opens the configured studies.
        memory: of the tick before; changed and handed on.
        seconds: between ticks.
        now: the moment.
    """
    moment = now or datetime.now(UTC)
    if moment.timestamp() < memory.at:
        memory.not_before = 0.0
    memory.at = moment.timestamp()
    if memory.at < memory.not_before:
        words = f"the next listing is at {_clock(memory.not_before)}"
        return dg.SensorResult(skip_reason=words, cursor=memory.write())
    try:
        pipeline = source.open()
        pipeline.wait_at_most(_WAREHOUSE_SECONDS)
        found, listed_after = survey(instance, pipeline)
        retry_schedule = pipeline.retry_schedule(found.plan, moment)
    except PipelineError as error:
        return _in_trouble(memory, error, seconds, moment)
    memory.troubles = 0
    memory.not_before = _next_listing(moment, found, pipeline).timestamp()
    active = active_runs(instance, source.run_locks())
    if not active:
        recover_orphaned_runs(pipeline, instance, source.run_locks(), listed_after, _EVENTS)
    wanted = [
        partition
        for partition in retry_schedule.due
        if not any(covers(partition) for covers in active.values())
    ]
    if not wanted:
        if found.changed:
            record = dg.AssetMaterialization(
                EXPORT_FILES, metadata=listing_metadata(pipeline.states())
            )
            instance.report_runless_asset_event(record)
        reason = _nothing_to_ask(found, retry_schedule, active)
        return dg.SensorResult(skip_reason=reason, cursor=memory.write())
    return _ask_for(instance, pipeline, found.plan, wanted, memory, seconds, moment)


def _ask_for(
    instance: dg.DagsterInstance,
    pipeline: Pipeline,
    plan: Plan,
    wanted: Collection[Partition],
    memory: Memory,
    seconds: int,
    moment: datetime,
) -> dg.SensorResult:
    digest = _digest(plan, wanted)
    memory.times = memory.times + 1 if digest == memory.asked else 1
    memory.asked = digest
    # A run that neither loaded nor recorded a failure, asked for anew: not at once for ever.
    pause = _growing(seconds, memory.times - 1) if memory.times > 1 else timedelta(0)
    memory.not_before = max(memory.not_before, (moment + pause).timestamp())
    stale = [item for item in plan.replaced if item.partition in set(wanted)]
    for observation in observations(stale[:_OBSERVED]):
        instance.report_runless_asset_event(observation)
    by_dataset: dict[str, list[int]] = {}
    for partition in sorted(wanted):
        by_dataset.setdefault(partition.dataset_name, []).append(partition.subject_id)
    config = {"partitions": by_dataset, "refresh": False}
    studies = ",".join(map(str, pipeline.centrepoint.settings.study_ids))
    request = dg.RunRequest(
        run_key=f"{digest}-{memory.times}",
        run_config={"ops": {"load_chosen_partitions": {"config": config}}},
        tags={STUDY_TAG: studies},
    )
    return dg.SensorResult(run_requests=[request], cursor=memory.write())


def _in_trouble(
    memory: Memory, error: PipelineError, seconds: int, moment: datetime
) -> dg.SensorResult:
    memory.troubles += 1
    memory.not_before = (moment + _growing(seconds, memory.troubles - 1)).timestamp()
    words = f"{error} Trying again at {_clock(memory.not_before)}."
    return dg.SensorResult(skip_reason=words, cursor=memory.write())


def _growing(seconds: int, times: int) -> timedelta:
    return min(timedelta(seconds=seconds * float(2 ** min(times, 12))), _LONGEST_PAUSE)


def _next_listing(moment: datetime, found: Survey, pipeline: Pipeline) -> datetime:
    """When the listing may be read again without taking too many of the minute's requests."""
    requests = len(found.items) // _ITEMS_A_REQUEST
    allowed = pipeline.centrepoint.settings.requests_per_minute * _SHARE_OF_REQUESTS
    return moment + timedelta(minutes=requests / allowed)


def _nothing_to_ask(found: Survey, retry_schedule: RetrySchedule, active: Iterable[str]) -> str:
    if found.is_empty:
        return NO_EXPORTS
    reasons = []
    if retry_schedule.due:
        runs = ", ".join(run_id[:8] for run_id in active)
        reasons.append(f"{count(len(retry_schedule.due), 'partition')} being loaded (run {runs})")
    if retry_schedule.waiting:
        soonest = min(retry_schedule.waiting.values()).timestamp()
        reasons.append(
            f"{count(len(retry_schedule.waiting), 'partition')} failed and waiting, the first "
            "until "
            f"{_clock(soonest)}"
        )
    if retry_schedule.given_up:
        named = "; ".join(str(partition) for partition in sorted(retry_schedule.given_up)[:3])
        reasons.append(
            f"{count(len(retry_schedule.given_up), 'partition')} failed too often, waiting for a "
            "person "
            f"({named})"
        )
    if found.invalid:
        reasons.append(
            f"{count(len(found.invalid), 'listed item')} cannot be used ({found.invalid[0]})"
        )
    reasons += [remark.rstrip(".") for remark in (*found.plan.remarks(), *found.remarks())]
    if not reasons:
        return f"all {len(found.items):,} listed exports are loaded"
    return "; ".join(reasons)


def _digest(plan: Plan, wanted: Iterable[Partition]) -> str:
    names = sorted(
        f"{each.export_file.key} {each.export_file.version}"
        for partition in wanted
        for each in plan.to_load[partition]
    )
    return hashlib.sha256("\n".join(names).encode()).hexdigest()[:16]


def _clock(timestamp: float) -> str:
    return f"{datetime.fromtimestamp(timestamp, UTC):%H:%M:%S} UTC"
