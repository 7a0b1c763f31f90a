"""List what is in a scope, in the fewest requests; combine listings, and narrow them.

Belongs here: choosing filters, one ``StudyListing`` from several.
Does not belong: pages (``centrepoint``), recording (``warehouse``), a whole study
(``whole_listing``).
"""

from collections.abc import Callable, Collection, Iterable
from functools import partial
from itertools import product
from math import ceil

from cp_pipeline.centrepoint import (
    PAGE_SIZE,
    AnswerNotUnderstood,
    CentrePoint,
    Filters,
    Progress,
    a_few_at_once,
)
from cp_pipeline.domain.exports import ExportKey, StudyListing
from cp_pipeline.domain.texts import count
from cp_pipeline.warehouse import Scope

# For more filters, one listing of the whole study may take fewer requests.
_FILTERED_REQUESTS = 8


def list_scope(centrepoint: CentrePoint, scope: Scope, progress: Progress) -> StudyListing:
    """List what is in a scope; several filters are asked for at once.

    Raises:
        ServiceError: CentrePoint gives no listing.
    """
    wanted = [
        (study_id, each)
        for study_id in scope.study_ids
        for each in _filters(scope, partial(centrepoint.count_export_files, study_id))
    ]
    if len(wanted) == 1:
        return centrepoint.list_export_files(*wanted[0], progress)
    listed: dict[tuple[int, Filters], tuple[int, int]] = {}

    def add(asked: tuple[int, Filters], read: int, total: int) -> None:
        listed[asked] = read, total
        so_far = list(listed.values())
        progress(sum(each for each, _ in so_far), sum(each for _, each in so_far))

    def ask(asked: tuple[int, Filters]) -> StudyListing:
        return centrepoint.list_export_files(*asked, partial(add, asked))

    return together(a_few_at_once(ask, wanted))


def _filters(scope: Scope, count_all: Callable[[], int]) -> list[Filters]:
    """Return the API filters that list a scope in the fewest requests.

    Args:
        scope: what to list; the filters may list more.
        count_all: asks how many exports the study has. Asked only if many filters are needed.
    """
    subjects: list[int | None] = [*sorted(scope.subject_ids or ())] or [None]
    datasets: list[str | None] = [*sorted(scope.dataset_names or ())] or [None]
    options = [
        [Filters(each, None, name) for each, name in product(subjects, datasets)],
        [Filters(subject_id=each) for each in subjects],
    ]
    fewest = min(options if scope.subject_ids else options[:1], key=len)
    # For few, asking how many exports there are in all is not worth a request.
    if len(fewest) <= _FILTERED_REQUESTS:
        return fewest
    return fewest if len(fewest) < ceil(count_all() / PAGE_SIZE) else [Filters()]


def together(listings: Iterable[StudyListing]) -> StudyListing:
    """Combine the listings of several studies or filters into one, without duplicates."""
    every = list(listings)
    return StudyListing(
        tuple({item.key: item for each in every for item in each.items}.values()),
        tuple(dict.fromkeys(item for each in every for item in each.invalid)),
        tuple(dict.fromkeys(key for each in every for key in each.never_executed)),
        tuple(dict.fromkeys(found for each in every for found in each.other_formats)),
        sum(each.missing for each in every),
    )


def within(listing: StudyListing, scope: Scope, erased: Collection[int]) -> StudyListing:
    """Return the part of a listing that is in the scope, without erased subjects."""

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


def check_some_are_valid(listing: StudyListing) -> None:
    """Check that not all items of a listing, or of a part of it, are invalid.

    If no item is valid, the cause is another API contract and not a single bad item.

    Raises:
        AnswerNotUnderstood: none is valid.
    """
    if listing.invalid and not listing.items:
        raise AnswerNotUnderstood(
            f"CentrePoint lists {count(len(listing.invalid), 'item')}, and none of them can be"
            f" used. {listing.invalid[0]}.",
            "Check CP_API_URL and CP_EXPORT_DIALECT, or report it to ActiGraph support.",
        )
