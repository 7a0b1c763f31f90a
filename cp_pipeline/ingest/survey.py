"""The survey: list, write the listing down, plan. The one way to find out what is to be loaded.

Belongs here: what somebody asks for, and the three steps in their order. ``sync``, the sensor, the
jobs and the assets all come this way.
Does not belong: pages and requests (``centrepoint``), deciding (``plan``), loading (``executor``).
"""

from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from itertools import product
from typing import Self

from cp_pipeline.centrepoint import AnswerNotUnderstood, CentrePoint, Filters
from cp_pipeline.domain.exports import ExportFile, ExportKey, InvalidItem, Partition, StudyListing
from cp_pipeline.domain.texts import count
from cp_pipeline.ingest.plan import Plan, make_plan
from cp_pipeline.landing import Landing, remembered_erasures
from cp_pipeline.warehouse import (
    Scope,
    Warehouse,
    erased_subjects,
    loaded_executions,
    pending_since,
    record_listing,
)

# Beyond so many filtered requests, one pass over the whole study takes fewer.
_FILTERED_REQUESTS = 8


@dataclass(frozen=True, slots=True)
class Request:
    """What somebody asks for; None means everything.

    ``partitions``: only these; the listing is narrowed to their subjects and data sets.
    ``refresh``: load again what is loaded.
    """

    subject_ids: frozenset[int] | None = None
    dataset_names: frozenset[str] | None = None
    partitions: frozenset[Partition] | None = None
    refresh: bool = False

    @classmethod
    def of(
        cls,
        subject_ids: Collection[int] | None = None,
        dataset_names: Collection[str] | None = None,
        *,
        refresh: bool = False,
    ) -> Self:
        """Some subjects and data sets; none means all."""
        return cls(
            frozenset(subject_ids or ()) or None,
            frozenset(dataset_names or ()) or None,
            refresh=refresh,
        )

    @classmethod
    def of_partitions(cls, partitions: Collection[Partition], *, refresh: bool = False) -> Self:
        """Some partitions."""
        return cls(
            frozenset(each.subject_id for each in partitions),
            frozenset(each.dataset_name for each in partitions),
            frozenset(partitions),
            refresh,
        )


@dataclass(frozen=True, slots=True)
class Survey:
    """What CentrePoint lists of what was asked for, and what of it is to be loaded.

    ``listing``: of all studies, without the exports of erased subjects, which are ``erased``, so
    many. ``changed``: whether the listing differs from the one before.
    """

    request: Request
    listing: StudyListing
    scope: Scope
    erased: int
    plan: Plan
    changed: bool

    @property
    def items(self) -> tuple[ExportFile, ...]:
        """The exports that can be loaded."""
        return self.listing.items

    @property
    def invalid(self) -> tuple[InvalidItem, ...]:
        """Items that say too little to be loaded; all others are."""
        return self.listing.invalid

    @property
    def partitions(self) -> tuple[Partition, ...]:
        """The partitions that the listing has exports for."""
        return tuple(sorted({item.partition for item in self.items}))

    @property
    def is_empty(self) -> bool:
        """Whether CentrePoint lists nothing at all."""
        return self.listing == StudyListing() and not self.erased

    def remarks(self) -> list[str]:
        """What a person should know of the listing, each in a sentence or two."""
        found = []
        if missing := self.listing.missing:
            found.append(
                f"CentrePoint counts {count(missing, 'more export')} than it listed. They are "
                "loaded when they are listed, and nothing is called withdrawn meanwhile."
            )
        formats = Counter(name for _, name in self.listing.other_formats)
        found += [
            f"{count(number, 'listed item')} left out: the format is {name}, not csv."
            for name, number in sorted(formats.items())
        ]
        if never := len(self.listing.never_executed):
            found.append(
                f"{count(never, 'listed export')} of programs that never ran: no file to load yet."
            )
        return found


def take_survey(
    centrepoint: CentrePoint,
    landing: Landing,
    warehouse: Warehouse,
    request: Request,
    *,
    write: bool = True,
) -> Survey:
    """List what is asked for, write the listing down, and plan.

    Args:
        centrepoint: lists.
        landing: knows which subjects were erased, also where the warehouse is lost.
        warehouse: knows what is loaded; takes the listing.
        request: what is asked for.
        write: whether the listing is written down; not for a plan that is only looked at.

    Raises:
        ServiceError: no listing can be had, or none of its items can be used.
        WarehouseError: the warehouse cannot be read or written.
    """
    warehouse.bring_up_to_date()
    scope = Scope(centrepoint.settings.study_ids, request.subject_ids, request.dataset_names)
    listing = _together(
        centrepoint.list_export_files(study_id, each)
        for study_id in scope.study_ids
        for each in _filters(scope)
    )
    if listing.invalid and not listing.items and scope.is_whole:
        # Not of one item that went wrong, but of another contract.
        raise AnswerNotUnderstood(
            f"CentrePoint lists {count(len(listing.invalid), 'item')}, and none of them can be"
            f" used. {listing.invalid[0]}.",
            "Check CP_API_URL and CP_EXPORT_DIALECT, or report it to ActiGraph support.",
        )
    erased = erased_subjects(warehouse) | remembered_erasures(landing).keys()
    kept = _within(listing, scope, erased)
    changed = record_listing(warehouse, kept, scope) if write else False
    plan = make_plan(
        kept.items,
        loaded_executions(warehouse),
        request.partitions,
        refresh=request.refresh,
        pending_since=pending_since(warehouse),
    )
    covered = sum(scope.covers(item.key) for item in listing.items)
    return Survey(request, kept, scope, covered - len(kept.items), plan, changed)


def _filters(scope: Scope) -> list[Filters]:
    """Narrowed by the API's filters where that takes fewer requests."""
    subjects: list[int | None] = [*sorted(scope.subject_ids or ())] or [None]
    datasets: list[str | None] = [*sorted(scope.dataset_names or ())] or [None]
    filters = [
        Filters(subject_id=subject_id, dataset_name=dataset_name)
        for subject_id, dataset_name in product(subjects, datasets)
    ]
    return filters if len(filters) <= _FILTERED_REQUESTS else [Filters()]


def _together(listings: Iterable[StudyListing]) -> StudyListing:
    """Listings of several studies, or for several filters, as one; each item once."""
    every = list(listings)
    return StudyListing(
        tuple({item.key: item for each in every for item in each.items}.values()),
        tuple(dict.fromkeys(item for each in every for item in each.invalid)),
        tuple(dict.fromkeys(key for each in every for key in each.never_executed)),
        tuple(dict.fromkeys(found for each in every for found in each.other_formats)),
        sum(each.missing for each in every),
    )


def _within(listing: StudyListing, scope: Scope, erased: Collection[int]) -> StudyListing:
    """What of a listing is in the scope, without erased subjects."""

    def wanted(key: ExportKey) -> bool:
        return scope.covers(key) and key.subject_id not in erased

    return StudyListing(
        tuple(item for item in listing.items if wanted(item.key)),
        tuple(
            item
            for item in listing.invalid
            if scope.may_cover(item) and item.subject_id not in erased
        ),
        tuple(key for key in listing.never_executed if wanted(key)),
        tuple(found for found in listing.other_formats if wanted(found[0])),
        listing.missing,
    )
