"""A look: which program executions are new, at 100 subjects a request.

Belongs here: reading the subjects, comparing with the last look, choosing how to list the files of
what changed, and telling when these files are written.
Does not belong: requests (``centrepoint``), the tables (``warehouse.looks``), the plan (``plan``).

A look never reads the whole listing of files. It does not see an export that was withdrawn, a new
data set name of an old execution, or a file that was written again: only a whole listing does
(docs/api.md, "The study around the exports").
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from math import ceil

from cp_pipeline.centrepoint import (
    PAGE_SIZE,
    CentrePoint,
    Filters,
    ResourceMissing,
    SubjectsPage,
)
from cp_pipeline.domain.executions import SubjectItem, SubjectProgram
from cp_pipeline.domain.exports import StudyListing
from cp_pipeline.ingest.deadline import Deadline, OutOfTime
from cp_pipeline.ingest.plan import PENDING_AT_MOST
from cp_pipeline.ingest.rooms import Rooms
from cp_pipeline.warehouse import (
    FILES_LISTED,
    NO_FILES,
    ListedPair,
    ListingSizes,
    SeenExecution,
    Warehouse,
    record_look,
)

_FIRST_PAUSE = timedelta(minutes=2)
# So many take some MB; all of a large study would take 200.
_EXECUTIONS_AT_ONCE = 10_000
# Threads and their connections are not worth it for fewer pages.
_PAGES_ONE_BY_ONE = 4


@dataclass(frozen=True, slots=True)
class LookPosition:
    """Where a look goes on: the number of the study in the settings, and the offset in it."""

    study: int = 0
    offset: int = 0


@dataclass(frozen=True, slots=True)
class Look:
    """What a look, or a part of it, saw.

    ``position``: where the next part begins; None if this part reached the end. ``pages``: the
    number of requests. ``different``: the number of executions that differ from the last look.
    ``has_subjects``: whether the service lists subjects at all.
    """

    position: LookPosition | None = None
    pages: int = 0
    subjects: int = 0
    different: int = 0
    invalid: int = 0
    has_subjects: bool = True


def take_look(
    rooms: Rooms,
    start: LookPosition,
    deadline: Deadline,
    *,
    erased: Collection[int],
    uploads: bool,
    now: datetime,
) -> Look:
    """Read subjects until the end, or until there is no time; record what differs.

    Args:
        rooms: the service lists the subjects; the warehouse has what the last look saw.
        start: where to begin.
        deadline: when to stop.
        erased: subjects of whom nothing is recorded.
        uploads: also record where only the time of the last upload of raw data differs.
        now: the current time (UTC).

    Raises:
        ServiceError: CentrePoint gives no list. What was read before is recorded.
        WarehouseError: the warehouse cannot be read or written.
    """
    study_ids = rooms.centrepoint.settings.study_ids
    position: LookPosition | None = start if start.study < len(study_ids) else LookPosition()
    recording = _Recording(rooms.warehouse, uploads=uploads, now=now)
    pages = invalid = 0
    try:
        while position is not None:
            study_id = study_ids[position.study]
            for page in _subject_pages(rooms.centrepoint, study_id, position.offset, deadline):
                pages += 1
                recording.add(each for each in page.subjects if each.subject_id not in erased)
                invalid += page.invalid
                if page.next_offset is not None:
                    position = LookPosition(position.study, page.next_offset)
            more = position.study + 1 < len(study_ids)
            position = LookPosition(position.study + 1) if more else None
    except OutOfTime:
        pass
    except ResourceMissing:
        return Look(has_subjects=False)
    finally:
        recording.flush()
    return Look(position, pages, recording.subjects, recording.different, invalid)


class _Recording:
    """Records what a look sees, some subjects at a time; see ``record_look``."""

    def __init__(self, warehouse: Warehouse, *, uploads: bool, now: datetime) -> None:
        self._record = partial(record_look, warehouse, uploads=uploads, now=now)
        self._some: list[SubjectItem] = []
        self._executions = 0
        self.subjects = self.different = 0

    def add(self, subjects: Iterable[SubjectItem]) -> None:
        for each in subjects:
            self._some.append(each)
            self._executions += len(each.executions)
        if self._executions >= _EXECUTIONS_AT_ONCE:
            self.flush()

    def flush(self) -> None:
        if not self._some:
            return
        some, self._some, self._executions = self._some, [], 0
        self.subjects += len(some)
        self.different += self._record(some)


def _subject_pages(
    centrepoint: CentrePoint, study_id: int, start: int, deadline: Deadline
) -> Iterator[SubjectsPage]:
    """Yield the pages of a study's subjects from an offset on, a few requested at once.

    Raises:
        OutOfTime: there was no time for the next page.
        ServiceError: CentrePoint gives no list.
    """
    offset: int | None = start
    request = partial(centrepoint.subjects_page, study_id)
    while offset is not None:
        page = deadline.call(partial(request, offset))
        yield page
        if page.next_offset is None:
            return
        step, offset = page.next_offset - offset, page.next_offset
        expected = range(offset, page.total, step)
        if len(expected) <= _PAGES_ONE_BY_ONE:
            continue
        for place, following in zip(expected, deadline.call_each(request, expected), strict=True):
            yield following
            offset = following.next_offset
            if offset != place + step:
                # A page of another length, or the last one.
                break


def due_executions(
    to_list: Mapping[SubjectProgram, SeenExecution], now: datetime
) -> dict[SubjectProgram, SeenExecution]:
    """Return the executions whose files must be listed now, of those to list at all.

    The pause between two listings grows with the time since the execution was first seen, so files
    that are late do not take more and more requests.
    """
    return {key: each for key, each in to_list.items() if _is_due(each, now)}


def _is_due(each: SeenExecution, now: datetime) -> bool:
    last = each.files_listed_at
    # A time in the future: the clock was set back.
    if last is None or last > now:
        return True
    return now - last >= max(_FIRST_PAUSE, (last - each.seen_at) / 2)


def cheapest_filters(
    pairs: Iterable[SubjectProgram], sizes: ListingSizes, counted: Mapping[int, int]
) -> tuple[list[tuple[int, Filters]], int]:
    """Choose, for each study, the filters that list the files of these pairs in fewest requests.

    Args:
        pairs: whose files to list.
        sizes: how many exports earlier listings recorded.
        counted: by study, how many exports CentrePoint counts now; without a number, the study is
            not listed whole.

    Returns:
        The filters, and about how many requests they take.
    """
    of_study: dict[int, list[SubjectProgram]] = defaultdict(list)
    for pair in pairs:
        of_study[pair.study_id].append(pair)
    chosen: list[tuple[int, Filters]] = []
    total = 0
    for study_id, some in sorted(of_study.items()):
        subjects = sorted({pair.subject_id for pair in some})
        programs = sorted({pair.study_program_id for pair in some})
        by_subject = sum(_pages(sizes.of_subject.get((study_id, each), 1)) for each in subjects)
        # How many exports of a program there are is known only if it was listed before.
        known = all((study_id, each) in sizes.of_program for each in programs)
        by_program = sum(_pages(sizes.of_program.get((study_id, each), 0)) for each in programs)
        options = [(by_subject, [Filters(subject_id=each) for each in subjects])]
        if study_id in counted:
            options.append((_pages(counted[study_id]), [Filters()]))
        if known:
            options.append((by_program, [Filters(study_program_id=each) for each in programs]))
        requests, filters = min(options, key=lambda option: option[0])
        chosen += [(study_id, each) for each in filters]
        total += requests
    return chosen, total


def files_states(
    pairs: Mapping[SubjectProgram, SeenExecution], listing: StudyListing, now: datetime
) -> dict[SubjectProgram, str | None]:
    """Tell from a listing for which executions the files are written.

    If an item has a newer execution than the look saw, the next look sees it, too.
    """
    written: set[SubjectProgram] = set()
    pending: set[SubjectProgram] = set()
    for item in listing.items:
        key = SubjectProgram(item.study_id, item.subject_id, item.study_program_id)
        if key in pairs and pairs[key].executed == item.execution.nanoseconds:
            (pending if item.is_pending else written).add(key)
    for other, _ in listing.other_formats:
        written.add(SubjectProgram(other.study_id, other.subject_id, other.study_program_id))
    listed = written | pending
    return {
        key: _files_state(each, now, is_listed=key in listed, has_pending=key in pending)
        for key, each in pairs.items()
    }


def recorded_states(
    pairs: Mapping[SubjectProgram, SeenExecution],
    recorded: Mapping[SubjectProgram, ListedPair],
    now: datetime,
) -> dict[SubjectProgram, str | None]:
    """Tell from a recorded whole listing for which executions the files are written."""
    states: dict[SubjectProgram, str | None] = {}
    for key, each in pairs.items():
        listed = recorded.get(key)
        is_listed = listed is not None and listed.executed == each.executed
        has_pending = listed is not None and listed.has_pending
        states[key] = _files_state(each, now, is_listed=is_listed, has_pending=has_pending)
    return states


def _files_state(
    each: SeenExecution, now: datetime, *, is_listed: bool, has_pending: bool
) -> str | None:
    """Tell whether the files of an execution are written; None if they may still come."""
    is_over = now - each.seen_at >= PENDING_AT_MOST
    # A pending file is loaded after a day (``plan``).
    if is_listed and (is_over or not has_pending):
        return FILES_LISTED
    return NO_FILES if is_over else None


def _pages(items: int) -> int:
    return max(ceil(items / PAGE_SIZE), 1)
