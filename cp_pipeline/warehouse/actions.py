"""What a person had done, and why: ``lineage.actions``.

Belongs here: recording an action. Does not belong: asking for the reason (``cli.reasons``).
"""

from datetime import UTC, datetime
from importlib.metadata import version

from cp_pipeline.warehouse.connection import Warehouse
from cp_pipeline.warehouse.schema import insert_rows


def record_action(warehouse: Warehouse, actor: str, command: str, reason: str | None) -> None:
    """Record that somebody had a command done; nothing without a warehouse.

    Args:
        warehouse: the warehouse.
        actor: who: ``CP_ACTOR``, or the user of the operating system.
        command: the command, with what it was for.
        reason: why; None if nobody said so.

    Raises:
        WarehouseBusy, WarehouseUnreadable: the warehouse cannot be opened for writing.
    """
    if not warehouse.exists():
        return
    row = {
        "acted_at": datetime.now(UTC).replace(tzinfo=None),
        "actor": actor,
        "command": command,
        "reason": reason or None,
        "software_version": version("cp-pipeline"),
    }
    with warehouse.transaction() as connection:
        insert_rows(connection, "actions", [row])
