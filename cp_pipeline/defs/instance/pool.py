"""The pool ``warehouse``: one slot, for whoever writes the warehouse.

Belongs here: its name. Does not belong: its limit (``dagster_home``), who takes it.
"""

POOL = "warehouse"
