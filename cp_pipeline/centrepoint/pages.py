"""The pages of a listing in their order, several requested at once.

Belongs here: the offsets to request, and requesting ahead. Does not belong: sending a request and
the frame of a page (``api``), what the items are (``items``), when a listing is complete
(``readings``).
"""

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

from cp_pipeline.centrepoint.api import Page

# As many as the limit of requests allows if an answer takes half a second (docs/api.md, "Limits").
REQUESTS_AT_ONCE = 4
# Threads and their connections are not worth it for fewer pages.
_PAGES_ONE_BY_ONE = 20
Place = TypeVar("Place")
Answer = TypeVar("Answer")


def pages_in_order(
    request: Callable[[int], Page], start: int = 0, *, by_items: bool = False
) -> Generator[tuple[Page, int], None, None]:
    """Yield each page, and the offset after it, until the offset reaches the service's count.

    A short or empty page does not end the listing: a service may filter after paging. The pages of
    a long listing are requested a few at a time. They are expected to be as long as the first one;
    if they are not, items are missing, and the listing is read again (``Reading.is_short``).

    Args:
        request: sends the request for the page at an offset.
        start: the offset of the first page.
        by_items: continue after the last item received, not after the size of a full page.
    """
    offset, total = start, start + 1
    while offset < total:
        page = request(offset)
        step = len(page.items) if by_items and page.items else page.step
        offset, total = offset + step, page.total
        yield page, offset
        following = range(offset, total, step)
        if by_items or len(following) <= _PAGES_ONE_BY_ONE:
            continue
        for place, page in zip(following, a_few_at_once(request, following), strict=True):
            offset, total = place + step, page.total
            yield page, offset


def a_few_at_once(
    request: Callable[[Place], Answer], places: Iterable[Place]
) -> Generator[Answer, None, None]:
    """Yield the answers in the order of the places; a few requests are on their way at once."""
    waiting = iter(places)
    with_answers: deque[Future[Answer]] = deque()
    pool = ThreadPoolExecutor(REQUESTS_AT_ONCE, "list")
    try:
        for place in islice(waiting, REQUESTS_AT_ONCE):
            with_answers.append(pool.submit(request, place))
        while with_answers:
            answer = with_answers.popleft().result()
            for place in islice(waiting, 1):
                with_answers.append(pool.submit(request, place))
            yield answer
    finally:
        # Also where the reader stops early, or a request fails.
        pool.shutdown(wait=True, cancel_futures=True)
