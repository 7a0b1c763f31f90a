"""How a load looks in the Dagster UI: a curve over its time, its first records, its columns.

Belongs here: Markdown and Dagster's table schema. Does not belong: drawing (``charts``), reading
rows (``warehouse.profile``).
"""

from collections.abc import Callable, Iterable, Sequence

import dagster as dg

from cp_pipeline.charts import curve, in_markdown
from cp_pipeline.ingest import Load

# A partition has a load for each study program; of more than so many, the first are shown.
_LOADS_SHOWN = 3
_COLUMNS_SHOWN = 30
_LONGEST_VALUE = 40
_LONGEST_CHANGE = 200
# Dagster stores the schema with every record: of 1,500 columns, half a megabyte each time.
_COLUMNS_IN_SCHEMA = 200


def looks(loads: Sequence[Load]) -> dict[str, dg.MetadataValue]:
    """Metadata: how the data looks.

    A picture that cannot be drawn is named in ``not_drawn``, with the reason: the data is loaded by
    now, and how it looks must not be what fails a step.
    """
    drawn: dict[str, dg.MetadataValue] = {}
    not_drawn = []
    for name, draw in (
        ("curve", _curves),
        ("first_records", _first_records),
        ("dagster/column_schema", _column_schema),
    ):
        try:
            drawn |= draw(loads)
        except Exception as error:  # noqa: BLE001  (whatever a value makes of the drawing)
            not_drawn.append(f"{name}: {type(error).__name__}: {error}")
    if not_drawn:
        drawn["not_drawn"] = dg.MetadataValue.text("; ".join(not_drawn))
    return drawn


def _curves(loads: Sequence[Load]) -> dict[str, dg.MetadataValue]:
    """A curve over the time of each load, or nothing where there is none to draw."""
    drawn = _together(loads, _curve)
    return {"curve": dg.MetadataValue.md(drawn)} if drawn else {}


def _first_records(loads: Sequence[Load]) -> dict[str, dg.MetadataValue]:
    """The first records of each load, as they stand in its file."""
    return {"first_records": dg.MetadataValue.md(_together(loads, _records))}


def _column_schema(loads: Iterable[Load]) -> dict[str, dg.MetadataValue]:
    """The partition's columns with their types in the warehouse, and how many are left out."""
    types: dict[str, str] = {}
    for load in loads:
        for column in load.columns:
            types.setdefault(column.name, column.kind.sql_type)
    shown = list(types.items())[:_COLUMNS_IN_SCHEMA]
    schema = dg.TableSchema([dg.TableColumn(name, kind) for name, kind in shown])
    drawn: dict[str, dg.MetadataValue] = {
        "dagster/column_schema": dg.MetadataValue.table_schema(schema)
    }
    if left_out := len(types) - len(shown):
        drawn["columns_left_out"] = dg.MetadataValue.text(
            f"The schema has the first {len(shown)} columns; {left_out:,} more are in "
            "lineage.column_types."
        )
    return drawn


def changed_columns(loads: Iterable[Load]) -> str:
    """Markdown: the columns that came or widened with these loads, or nothing."""
    changes = [str(change) for load in loads for change in load.changes]
    lines = [f"- {plain(change, _LONGEST_CHANGE)}" for change in changes[:_COLUMNS_IN_SCHEMA]]
    if left_out := len(changes) - len(lines):
        lines.append(f"- and {left_out:,} more (lineage.column_types has them all)")
    return "\n".join(lines)


def _together(loads: Sequence[Load], shown: Callable[[Load], str]) -> str:
    parts = []
    for load in loads[:_LOADS_SHOWN]:
        part = shown(load)
        if part and len(loads) > 1:
            part = f"**Study program {plain(load.landed.study_program_id)}**\n\n{part}"
        parts.append(part)
    return "\n\n".join(filter(None, parts))


def _curve(load: Load) -> str:
    look = load.look
    if look is None or not look.value_column or look.first is None or look.last is None:
        return ""
    title = f"{look.value_column}, mean over {look.time_column}"
    words = f"{look.value_column} over time".translate(_NO_BRACKETS)
    picture = curve(title, _minute(look.first), _minute(look.last), look.curve)
    return in_markdown(picture, words)


def _minute(moment: str) -> str:
    """``2024-02-29 10:09`` of ``2024-02-29 10:09:20.5``."""
    return moment.rpartition(":")[0]


def _records(load: Load) -> str:
    header = [column.name for column in load.columns]
    if not load.preview:
        return "The file has a header and no records."
    shown = header[:_COLUMNS_SHOWN]
    lines = [_row(shown), "|---" * len(shown) + "|"]
    lines += [_row(record[:_COLUMNS_SHOWN]) for record in load.preview]
    left_out = len(header) - len(shown)
    note = f"\n\n{left_out} more columns" if left_out else ""
    return "\n".join(lines) + f"\n\nThe first of {load.row_count:,} records.{note}"


def _row(values: Iterable[str]) -> str:
    return "| " + " | ".join(plain(value) for value in values) + " |"


_NO_BRACKETS = str.maketrans("[]()", "    ")
_ESCAPED = str.maketrans({sign: f"\\{sign}" for sign in "\\`*_{}[]<>()#+-!|~$&:"} | {"\n": " ⏎ "})


def plain(value: str, longest: int = _LONGEST_VALUE) -> str:
    """A value as Markdown shows it: cut where it is long, and nothing in it is Markdown or HTML."""
    cut = value if len(value) <= longest else value[: longest - 1] + "…"
    return cut.replace("\r", "").translate(_ESCAPED)
