"""The preview of a load in Dagster's UI: a curve over time, the first records, the columns.

Belongs here: Markdown and Dagster's table schema. Does not belong: drawing (``charts``), reading
rows (``warehouse.profile``).
"""

from collections.abc import Callable, Iterable, Sequence

import dagster as dg

from cp_pipeline.charts import curve, in_markdown
from cp_pipeline.warehouse import Load

# A partition has a load for each study program. Only the first loads are shown.
_LOADS_SHOWN = 3
_COLUMNS_SHOWN = 30
_LONGEST_VALUE = 40
_LONGEST_CHANGE = 200
# Dagster stores the schema with every event: half a megabyte for 1,500 columns.
_COLUMNS_IN_SCHEMA = 200


def preview_metadata(loads: Sequence[Load]) -> dict[str, dg.MetadataValue]:
    """Return the metadata with the preview of the loads.

    If a part cannot be drawn, ``not_drawn`` names it with the reason. The data is already loaded,
    so an error here must not fail the step.
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
        except Exception as error:  # noqa: BLE001  (any value may break the drawing)
            not_drawn.append(f"{name}: {type(error).__name__}: {error}")
    if not_drawn:
        drawn["not_drawn"] = dg.MetadataValue.text("; ".join(not_drawn))
    return drawn


def _curves(loads: Sequence[Load]) -> dict[str, dg.MetadataValue]:
    """Return a curve over time for each load; empty if no load has one."""
    drawn = _joined(loads, _curve)
    return {"curve": dg.MetadataValue.md(drawn)} if drawn else {}


def _first_records(loads: Sequence[Load]) -> dict[str, dg.MetadataValue]:
    """Return the first records of each load, unchanged from its file."""
    return {"first_records": dg.MetadataValue.md(_joined(loads, _records))}


def _column_schema(loads: Iterable[Load]) -> dict[str, dg.MetadataValue]:
    """Return the columns with their types in the warehouse, and how many are left out."""
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
            f"The schema shows the first {len(shown)} columns. {left_out:,} more are in "
            "lineage.column_types."
        )
    return drawn


def changed_columns(loads: Iterable[Load]) -> str:
    """Return Markdown with the columns that these loads added or widened; empty if none."""
    changes = [str(change) for load in loads for change in load.changes]
    lines = [f"- {plain(change, _LONGEST_CHANGE)}" for change in changes[:_COLUMNS_IN_SCHEMA]]
    if left_out := len(changes) - len(lines):
        lines.append(f"- and {left_out:,} more (lineage.column_types lists all)")
    return "\n".join(lines)


def _joined(loads: Sequence[Load], render: Callable[[Load], str]) -> str:
    parts = []
    for load in loads[:_LOADS_SHOWN]:
        part = render(load)
        if part and len(loads) > 1:
            part = f"**Study program {plain(load.landed.study_program_id)}**\n\n{part}"
        parts.append(part)
    return "\n\n".join(filter(None, parts))


def _curve(load: Load) -> str:
    profile = load.look
    if profile is None or not profile.value_column or profile.first is None or profile.last is None:
        return ""
    title = f"{profile.value_column}, mean over {profile.time_column}"
    alt_text = f"{profile.value_column} over time".translate(_NO_BRACKETS)
    picture = curve(title, _minute(profile.first), _minute(profile.last), profile.curve)
    return in_markdown(picture, alt_text)


def _minute(moment: str) -> str:
    """Return ``2024-02-29 10:09`` for ``2024-02-29 10:09:20.5``."""
    return moment.rpartition(":")[0]


def _records(load: Load) -> str:
    header = [column.name for column in load.columns]
    if not load.preview:
        return "The file has a header, but no records."
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
    """Return a value as Markdown text: shortened, and with Markdown and HTML escaped."""
    cut = value if len(value) <= longest else value[: longest - 1] + "…"
    return cut.replace("\r", "").translate(_ESCAPED)
