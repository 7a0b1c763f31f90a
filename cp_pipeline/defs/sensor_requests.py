"""The runs that the sensor requests: for some partitions, or for a listing.

Belongs here: their configuration, their keys, and pausing before the same is requested again.
Does not belong: whether a run is needed (``sensors``).
"""

import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from math import ceil

import dagster as dg

from cp_pipeline.defs.events import observations
from cp_pipeline.defs.instance.event_batches import EventBatches
from cp_pipeline.defs.load_steps import STUDY_TAG
from cp_pipeline.defs.sensor_memory import Memory, growing
from cp_pipeline.domain.exports import Partition
from cp_pipeline.ingest import SUBJECTS_AT_ONCE, Pipeline, Plan

# More are not shown as stale while they wait for their run; an observation takes 2 ms.
_OBSERVED = 500


def request_partitions(
    instance: dg.DagsterInstance,
    pipeline: Pipeline,
    plan: Plan,
    wanted: Collection[Partition],
    memory: Memory,
    seconds: int,
    moment: datetime,
) -> dg.SensorResult:
    """Request a run for some partitions, and show in Dagster which of them are stale."""
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


def request_sync(
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
    pause = growing(seconds, memory.times - 1) if memory.times > 1 else timedelta(0)
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
