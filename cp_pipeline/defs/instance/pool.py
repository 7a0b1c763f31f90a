"""The pool ``warehouse``: one slot, for the one writer of the warehouse.

Belongs here: its name. Does not belong: its limit (``dagster_home``), the steps that take the slot
(``assets``, ``jobs``, ``dbt_assets``, ``publish_job``).
"""

POOL = "warehouse"
