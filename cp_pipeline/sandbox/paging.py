"""Pages of any list: limit, offset and count (docs/api.md, A page).

Belongs here: reading a request's paging, and the frame of a page. Does not belong: what the items
are (`listing.py`, `resources.py`).
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

_LARGEST_PAGE = 100
# Narrower than int(), which takes "1_0" and " 7" too.
_INTEGER = re.compile(r"-?[0-9]{1,18}")
Row = TypeVar("Row")


class BadRequestError(ValueError):
    """The request is not as documented; the text says how."""


def paging_of_query(query: Mapping[str, str]) -> tuple[int, int]:
    """Limit and offset."""
    limit = integer(query.get("limit", str(_LARGEST_PAGE)), "limit")
    offset = integer(query.get("offset", "0"), "offset")
    if not 1 <= limit <= _LARGEST_PAGE:
        raise BadRequestError(f"limit must be 1 to {_LARGEST_PAGE}.")
    if offset < 0:
        raise BadRequestError("offset must be 0 or more.")
    return limit, offset


def page(
    rows: Sequence[Row],
    limit: int,
    offset: int,
    study_id: int,
    item: Callable[[Row], dict[str, object]],
) -> dict[str, object]:
    """The JSON of one page of the rows; `item` makes the JSON of one row."""
    return {
        "items": [item(row) for row in rows[offset : offset + limit]],
        "links": _links(study_id, len(rows), limit, offset) if rows else {},
        "totalCount": len(rows),
        "limit": limit,
        "offset": offset,
    }


def integer(value: str, name: str) -> int:
    """The whole number that a parameter of this name has as its text; raises BadRequestError."""
    if _INTEGER.fullmatch(value) is None:
        raise BadRequestError(f"{name} must be an integer.")
    return int(value)


def _links(study_id: int, total: int, limit: int, offset: int) -> dict[str, str]:
    # Another service and host, as in the vendor's examples: whoever follows them gets nowhere.
    base = f"https://study-admin.example.invalid/studyadmin/v1/Studies/{study_id}/files"
    offsets = {}
    if offset > 0:
        offsets["prev"] = max(0, offset - limit)
    if offset + limit < total:
        offsets["next"] = offset + limit
    return {name: f"{base}?limit={limit}&offset={place}" for name, place in offsets.items()}
