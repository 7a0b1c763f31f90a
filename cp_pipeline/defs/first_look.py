"""How a load looks in the Dagster UI: a curve over its time, its first records, its columns.

Belongs here: Markdown and Dagster's table schema. Does not belong: drawing (``pictures``), reading
rows (``warehouse.first_look``).
"""

from collections.abc import Callable, Iterable, Sequence

import dagster as dg

from cp_pipeline.ingest import Load
from cp_pipeline.pictures import curve, in_markdown

# A partition has a load for each study program; of more than so many, the first are shown.
_LOADS_SHOWN = 3
_COLUMNS_SHOWN = 30
_LONGEST_VALUE = 40
_MINUTE = "%Y-%m-%d %H:%M"


def curves(loads: Sequence[Load]) -> str:
    """Markdown: a curve over the time of each load, or nothing where there is none to draw."""
    return _together(loads, _curve)


def first_records(loads: Sequence[Load]) -> str:
    """Markdown: the first records of each load, as they stand in its file."""
    return _together(loads, _records)


def column_schema(loads: Iterable[Load]) -> dg.MetadataValue:
    """The partition's columns with their types in the warehouse."""
    types: dict[str, str] = {}
    for load in loads:
        for column in load.columns:
            types.setdefault(column.name, column.kind.sql_type)
    return dg.MetadataValue.table_schema(
        dg.TableSchema([dg.TableColumn(name, kind) for name, kind in types.items()])
    )


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
    picture = curve(title, f"{look.first:{_MINUTE}}", f"{look.last:{_MINUTE}}", look.curve)
    return in_markdown(picture, words)


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
