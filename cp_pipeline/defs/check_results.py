"""The metadata of a check's result: how many were examined and at fault, and the first of them.

Belongs here: Dagster's tables. Does not belong: the checks (``checks``, ``study_details``).
"""

import dagster as dg

from cp_pipeline.ingest import Finding


def finding_metadata(finding: Finding) -> dict[str, dg.MetadataValue]:
    """Return the numbers of a finding, and a table of the first rows at fault."""
    return {
        "examined": dg.MetadataValue.int(finding.examined),
        "at_fault": dg.MetadataValue.int(finding.at_fault),
        **_table(finding),
    }


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
