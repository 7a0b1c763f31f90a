"""The retry schedule: retry failed partitions with growing pauses, up to a limit.

Belongs here: when a failed partition may be retried.
Does not belong: loading (``executor``), starting a run on time (``defs.sensors``).

The schedule is computed from ``lineage.failures``, so it survives restarts. A new version of an
export is a new file without failures, so it is tried at once. A person may retry at any time, and
must act after the last automatic retry.

If the time of a failure is in the future, the clock was set back. The partition then waits no
longer than its normal pause, because the clock may have been wrong by years.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cp_pipeline.domain.exports import ExportKey, Partition, Version
from cp_pipeline.ingest.plan import Plan, PlannedExport
from cp_pipeline.warehouse import FailedAttempts

# 5 and 20 minutes, 1 h 20, 5 h 20, 21 h 20: outlasts an outage of a night, and does not request a
# bad file too often.
FIRST_PAUSE = timedelta(minutes=5)
PAUSE_GROWTH = 4
ATTEMPTS = 6

Attempts = Mapping[tuple[ExportKey, Version], FailedAttempts]


@dataclass(frozen=True, slots=True)
class RetrySchedule:
    """The partitions of a plan, by whether they may be loaded now.

    ``due``: load now. ``waiting``: failed, with the time of the next retry (UTC).
    ``given_up``: failed ``ATTEMPTS`` times, with the last failure.
    """

    due: Mapping[Partition, tuple[PlannedExport, ...]]
    waiting: Mapping[Partition, datetime]
    given_up: Mapping[Partition, FailedAttempts]


def pause_after(failures: int) -> timedelta:
    """Return how long to wait after this number of failures of one version."""
    return FIRST_PAUSE * float(PAUSE_GROWTH ** (failures - 1))


def retry_schedule(plan: Plan, attempts: Attempts, now: datetime | None = None) -> RetrySchedule:
    """Divide a plan's partitions into due, waiting and given up.

    Args:
        plan: what is listed and not loaded.
        attempts: the failures by export and version.
        now: the current time, in UTC.
    """
    moment = now or datetime.now(UTC)
    due: dict[Partition, tuple[PlannedExport, ...]] = {}
    waiting: dict[Partition, datetime] = {}
    given_up: dict[Partition, FailedAttempts] = {}
    for partition, planned in plan.to_load.items():
        failed = [
            attempts[key]
            for each in planned
            if (key := (each.export_file.key, each.export_file.version)) in attempts
        ]
        exhausted = next((each for each in failed if each.number >= ATTEMPTS), None)
        until = max((_rests_until(each, moment) for each in failed), default=moment)
        if exhausted is not None:
            given_up[partition] = exhausted
        elif until > moment:
            waiting[partition] = until
        else:
            due[partition] = planned
    return RetrySchedule(due, waiting, given_up)


def _rests_until(failed: FailedAttempts, moment: datetime) -> datetime:
    pause = pause_after(failed.number)
    return moment if failed.last - moment > pause else failed.last + pause
