"""The module path of the event log in every existing ``dagster.yaml``.

Belongs here: the import of that class. Does not belong: the class (``instance.event_log``).
"""

from cp_pipeline.defs.instance.event_log import KeptOpenEventLog

__all__ = ["KeptOpenEventLog"]
