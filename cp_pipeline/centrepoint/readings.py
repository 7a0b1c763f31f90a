"""One reading of all pages of a listing: what it saw, and whether that is all there is.

Belongs here: counting what came against what the service counts, and two readings against each
other. Does not belong: requests (``listing``), what an item means (``items``).
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field

from cp_pipeline.centrepoint.items import LeftOut, ReadItem
from cp_pipeline.domain.exports import ExportFile, ExportKey, InvalidItem


@dataclass(frozen=True, slots=True)
class Page:
    """One page. ``total`` and ``limit`` are the service's words; ``limit`` may be missing."""

    items: Sequence[ReadItem]
    total: int
    limit: int | None

    def step(self, page_size: int) -> int:
        """How far the next page is, as the service cuts its pages; at least one item."""
        limit = page_size if self.limit is None else min(self.limit, page_size)
        return max(limit, len(self.items), 1)


@dataclass(slots=True)
class Reading:
    """What the pages read so far hold, each item once.

    ``came`` counts what came, also twice; ``totals`` has each number of items that was counted.
    ``by_items``: each page began after the last item of the one before, so pages may overlap.
    """

    by_items: bool = False
    files: dict[ExportKey, ExportFile] = field(default_factory=dict)
    invalid: dict[InvalidItem, None] = field(default_factory=dict)
    left_out: dict[LeftOut, None] = field(default_factory=dict)
    came: int = 0
    totals: set[int] = field(default_factory=set)

    def add(self, page: Page) -> bool:
        """Take a page in; whether it had anything new."""
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
        """How many different items there were."""
        return len(self.files) + len(self.invalid) + len(self.left_out)

    @property
    def is_steady(self) -> bool:
        """Whether all pages counted the same number of items."""
        return len(self.totals) == 1

    @property
    def total(self) -> int:
        """How many items the service counts."""
        return max(self.totals)

    @property
    def is_whole(self) -> bool:
        """Whether as many different items were seen as were counted."""
        return self.is_steady and self.seen == self.total

    @property
    def is_short(self) -> bool:
        """Whether fewer items came than were counted, all the time."""
        return self.is_steady and self.came < self.total

    def agrees_with(self, other: "Reading | None") -> bool:
        """Whether two readings, one after the other, saw the same: then the listing stood still."""
        return self.is_steady and other is not None and self.content == other.content

    def missing(self, other: "Reading | None") -> int:
        """How many items were counted and did not come.

        Where as many came as were counted, in two readings that agree, the service lists some of
        them twice, and none is missing.

        Args:
            other: the reading that agrees with this one; None for one that is whole by itself.
        """
        # In pages that overlap, what came says nothing.
        if other is None or (self.by_items and other.by_items):
            return max(self.total - self.seen, 0)
        all_came = self.came == other.came == self.total
        return 0 if all_came else max(self.total - self.seen, 0)

    @property
    def content(self) -> Hashable:
        """What was seen, whatever the order."""
        return (
            frozenset(self.totals),
            frozenset(self.files.values()),
            frozenset(self.invalid),
            frozenset(self.left_out),
        )


def _age(item: ExportFile) -> tuple[int, int]:
    """Orders the versions of an export, the latest last."""
    # Written at an unknown time is older than at any known one.
    return item.execution.ticks, -(1 << 63) if item.modified is None else item.modified.ticks
