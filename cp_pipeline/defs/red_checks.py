"""Tests of the models that are red in Dagster and do not stop publishing, and what they found.

Belongs here: which dbt tests these are (``meta: {shown_as: error}``), their severity, their rows.
Does not belong: the tests (``dbt_style_sql``), running SQL (``warehouse.query``).

A dbt test of severity ``error`` stops the models after it, so nothing would be published. A test of
severity ``warn`` is yellow. What a statistician must see, and may publish all the same, is neither.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import dagster as dg

from cp_pipeline.defs.previews import plain
from cp_pipeline.warehouse import Warehouse, failing_rows

_LONGEST = 300


def shown_red(
    events: list[Any], manifest: Mapping[str, Any], compiled: Path, warehouse: Warehouse
) -> Iterator[Any]:
    """Yield dbt's events; a failed test that is marked as an error is one, with the rows it found.

    ``events`` are of a build that has ended; ``compiled`` has the tests as dbt compiled them.
    """
    for event in events:
        node = _marked(event, manifest)
        if node is None:
            yield event
            continue
        meta = node["config"]["meta"]
        sql = (compiled / node["original_file_path"] / node["path"]).read_text(encoding="utf-8")
        found = failing_rows(warehouse, sql, meta["shows"])
        yield event._replace(
            severity=dg.AssetCheckSeverity.ERROR,
            description=_described(meta["says"], found),
            metadata={**event.metadata, "found": dg.MetadataValue.md(_table(found))},
        )


def _marked(event: object, manifest: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return the test of a failed check that is to be shown as an error, else None."""
    if not isinstance(event, dg.AssetCheckResult) or event.passed:
        return None
    node: Mapping[str, Any] = manifest["nodes"][event.metadata["unique_id"].value]
    return node if node["config"].get("meta", {}).get("shown_as") == "error" else None


def _described(says: str, found: list[dict[str, object]]) -> str:
    lines = []
    for row in found:
        named = [f"{name.replace('_', ' ')}: {_text(value)}" for name, value in row.items()]
        lines.append("- " + "; ".join(named))
    return "\n".join([says, *lines])


def _table(found: list[dict[str, object]]) -> str:
    if not found:
        return "No rows."
    names = list(found[0])
    lines = [names, ["---"] * len(names)]
    lines += [[plain(_text(value), _LONGEST) for value in row.values()] for row in found]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _text(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
