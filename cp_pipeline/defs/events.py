"""The events that Dagster stores for a partition and for a listing.

Belongs here: metadata, tags and texts of materializations and observations.
Does not belong: when they are stored (``load_steps``), the preview of a load (``previews``).
"""

import sys
from collections import Counter
from collections.abc import Iterable, Mapping

import dagster as dg

from cp_pipeline.charts import bars, coverage_map, in_markdown
from cp_pipeline.defs.partitions import key_of
from cp_pipeline.defs.previews import changed_columns, plain, preview_metadata
from cp_pipeline.domain.exports import ExportFile, Partition
from cp_pipeline.domain.study_details import NO_NAMES, StudyNames
from cp_pipeline.ingest import PartitionLoaded
from cp_pipeline.warehouse import PartitionState

EXPORT_FILES = dg.AssetKey("export_files")
LISTED_EXECUTIONS = dg.AssetKey("listed_executions")
DATASET_EXPORTS = dg.AssetKey("dataset_exports")
# The version of the code that loads files. A new number makes every partition stale in Dagster.
CODE_VERSION = "1"
# The preview of a load: written at the load, and copied by later events of the same version.
PREVIEW_KEYS = (
    "load_ids", "curve", "first_records", "dagster/column_schema", "columns_left_out", "not_drawn",
)  # fmt: skip
VERSION_TAG = "dagster/data_version"
_SHOWN = 50
_NO_EXPORT = "no export"
NOT_LISTED = "CentrePoint lists no export for {}. Nothing was loaded."
NOT_WRITTEN = (
    "CentrePoint has executed the program for {}, but has not written the new file yet (pending)."
)


def provenance(version: str, listed_after: int) -> dict[str, str]:
    """Return the tags that tell Dagster whether a partition is stale, and why.

    Args:
        version: the program executions that are loaded.
        listed_after: a storage id of Dagster's event log from before the listing. If a newer
            execution is observed later, its event has a higher id, and the partition becomes stale
            (``CachingStaleStatusResolver._is_dep_updated`` compares the ids).
    """
    upstream = LISTED_EXECUTIONS.to_user_string()
    return {
        VERSION_TAG: version,
        "dagster/code_version": CODE_VERSION,
        f"dagster/input_data_version/{upstream}": version,
        f"dagster/input_event_pointer/{upstream}": str(max(listed_after, 1)),
    }


def materialization(
    loaded: PartitionLoaded,
    listed_after: int,
    before: dg.AssetMaterialization | None = None,
    names: StudyNames = NO_NAMES,
) -> dg.AssetMaterialization:
    """Return the materialization of a partition; its data version is the loaded executions.

    Args:
        loaded: the partition.
        listed_after: see ``provenance``.
        before: the partition's previous materialization. If nothing was loaded, the preview is
            copied from it, because the partition's page shows the newest event only.
        names: how people call study programs and subjects.
    """
    version = ",".join(loaded.executions)
    files = [(load.landed.file_name, load.landed.sha256) for load in loaded.loads]
    files += [(kept.file_name, kept.file_sha256) for kept in loaded.kept]
    columns = [load.column_count for load in loaded.loads]
    columns += [kept.column_count for kept in loaded.kept]
    metadata: dict[str, dg.MetadataValue] = {
        "dagster/partition_row_count": dg.MetadataValue.int(loaded.row_count),
        "program_execution": dg.MetadataValue.text(", ".join(loaded.executions)),
        "rows": dg.MetadataValue.int(loaded.row_count),
        "columns": dg.MetadataValue.int(max(columns, default=0)),
        "bytes": dg.MetadataValue.int(loaded.file_bytes),
        "files": dg.MetadataValue.int(len(files)),
        "file_names": dg.MetadataValue.text(", ".join(sorted({name for name, _ in files}))),
        "checksum": dg.MetadataValue.text(", ".join(sorted(checksum for _, checksum in files))),
        "fetched": dg.MetadataValue.bool(bool(loaded.loads)),
        "study_program": dg.MetadataValue.text(names.of_programs(loaded.study_programs)),
        **_subject_metadata(names, loaded.partition.subject_id),
    }
    if loaded.loads:
        metadata["load_ids"] = dg.MetadataValue.text(
            ", ".join(str(load.load_id) for load in loaded.loads)
        )
        metadata |= preview_metadata(loaded.loads)
    elif before is not None and (before.tags or {}).get(VERSION_TAG) == version:
        metadata |= {
            name: before.metadata[name] for name in PREVIEW_KEYS if name in before.metadata
        }
    if changes := changed_columns(loaded.loads):
        metadata["schema_changes"] = dg.MetadataValue.md(changes)
    return dg.AssetMaterialization(
        DATASET_EXPORTS,
        partition=key_of(loaded.partition),
        metadata=metadata,
        tags=provenance(version, listed_after),
    )


