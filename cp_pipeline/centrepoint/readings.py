"""One reading of all pages of a listing: its items, and whether it is complete.

Belongs here: comparing the items received with the service's count, and two readings with each
other. Does not belong: requests (``listing``), what an item means (``items``).
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field

from cp_pipeline.centrepoint.items import LeftOut, ReadItem
from cp_pipeline.domain.exports import ExportFile, ExportKey, InvalidItem


@dataclass(frozen=True, slots=True)
class Page:
    """One page. The service sends ``total`` and ``limit``; ``limit`` may be missing."""

    items: Sequence[ReadItem]
    total: int
    limit: int | None

    def step(self, page_size: int) -> int:
        """Return how many items after this page's first one the next page begins; at least one."""
        limit = page_size if self.limit is None else min(self.limit, page_size)
        return max(limit, len(self.items), 1)


@dataclass(slots=True)
class Reading:
    """The items of the pages read so far, each item once.

    ``came``: the number of items received, with repeated ones. ``totals``: all different counts
    that the service sent. ``by_items``: each page began after the last item of the previous page,
    so pages may overlap.
    """

    by_items: bool = False
    files: dict[ExportKey, ExportFile] = field(default_factory=dict)
    invalid: dict[InvalidItem, None] = field(default_factory=dict)
    left_out: dict[LeftOut, None] = field(default_factory=dict)
    came: int = 0
    totals: set[int] = field(default_factory=set)

    def add(self, page: Page) -> bool:
        """Add a page; return whether it had a new item."""
        before = self.seen
        self.totals.add(page.total)
        self.came += len(page.items)
        for item in page.items:
            if isinstance(item, InvalidItem):
                self.invalid[item] = None
            elif isinstance(item, LeftOut):
                self.left_out[item] = None
            elif (known := self.files.get(item.key)) is None or _age(known) <= _age(item):
                self.files[item.key] = item
        return self.seen > before

    @property
    def seen(self) -> int:
        """The number of different items received."""
        return len(self.files) + len(self.invalid) + len(self.left_out)

    @property
    def is_steady(self) -> bool:
        """Whether all pages had the same count of items."""
        return len(self.totals) == 1

    @property
    def total(self) -> int:
        """The number of items that the service counts."""
        return max(self.totals)

    @property
    def is_whole(self) -> bool:
        """Whether the number of different items equals the service's count."""
        return self.is_steady and self.seen == self.total

    @property
    def is_short(self) -> bool:
        """Whether the count was stable and fewer items were received than counted."""
        return self.is_steady and self.came < self.total

    def agrees_with(self, other: "Reading | None") -> bool:
        """Whether two readings in a row are equal: then the listing did not change meanwhile."""
        return self.is_steady and other is not None and self.content == other.content

    def missing(self, other: "Reading | None") -> int:
        """Return the number of items that the service counts but did not list.

        If two equal readings each received as many items as counted, the service lists some items
        twice, and none is missing.

        Args:
            other: the equal reading; None if this reading is complete by itself.
        """
        # With overlapping pages, the number of received items proves nothing.
        if other is None or (self.by_items and other.by_items):
            return max(self.total - self.seen, 0)
        all_came = self.came == other.came == self.total
        return 0 if all_came else max(self.total - self.seen, 0)

    @property
    def content(self) -> Hashable:
        """The items received, without their order."""
        return (
            frozenset(self.totals),
            frozenset(self.files.values()),
            frozenset(self.invalid),
            frozenset(self.left_out),
        )


def _age(item: ExportFile) -> tuple[int, int]:
    """Return a sort key for the versions of an export, the latest last."""
    # An unknown time of the last change sorts before any known time.
    return item.execution.ticks, -(1 << 63) if item.modified is None else item.modified.ticks
