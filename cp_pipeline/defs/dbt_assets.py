"""How the SQL models look in Dagster, and how a run builds them.

Belongs here: keys, groups, owners, descriptions, and the one op that runs ``dbt build``.
Does not belong: making the manifest (``dbt_project``), which imports this only when it is wanted:
importing dbt takes a second.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import dagster as dg
import sqlglot
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
from cp_pipeline.defs.instance.pool import POOL
from cp_pipeline.defs.previews import plain
from cp_pipeline.defs.resources import PipelineResource
from cp_pipeline.domain.errors import PipelineError
from cp_pipeline.locks.scratch_folders import scratch_folder
from cp_pipeline.settings import StorageSettings
from cp_pipeline.warehouse import Warehouse

_GROUPS = {"staging": "models", "marts": "marts"}
# Unit tests are of the SQL, not of the data, and run with `make test`.
_LONGEST_NAME = 120
_BUILD = ["build", "--exclude-resource-type", "unit_test"]
Event = TypeVar("Event")


class ModelsInDagster(DagsterDbtTranslator):
    """A model is the asset ``schema / name``; every source is what ``dataset_exports`` loads."""

    def __init__(self) -> None:
        super().__init__(
            DagsterDbtTranslatorSettings(
                # All tables of `lineage` come from one asset.
                enable_duplicate_source_asset_keys=True,
                enable_asset_checks=True,
            )
        )

    def get_asset_key(self, dbt_resource_props: Mapping[str, Any]) -> dg.AssetKey:
        """As ``schema.name`` in the warehouse."""
        if dbt_resource_props["resource_type"] == "source":
            return dataset_exports.key
        return dg.AssetKey([dbt_resource_props["schema"], dbt_resource_props["name"]])

    def get_group_name(self, dbt_resource_props: Mapping[str, Any]) -> str | None:
        """``models`` for staging, ``marts`` for marts."""
        return _GROUPS.get(dbt_resource_props["schema"])

    def get_description(self, dbt_resource_props: Mapping[str, Any]) -> str:
        """The model's own, without its SQL, which dbt's folder shows better."""
        return str(dbt_resource_props.get("description", ""))

    def get_owners(
        self,
        dbt_resource_props: Mapping[str, Any],  # noqa: ARG002  (everything has the same)
    ) -> list[str]:
        """Those who answer for the definitions."""
        return OWNERS


def model_assets(project: DbtProject) -> dg.AssetsDefinition:
    """One asset for each model; a run builds and tests those it is for, in one ``dbt build``.

    Args:
        project: with a manifest.
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
        # dbt's folder for this run; by itself dagster-dbt leaves one behind for every run.
        with (
            _warehouse_named(storage),
            scratch_folder(project.target_path / "builds") as target,
        ):
            building = dbt.cli(_BUILD, context=context, target_path=target)
            events, failure = _until_the_end(building)
            compiled = target / "compiled" / project.name / "models" / "staging"
            described = DbtEventIterator(iter(events), building)
            try:
                for event in described.fetch_row_counts().fetch_column_metadata():
                    yield _with_origins(_with_exported_columns(event, compiled))
            finally:
                # dagster-dbt leaves the file open in this process, and nobody else could write.
                _let_go(building)
            if failure is not None:
                raise failure

    return models


def _check_warehouse(storage: StorageSettings) -> None:
    """Say at once, and in words, that models cannot be built there.

    Raises:
        dagster.Failure: the warehouse, or its folder, cannot be written.
    """
    try:
        Path(storage.warehouse).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with Warehouse.of(storage) as warehouse:
            warehouse.check_writable()
    except (PipelineError, OSError) as error:
        raise dg.Failure(description=str(error), allow_retries=False) from None


