"""The report says what the published file has; nothing in it runs, and nothing unknown is 0."""

import shutil
import stat
from pathlib import Path

import duckdb
import pytest

from cp_pipeline.domain.errors import PipelineError
from cp_pipeline.report import write_report
from cp_pipeline.settings import StorageSettings
from cp_pipeline.warehouse.report_queries import LISTED
from cp_pipeline_tests.report.pages import Page

HOSTILE = (
    "<script>alert(1)</script>",
    "\"onmouseover='alert(1)'",
    "</style></title><img src=x onerror=alert(1)>",
    "{{ 7 * 7 }}{% raw %}",
    "&lt;b&gt; & Ünïcode \u202e 👩🏽‍⚕️",
    "]]> <!-- ",
)
DETAILS = """
INSERT INTO study.studies (id, name) VALUES (4711, 'A trial');
INSERT INTO study.sites (study_id, id, site_identifier, site_name)
VALUES (4711, 1, '101', 'Graz'), (4711, 2, NULL, 'Pune');
DELETE FROM study.subjects;
INSERT INTO study.subjects (study_id, id, site_id, subject_identifier)
SELECT 4711, subject_id, 1 + subject_id % 2, 'S' || subject_id FROM marts.subject_summary;
INSERT INTO marts.subject_processing (study_id, subject_id, study_program_id, state)
SELECT study_id, subject_id, 'p', 'loaded' FROM marts.subject_summary;
"""
# The same text wherever the page has a text of others.
NAMED = """
UPDATE study.studies SET name = getvariable('words') || {subject};
INSERT INTO study.sites (study_id, id, site_name) VALUES (4711, {subject}, getvariable('words'));
UPDATE study.subjects SET subject_identifier = getvariable('words'), site_id = {subject}
WHERE id = {subject};
UPDATE marts.subject_visits SET visit_name = getvariable('words') WHERE subject_id = {subject};
UPDATE marts.study_coverage SET dataset_name = getvariable('words'), state = 'failed'
WHERE subject_id = {subject} AND dataset_name = 'ActivityDaily8';
INSERT INTO lineage.failures (study_id, subject_id, dataset_name, file_name, error, failed_at)
SELECT 4711, {subject}, word, word, word, now()::TIMESTAMP
FROM (SELECT getvariable('words') AS word);
UPDATE marts.program_executions
SET study_program_name = getvariable('words'), columns_added = [getvariable('words')]
WHERE subject_id = {subject};
UPDATE marts.subject_processing SET study_program_name = getvariable('words'), state = 'pending',
datasets_lacking = [getvariable('words')] WHERE subject_id = {subject};
UPDATE marts.subject_days SET validity_reason = getvariable('words'), is_valid_day = NULL
WHERE subject_id = {subject};
"""
# SQL that takes something away, and what the page says then.
UNKNOWN = {
    "DELETE FROM lineage.listings": "unknown (no whole listing is recorded)",
    "DELETE FROM study.studies": "name unknown (the details of the study are not read)",
    "DELETE FROM study.subjects": "Site unknown: the details of the study are not read",
    "UPDATE study.subjects SET site_id = NULL WHERE id = 10822": "Site unknown: CentrePoint names",
    "DELETE FROM marts.subject_processing": "unknown (no look at CentrePoint is recorded",
    "DELETE FROM marts.subject_visits": "unknown (neither CentrePoint nor the file",
    "UPDATE marts.subject_visits SET wear_start = NULL": "unknown (no wear period yet)",
    "UPDATE marts.subject_visits SET planned_days = NULL": "unknown (not planned)",
    "UPDATE marts.subject_summary SET overall_mean_steps = NULL":
        "unknown (no subject has a valid day with it)",
    "UPDATE marts.subject_summary SET overall_mean_wear_minutes = NULL":
        "unknown (no wear measured)",
    "DELETE FROM marts.subject_summary WHERE subject_id = 10822": "unknown (no export is listed)",
    "UPDATE marts.program_executions SET rows_changed = NULL": "unknown (no time column",
}  # fmt: skip


