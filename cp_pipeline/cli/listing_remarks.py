"""The words for listed items that cannot be used, after a sync and in ``status``.

Belongs here: the screen. Does not belong: what makes an item unusable (``centrepoint.items``).
"""

from collections.abc import Sequence

from rich.console import Console

from cp_pipeline.domain.exports import InvalidItem
from cp_pipeline.domain.texts import count

_SHOWN = 40


def say_invalid(screen: Console, invalid: Sequence[InvalidItem]) -> None:
    """Name the items that say too little to be loaded; nothing where there are none."""
    if not invalid:
        return
    screen.print(f"{count(len(invalid), 'listed item')} cannot be used:")
    for item in invalid[:_SHOWN]:
        screen.print(f"  {item}")
    if len(invalid) > _SHOWN:
        screen.print(f"  and {len(invalid) - _SHOWN:,} more (lineage.unusable_items)")
    screen.print("Report it to ActiGraph support; it keeps nothing else from being loaded.")
