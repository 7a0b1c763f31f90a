"""One reading of all pages of a listing: its items, and whether it is complete.

Belongs here: comparing the items received with the service's count, and two readings with each
other. Does not belong: requests (``listing``), what an item means (``items``).
"""

from dataclasses import dataclass, field

from cp_pipeline.centrepoint.api import Page
from cp_pipeline.centrepoint.items import LeftOut, ReadItem
from cp_pipeline.domain.exports import ExportFile, ExportKey, InvalidItem, StudyListing, digest_of


@dataclass(slots=True)
class Reading:
    """The items of the pages read so far, each item once.

    ``came``: the number of items received, with repeated ones. ``totals``: all different counts
    that the service sent. ``by_items``: each page began after the last item of the previous page,
    so pages may overlap. ``seen``: a digest of each different item (of an export, its key), with
    one of its content. ``unread``: the digests of the keys of items that cannot be loaded.

    ``files``, ``invalid`` and ``left_out`` are the items since the last ``forget_items``, and
    ``new_seen`` and ``new_unread`` are their digests.
    """

    by_items: bool = False
    files: dict[ExportKey, ExportFile] = field(default_factory=dict)
    invalid: dict[InvalidItem, None] = field(default_factory=dict)
    left_out: dict[LeftOut, None] = field(default_factory=dict)
    came: int = 0
    totals: set[int] = field(default_factory=set)
    seen: dict[int, int] = field(default_factory=dict)
    unread: set[int] = field(default_factory=set)
    new_seen: dict[int, int] = field(default_factory=dict)
    new_unread: set[int] = field(default_factory=set)

    def add(self, page: Page) -> bool:
        """Add a page; return whether it had a new item."""
        before = len(self.seen)
        self.totals.add(page.total)
        self.came += len(page.items)
        item: ReadItem
        for item in page.items:
            if isinstance(item, ExportFile):
                self._add_file(item)
                continue
            self._saw(item.digest, 0)
            if item.key is not None:
                self.unread.add(item.key.digest)
                self.new_unread.add(item.key.digest)
            if isinstance(item, InvalidItem):
                self.invalid[item] = None
            else:
                self.left_out[item] = None
        return len(self.seen) > before

    def _add_file(self, item: ExportFile) -> None:
        key = item.key
        known = self.files.get(key)
        if known is None or _age(known) <= _age(item):
            self.files[key] = item
            self._saw(key.digest, digest_of((item.version, item.file_format)))

    def _saw(self, digest: int, content: int) -> None:
        self.seen[digest] = self.new_seen[digest] = content

    @property
    def item_count(self) -> int:
        """The number of items since the last ``forget_items``."""
        return len(self.files) + len(self.invalid) + len(self.left_out)

    def forget_items(self) -> None:
        """Keep only the digests: the items themselves were recorded."""
        self.files, self.invalid, self.left_out = {}, {}, {}
        self.new_seen, self.new_unread = {}, set()

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
        return self.is_steady and len(self.seen) == self.total

    @property
    def is_short(self) -> bool:
        """Whether the count was stable and fewer items were received than counted."""
        return self.is_steady and self.came < self.total

    def agrees_with(self, other: "Reading | None") -> bool:
        """Whether two readings in a row are equal: then the listing did not change meanwhile."""
        if other is None or not self.is_steady:
            return False
        return (self.totals, self.seen) == (other.totals, other.seen)

    def missing(self, equal: "Reading") -> int:
        """Return the number of items that the service counts but did not list.

        If two equal readings each received as many items as counted, the service lists some items
        twice, and none is missing.
        """
        # With overlapping pages, the number of received items proves nothing.
        overlapping = self.by_items and equal.by_items
        if not overlapping and self.came == equal.came == self.total:
            return 0
        return max(self.total - len(self.seen), 0)


@dataclass(frozen=True, slots=True)
class ListingPosition:
    """How far a listing is read: what was seen, and the offset to go on with."""

    reading: Reading
    offset: int


@dataclass(frozen=True, slots=True)
class ListingPart:
    """Some items of a listing.

    ``position``: how far the listing is read; its reading goes on to change with the next part.
    ``is_end``: this is the last part, and the listing is accepted.
    """

    listing: StudyListing
    position: ListingPosition
    is_end: bool


def _age(item: ExportFile) -> tuple[int, int]:
    """Return a sort key for the versions of an export, the latest last."""
    # An unknown time of the last change sorts before any known time.
    return item.execution.ticks, -(1 << 63) if item.modified is None else item.modified.ticks
