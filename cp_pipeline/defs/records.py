"""What Dagster writes down of a partition.

Belongs here: metadata, tags and words of materializations and observations.
Does not belong: when they are logged (``loading``).
"""

import dagster as dg

from cp_pipeline.defs.partitions import key_of
from cp_pipeline.exports import Partition
from cp_pipeline.ingest import Listed, PartitionLoaded, Plan

EXPORT_FILES = dg.AssetKey("export_files")
DATASET_EXPORTS = dg.AssetKey("dataset_exports")
_SHOWN = 50


def materialization(loaded: PartitionLoaded) -> dg.AssetMaterialization:
    """One partition's own record; its data version is the program executions it came from."""
    files = [(load.landed.file_name, load.landed.sha256) for load in loaded.loads]
    files += [(kept.file_name, kept.file_sha256) for kept in loaded.kept]
    columns = [load.column_count for load in loaded.loads]
    columns += [kept.column_count for kept in loaded.kept]
    changes = [str(change) for load in loaded.loads for change in load.changes]
    metadata: dict[str, dg.MetadataValue] = {
        "dagster/partition_row_count": dg.MetadataValue.int(loaded.row_count),
        "rows": dg.MetadataValue.int(loaded.row_count),
        "columns": dg.MetadataValue.int(max(columns, default=0)),
        "bytes": dg.MetadataValue.int(loaded.file_bytes),
        "files": dg.MetadataValue.int(len(files)),
        "file_names": dg.MetadataValue.text(", ".join(sorted({name for name, _ in files}))),
        "checksum": dg.MetadataValue.text(", ".join(sorted(checksum for _, checksum in files))),
        "program_execution": dg.MetadataValue.text(", ".join(loaded.executions)),
        "fetched": dg.MetadataValue.bool(bool(loaded.loads)),
    }
    if loaded.loads:
        metadata["load_ids"] = dg.MetadataValue.text(
            ", ".join(str(load.load_id) for load in loaded.loads)
        )
    if changes:
        metadata["schema_changes"] = dg.MetadataValue.md("\n".join(f"- {c}" for c in changes))
    return dg.AssetMaterialization(
        DATASET_EXPORTS,
        partition=key_of(loaded.partition),
        metadata=metadata,
        tags={"dagster/data_version": ",".join(loaded.executions)},
    )


def no_export(partition: Partition) -> dg.AssetMaterialization:
    """Says of a partition that was asked for that there is nothing to load, and nothing loaded.

    A materialization, because Dagster calls a backfill failed when one of its partitions has none,
    and a pair without an export is no failure.
    """
    return dg.AssetMaterialization(
        DATASET_EXPORTS,
        partition=key_of(partition),
        description=f"CentrePoint lists no export for {partition}; nothing was written.",
        metadata={
            "dagster/partition_row_count": dg.MetadataValue.int(0),
            "rows": dg.MetadataValue.int(0),
            "files": dg.MetadataValue.int(0),
            "note": dg.MetadataValue.text("CentrePoint lists no export for this pair."),
        },
        tags={"dagster/data_version": "no export"},
    )


def listing_metadata(listed: Listed, plan: Plan) -> dict[str, dg.MetadataValue]:
    """What a listing holds, and what of it is still to be loaded."""
    by_dataset: dict[str, int] = {}
    for item in listed.items:
        by_dataset[item.dataset_name] = by_dataset.get(item.dataset_name, 0) + 1
    rows = "\n".join(f"| {name} | {count} |" for name, count in sorted(by_dataset.items())[:_SHOWN])
    newest = max(listed.items, key=lambda item: item.execution, default=None)
    return {
        "exports": dg.MetadataValue.int(len(listed.items)),
        "partitions": dg.MetadataValue.int(len(listed.partitions)),
        "partitions_to_load": dg.MetadataValue.int(len(plan.to_load)),
        "subjects": dg.MetadataValue.int(len({item.subject_id for item in listed.items})),
        "datasets": dg.MetadataValue.int(len(by_dataset)),
        "newest_program_execution": dg.MetadataValue.text(
            newest.execution.verbatim if newest else "none: nothing is listed"
        ),
        "exports_by_dataset": dg.MetadataValue.md(f"| data set | exports |\n|---|---|\n{rows}"),
    }
