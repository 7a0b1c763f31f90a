"""The models of the published file as an Excel workbook, within the limits of Excel.

Belongs here: which tables, how a value is written, what does not fit. Does not belong: the models
(``dbt_style_sql``).

Excel has 15 digits and dates from 1900 on, and may take a text with ``=`` for a formula.
So each value is written as what it is, and what Excel cannot hold is written as text, cut or left
out. The first sheet says so.
"""

import math
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path

import duckdb
import xlsxwriter
from xlsxwriter.exceptions import XlsxWriterException
from xlsxwriter.format import Format
from xlsxwriter.worksheet import Worksheet

from cp_pipeline.domain.errors import PipelineError
from cp_pipeline.domain.texts import count
from cp_pipeline.locks.partial_files import replaced_at_once
from cp_pipeline.locks.scratch_folders import scratch_folder
from cp_pipeline.settings import StorageSettings
from cp_pipeline.warehouse.column_types import quoted
from cp_pipeline.warehouse.connection import Warehouse

# https://support.microsoft.com/office/1672b34d-7043-467e-8e27-269d656771c3
MOST_ROWS, MOST_COLUMNS, MOST_CHARACTERS, LONGEST_SHEET_NAME = 1_048_576, 16_384, 32_767, 31
_MOST_EXACT = 10**15
_FIRST_DATE = date(1900, 1, 1)
# Excel rounds a later one to the year 10,000, which it has not.
_LAST_INSTANT = datetime(9999, 12, 31, 23, 59, 59, 999_000)  # noqa: DTZ001  (in UTC, as written)
_NOT_IN_SHEET_NAMES = str.maketrans(dict.fromkeys("[]:*?/\\'", "_"))
_CUT = " …"
_AT_ONCE = 2000
# Types that Excel has, too. Others are written as DuckDB writes them; dates and timestamps are read
# from that, because Python has neither an infinite one nor one before the year 1.
_AS_THEY_ARE = (
    "BOOLEAN", "TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER",
    "UBIGINT", "FLOAT", "DOUBLE", "VARCHAR",
)  # fmt: skip
_READ_FROM_TEXT: dict[str, Callable[[str], date]] = {
    "DATE": date.fromisoformat,
    "TIMESTAMP": datetime.fromisoformat,
}
_NOTES = (
    "An empty cell is NULL: the value is not known, which is not 0.",
    "Times are in UTC and to the millisecond; program executions are texts with all digits.",
    "Whole numbers of more than 15 digits, and dates before 1900, are texts: Excel has none.",
    "Lists are texts, as in JSON.",
    "The data sets themselves (exports) are not here, but in the published file.",
)


@dataclass(slots=True)
class Sheet:
    """What became of one table. ``left_out``: why it has no sheet; empty if it has."""

    table: str
    name: str
    rows: int
    left_out: str = ""
    cut_texts: int = 0


@dataclass(frozen=True, slots=True)
class Workbook:
    """A workbook that was written."""

    path: Path
    byte_count: int
    sheets: list[Sheet] = field(default_factory=list)

    @property
    def remarks(self) -> list[str]:
        """What is not in the workbook as it is in the published file."""
        return [
            f"{each.table} {each.left_out}" if each.left_out else
            f"{each.table}: {count(each.cut_texts, 'text')} cut to {MOST_CHARACTERS:,} characters"
            for each in self.sheets
            if each.left_out or each.cut_texts
        ]  # fmt: skip


def write_workbook(storage: StorageSettings, path: Path | None = None) -> Workbook:
    """Write the models of the published file to an Excel workbook, with the same permissions.

    Args:
        storage: the settings.
        path: the workbook; by default beside the published file. An older one is replaced.

    Raises:
        PipelineError: nothing is published, or the workbook cannot be written.
        WarehouseError: the published file cannot be opened.
    """
    path = path or storage.workbook
    if not storage.published.exists():
        raise PipelineError(
            f"There is no published file {storage.published}, so there is nothing to write.",
            "Run cp-pipeline publish.",
        )
    mode = stat.S_IMODE(storage.published.stat().st_mode)
    try:
        with (
            scratch_folder(storage.workbook_scratch) as scratch,
            Warehouse(str(storage.published)) as opened,
            opened.reading() as connection,
            replaced_at_once(path, mode) as partial,
        ):
            sheets = _write(connection, partial, scratch)
    except (OSError, XlsxWriterException) as error:
        raise PipelineError(
            f"The workbook {path} cannot be written: {error}.",
            "An older one is unchanged. Check the disk space and that the folder is writable.",
        ) from error
    return Workbook(path, path.stat().st_size, sheets)


