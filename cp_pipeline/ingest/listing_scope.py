"""Combine listings, and narrow them to what was asked for.

Belongs here: ``StudyListing`` in, ``StudyListing`` out. Does not belong: requesting or recording.
"""

from collections.abc import Collection, Iterable

from cp_pipeline.centrepoint import AnswerNotUnderstood
from cp_pipeline.domain.exports import ExportKey, StudyListing
from cp_pipeline.domain.texts import count
from cp_pipeline.warehouse import Scope


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