@pytest.fixture
def storage(published_study: Path, tmp_path: Path) -> StorageSettings:
    """A copy of the published file, which a test may change."""
    data = tmp_path / "data"
    data.mkdir()
    shutil.copy(published_study / "centrepoint.duckdb", data)
    return StorageSettings.from_environment({"CP_DATA_DIR": str(data)})


def change(storage: StorageSettings, sql: str) -> None:
    with duckdb.connect(str(storage.published)) as published:
        published.execute(sql)


def asked(storage: StorageSettings, sql: str) -> list[tuple[object, ...]]:
    with duckdb.connect(str(storage.published), read_only=True) as published:
        return published.execute(sql).fetchall()


def page_of(storage: StorageSettings) -> Page:
    return Page(write_report(storage).path.read_text())


def shown(rows: list[tuple[object, ...]]) -> list[str]:
    return [f"{each:,}" for each in rows[0]]


def test_the_numbers_are_those_of_the_published_file(storage: StorageSettings) -> None:
    change(storage, DETAILS)
    page = page_of(storage)
    assert page.title == "Study report: A trial (study 4711)"
    for site, odd in (("101 Graz", 0), ("Pune", 1)):
        of_site = f"WHERE subject_id % 2 = {odd}"
        pairs = asked(
            storage,
            "SELECT count(*), count(*) FILTER (state = 'current'),"
            f" count(*) FILTER (state = 'failed') FROM marts.study_coverage {of_site}",
        )
        assert page.table("Partitions by site").row(site)[1:4] == shown(pairs)
        days = asked(
            storage,
            "SELECT count(DISTINCT subject_id), count(*), count(*) FILTER (is_valid_day),"
            " count(*) FILTER (NOT is_valid_day), count(*) FILTER (is_valid_day IS NULL)"
            f" FROM marts.subject_days {of_site}",
        )
        assert page.table("Days and their validity").row(site)[1:6] == shown(days)
    ((hours, lower, upper, n),) = asked(
        storage,
        "SELECT median(h), quantile_cont(h, 0.25), quantile_cont(h, 0.75), count(h) FROM ("
        "SELECT avg(wear_minutes) / 60 AS h FROM marts.subject_days WHERE is_valid_day"
        " GROUP BY subject_id)",
    )
    means = page.table("Means over valid days, by site").row("all of study 4711")
    assert means[1] == f"{hours:.1f} ({lower:.1f} to {upper:.1f}; n {n})"
    visits = page.table("Visits of all sites").row("Baseline")
    planned = asked(storage, "SELECT count(*), count(wear_start), sum(planned_days), sum(days),"
                    " sum(valid_days) FROM marts.subject_visits")  # fmt: skip
    assert visits[2:7] == shown(planned)
    again = page.table("Exports that were executed again").row("ActivityDaily8")
    changed = asked(
        storage,
        "SELECT (SELECT count(*) FROM lineage.current_loads WHERE dataset_name = 'ActivityDaily8'),"
        " count(*), count(*), sum(rows_added), sum(rows_removed), sum(rows_changed)"
        " FROM marts.program_executions WHERE previous_load_id IS NOT NULL",
    )
    assert again[1:7] == shown(changed)
    assert len(page.table("Subjects of Pune").rows) == 7


def test_every_text_of_others_is_text(storage: StorageSettings) -> None:
    change(storage, DETAILS)
    with duckdb.connect(str(storage.published)) as published:
        for place, text in enumerate(HOSTILE):
            published.execute("SET VARIABLE words = $text", {"text": text})
            published.execute(NAMED.format(subject=10821 + place))
    plain = page_of(storage)
    for text in HOSTILE:
        assert plain.text.count(text) >= 8, text
    assert not {"script", "img", "link", "iframe", "b"} & plain.elements
    assert all(link.startswith("#") for link in plain.links)
    assert plain.title.endswith(f"{HOSTILE[-1]}{10821 + len(HOSTILE) - 1} (study 4711)")


@pytest.mark.parametrize("sql", UNKNOWN)
def test_what_is_not_known_is_called_unknown_with_its_reason(
    storage: StorageSettings, sql: str
) -> None:
    change(storage, DETAILS + sql)
    text = page_of(storage).text
    assert UNKNOWN[sql] in text
    assert not {"None", "nan", "NaT"} & set(text.split())


