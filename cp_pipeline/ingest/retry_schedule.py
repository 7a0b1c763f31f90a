"""Asking again for what failed: with growing pauses, up to a limit, then a person must look.

Belongs here: when a failed partition may be tried again.
Does not belong: trying (``executor``), waking up in time (``defs.sensors``).

All of it follows from ``lineage.failures``, so it holds over restarts. A new version of an export
is a new file, which nothing is known against: it is tried at once. A person may try at any time.

A failure that is to come was written down before the clock went back. It is waited for no longer
than its own pause, because the clock may have been wrong by years.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cp_pipeline.domain.exports import ExportKey, Partition, Version
from cp_pipeline.ingest.plan import Plan, PlannedExport
from cp_pipeline.warehouse import FailedAttempts

# 5 and 20 minutes, 1 h 20, 5 h 20, 21 h 20: a bad night is slept over, a bad file is not hammered.
FIRST_PAUSE = timedelta(minutes=5)
PAUSE_GROWTH = 4
ATTEMPTS = 6

Attempts = Mapping[tuple[ExportKey, Version], FailedAttempts]


@dataclass(frozen=True, slots=True)
class RetrySchedule:
    """A plan's partitions by what may be done about them now.

    ``due``: to be loaded. ``waiting``: failed, and when they may be tried again (UTC).
    ``given_up``: failed ``ATTEMPTS`` times, with the last failure.
    """

    due: Mapping[Partition, tuple[PlannedExport, ...]]
    waiting: Mapping[Partition, datetime]
    given_up: Mapping[Partition, FailedAttempts]


def pause_after(failures: int) -> timedelta:
    """How long to wait after so many failures of one version."""
    return FIRST_PAUSE * float(PAUSE_GROWTH ** (failures - 1))


def retry_schedule(plan: Plan, attempts: Attempts, now: datetime | None = None) -> RetrySchedule:
    """Sort the partitions of a plan.

    Args:
        plan: what is listed and not loaded.
        attempts: failures by export and version.
        now: the moment, in UTC.
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
