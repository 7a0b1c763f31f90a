"""One export whose execution, modification time and file name a test lists, and a survey."""

from cp_pipeline.ingest import Pipeline, Survey
from cp_pipeline_tests.conftest import one, open_pipeline, rows
from cp_pipeline_tests.study_site import DATASET, Site

FIRST = "2024-02-28T10:05:08.1000000+00:00"
SECOND = "2024-02-29T10:05:08.5899754+00:00"
BEFORE = "2024-02-28T10:09:20.1000000+00:00"
AFTER = "2024-02-29T10:09:20.5899754+00:00"
LATER = "2024-03-01T10:09:20.5899754+00:00"


def listed(here: Site, number: int, execution: str, modified: str, name: str = "") -> None:
    """List subject 1's export with these values, and this number as its only row."""
    here.sandbox.study.put(
        subject_id=1,
        data_set_name=DATASET,
        csv=f"N\n{number}\n".encode(),
        execution=execution,
        modified=modified,
        file_name=name or "1_file.csv.gz",
    )


def surveyed() -> tuple[Pipeline, Survey]:
    """What is listed, of which nothing is written down."""
    exports = open_pipeline()
    return exports, exports.survey(write=False)


def current() -> list[tuple[object, ...]]:
    """Return the current rows with their recorded execution."""
    return rows(f'SELECT N, _program_execution FROM exports."{DATASET}"')


def state() -> object:
    return one("SELECT state FROM lineage.partition_status")


def reasons() -> list[object]:
    return [reason for (reason,) in rows("SELECT reason FROM lineage.loads ORDER BY load_id")]