def _subject_metadata(names: StudyNames, subject_id: int) -> dict[str, dg.MetadataValue]:
    """Return how people call a subject. The partition's key stays its number."""
    named = names.subjects.get(subject_id)
    if named is None:
        return {}
    found = {
        "subject_identifier": named.subject_identifier,
        "site_identifier": named.site_identifier,
        "site": named.site_name,
    }
    return {name: dg.MetadataValue.text(value) for name, value in found.items() if value}


def no_export(partition: Partition, listed_after: int, message: str) -> dg.AssetMaterialization:
    """Return the event of a requested partition that has nothing to load and nothing loaded.

    It is a materialization, because a backfill fails in Dagster if a partition has none, and a
    partition without an export is no failure. ``message``: ``NOT_LISTED`` or ``NOT_WRITTEN``.
    """
    return dg.AssetMaterialization(
        DATASET_EXPORTS,
        partition=key_of(partition),
        description=message.format(partition),
        metadata={
            "dagster/partition_row_count": dg.MetadataValue.int(0),
            "rows": dg.MetadataValue.int(0),
            "files": dg.MetadataValue.int(0),
            "note": dg.MetadataValue.text(message.format(partition)),
        },
        tags=provenance(_NO_EXPORT, listed_after),
    )


def observations(items: Iterable[ExportFile]) -> list[dg.AssetObservation]:
    """Return an observation for each partition: the program executions that are listed now."""
    executions: dict[Partition, list[str]] = {}
    for item in items:
        executions.setdefault(item.partition, []).append(item.execution.verbatim)
    return [
        dg.AssetObservation(
            LISTED_EXECUTIONS,
            partition=key_of(partition),
            metadata={"program_execution": ", ".join(sorted(listed))},
            tags={VERSION_TAG: ",".join(sorted(listed))},
        )
        for partition, listed in executions.items()
    ]


def listing_metadata(
    states: Iterable[PartitionState], names: StudyNames = NO_NAMES
) -> dict[str, dg.MetadataValue]:
    """Return the metadata of a listing: what is listed, and how much of it is loaded."""
    # The same objects for 200,000 partitions: each number and each state is in memory once.
    known: dict[int, int] = {}
    by_dataset: dict[str, dict[int, str]] = {}
    counted: Counter[str] = Counter()
    subjects: set[int] = set()
    listed: Counter[str] = Counter()
    exports, newest = 0, ("", "")
    for each in states:
        subject, dataset = each.partition
        subject, state = known.setdefault(subject, subject), sys.intern(each.state)
        by_dataset.setdefault(dataset, {})[subject] = state
        counted[state] += 1
        if each.exported_at is not None:
            subjects.add(subject)
            listed[dataset] += 1
            exports += each.exported_files
            newest = max(newest, (str(each.exported_at), each.exported_execution or ""))
    rows = "\n".join(
        f"| {plain(name)} | {count:,} |" for name, count in sorted(listed.items())[:_SHOWN]
    )
    return {
        "coverage": dg.MetadataValue.md(_coverage(by_dataset, names)),
        "exports": dg.MetadataValue.int(exports),
        "partitions": dg.MetadataValue.int(listed.total()),
        "partitions_to_load": dg.MetadataValue.int(
            sum(counted[state] for state in ("stale", "missing", "failed"))
        ),
        "subjects": dg.MetadataValue.int(len(subjects)),
        "datasets": dg.MetadataValue.int(len(listed)),
        "newest_program_execution": dg.MetadataValue.text(
            newest[1] or "none, because nothing is listed"
        ),
        "subjects_by_dataset": dg.MetadataValue.md(f"| data set | subjects |\n|---|---|\n{rows}"),
    }


def _coverage(states: Mapping[str, Mapping[int, str]], names: StudyNames) -> str:
    if not states:
        return "Nothing is listed or loaded yet."
    picture = coverage_map(
        states,
        {subject_id: (each.site, each.label) for subject_id, each in names.subjects.items()},
    )
    return in_markdown(picture, "Coverage: subjects and data sets by state")


def time_spent_metadata(seconds: Mapping[str, float]) -> dict[str, dg.MetadataValue]:
    """Return the seconds of a run by activity, as a picture and as numbers."""
    picture = bars("Where the time went", seconds, "s")
    return {
        "where_the_time_went": dg.MetadataValue.md(in_markdown(picture, "Where the time went"))
    } | {f"{name}_seconds": dg.MetadataValue.float(value) for name, value in seconds.items()}
