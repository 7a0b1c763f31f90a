"""No malformed file is loaded: each is refused with its own message, and all others are loaded.

One sandbox serves all files, and one sync ingests them. Each file has its own test.
"""

import csv
import io
import json
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pytest

from cp_pipeline.domain.exports import Partition
from cp_pipeline.ingest import PartitionFailed, PartitionLoaded, PartitionResult, Pipeline
from cp_pipeline.sandbox import Sandbox, SandboxStudy
from cp_pipeline.settings import CentrePointSettings, StorageSettings
from cp_pipeline_tests.headers import ACCEPTED, REFUSED
from cp_pipeline_tests.malformed_files import HEADER, MALFORMED, Malformed, good_csv

DATASET = "ActivityEpochs10"
FIRST_MALFORMED = 20_000
GOOD = {
    Partition(subject, dataset): good_csv(rows)
    for subject, rows in [(10_821, 50), (19_999, 1), (50_000, 200_000), (30_000, 0)]
    for dataset in ["GoodOnly", DATASET if subject != 50_000 else "GoodLarge"]
}
# Each file has its own data set, so that no other file affects its types.
UNUSUAL = {Partition(40_000, name): text.encode() for name, text in ACCEPTED.items()}
SUBJECTS = {each.name: FIRST_MALFORMED + place for place, each in enumerate(MALFORMED)}


@dataclass(frozen=True)
class Synced:
    """The results of the sync."""

    results: dict[Partition, PartitionResult]
    data_dir: Path
    warehouse: duckdb.DuckDBPyConnection
    # By subject: the description and the bytes of each quarantined file.
    quarantined: Mapping[object, list[tuple[dict[str, object], bytes]]]

    def rows(self, sql: str, *values: object) -> list[tuple[object, ...]]:
        return self.warehouse.execute(sql, list(values)).fetchall()


@pytest.fixture(scope="module")
def synced(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Synced]:
    study = SandboxStudy.empty()
    for each in MALFORMED:
        study.put(
            subject_id=SUBJECTS[each.name],
            data_set_name=DATASET,
            raw=each.blob,
            headers={"Content-Length": str(each.declared_length)} if each.declared_length else {},
        )
    for partition, text in (GOOD | UNUSUAL).items():
        study.put(subject_id=partition.subject_id, data_set_name=partition.dataset_name, csv=text)
    data_dir = tmp_path_factory.mktemp("malformed")
    with Sandbox(study) as sandbox:
        storage = StorageSettings.from_environment({"CP_DATA_DIR": str(data_dir)})
        access = CentrePointSettings.from_environment(sandbox.environment)
        exports = Pipeline(access, storage)
        listed = exports.survey()
        with exports.execute(listed) as under_way:
            results = list(under_way)
    quarantined = defaultdict(list)
    for path in (data_dir / "quarantine").rglob("*.json"):
        said = json.loads(path.read_text())
        quarantined[said["subject_id"]].append((said, path.with_suffix(".export").read_bytes()))
    by_partition = {result.partition: result for result in results}
    with duckdb.connect(storage.warehouse, read_only=True) as warehouse:
        yield Synced(by_partition, data_dir, warehouse, quarantined)


@pytest.mark.parametrize("malformed", MALFORMED, ids=lambda each: each.name)
def test_a_malformed_file_is_refused_with_its_own_words(
    synced: Synced, malformed: Malformed
) -> None:
    subject_id = SUBJECTS[malformed.name]
    result = synced.results[Partition(subject_id, DATASET)]

    assert isinstance(result, PartitionFailed)
    assert re.search(malformed.words, result.error), result.error
    if malformed.line is not None:
        assert re.search(rf"\b[Ll]ine {malformed.line}\b", result.error), result.error
    for named in (str(subject_id), DATASET, result.export_file.file_name):
        assert named in str(result)

    failures = synced.rows(
        "SELECT dataset_name, file_name, error FROM lineage.failures WHERE subject_id = ?",
        subject_id,
    )
    assert failures == [(DATASET, result.export_file.file_name, result.error)]

    ((said, kept),) = synced.quarantined[subject_id]
    assert kept == malformed.blob
    assert said["file_name"] == result.export_file.file_name
    assert said["refused"] == result.error

    assert synced.rows("FROM lineage.loads WHERE subject_id = ?", subject_id) == []
    assert synced.rows(f"FROM exports.{DATASET} WHERE _subject_id = ?", subject_id) == []
    landed = synced.data_dir / "landing" / "4711" / str(subject_id)
    assert [path for path in landed.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize("partition", GOOD, ids=str)
def test_every_good_partition_beside_them_is_loaded(synced: Synced, partition: Partition) -> None:
    result = synced.results[partition]
    assert isinstance(result, PartitionLoaded)
    expected = GOOD[partition].count(b"\n") - 1
    assert result.row_count == expected
    counted = synced.rows(
        f"SELECT count(*), coalesce(sum(steps), 0)::BIGINT FROM exports.{partition.dataset_name}"
        " WHERE _subject_id = ?",
        partition.subject_id,
    )
    assert counted == [(expected, expected * (expected + 1) // 2)]


@pytest.mark.parametrize("name", ACCEPTED)
def test_an_unusual_header_is_a_header(synced: Synced, name: str) -> None:
    header, *records = csv.reader(io.StringIO(ACCEPTED[name], newline=""))
    result = synced.results[Partition(40_000, name)]
    assert isinstance(result, PartitionLoaded), result
    table = f'exports."{name}"'
    described = synced.rows(f"DESCRIBE {table}")
    assert [row[0] for row in described][: len(header)] == header
    columns = [f'"{column}"::VARCHAR' for column in header]
    found = synced.rows(f"SELECT {', '.join(columns)} FROM {table}")
    expected = [tuple(field or None for field in record) for record in records]
    assert sorted(found, key=repr) == sorted(expected, key=repr)


def test_there_are_at_least_twenty_headers_of_each_kind() -> None:
    assert len(REFUSED) >= 20
    assert len(ACCEPTED) >= 20


def test_nothing_of_a_malformed_file_is_in_a_table_or_in_the_type_of_a_column(
    synced: Synced,
) -> None:
    own = synced.rows(
        "SELECT column_name, data_type FROM duckdb_columns() WHERE schema_name = 'history'"
        " AND table_name = ? ORDER BY column_index",
        DATASET,
    )
    assert own == [
        ("SUBJECTID", "BIGINT"),
        ("TIMESTAMPUTC", "TIMESTAMP"),
        ("STEPS", "BIGINT"),
        ("_load_id", "BIGINT"),
    ]
    assert synced.rows(
        f"SELECT count(*) FROM history.{DATASET} WHERE _load_id NOT IN"
        " (SELECT load_id FROM lineage.loads)"
    ) == [(0,)]
    assert synced.rows("SELECT count(*) FROM lineage.loads") == [(len(GOOD | UNUSUAL),)]


def test_a_header_without_rows_is_a_valid_export_of_no_rows(synced: Synced) -> None:
    assert GOOD[Partition(30_000, "GoodOnly")] == HEADER
    assert synced.rows("SELECT row_count FROM lineage.loads WHERE subject_id = 30000") == [
        (0,),
        (0,),
    ]


def test_there_are_at_least_forty_malformed_files() -> None:
    assert len({each.name for each in MALFORMED}) == len(MALFORMED) >= 40
