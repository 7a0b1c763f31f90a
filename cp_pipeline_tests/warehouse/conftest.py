"""A warehouse with data to compact, to rebuild and to erase, copied for each test."""

from pathlib import Path

import pytest

from cp_pipeline.ingest import Pipeline
from cp_pipeline.sandbox import Sandbox, SandboxStudy
from cp_pipeline.settings import CentrePointSettings, StorageSettings
from cp_pipeline_tests.conftest import sync_all
from cp_pipeline_tests.lakes import copied, warehouse_variables
from cp_pipeline_tests.warehouse_contents import MARKED_SUBJECT, MARKER

DAILY = "ActivityDaily8"


@pytest.fixture(scope="session")
def finished_study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four subjects and a marked one: executed again, refreshed, widened; one file is refused."""
    data_dir = tmp_path_factory.mktemp("finished") / "data"
    study = SandboxStudy.synthetic(study_id=4711, subjects=4, days=1, seed=1, epoch_rows=60)
    study.put(subject_id=MARKED_SUBJECT, data_set_name=DAILY, csv=b"A,STEPS\n1,7\n")
    study.put(subject_id=MARKED_SUBJECT, data_set_name="Notes", csv=b"N,V\n1,1.50\n")
    study.put(subject_id=7, data_set_name="Notes", csv=b"N,V\n2,2.50\n")
    with Sandbox(study) as service:
        exports = Pipeline(
            CentrePointSettings.from_environment(service.environment),
            StorageSettings.from_environment(
                {"CP_DATA_DIR": str(data_dir), **warehouse_variables(data_dir)}
            ),
        )
        sync_all(exports)
        service.execute_again(subject_id=10821)
        study.put(
            subject_id=MARKED_SUBJECT, data_set_name="Notes", csv=f"N,V\n1,{MARKER}\n".encode()
        )
        study.put(subject_id=MARKED_SUBJECT, data_set_name="Bad", csv=f"{MARKER}\n1,2\n".encode())
        sync_all(exports)
        sync_all(exports, refresh=True)
    exports.warehouse.close()
    return data_dir


@pytest.fixture
def storage(finished_study: Path, tmp_path: Path) -> StorageSettings:
    """A copy of that study's data folder; the environment's settings point to it."""
    copied(finished_study, tmp_path / "data")
    return StorageSettings.from_environment()
