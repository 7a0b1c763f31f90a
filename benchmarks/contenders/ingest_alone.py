"""cp-pipeline without Dagster: the package ``cp_pipeline.ingest`` called directly.

python ingest_alone.py      (settings as for `cp-pipeline sync`)
"""

from cp_pipeline.ingest import PartitionFailed, Pipeline
from cp_pipeline.settings import CentrePointSettings, StorageSettings


def main() -> None:
    """List, plan, and load."""
    exports = Pipeline(CentrePointSettings.from_environment(), StorageSettings.from_environment())
    with exports.execute(exports.survey()) as results:
        failed = [result for result in results if isinstance(result, PartitionFailed)]
    if failed:
        raise SystemExit(f"{len(failed)} partitions failed, the first: {failed[0]}")
    print(exports.where_the_time_went())


if __name__ == "__main__":
    main()
