"""The events that an op has logged, which Dagster keeps in memory until the op ends.

Belongs here: dropping them. Does not belong: what an event says (``defs.events``).

An event is in the event log as soon as ``context.log_event`` returns. The op's context keeps it
too, to pass it on when the op yields or ends: 8 kB for each partition, 1.6 GB for 200,000. Nothing
needs it there.

Private parts of Dagster: ``OpExecutionContext.consume_events``, which is "designed for internal
use".
"""

from collections import deque

import dagster as dg

# Small runs pass their events on, as Dagster does.
KEPT_AT_MOST = 1_000


class LoggedEvents:
    """Logs the events of one op, without keeping them all in memory.

    Args:
        context: of the op or asset.
    """

    def __init__(self, context: dg.OpExecutionContext | dg.AssetExecutionContext) -> None:
        self._context = context
        is_asset = isinstance(context, dg.AssetExecutionContext)
        self._op_context = context.op_execution_context if is_asset else context
        self._kept = 0

    def log(self, event: dg.AssetMaterialization) -> None:
        """Store an event in the event log."""
        self._context.log_event(event)
        self._kept += 1
        if self._kept == KEPT_AT_MOST:
            deque(self._op_context.consume_events(), maxlen=0)
            self._kept = 0
