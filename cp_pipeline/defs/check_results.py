"""The result of a check: how many were examined and at fault, and the first of them.

Belongs here: Dagster's results and tables. Does not belong: the checks (``checks``,
``study_details``, ``answer_check``).
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import dagster as dg

from cp_pipeline.domain.study_details import NO_NAMES, StudyNames
from cp_pipeline.ingest import Pipeline
from cp_pipeline.warehouse import Finding


def evaluation(
    check: dg.AssetCheckKey,
    severity: dg.AssetCheckSeverity,
    words: str,
    finding: Finding,
    pipeline: Pipeline,
) -> dg.AssetCheckEvaluation:
    """Return the result of a check, which is red if rows are at fault.

    ``words``: what these rows are. ``pipeline``: has the names of subjects and programs.
    """
    if finding.at_fault:
        description = f"{finding.at_fault:,} of {finding.examined:,}: {words}."
    else:
        description = f"None of {finding.examined:,} is at fault."
    return dg.AssetCheckEvaluation(
        asset_key=check.asset_key,
        check_name=check.name,
        passed=not finding.at_fault,
        severity=severity,
        description=description,
        metadata=_metadata(finding, pipeline.names() if finding.rows else NO_NAMES),
    )


def result_of(evaluated: dg.AssetCheckEvaluation) -> dg.AssetCheckResult:
    """Return an evaluation in the form that a step yields."""
    return dg.AssetCheckResult(
        asset_key=evaluated.asset_key,
        check_name=evaluated.check_name,
        passed=evaluated.passed,
        severity=evaluated.severity,
        description=evaluated.description,
        metadata=evaluated.metadata,
    )


def _metadata(finding: Finding, names: StudyNames) -> dict[str, dg.MetadataValue]:
    """Return the numbers of a finding, and a table of the first rows at fault, with names."""
    labels = {each: named.label for each, named in names.subjects.items()}
    named = _with_names(finding, "subject", "subject_identifier", labels)
    named = _with_names(named, "study_program_id", "study_program", names.programs)
    return {
        "examined": dg.MetadataValue.int(finding.examined),
        "at_fault": dg.MetadataValue.int(finding.at_fault),
        **_table(named),
    }


def _with_names(finding: Finding, ids: str, column: str, names: Mapping[Any, str]) -> Finding:
    """Return the finding with a column of names beside that of the ids, if one is known.

    ``erase`` removes the rows of a subject by their column ``subject``, and so its names.
    """
    if ids not in finding.columns or not names:
        return finding
    place = finding.columns.index(ids)
    return replace(
        finding,
        columns=(*finding.columns[: place + 1], column, *finding.columns[place + 1 :]),
        rows=tuple(
            (*row[: place + 1], names.get(row[place], ""), *row[place + 1 :])
            for row in finding.rows
        ),
    )


def _table(finding: Finding) -> dict[str, dg.MetadataValue]:
    if not finding.rows:
        return {}
    return {
        "first_at_fault": dg.MetadataValue.table(
            records=[
                dg.TableRecord(
                    {
                        name: value if isinstance(value, int) else _text(value)
                        for name, value in zip(finding.columns, row, strict=True)
                    }
                )
                for row in finding.rows
            ],
            schema=dg.TableSchema([dg.TableColumn(name, "string") for name in finding.columns]),
        )
    }


def _text(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return "" if value is None else str(value)
