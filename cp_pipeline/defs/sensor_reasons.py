"""Why a tick of the sensor requests no run, in words for its page in Dagster.

Belongs here: the words. Does not belong: deciding it (``sensors``).
"""

from collections.abc import Iterable
from datetime import UTC, datetime

from cp_pipeline.domain.texts import NO_EXPORTS, count
from cp_pipeline.ingest import Look, LookSurvey, RetrySchedule, pending_remarks


def nothing_to_request(
    found: LookSurvey, retry_schedule: RetrySchedule, active: Iterable[str]
) -> str:
    """Return what the study waits for, and what is wrong; ``active``: the runs that are loading."""
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
            f"until {clock(soonest)}"
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
    reasons += [remark.rstrip(".") for remark in pending_remarks(found.plan.pending_count)]
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


def clock(timestamp: float) -> str:
    """Return the time of day, UTC, of a time in seconds since 1970."""
    return f"{datetime.fromtimestamp(timestamp, UTC):%H:%M:%S} UTC"
