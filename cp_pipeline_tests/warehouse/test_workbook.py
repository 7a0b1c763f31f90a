"""The Excel workbook: each value as what it is, texts never as formulas, limits said in words."""

import re
import stat
from pathlib import Path
from xml.etree import ElementTree as ET
from zipfile import ZipFile

import duckdb
import pytest

from cp_pipeline.domain.errors import PipelineError
from cp_pipeline.settings import StorageSettings
from cp_pipeline.warehouse.workbook import MOST_CHARACTERS, write_workbook

MAIN = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"
# An expression of SQL, and the cell: its type in the file (n, s, b or empty) and its content.
CELLS = {
    "'=1+1'": ("s", "=1+1"),
    "'{=cmd|''/c calc''!A0}'": ("s", "{=cmd|'/c calc'!A0}"),
    "'@SUM(1)'": ("s", "@SUM(1)"),
    "'+1'": ("s", "+1"),
    "'007'": ("s", "007"),
    "'https://example.org/?a=1&b'": ("s", "https://example.org/?a=1&b"),
    "' <b>&amp; '": ("s", " <b>&amp; "),
    "chr(11) || 'x'": ("s", "_x000B_x"),
    "''": ("s", ""),
    "NULL::DOUBLE": ("", ""),
    "0": ("n", "0"),
    "true": ("b", "1"),
    "false": ("b", "0"),
    "999999999999999": ("n", "999999999999999"),
    "1000000000000000": ("s", "1000000000000000"),
    "170141183460469231731687303715884105727::HUGEINT":
        ("s", "170141183460469231731687303715884105727"),
    "0.1::DOUBLE": ("n", "0.1"),
    "1.50::DECIMAL(9,2)": ("n", "1.50"),
    "1234567890123456789.01::DECIMAL(30,2)": ("s", "1234567890123456789.01"),
    "'nan'::DOUBLE": ("s", "nan"),
    "'-inf'::DOUBLE": ("s", "-inf"),
    "DATE '2024-02-29'": ("n", "45351"),
    "DATE '1900-01-01'": ("n", "1"),
    "DATE '1899-12-31'": ("s", "1899-12-31"),
    "DATE '0044-03-15 (BC)'": ("s", "0044-03-15 (BC)"),
    "TIMESTAMP '2024-02-29 12:00'": ("n", "45351.5"),
    "TIMESTAMP 'infinity'": ("s", "infinity"),
    "TIMESTAMP '-infinity'": ("s", "-infinity"),
    "TIMESTAMP '1899-12-31 08:00'": ("s", "1899-12-31 08:00:00"),
    "TIMESTAMP '9999-12-31 23:59:59.999999'": ("s", "9999-12-31 23:59:59.999999"),
    "DATE 'infinity'": ("s", "infinity"),
    "DATE '9999-12-31'": ("n", "2958465"),
    "TIMESTAMP_NS '2024-02-08 10:19:45.5111701'": ("s", "2024-02-08 10:19:45.5111701"),
    "['a, b', NULL]": ("s", '["a, b",null]'),
    "{'a': 1}": ("s", '{"a":1}'),
    "TIME '12:00:00'": ("s", "12:00:00"),
}  # fmt: skip


@pytest.fixture
def storage(tmp_path: Path) -> StorageSettings:
    """A published file with a publication and no models, to which a test adds some."""
    found = StorageSettings.from_environment({"CP_DATA_DIR": str(tmp_path)})
    add(found, "CREATE SCHEMA marts; CREATE SCHEMA lineage; CREATE TABLE lineage.publication AS"
        " SELECT TIMESTAMP '2024-03-01 08:00' AS published_at")  # fmt: skip
    return found


def add(storage: StorageSettings, sql: str) -> None:
    with duckdb.connect(str(storage.published)) as published:
        published.execute(sql)


def sheets_of(path: Path) -> dict[str, list[list[tuple[str, str]]]]:
    """The cells of each sheet by its name, each with its type and its text."""
    with ZipFile(path) as book:
        names = [
            str(each.get("name"))
            for each in ET.fromstring(book.read("xl/workbook.xml")).iter(f"{MAIN}sheet")
        ]
        texts = (
            [
                "".join(part.text or "" for part in each.iter(f"{MAIN}t"))
                for each in ET.fromstring(book.read("xl/sharedStrings.xml")).iter(f"{MAIN}si")
            ]
            if "xl/sharedStrings.xml" in book.namelist()
            else []
        )
        return {
            name: [
                [_cell(cell, texts) for cell in row.iter(f"{MAIN}c")]
                for row in ET.fromstring(book.read(f"xl/worksheets/sheet{place}.xml")).iter(
                    f"{MAIN}row"
                )
            ]
            for place, name in enumerate(names, 1)
        }  # fmt: skip