def _write(connection: duckdb.DuckDBPyConnection, target: Path, scratch: Path) -> list[Sheet]:
    # Row by row through files, because a table with all its rows would not fit in memory.
    options = {"constant_memory": True, "tmpdir": str(scratch), "default_date_format": "yyyy-mm-dd"}
    book = xlsxwriter.Workbook(str(target), options)
    try:
        bold = book.add_format({"bold": True})
        instant = book.add_format({"num_format": "yyyy-mm-dd hh:mm:ss.000"})
        about = book.add_worksheet("About")
        described = book.add_worksheet("Columns")
        taken = {"about", "columns"}
        sheets = []
        for table, rows, columns in _tables(connection):
            sheet = Sheet(f"marts.{table}", _sheet_name(table, taken), rows)
            sheets.append(sheet)
            if rows >= MOST_ROWS:
                sheet.left_out = f"is left out: {rows:,} rows, and Excel takes {MOST_ROWS - 1:,}"
            elif columns > MOST_COLUMNS:
                sheet.left_out = (
                    f"is left out: {columns:,} columns, and Excel takes {MOST_COLUMNS:,}"
                )
            else:
                _fill(connection, table, book.add_worksheet(sheet.name), sheet, bold, instant)
        _describe(connection, described, bold)
        _say(connection, about, sheets, bold)
    finally:
        book.close()
    return sheets


def _tables(connection: duckdb.DuckDBPyConnection) -> list[tuple[str, int, int]]:
    """Return each model of the schema ``marts``, with its number of rows and of columns."""
    names = connection.execute(
        "SELECT table_name, column_count FROM duckdb_tables()"
        " WHERE database_name = current_database() AND schema_name = 'marts' ORDER BY table_name"
    ).fetchall()
    found = []
    for name, columns in names:
        (rows,) = connection.execute(f"SELECT count(*) FROM marts.{quoted(name)}").fetchall()
        found.append((str(name), int(rows[0]), int(columns)))
    return found


def _sheet_name(table: str, taken: set[str]) -> str:
    """Return a name that Excel takes and no other sheet has: Excel ignores case."""
    plain = table.translate(_NOT_IN_SHEET_NAMES) or "table"
    name, number = plain[:LONGEST_SHEET_NAME], 1
    while name.lower() in taken or name.lower() == "history":
        number += 1
        ending = f"_{number}"
        name = plain[: LONGEST_SHEET_NAME - len(ending)] + ending
    taken.add(name.lower())
    return name


def _fill(
    connection: duckdb.DuckDBPyConnection,
    table: str,
    page: Worksheet,
    sheet: Sheet,
    bold: Format,
    instant: Format,
) -> None:
    columns = connection.execute(f"DESCRIBE marts.{quoted(table)}").fetchall()
    page.freeze_panes(1, 0)
    for place, (name, *_) in enumerate(columns):
        page.set_column(place, place, min(max(len(name) + 2, 10), 40))
        page.write_string(0, place, name, bold)
    page.autofilter(0, 0, sheet.rows, len(columns) - 1)
    selected = ", ".join(_selected(name, kind) for name, kind, *_ in columns)
    readers = [_READ_FROM_TEXT.get(kind) for _, kind, *_ in columns]
    answer = connection.execute(f"SELECT {selected} FROM marts.{quoted(table)} ORDER BY ALL")
    for number, values in enumerate(_fetched(answer), 1):
        for place, (value, reader) in enumerate(zip(values, readers, strict=True)):
            read = value if reader is None else _read(value, reader)
            sheet.cut_texts += _write_value(page, number, place, read, instant)


