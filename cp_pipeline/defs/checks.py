"""The asset checks of ``dataset_exports``: what a data manager wants to see green.

Belongs here: how serious an answer is, and its words.
Does not belong: finding it (``warehouse.check_queries``).

Each is asked at the end of every run that loads, and by "Execute" in the UI; for all partitions
together, because a check for each of 20,000 partitions would be 160,000 events.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import dagster as dg

from cp_pipeline.defs.events import DATASET_EXPORTS
from cp_pipeline.defs.missing_events import EventsCompared, compare_events
from cp_pipeline.defs.resources import PipelineResource
from cp_pipeline.ingest import ATTEMPTS, Finding, Pipeline, Question

_ERROR, _WARN = dg.AssetCheckSeverity.ERROR, dg.AssetCheckSeverity.WARN
RECORDS_MATCH_LINEAGE = "records_match_lineage"
NOTHING_WAITS_FOR_A_PERSON = "nothing_waits_for_a_person"
_SHOWN = 50


@dataclass(frozen=True, slots=True)
class Check:
    """What a check promises, how serious its failing is, and what each row at fault is."""

    name: str
    severity: dg.AssetCheckSeverity
    promise: str
    at_fault: str


CHECKS = (
    Check(
        Question.LISTED_EXECUTION_IS_LOADED.value,
        _ERROR,
        "The program execution that CentrePoint lists is the one that is loaded, everywhere.",
        "partitions that are stale, missing or failed",
    ),
    Check(
        Question.LISTED_ITEMS_CAN_BE_USED.value,
        _ERROR,
        "Every item that CentrePoint lists says which export it is, of which execution, and where "
        "its file is. Of one that does not, nothing is loaded: report it to ActiGraph support.",
        "listed items that cannot be used",
    ),
    Check(
        Question.ROWS_MATCH_FILES.value,
        _ERROR,
        "Each load has as many rows in the warehouse as its file has records by its bytes.",
        "loads that have other rows than their files",
    ),
    Check(
        Question.FILES_ARE_OF_THEIR_EXECUTION.value,
        _ERROR,
        "Each file was written after the program execution under which it is loaded. One that is "
        "not written a day after is loaded all the same: its rows may be those of the execution "
        "before. Ask ActiGraph support.",
        "current loads whose file is older than their program execution",
    ),
    Check(
        NOTHING_WAITS_FOR_A_PERSON,
        _ERROR,
        f"No partition has failed {ATTEMPTS} times: those are not tried again by themselves. Look "
        "at the reason, then materialize the partition.",
        "partitions that wait for a person",
    ),
    Check(
        Question.SCHEMA_IS_UNCHANGED.value,
        _WARN,
        "The newest execution of each export has the columns, and the types, of the one before.",
        "current loads that changed a column",
    ),
    Check(
        Question.EXECUTIONS_GO_FORWARD.value,
        _WARN,
        "CentrePoint lists no older program execution than the loaded one.",
        "exports that went back to an older execution; the newer one is kept",
    ),
    Check(
        Question.EXPORTS_ARE_STILL_LISTED.value,
        _WARN,
        "Every loaded export is still listed by CentrePoint.",
        "loaded exports that vanished from the listing (withdrawn); their rows are kept",
    ),
    Check(
        Question.TIMESTAMPS_ARE_UNIQUE.value,
        _WARN,
        "No file has two rows for one subject and timestamp.",
        "current loads that have more than one row for a timestamp",
    ),
    Check(
        RECORDS_MATCH_LINEAGE,
        _WARN,
        "What Dagster has on record for each partition is what the warehouse has loaded. Where "
        "not, the next run that loads makes the record anew, and so does materializing the "
        "partition; nothing is fetched for it.",
        "partitions that have another execution in Dagster's records than in the warehouse",
    ),
)


@dg.multi_asset_check(
    name="dataset_exports_checks",
    specs=[
        dg.AssetCheckSpec(check.name, asset=DATASET_EXPORTS, description=check.promise)
        for check in CHECKS
    ],
    can_subset=True,
)
def dataset_exports_checks(
    context: dg.AssetCheckExecutionContext, source: dg.ResourceParam[PipelineResource]
) -> Iterator[dg.AssetCheckResult]:
    """Ask what is selected."""
    pipeline, instance = source.open(), context.instance
    selected = {key.name for key in context.selected_asset_check_keys}
    for check in CHECKS:
        if check.name in selected:
            evaluation = _evaluate(check, pipeline, lambda: compare_events(pipeline, instance))
            yield dg.AssetCheckResult(
                asset_key=DATASET_EXPORTS,
                check_name=check.name,
                passed=evaluation.passed,
                severity=evaluation.severity,
                description=evaluation.description,
                metadata=evaluation.metadata,
            )


def log_checks(
    context: dg.OpExecutionContext | dg.AssetExecutionContext,
    pipeline: Pipeline,
    compared: EventsCompared,
) -> None:
    """Ask all, at the end of a run that loads and has compared its records."""
    with pipeline.one_look():
        for check in CHECKS:
            # Dagster records it all the same; its annotation has not heard of checks yet.
            context.log_event(_evaluate(check, pipeline, lambda: compared))  # type: ignore[arg-type]


def _evaluate(
    check: Check, pipeline: Pipeline, compared: Callable[[], EventsCompared]
) -> dg.AssetCheckEvaluation:
    if check.name == RECORDS_MATCH_LINEAGE:
        finding = _records_against_lineage(compared())
    elif check.name == NOTHING_WAITS_FOR_A_PERSON:
        finding = _waiting(pipeline)
    else:
        finding = pipeline.ask(Question(check.name))
    if finding.at_fault:
        words = f"{finding.at_fault:,} of {finding.examined:,}: {check.at_fault}."
    else:
        words = f"None of {finding.examined:,} is at fault."
    return dg.AssetCheckEvaluation(
        asset_key=DATASET_EXPORTS,
        check_name=check.name,
        passed=not finding.at_fault,
        severity=check.severity,
        description=words,
        metadata={
            "examined": dg.MetadataValue.int(finding.examined),
            "at_fault": dg.MetadataValue.int(finding.at_fault),
            **_table(finding),
        },
    )


def _table(finding: Finding) -> dict[str, dg.MetadataValue]:
    if not finding.rows:
        return {}
    return {
        "first_at_fault": dg.MetadataValue.table(
            records=[
                dg.TableRecord(
                    {
                        name: value if isinstance(value, int) else _words(value)
                        for name, value in zip(finding.columns, row, strict=True)
                    }
                )
                for row in finding.rows
            ],
            schema=dg.TableSchema([dg.TableColumn(name, "string") for name in finding.columns]),
        )
    }


def _words(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return "" if value is None else str(value)


def _waiting(pipeline: Pipeline) -> Finding:
    """Partitions whose listed execution has failed too often."""
    waiting = pipeline.waiting_for_a_person()
    rows = tuple(
        (
            partition.subject_id,
            partition.dataset_name,
            failed.number,
            f"{failed.last:%F %R} UTC",
            failed.error,
        )
        for partition, failed in sorted(waiting.items())
    )
    return Finding(
        len(pipeline.states()),
        len(rows),
        ("subject", "dataset", "attempts", "last_attempt", "reason"),
        rows[:_SHOWN],
    )


def _records_against_lineage(compared: EventsCompared) -> Finding:
    """Dagster's data version of each partition against the executions in the warehouse."""
    rows = tuple(
        (*partition, ", ".join(sorted(known)) or "nothing", ", ".join(sorted(loaded)))
        for partition, (known, loaded) in compared.differing.items()
    )
    return Finding(
        compared.examined,
        len(rows),
        ("subject", "dataset", "in_dagster", "in_warehouse"),
        rows[:_SHOWN],
    )