def _cell(cell: ET.Element, texts: list[str]) -> tuple[str, str]:
    assert cell.find(f"{MAIN}f") is None, "a formula"
    kind = cell.get("t", "n")
    value = cell.findtext(f"{MAIN}v")
    if kind == "inlineStr":
        return "s", "".join(part.text or "" for part in cell.iter(f"{MAIN}t"))
    if kind == "s":
        return "s", texts[int(str(value))]
    return ("", "") if value is None else (kind, value)


def words_of(path: Path) -> str:
    return "\n".join(" ".join(text for _, text in row) for row in sheets_of(path)["About"])


def test_each_value_is_written_as_what_it_is(storage: StorageSettings) -> None:
    columns = ", ".join(f"{sql} AS c{place}" for place, sql in enumerate(CELLS))
    add(storage, f"CREATE TABLE marts.kinds AS SELECT 'first' AS first, {columns}, 'last' AS last")
    header, row = sheets_of(write_workbook(storage).path)["kinds"]
    assert [text for _, text in header[1:-1]] == [f"c{place}" for place in range(len(CELLS))]
    # A cell without a value has no place in the row.
    expected = [cell for cell in CELLS.values() if cell != ("", "")]
    assert [cell for cell in row[1:-1] if cell != ("", "")] == expected
    assert row[0] == ("s", "first")
    assert row[-1] == ("s", "last")


def test_a_text_that_is_too_long_is_cut_and_counted(storage: StorageSettings) -> None:
    add(storage, "CREATE TABLE marts.long AS SELECT unnest([repeat('x', 32767), repeat('y', 32768),"
        " repeat('🙂', 20000)]) AS words")  # fmt: skip
    written = write_workbook(storage)
    texts = sorted(row[0][1] for row in sheets_of(written.path)["long"][1:])
    assert texts[0] == "x" * 32767
    assert texts[1] == "y" * 32765 + " …"
    assert all(len(text.encode("utf-16-le")) // 2 <= MOST_CHARACTERS for text in texts)
    assert written.remarks == ["marts.long: 2 texts cut to 32,767 characters"]
    assert "2 texts cut to 32,767 characters" in words_of(written.path)


def test_a_table_that_does_not_fit_is_left_out_and_named(storage: StorageSettings) -> None:
    add(storage, "CREATE TABLE marts.many AS SELECT range AS n FROM range(1048576);"
        "CREATE TABLE marts.small AS SELECT 1 AS n")  # fmt: skip
    columns = ", ".join(f"c{place} INTEGER" for place in range(16_385))
    add(storage, f"CREATE TABLE marts.wide ({columns})")
    written = write_workbook(storage)
    assert set(sheets_of(written.path)) == {"About", "Columns", "small"}
    assert written.remarks == [
        "marts.many is left out: 1,048,576 rows, and Excel takes 1,048,575",
        "marts.wide is left out: 16,385 columns, and Excel takes 16,384",
    ]
    for remark in written.remarks:
        assert remark.split(" ", 1)[1] in words_of(written.path)
    assert "exports" in words_of(written.path)


def test_every_model_has_a_sheet_with_a_name_that_excel_takes(storage: StorageSettings) -> None:
    names = ["About", "a" * 40, "A" * 31, "[x]:*?/\\", "history", "'quoted'", "columns"]
    for name in names:
        add(storage, f"""CREATE TABLE marts."{name}_" AS SELECT 1 AS n""")
    for name in ("About", "columns", "history"):
        add(storage, f"""CREATE TABLE marts."{name}" AS SELECT 1 AS n""")
    sheets = sheets_of(write_workbook(storage).path)
    assert len(sheets) == 2 + len(names) + 3
    assert len({name.lower() for name in sheets}) == len(sheets)
    for name in sheets:
        assert re.fullmatch(r"[^\[\]:*?/\\']{1,31}", name)
        assert name.lower() != "history"


def test_it_is_replaced_whole_with_the_permissions_of_the_published_file(
    storage: StorageSettings, published_study: Path, tmp_path: Path
) -> None:
    real = StorageSettings.from_environment({"CP_DATA_DIR": str(tmp_path / "real")})
    real.data_dir.mkdir()
    real.published.write_bytes((published_study / "centrepoint.duckdb").read_bytes())
    real.published.chmod(0o640)
    written = write_workbook(real)
    assert written.path == tmp_path / "real" / "centrepoint.xlsx"
    assert stat.S_IMODE(written.path.stat().st_mode) == 0o640
    sheets = sheets_of(written.path)
    assert len(sheets["subject_summary"]) == 1 + 12
    assert any("Number of valid days." in row[3][1] for row in sheets["Columns"])
    before = written.path.read_bytes()
    with duckdb.connect(str(real.published)) as published:
        published.execute("DROP TABLE lineage.publication")
    with pytest.raises(duckdb.Error):
        write_workbook(real)
    assert written.path.read_bytes() == before
    assert not [path for path in real.data_dir.rglob("*") if "partial" in path.name]
    assert not list(real.workbook_scratch.iterdir())
    storage.published.unlink()
    with pytest.raises(PipelineError, match="nothing to write"):
        write_workbook(storage)
