"""The floor: the least that any program must do. No lineage, no checks, no typing, no saved state.

It reads all pages of the listing once, downloads with 16 threads, and then runs one `read_csv` with
declared types for each data set.

    python floor.py FOLDER      (CP_API_URL and the other variables give the sandbox's address)
"""

import os
import sys
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import duckdb
import requests

TYPES = {
    "ActivityDaily8": {
        "SUBJECTID": "BIGINT",
        "DATE": "DATE",
        "WEARMINUTES": "BIGINT",
        "SLEEPMINUTES": "BIGINT",
        "STEPS": "BIGINT",
        "SEDENTARYMINUTES": "BIGINT",
        "LIGHTMINUTES": "BIGINT",
        "MODERATEMINUTES": "BIGINT",
        "VIGOROUSMINUTES": "BIGINT",
        "MVPAMINUTES": "BIGINT",
        "MET": "DOUBLE",
        "CALORIES": "DOUBLE",
        "AWAKEWEARMINUTES": "BIGINT",
    },
    "ActivityEpochs10": {
        "SUBJECTID": "BIGINT",
        "TIMESTAMPUTC": "TIMESTAMP",
        "STEPS": "BIGINT",
        "MET": "DOUBLE",
        "CALORIES": "DOUBLE",
    },
}
PAGE = 100


def list_items(session: requests.Session) -> list[dict[str, object]]:
    """Every export of the study."""
    token = session.post(
        os.environ["CP_TOKEN_URL"],
        data={
            "grant_type": "client_credentials",
            "scope": "DataAccess",
            "client_id": os.environ["CP_CLIENT_ID"],
            "client_secret": os.environ["CP_CLIENT_SECRET"],
        },
        timeout=60,
    ).json()["access_token"]
    address = f"{os.environ['CP_API_URL']}/studies/{os.environ['CP_STUDY_ID']}/datasetexportfiles"
    items: list[dict[str, object]] = []
    while True:
        page = session.get(
            address,
            params={"offset": len(items), "limit": PAGE},
            headers={"Authorization": f"Bearer {token}"},
            timeout=60,
        ).json()
        items += page["items"]
        if len(items) >= page["totalCount"]:
            return items


def main() -> None:
    """Load the study into a new DuckDB file."""
    folder = Path(sys.argv[1])
    session = requests.Session()
    session.mount("http://", requests.adapters.HTTPAdapter(pool_maxsize=16))
    paths = defaultdict(list)

    def download(numbered: tuple[int, dict[str, object]]) -> None:
        number, item = numbered
        path = folder / f"{number}.csv.gz"
        path.write_bytes(session.get(str(item["fileUrl"]), timeout=60).content)
        paths[item["dataSetName"]].append(str(path))

    with ThreadPoolExecutor(16) as threads:
        list(threads.map(download, enumerate(list_items(session))))
    with duckdb.connect(str(folder / "floor.duckdb")) as connection:
        connection.execute("SET preserve_insertion_order = false")
        for name, files in paths.items():
            connection.execute(
                f'CREATE TABLE "{name}" AS FROM read_csv(?, columns = {TYPES[str(name)]},'
                " auto_detect = false, header = true, delim = ',', compression = 'gzip')",
                [files],
            )


if __name__ == "__main__":
    main()
