"""The words for listed items that cannot be used, after a sync and in ``status``.

Belongs here: the screen. Does not belong: what makes an item unusable (``centrepoint.items``).
"""

from collections.abc import Sequence

from rich.console import Console

from cp_pipeline.exports import UnusableItem
from cp_pipeline.words import count

_SHOWN = 40


def say_unusable(screen: Console, unusable: Sequence[UnusableItem]) -> None:
    """Name the items that say too little to be loaded; nothing where there are none."""
    if not unusable:
        return
    screen.print(f"{count(len(unusable), 'listed item')} cannot be used:")
    for item in unusable[:_SHOWN]:
        screen.print(f"  {item}")
    if len(unusable) > _SHOWN:
        screen.print(f"  and {len(unusable) - _SHOWN:,} more (lineage.unusable_items)")
    screen.print("Report it to ActiGraph support; it keeps nothing else from being loaded.")
