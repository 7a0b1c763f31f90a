"""The path by which an existing ``dagster.yaml`` names the event log.

Belongs here: that one name. Does not belong: the class itself (``instance.event_log``).
"""

from cp_pipeline.defs.instance.event_log import KeptOpenEventLog

__all__ = ["KeptOpenEventLog"]
