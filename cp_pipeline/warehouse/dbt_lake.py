"""The plugin of dbt-duckdb that lets dbt attach a DuckLake as cp-pipeline does.

Belongs here: what ``dbt_style_sql/profiles.yml`` cannot say. Does not belong: how a DuckLake is
opened (``lake``).
"""

from typing import Any

import duckdb
from dbt.adapters.duckdb.credentials import DuckDBCredentials
from dbt.adapters.duckdb.plugins import BasePlugin

from cp_pipeline.settings import StorageSettings
from cp_pipeline.warehouse.lake import Lake


class Plugin(BasePlugin):
    """Configure DuckDB, and load the extensions, before dbt attaches the lake."""

    def update_connection_config(
        self,
        creds: DuckDBCredentials,  # noqa: ARG002  (dbt-duckdb's signature)
        config: dict[str, Any],
    ) -> None:
        """Set where DuckDB's secrets are; dbt calls it before it opens DuckDB."""
        config.update(_lake().config())

    def configure_connection(self, conn: duckdb.DuckDBPyConnection) -> None:
        """Load the extensions; dbt calls it before it attaches the lake."""
        _lake().prepare(conn)

    def configure_cursor(self, cursor: duckdb.DuckDBPyConnection) -> None:
        """Use the lake: the models name schemas without a database."""
        cursor.execute("USE warehouse")


def _lake() -> Lake:
    storage = StorageSettings.from_environment()
    return Lake(storage.warehouse, storage.lake_data_path, storage.duckdb_secrets)
