"""Lists other than that of the export files, page by page (docs/api.md, "A page").

Belongs here: asking for the pages of a list, and leaving out invalid and repeated items.
Does not belong: what an item is (``subjects``, ``study_details``), export files (``listing``).
"""

from collections.abc import Callable
from typing import Any, TypeVar

import requests

from cp_pipeline.centrepoint.answers import describe
from cp_pipeline.centrepoint.api import PAGE_SIZE, Api, Page, read_page, refusal
from cp_pipeline.centrepoint.errors import ResourceMissing

# The most pages in a row without a new item; a service that ignores the offset sends such pages.
MOST_BARREN_PAGES = 10
# What reading the JSON of an item may raise.
BREAKS_THE_CONTRACT = (KeyError, TypeError, ValueError, AttributeError)
_MISSING = frozenset({requests.codes.not_found, requests.codes.not_allowed})
Item = TypeVar("Item")


def read_list(
    api: Api,
    path: str,
    study_id: int,
    what: str,
    read: Callable[[Any], Item],
    *,
    personal: bool = False,
) -> tuple[tuple[Item, ...], int]:
    """Return all items of a list, each once, and how many were left out because they are invalid.

    Args:
        api: sends the requests.
        path: below the address of the API.
        study_id: the study that is asked about.
        what: the items, as part of a message.
        read: makes an item of its JSON, or raises.
        personal: whether the items are personal data, which no message may show.

    Raises:
        ResourceMissing: the service has no such list.
        ServiceError: a request failed; the subclass says why.
    """
    found: dict[Item, None] = {}
    offset: int | None = 0
    barren = invalid = 0
    while offset is not None and barren < MOST_BARREN_PAGES:
        page = read_one_page(api, path, study_id, what, offset, personal=personal)
        before = len(found)
        for raw in page.items:
            try:
                found[read(raw)] = None
            except BREAKS_THE_CONTRACT:
                invalid += 1
        barren = 0 if len(found) > before else barren + 1
        offset = next_offset(page, offset)
    return tuple(found), invalid


def read_one_page(
    api: Api, path: str, study_id: int, what: str, offset: int, *, personal: bool = False
) -> Page:
    """Read the page of a list that begins at an offset; see ``read_list``."""
    purpose = f"listing the {what} of study {study_id}"
    thing = f"list of the {what} of study {study_id}"
    response = answer_of(api, path, study_id, purpose, thing, limit=PAGE_SIZE, offset=offset)
    return read_page(response, purpose, "Check CP_API_URL.", personal=personal)


def answer_of(
    api: Api, path: str, study_id: int, purpose: str, thing: str, **paging: int
) -> requests.Response:
    """Ask for a resource; return its answer.

    Args:
        api: sends the request.
        path: below the address of the API.
        study_id: the study that is asked about.
        purpose: what the request is for.
        thing: the resource, as part of a message.
        paging: which items of a list.

    Raises:
        ResourceMissing: the service has no such resource.
        ServiceError: the request failed; the subclass says why.
    """
    response = api.get(path, purpose, paging)
    if response.status_code in _MISSING:
        raise ResourceMissing(
            f"The API has no {thing} ({describe(response)}).",
            "Check CP_STUDY_ID and CP_API_URL. Not every service has this.",
        )
    if response.status_code != requests.codes.ok:
        raise refusal(response, study_id, purpose, client=api.client_variable)
    return response


def next_offset(page: Page, offset: int) -> int | None:
    """Return where the next page begins; None after the last one.

    A short page is followed by what comes after its last item: a service may send fewer items than
    asked for without saying so. An empty page is skipped: a service may filter after paging.
    """
    following = offset + (len(page.items) or page.step)
    return following if following < page.total else None
