"""Load the same study with dlt: its REST client, Polars, its DuckDB destination; no Dagster.

This follows dlt's documentation. RESTClient and OffsetPaginator read the listing. A parallelized
transformer downloads the files on dlt's thread pool, and makes a Polars frame of each file (as
Arrow, which the DuckDB destination loads through Parquet). The table has the name of the data set.
The types of the measurements are declared, because a file without any measurements would be read as
text, and dlt does not accept both types in one column.

    python with_dlt.py FOLDER      (CP_API_URL and the other variables give the sandbox's address)
"""

import io
import os
import sys
from collections.abc import Iterator
from typing import Any

os.environ.setdefault("RUNTIME__DLTHUB_TELEMETRY", "false")
os.environ.setdefault("RUNTIME__LOG_LEVEL", "ERROR")
os.environ.setdefault("EXTRACT__WORKERS", "16")
os.environ.setdefault("EXTRACT__MAX_PARALLEL_ITEMS", "64")
os.environ.setdefault("DATA_WRITER__BUFFER_MAX_ITEMS", "100000")
os.environ.setdefault("NORMALIZE__DATA_WRITER__FILE_MAX_ITEMS", "10000000")

import dlt
import polars as pl
from dlt.sources.helpers import requests
from dlt.sources.helpers.rest_client import RESTClient
from dlt.sources.helpers.rest_client.auth import OAuth2ClientCredentials
from dlt.sources.helpers.rest_client.paginators import OffsetPaginator


@dlt.resource
def export_files() -> Iterator[list[dict[str, Any]]]:
    """The items of the listing, page by page."""
    client = RESTClient(
        base_url=os.environ["CP_API_URL"],
        auth=OAuth2ClientCredentials(
            access_token_url=os.environ["CP_TOKEN_URL"],
            client_id=os.environ["CP_CLIENT_ID"],
            client_secret=os.environ["CP_CLIENT_SECRET"],
            access_token_request_data={"scope": "DataAccess"},
        ),
        paginator=OffsetPaginator(limit=100, total_path="totalCount"),
        data_selector="items",
    )
    yield from client.paginate(f"studies/{os.environ['CP_STUDY_ID']}/datasetexportfiles")


MEASURED = dict.fromkeys(("MET", "CALORIES"), pl.Float64) | {"STEPS": pl.Int64}


@dlt.defer
def _frame(item: dict[str, Any]) -> object:
    content = requests.get(item["fileUrl"]).content
    read = pl.read_csv(io.BytesIO(content), try_parse_dates=True, schema_overrides=MEASURED)
    frame = read.with_columns(
        _subject_id=pl.lit(item["subjectId"]),
        _program_execution=pl.lit(item["lastSuccessfulProgramExecutionTimeStamp"]),
    )
    return dlt.mark.with_table_name(frame.to_arrow(), item["dataSetName"])


@dlt.transformer(data_from=export_files)
def exports(items: list[dict[str, Any]]) -> Iterator[Any]:
    """A frame for each file; dlt's threads download the files."""
    for item in items:
        yield _frame(item)


def main() -> None:
    """Load the study into a new DuckDB file."""
    folder = sys.argv[1]
    pipeline = dlt.pipeline(
        "centrepoint",
        pipelines_dir=f"{folder}/pipelines",
        destination=dlt.destinations.duckdb(f"{folder}/dlt.duckdb"),
        dataset_name="exports",
    )
    pipeline.run(exports, loader_file_format="parquet")


if __name__ == "__main__":
    main()
