"""The pool ``warehouse``: one slot, for the one writer of a file; more for a DuckLake.

Belongs here: its name, and reading its limit. Does not belong: setting it (``dagster_home``), the
steps that take the slot (``assets``, ``jobs``, ``dbt_assets``, ``publish_job``).
"""

import dagster as dg

POOL = "warehouse"


def slots_of_pool(instance: dg.DagsterInstance) -> int:
    """Return how many steps the instance lets write at once."""
    limits = {each.name: each.limit for each in instance.event_log_storage.get_pool_limits()}
    return limits.get(POOL, instance.global_op_concurrency_default_limit or 1)
