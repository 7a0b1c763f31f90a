"""The SQL models as Dagster assets, and the op that builds them.

Belongs here: keys, groups, owners, descriptions, and the op that runs ``dbt build``.
Does not belong: creating the manifest (``dbt_project``). That module imports this one only when it
needs it, because importing dbt takes a second.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import dagster as dg
from dagster_dbt import (
    DagsterDbtTranslator,
    DagsterDbtTranslatorSettings,
    DbtCliInvocation,
    DbtCliResource,
    DbtProject,
    dbt_assets,
)
from dagster_dbt.core.dbt_event_iterator import DbtEventIterator
from dagster_dbt.errors import DagsterDbtCliRuntimeError
from dbt.adapters.duckdb.connections import DuckDBConnectionManager

from cp_pipeline.defs.asset_tags import OWNERS
from cp_pipeline.defs.assets import dataset_exports
from cp_pipeline.defs.column_lineage import ColumnLineage
from cp_pipeline.defs.dbt_project import copy_saved_parse, warehouse_named
from cp_pipeline.defs.instance.pool import POOL
from cp_pipeline.defs.red_checks import shown_red
from cp_pipeline.defs.resources import PipelineResource
from cp_pipeline.domain.errors import PipelineError
from cp_pipeline.locks.scratch_folders import scratch_folder
from cp_pipeline.settings import StorageSettings
from cp_pipeline.warehouse import Warehouse, columns_of_tables, only_writer

_GROUPS = {"staging": "models", "marts": "marts"}
# Unit tests check the SQL, not the data. `make test` runs them.
_BUILD = ["build", "--exclude-resource-type", "unit_test"]


class ModelsInDagster(DagsterDbtTranslator):
    """Each model is the asset ``schema / name``; every source is the asset ``dataset_exports``."""

    def __init__(self) -> None:
        super().__init__(
            DagsterDbtTranslatorSettings(
                # All tables of `lineage` come from the same asset.
                enable_duplicate_source_asset_keys=True,
                enable_asset_checks=True,
            )
        )

    def get_asset_key(self, dbt_resource_props: Mapping[str, Any]) -> dg.AssetKey:
        """Return the key with the schema and the name that the model has in the warehouse."""
        if dbt_resource_props["resource_type"] == "source":
            return dataset_exports.key
        return dg.AssetKey([dbt_resource_props["schema"], dbt_resource_props["name"]])

    def get_group_name(self, dbt_resource_props: Mapping[str, Any]) -> str | None:
        """Return ``models`` for the schema ``staging``, and ``marts`` for ``marts``."""
        return _GROUPS.get(dbt_resource_props["schema"])

    def get_description(self, dbt_resource_props: Mapping[str, Any]) -> str:
        """Return the model's own description, without its SQL."""
        return str(dbt_resource_props.get("description", ""))

    def get_owners(
        self,
        dbt_resource_props: Mapping[str, Any],  # noqa: ARG002  (all have the same owner)
    ) -> list[str]:
        """Return the owners of all assets."""
        return OWNERS


def model_assets(project: DbtProject) -> dg.AssetsDefinition:
    """Return one asset per model. A run builds and tests the selected ones in one ``dbt build``.

    The ``project`` must have a manifest.
    """

    @dbt_assets(
        manifest=project.manifest_path,
        project=project,
        name="models",
        dagster_dbt_translator=ModelsInDagster(),
        pool=POOL,
    )
    def models(
        context: dg.AssetExecutionContext,
        dbt: DbtCliResource,
        source: dg.ResourceParam[PipelineResource],
    ) -> Iterator[Any]:
        storage = source.storage()
        _check_warehouse(storage)
        # A scratch folder for dbt's results: dagster-dbt would leave a folder behind for each run.
        with (
            warehouse_named(storage),
            Warehouse.of(storage) as waiting,
            only_writer(waiting),
            scratch_folder(project.target_path / "builds") as target,
        ):
            copy_saved_parse(project, target)
            building = dbt.cli(_BUILD, context=context, target_path=target)
            events, failure = _wait_for_end(building)
            compiled = target / "compiled"
            with Warehouse.of(storage) as warehouse:
                # Of our own models, also where they are a package of another project.
                own = compiled / "cp_models"
                events = list(shown_red(events, building.manifest, own, warehouse))
                tables = columns_of_tables(warehouse)
            origins = ColumnLineage(building.manifest, ModelsInDagster(), compiled, tables)
            described = DbtEventIterator(iter(events), building).fetch_row_counts()
            try:
                for event in described.fetch_column_metadata(with_column_lineage=False):
                    yield origins.added_to(event)
            finally:
                # dagster-dbt keeps the warehouse open in this process, so no other process could
                # write.
                _close_connections(building)
            if failure is not None:
                raise failure

    return models


def _check_warehouse(storage: StorageSettings) -> None:
    """Check that the warehouse can be written, before dbt tries every model.

    Raises:
        dagster.Failure: the warehouse or its folder cannot be written.
    """
    try:
        with Warehouse.of(storage) as warehouse:
            if warehouse.is_file:
                Path(storage.warehouse).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            elif not warehouse.exists():
                # dbt would make a DuckLake without its data path.
                with warehouse.transaction():
                    pass
            warehouse.check_writable()
    except (PipelineError, OSError) as error:
        raise dg.Failure(description=str(error), allow_retries=False) from None


def _wait_for_end(
    building: DbtCliInvocation,
) -> tuple[list[Any], DagsterDbtCliRuntimeError | None]:
    """Return dbt's events and its error, when dbt has ended.

    Only one process can open the warehouse, so its queries about the models must wait for that.
    dagster-dbt waits too, but in a loop that uses a whole processor.
    """
    events: list[Any] = []
    try:
        for event in building.stream():
            events.append(event)  # noqa: PERF402  (keeps the events before an error)
    except DagsterDbtCliRuntimeError as error:
        return events, error
    return events, None


def _close_connections(building: DbtCliInvocation) -> None:
    if building.adapter is not None:
        building.adapter.cleanup_connections()
    DuckDBConnectionManager.close_all_connections()  # type: ignore[no-untyped-call]
