"""Finding the kind of each column from its texts.

Belongs here: asking which kinds hold for every text of a column, in a table of text or in part of
one. Does not belong: when a text is of a kind (``column_types``), reading files (``staging``).

All columns are asked about by one expression a kind, on a list of their texts: an aggregate for
each column takes DuckDB a millisecond to plan, and with a FILTER the square of that, in memory too.
"""

import itertools
from collections.abc import Collection, Mapping, Sequence
from operator import itemgetter

import duckdb

from cp_pipeline.warehouse.column_types import (
    MANY_COLUMNS,
    Column,
    Kind,
    places_against,
    text_name,
)

_SAMPLE_ROWS = 2048
_SAMPLE_FIELDS = 100_000


def guess(
    connection: duckdb.DuckDBPyConnection, source: str, columns: Sequence[Column]
) -> list[Column]:
    """The narrowest kind, by a sample, of each column that nothing is known of.

    Asked kind by kind, because nearly all columns are settled by the first ones.

    Args:
        connection: the connection.
        source: what to read text from, as it stands after FROM.
        columns: as far as they are known.
    """
    guessed = list(columns)
    unsettled = {place for place, column in enumerate(columns) if column.kind is Kind.UNDETERMINED}
    if not unsettled:
        return guessed
    texts = ", ".join(f"source.{text_name(place)}" for place in sorted(unsettled))
    row_count = min(_SAMPLE_ROWS, max(_SAMPLE_FIELDS // len(unsettled), 1))
    # Read once: to open the file for each question takes several times as long as to answer it.
    connection.execute(
        f"CREATE OR REPLACE TABLE memory.sample AS SELECT {texts} FROM {source} AS source"
        f" LIMIT {row_count}"
    )
    for kind in Kind.UNDETERMINED.widenings():
        for place in _held(connection, "memory.sample", {kind: unsettled})[kind]:
            guessed[place] = Column(columns[place].name, kind)
            unsettled.remove(place)
    return guessed


def determine(
    connection: duckdb.DuckDBPyConnection, source: str, columns: Sequence[Column]
) -> list[Column]:
    """The columns with the narrowest kind that each may have by every value.

    No value may say anything against the kind that a column already has; then it stays.
    """
    places: Collection[int] = range(len(columns))
    if len(columns) > MANY_COLUMNS:
        # Few of them are to blame, and only those are asked everything.
        places = _to_blame(connection, source, columns)
    questions: dict[Kind, set[int]] = {Kind.UNDETERMINED: set(places)}
    for place in places:
        for kind in columns[place].kind.widenings():
            questions.setdefault(kind, set()).add(place)
    yes = _held(connection, source, questions)
    determined = list(columns)
    for place in set(places) - yes[Kind.UNDETERMINED]:
        name, before = columns[place].name, columns[place].kind
        kind = next(kind for kind in before.widenings() if place in yes[kind])
        determined[place] = Column(name, kind)
    return determined


def _to_blame(
    connection: duckdb.DuckDBPyConnection, source: str, columns: Sequence[Column]
) -> set[int]:
    """The places of columns that have a value which is not of their kind."""
    questions: dict[Kind, set[int]] = {}
    for place, column in enumerate(columns):
        questions.setdefault(column.kind, set()).add(place)
    yes = _held(connection, source, questions)
    return set(range(len(columns))).difference(*yes.values())


def _held(
    connection: duckdb.DuckDBPyConnection, source: str, questions: Mapping[Kind, Collection[int]]
) -> dict[Kind, set[int]]:
    """Of each kind the places asked for whose texts, but for empty ones, are all of it.

    Nothing but empty fields is of any kind, and of nothing else is ``UNDETERMINED``.
    """
    yes = {kind: set(places) for kind, places in questions.items()}
    asked = [
        (kind, place)
        for kind in questions
        if kind is not Kind.VARCHAR
        for place in sorted(questions[kind])
    ]
    if not asked:
        return yes
    # A field that is not of a kind is told by the number of the question.
    against, first = [], 0
    for kind, of_kind in itertools.groupby(asked, key=itemgetter(0)):
        texts = [f"source.{text_name(place)}" for _, place in of_kind]
        against.append(places_against(kind, texts, first))
        first += len(texts)
    rows = connection.execute(
        f"SELECT DISTINCT unnest(flatten([{', '.join(against)}])) FROM {source} AS source"
    ).fetchall()
    for (number,) in rows:
        kind, place = asked[number]
        yes[kind].discard(place)
    return yes
