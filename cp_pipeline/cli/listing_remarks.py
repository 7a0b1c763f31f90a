"""The message about invalid items of the listing, after a sync and in ``status``.

Belongs here: the message. Does not belong: what makes an item invalid (``centrepoint.items``).
"""

from collections.abc import Sequence

from rich.console import Console

from cp_pipeline.domain.exports import InvalidItem
from cp_pipeline.domain.study_details import NO_NAMES, StudyNames
from cp_pipeline.domain.texts import count

_SHOWN = 40


def say_invalid(
    screen: Console, invalid: Sequence[InvalidItem], names: StudyNames = NO_NAMES
) -> None:
    """Print the invalid items, which lack what a load needs. Print nothing if all are valid."""
    if not invalid:
        return
    screen.print(f"{count(len(invalid), 'listed item')} cannot be used:")
    for item in invalid[:_SHOWN]:
        screen.print(f"  {names.in_message(str(item))}")
    if len(invalid) > _SHOWN:
        screen.print(f"  and {len(invalid) - _SHOWN:,} more (lineage.unusable_items)")
    screen.print("Report this to ActiGraph support; it does not stop other exports from loading.")
