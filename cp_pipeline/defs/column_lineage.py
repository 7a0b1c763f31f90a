"""Which columns a model's columns are made from, for the Dagster UI.

Belongs here: reading a compiled model, and the metadata. Does not belong: building the models
(``dbt_assets``).

dagster-dbt does this too, but reads the whole model anew for each of its columns, which took two
thirds of a publication's time. sqlglot finds the origins of all columns of a model at once.
"""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import dagster as dg
from dagster_dbt import DagsterDbtTranslator
from sqlglot import exp, parse_one
from sqlglot.lineage import Node, lineage
from sqlglot.schema import MappingSchema

from cp_pipeline.defs.assets import dataset_exports
from cp_pipeline.defs.previews import plain

_DIALECT = "duckdb"
_LONGEST_NAME = 120
Event = TypeVar("Event")
# An asset, and a column of it.
_Origin = tuple[dg.AssetKey, str]
_log = logging.getLogger(__name__)


class ColumnLineage:
    """Adds to a model's event which columns its columns are made from.

    Args:
        manifest: dbt's manifest of the models.
        translator: names the assets.
        compiled: dbt's folder ``compiled``.
        tables: the columns of all tables, by schema and name, with their types.
    """

    def __init__(
        self,
        manifest: Mapping[str, Any],
        translator: DagsterDbtTranslator,
        compiled: Path,
        tables: Mapping[str, Mapping[str, Mapping[str, str]]],
    ) -> None:
        self._manifest = manifest
        self._translator = translator
        self._compiled = compiled
        self._tables = tables
        self._schema = MappingSchema(
            {name: {**found} for name, found in tables.items()}, dialect=_DIALECT
        )

    def added_to(self, event: Event) -> Event | dg.Output[Any]:
        """Return the event of a model with the lineage of its columns; any other event unchanged.

        Also as a table, because Dagster's UI does not show column lineage.
        """
        if not isinstance(event, dg.Output) or "unique_id" not in event.metadata:
            return event
        node = self._manifest["nodes"][event.metadata["unique_id"].value]
        origins = self._origins(node)
        if not origins:
            return event
        columns = self._tables.get(node["schema"], {}).get(node["alias"], {})
        deps = {column: sorted(origins.get(column.lower(), ())) for column in columns}
        found = dg.TableColumnLineage(
            {column: [dg.TableColumnDep(*each) for each in some] for column, some in deps.items()}
        )
        named = {
            column: ", ".join(plain(_named(each), _LONGEST_NAME) for each in some)
            for column, some in deps.items()
        }
        rows = "\n".join(f"| {plain(column)} | {said or '—'} |" for column, said in named.items())
        return event.with_metadata(
            {
                **event.metadata,
                "dagster/column_lineage": dg.MetadataValue.column_lineage(found),
                "columns_made_from": dg.MetadataValue.md(
                    f"| column | source columns |\n|---|---|\n{rows}"
                ),
            }
        )

    def _origins(self, node: Mapping[str, Any]) -> dict[str, set[_Origin]]:
        """Return what each column of a model, in lower case, is made from; nothing if unknown."""
        path = self._compiled / node["package_name"] / node["original_file_path"]
        if not path.exists():
            return {}
        sql = path.read_text(encoding="utf-8")
        try:
            if exported := exported_columns(sql):
                return {
                    column.lower(): {(dataset_exports.key, name) for name in names}
                    for column, names in exported.items()
                }
            found = lineage(None, sql, self._schema, dialect=_DIALECT, trim_selects=False)
            parents = self._parents(node)
            return {column.lower(): _leaves(each, parents) for column, each in found.items()}
        except Exception as error:  # noqa: BLE001  (a person's own model is built all the same)
            # It may be more than sqlglot can read, which has errors of many kinds.
            reason = " ".join(str(error).split()) or type(error).__name__
            _log.warning("The origins of the columns of %s are not known: %s", node["name"], reason)
            return {}

    def _parents(self, node: Mapping[str, Any]) -> dict[tuple[str, str], dg.AssetKey]:
        """Return the asset of each table that a model reads, by schema and name."""
        found = {}
        for parent in node["depends_on"]["nodes"]:
            read = self._manifest["sources"].get(parent) or self._manifest["nodes"][parent]
            name = read.get("identifier") or read.get("alias") or read["name"]
            found[read["schema"].lower(), name.lower()] = self._translator.get_asset_key(read)
        return found


def _leaves(node: Node, parents: Mapping[tuple[str, str], dg.AssetKey]) -> set[_Origin]:
    """Return the columns of parents at the ends of a lineage."""
    found = set()
    for each in node.walk():
        table = None if each.downstream else each.expression.find(exp.Table)
        key = parents.get((table.db.lower(), table.name.lower())) if table else None
        if key is not None:
            found.add((key, exp.to_column(each.name).name.lower()))
    return found


def _named(origin: _Origin) -> str:
    """Return a name such as ``activity_daily.steps``.

    A column of an export already has the name of its data set.
    """
    key, column = origin
    return column if key == dataset_exports.key else f"{key.path[-1]}.{column}"


def exported_columns(sql: str) -> dict[str, set[str]]:
    """Return, for each column of a staging model, the columns of exports that it is read from.

    The exports are no sources of dbt, because each study has different ones.

    Args:
        sql: the model as compiled by dbt: a UNION of one SELECT for each data set.

    Returns:
        For instance ``{"steps": {"ActivityDaily8.STEPS"}}``.
    """
    sources: dict[str, set[str]] = {}
    for select in parse_one(sql, dialect=_DIALECT).find_all(exp.Select):
        table = select.find(exp.Table)
        if table is None or table.db != "exports":
            continue
        for column in select.expressions:
            names = {f"{table.name}.{each.name}" for each in column.find_all(exp.Column)}
            sources.setdefault(column.alias_or_name, set()).update(names)
    return sources
