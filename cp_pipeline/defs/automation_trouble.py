"""What Dagster's daemon knows and a check does not: sensors that fail, and assets that are stale.

Belongs here: reading both from Dagster. Does not belong: telling people (``problems``), asking
CentrePoint (``answer_check``).
"""

from collections.abc import Iterator, Mapping, Sequence

import dagster as dg

from cp_pipeline.defs.answer_check import TROUBLES

_FAILED, _STALE = "FAILURE", "FAIL"


def failing_sensors(
    instance: dg.DagsterInstance, names: Sequence[str]
) -> Iterator[tuple[str, str]]:
    """Yield the name of each sensor whose last three ticks failed, and the last error.

    A tick that cannot ask CentrePoint is skipped and has not failed: that is
    ``centrepoint_answers``. Stopped sensors are left out.
    """
    for state in instance.all_instigator_state():
        if state.name not in names or not state.is_running:
            continue
        ticks = instance.get_ticks(state.instigator_origin_id, state.selector_id, limit=TROUBLES)
        if len(ticks) == TROUBLES and all(each.status.value == _FAILED for each in ticks):
            error = ticks[0].error
            # With the cause: Dagster wraps the error of our code in one of its own.
            while error is not None and error.cause is not None:
                error = error.cause
            yield state.name, error.message.strip() if error is not None else ""


def stale_assets(
    instance: dg.DagsterInstance, assets: Sequence[dg.AssetKey]
) -> Mapping[dg.AssetKey, str]:
    """Return the assets that are stale by their freshness policy, with the time of that verdict.

    The daemon judges; without it, nothing is stale.
    """
    records = instance.get_freshness_state_records(assets)
    return {
        key: f"{record.updated_at:%F %R} UTC"
        for key, record in records.items()
        if record.freshness_state.value == _STALE
    }