def _selected(name: str, kind: str) -> str:
    if kind in _AS_THEY_ARE or kind.startswith("DECIMAL"):
        return quoted(name)
    is_nested = kind.endswith("]") or kind.startswith(("STRUCT", "MAP", "UNION"))
    written = f"to_json({quoted(name)})" if is_nested else quoted(name)
    return f"{written}::VARCHAR AS {quoted(name)}"


def _read(value: object, reader: Callable[[str], date]) -> object:
    """Return the date or the time of a text, or the text if Python has no such date."""
    try:
        return value if value is None else reader(str(value))
    except ValueError:
        return value


def _fetched(answer: duckdb.DuckDBPyConnection) -> Iterator[tuple[object, ...]]:
    while some := answer.fetchmany(_AT_ONCE):
        yield from some


def _write_value(page: Worksheet, row: int, place: int, value: object, instant: Format) -> bool:
    """Write one value as what it is; return whether its text had to be cut."""
    if isinstance(value, bool):
        page.write_boolean(row, place, value)
    elif _is_exact_number(value):
        page.write_number(row, place, value)
    elif isinstance(value, datetime):
        if value.date() >= _FIRST_DATE and value <= _LAST_INSTANT:
            page.write_datetime(row, place, value, instant)
        else:
            page.write_string(row, place, str(value))
    elif isinstance(value, date) and value >= _FIRST_DATE:
        page.write_datetime(row, place, value)
    elif value is not None:
        text = str(value)
        fits = _fitting(text)
        # Never `write`: it takes a text that begins with = for a formula.
        page.write_string(row, place, fits)
        return fits != text
    return False


def _is_exact_number(value: object) -> bool:
    """Return whether Excel, which has numbers like a float's, can hold a value unchanged."""
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, Decimal):
        return Decimal(repr(float(value))) == value
    return isinstance(value, int) and abs(value) < _MOST_EXACT


def _fitting(text: str) -> str:
    """Return a text that a cell can hold. Excel counts UTF-16, where an emoji is two."""
    units = text.encode("utf-16-le", "surrogatepass")
    if len(units) // 2 <= MOST_CHARACTERS:
        return text
    kept = units[: 2 * (MOST_CHARACTERS - len(_CUT))].decode("utf-16-le", "ignore")
    return kept + _CUT


def _describe(connection: duckdb.DuckDBPyConnection, page: Worksheet, bold: Format) -> None:
    """Write what each column is, from the comments in the published file."""
    page.freeze_panes(1, 0)
    for place, (name, width) in enumerate((("table", 28), ("column", 34), ("type", 14),
                                           ("description", 100))):  # fmt: skip
        page.set_column(place, place, width)
        page.write_string(0, place, name, bold)
    rows = connection.execute(
        "SELECT table_name, column_name, data_type, coalesce(comment, '') FROM duckdb_columns()"
        " WHERE database_name = current_database() AND schema_name = 'marts'"
        " ORDER BY table_name, column_index"
    ).fetchall()
    for number, row in enumerate(rows[: MOST_ROWS - 1], 1):
        for place, text in enumerate(row):
            page.write_string(number, place, _fitting(str(text)))


def _say(
    connection: duckdb.DuckDBPyConnection, page: Worksheet, sheets: list[Sheet], bold: Format
) -> None:
    """Write what the workbook is, what each sheet has, and what is not here."""
    (published,) = connection.execute("SELECT published_at FROM lineage.publication").fetchall()
    page.set_column(0, 0, 34)
    page.set_column(1, 1, 10)
    page.set_column(2, 2, 100)
    lines = [
        ("The models of the published file", "", ""),
        (f"Published {published[0]:%Y-%m-%d %H:%M} UTC", "", ""),
        ("", "", ""),
        ("sheet", "rows", "remark"),
    ]
    for each in sheets:
        cut = f"{count(each.cut_texts, 'text')} cut to {MOST_CHARACTERS:,} characters"
        remark = each.left_out or (cut if each.cut_texts else "")
        lines.append((each.name, f"{each.rows:,}", remark))
    lines += [("", "", ""), *((note, "", "") for note in _NOTES)]
    for number, line in enumerate(lines):
        for place, text in enumerate(line):
            page.write_string(number, place, text, bold if number in {0, 3} else None)