def test_what_is_known_is_not_called_unknown(storage: StorageSettings) -> None:
    change(storage, DETAILS)
    text = page_of(storage).text
    assert [words for words in UNKNOWN.values() if words in text] == []


def many_subjects(storage: StorageSettings, number: int) -> None:
    """Each of them has visits, days and executions like the first subject, and waits."""
    with duckdb.connect(str(storage.published)) as published:
        for table in ("study_coverage", "subject_summary", "subject_visits", "subject_days",
                      "subject_processing", "program_executions"):  # fmt: skip
            published.execute(
                f"INSERT INTO marts.{table} SELECT others.* REPLACE (20000 + range AS subject_id)"
                f" FROM marts.{table} AS others, range({number}) WHERE others.subject_id = 10821"
            )
        published.execute(
            "UPDATE marts.subject_processing SET state = 'uploaded_since_processed'"
            " WHERE subject_id >= 20000"
        )


def test_two_thousand_subjects_are_grouped_folded_and_counted_whole(
    storage: StorageSettings,
) -> None:
    change(storage, DETAILS)
    many_subjects(storage, 2000)
    report = write_report(storage)
    page = Page(report.path.read_text())
    figures = {each.name: each for each in report.figures}
    assert figures["Subjects"].value == "2,012"
    assert figures["Waiting"].value == "2,000"
    assert sum(len(each.rows) for each in page.tables if not each.is_folded) < 60
    assert len(page.table("Subjects that wait; times").rows) == 1 + LISTED
    assert page.text.count(f"Only the first {LISTED} are listed here.") == 2
    waiting = page.table("Subjects that wait, by what they wait for; a subject")
    assert waiting.row("uploaded_since_processed")[1] == "2,000"
    assert report.byte_count < 1_500_000


def test_a_page_can_be_read_without_seeing_it(storage: StorageSettings) -> None:
    change(storage, DETAILS)
    change(storage, "UPDATE marts.study_coverage SET state = 'failed' WHERE subject_id = 10821")
    text = write_report(storage).path.read_text()
    page = Page(text)
    assert '<html lang="en">' in text
    assert [level for level, _ in page.headings].count("h1") == 1
    assert all(words.strip() for _, words in page.headings)
    assert all(table.caption for table in page.tables)
    for table in page.tables:
        assert all(cell.strip() for cell in table.rows[0]), table.caption
    assert "failed 4, current 20" in page.labels or "current 20, failed 4" in page.labels
    ids = {link.removeprefix("#") for link in page.links}
    assert all(f'id="{each}"' in text for each in ids)


def test_studies_are_kept_apart(storage: StorageSettings) -> None:
    many_subjects(storage, 3)
    change(
        storage,
        "".join(
            f"UPDATE marts.{table} SET study_id = 4712 WHERE subject_id >= 20000;"
            for table in ("study_coverage", "subject_summary", "subject_visits",
                          "subject_processing", "program_executions")
        ),
    )  # fmt: skip
    page = page_of(storage)
    days = page.table("Days and their validity")
    assert days.row("study 4712: site unknown")[1] == "3"
    assert days.row("all of study 4711")[1] == "12"
    assert days.row("all of study 4712")[1] == "3"


def test_the_file_is_replaced_whole_with_the_permissions_of_the_published_file(
    storage: StorageSettings,
) -> None:
    for mode in (0o640, 0o600):
        storage.published.chmod(mode)
        written = write_report(storage)
        assert stat.S_IMODE(written.path.stat().st_mode) == mode
    before = storage.report.read_bytes()
    change(storage, "DROP TABLE marts.subject_days")
    with pytest.raises(PipelineError, match="subject_days") as refused:
        write_report(storage)
    assert "cp-pipeline publish" in refused.value.remedy
    assert storage.report.read_bytes() == before
    names = {path.name for path in storage.data_dir.iterdir()}
    assert names == {"centrepoint.duckdb", "study-report.html"}


def test_without_a_published_file_there_is_nothing_to_report(storage: StorageSettings) -> None:
    storage.published.unlink()
    with pytest.raises(PipelineError, match="nothing to report"):
        write_report(storage)
    assert not storage.report.exists()