def _until_the_end(
    building: DbtCliInvocation,
) -> tuple[list[Any], DagsterDbtCliRuntimeError | None]:
    """What dbt built, and what went wrong.

    dagster-dbt waits for dbt's end too before it asks the warehouse about what was built, as the
    file has one holder at a time; but it does so in a loop that takes a whole processor.
    """
    events: list[Any] = []
    try:
        for event in building.stream():
            events.append(event)  # noqa: PERF402  (those before an error are kept)
    except DagsterDbtCliRuntimeError as error:
        return events, error
    return events, None


def _let_go(building: DbtCliInvocation) -> None:
    if building.adapter is not None:
        building.adapter.cleanup_connections()
    DuckDBConnectionManager.close_all_connections()  # type: ignore[no-untyped-call]


def _with_exported_columns(event: Event, compiled: Path) -> Event | dg.Output[Any]:
    """A staging model's event, with the exports' columns that each of its columns is read from.

    dagster-dbt knows only columns of what stands in the manifest, and the data sets cannot.
    """
    if not isinstance(event, dg.Output):
        return event
    model = compiled / f"{event.output_name.removeprefix('staging__')}.sql"
    if not event.output_name.startswith("staging__") or not model.exists():
        return event
    sources = exported_columns(model.read_text())
    lineage = dg.TableColumnLineage(
        {
            column: [dg.TableColumnDep(dataset_exports.key, name) for name in sorted(names)]
            for column, names in sources.items()
        }
    )
    shown = {"dagster/column_lineage": dg.MetadataValue.column_lineage(lineage)}
    return event.with_metadata({**event.metadata, **shown})


def _with_origins(event: Event | dg.Output[Any]) -> Event | dg.Output[Any]:
    """A model's event, with its column lineage in words too: Dagster's own UI does not draw it."""
    lineage = event.metadata.get("dagster/column_lineage") if isinstance(event, dg.Output) else None
    if not isinstance(event, dg.Output) or not isinstance(
        lineage, dg.TableColumnLineageMetadataValue
    ):
        return event
    named = {
        column: ", ".join(plain(_origin(each), _LONGEST_NAME) for each in origins)
        for column, origins in lineage.column_lineage.deps_by_column.items()
    }
    rows = "\n".join(f"| {plain(column)} | {origins or '—'} |" for column, origins in named.items())
    words = dg.MetadataValue.md(f"| column | is made from |\n|---|---|\n{rows}")
    return event.with_metadata({**event.metadata, "columns_made_from": words})


def _origin(dependency: dg.TableColumnDep) -> str:
    """``activity_daily.steps``; for an export, whose column names its data set, that alone."""
    if dependency.asset_key == dataset_exports.key:
        return dependency.column_name
    return f"{dependency.asset_key.path[-1]}.{dependency.column_name}"


def exported_columns(sql: str) -> dict[str, set[str]]:
    """Which columns of exports each column of a staging model is read from, by name.

    Args:
        sql: the model as dbt has compiled it: a UNION of one SELECT for each data set.

    Returns:
        For instance ``{"steps": {"ActivityDaily8.STEPS"}}``.
    """
    found: dict[str, set[str]] = {}
    for select in sqlglot.parse_one(sql, dialect="duckdb").find_all(sqlglot.exp.Select):
        table = select.find(sqlglot.exp.Table)
        if table is None or table.db != "exports":
            continue
        for column in select.expressions:
            names = {f"{table.name}.{each.name}" for each in column.find_all(sqlglot.exp.Column)}
            found.setdefault(column.alias_or_name, set()).update(names)
    return found


@contextmanager
def _warehouse_named(storage: StorageSettings) -> Iterator[None]:
    """``CP_WAREHOUSE`` by its whole path, as dbt takes a relative one from another folder."""
    before = os.environ.get("CP_WAREHOUSE")
    os.environ["CP_WAREHOUSE"] = storage.warehouse
    try:
        yield
    finally:
        if before is None:
            del os.environ["CP_WAREHOUSE"]
        else:
            os.environ["CP_WAREHOUSE"] = before
