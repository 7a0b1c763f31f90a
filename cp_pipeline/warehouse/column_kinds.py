"""Find the kind of each column from its texts.

Belongs here: queries that find which kinds fit every text of a column, in all of a text table or
in a sample. Does not belong: the test whether a text is of a kind (``column_types``), reading files
(``staging``).

One expression per kind tests all columns, on a list of their texts. DuckDB needs a millisecond to
plan an aggregate for each column. With a FILTER, planning time and memory grow with the square of
the number of columns.
"""

from collections.abc import Collection, Mapping, Sequence

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
    """Guess, from a sample, the narrowest kind of each column that is still undetermined.

    Test kind by kind, because the first kinds decide nearly all columns.

    Args:
        connection: the in-memory DuckDB connection.
        source: the SQL after FROM that reads the text.
        columns: the columns, with the kinds known so far.
    """
    guessed = list(columns)
    unsettled = {place for place, column in enumerate(columns) if column.kind is Kind.UNDETERMINED}
    if not unsettled:
        return guessed
    texts = ", ".join(f"source.{text_name(place)}" for place in sorted(unsettled))
    row_count = min(_SAMPLE_ROWS, max(_SAMPLE_FIELDS // len(unsettled), 1))
    # Read the sample once: opening the file for each query takes longer than the query.
    connection.execute(
        f"CREATE OR REPLACE TABLE memory.sample AS SELECT {texts} FROM {source} AS source"
        f" LIMIT {row_count}"
    )
    for kind in Kind.UNDETERMINED.widenings():
        asked = {place for place in unsettled if kind in columns[place].widenings()}
        for place in _held(connection, "memory.sample", {kind: asked})[kind]:
            guessed[place] = Column(columns[place].name, kind)
            unsettled.remove(place)
    return guessed


def determine(
    connection: duckdb.DuckDBPyConnection, source: str, columns: Sequence[Column]
) -> list[Column]:
    """Return the columns, each with the narrowest kind that fits every value.

    A column keeps its kind if every value fits it.
    """
    places: Collection[int] = range(len(columns))
    if len(columns) > MANY_COLUMNS:
        # Find the few columns that do not fit first, and test all kinds for those only.
        places = _to_blame(connection, source, columns)
    questions: dict[Kind, set[int]] = {Kind.UNDETERMINED: set(places)}
    for place in places:
        for kind in columns[place].widenings():
            questions.setdefault(kind, set()).add(place)
    yes = _held(connection, source, questions)
    determined = list(columns)
    for place in set(places) - yes[Kind.UNDETERMINED]:
        name = columns[place].name
        kind = next(kind for kind in columns[place].widenings() if place in yes[kind])
        determined[place] = Column(name, kind)
    return determined


def _to_blame(
    connection: duckdb.DuckDBPyConnection, source: str, columns: Sequence[Column]
) -> set[int]:
    """Return the positions of columns that have a value which is not of their kind."""
    questions: dict[Kind, set[int]] = {}
    for place, column in enumerate(columns):
        questions.setdefault(column.kind, set()).add(place)
    yes = _held(connection, source, questions)
    return set(range(len(columns))).difference(*yes.values())


def _held(
    connection: duckdb.DuckDBPyConnection, source: str, questions: Mapping[Kind, Collection[int]]
) -> dict[Kind, set[int]]:
    """Return for each kind the tested positions whose nonempty texts are all of that kind.

    A column with only empty fields fits every kind. Only such a column fits ``UNDETERMINED``.
    """
    yes = {kind: set(places) for kind, places in questions.items()}
    # Each (kind, column) pair has a number. The query returns the numbers that do not fit.
    asked: list[tuple[Kind, int]] = []
    against = []
    for kind, places in questions.items():
        if places and kind is not Kind.VARCHAR:
            texts = [f"source.{text_name(place)}" for place in sorted(places)]
            against.append(places_against(kind, texts, len(asked)))
            asked += [(kind, place) for place in sorted(places)]
    if not asked:
        return yes
    rows = connection.execute(
        f"SELECT DISTINCT unnest(flatten([{', '.join(against)}])) FROM {source} AS source"
    ).fetchall()
    for (number,) in rows:
        kind, place = asked[number]
        yes[kind].discard(place)
    return yes
