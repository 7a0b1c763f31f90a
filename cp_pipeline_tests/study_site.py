"""A served study with its own data folder, for tests that load given files."""

from pathlib import Path

from cp_pipeline.ingest import PartitionLoaded, PartitionResult, Pipeline
from cp_pipeline.landing.csv_validation import RESERVED_NAMES
from cp_pipeline.settings import CentrePointSettings, StorageSettings
from cp_pipeline.warehouse import Load, Warehouse
from cp_pipeline_tests.faults import FaultySandbox
from cp_pipeline_tests.lakes import warehouse_variables
from cp_pipeline_tests.warehouses import reading

DATASET = "Kinds"


class Site:
    """A served study and its data folder."""

    def __init__(
        self,
        sandbox: FaultySandbox,
        data_dir: Path,
        lake: dict[str, str] | None = None,
        landing: str = "",
    ) -> None:
        self.sandbox = sandbox
        chosen = warehouse_variables(data_dir) if lake is None else lake
        variables = {"CP_DATA_DIR": str(data_dir), "CP_LANDING": landing, **chosen}
        self.storage = StorageSettings.from_environment(variables)

    def put(self, csv_text: str | bytes, *, subject_id: int = 1, dataset: str = DATASET) -> None:
        encoded = csv_text.encode() if isinstance(csv_text, str) else csv_text
        self.sandbox.study.put(subject_id=subject_id, data_set_name=dataset, csv=encoded)

    def sync(self) -> list[PartitionResult]:
        access = CentrePointSettings.from_environment(self.sandbox.environment)
        exports = Pipeline(access, self.storage)
        listed = exports.survey()
        with exports.execute(listed) as results:
            return list(results)

    def load(self, csv_text: str | bytes, *, subject_id: int = 1, dataset: str = DATASET) -> Load:
        """Add one file to the study, sync, and return its load."""
        self.put(csv_text, subject_id=subject_id, dataset=dataset)
        (result,) = self.sync()
        assert isinstance(result, PartitionLoaded), result
        (load,) = result.loads
        return load

    def rows(self, sql: str) -> list[tuple[object, ...]]:
        with reading(self.storage) as connection:
            return connection.execute(sql).fetchall()

    def loaded_partitions(self) -> int:
        """Count the partitions that have a load; 0 without a warehouse."""
        with Warehouse.of(self.storage) as warehouse:
            if not warehouse.exists():
                return 0
        pairs = self.rows("SELECT DISTINCT subject_id, dataset_name FROM lineage.loads")
        return len(pairs)

    def types(self, dataset: str = DATASET) -> dict[str, str]:
        """Return the types of the data set's own columns, in table order."""
        described = self.rows(f'DESCRIBE exports."{dataset}"')
        return {str(r[0]): str(r[1]) for r in described if str(r[0]) not in RESERVED_NAMES}
