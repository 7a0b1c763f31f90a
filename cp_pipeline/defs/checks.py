"""The asset checks of ``dataset_exports``, for the data manager of a study.

Belongs here: severities and texts of the checks.
Does not belong: the queries (``warehouse.check_queries``).

Every run that loads executes the checks at its end; ``records_match_lineage`` only if the run is
for the whole study, or an earlier run ended badly. "Execute" in the UI executes the selected ones.
A check covers all partitions together, because a check for each of 20,000 partitions would store
160,000 events.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import dagster as dg

from cp_pipeline.defs.check_results import evaluation, result_of
from cp_pipeline.defs.events import DATASET_EXPORTS
from cp_pipeline.defs.missing_events import EventComparison, compare_events
from cp_pipeline.defs.resources import PipelineResource
from cp_pipeline.domain.exports import Partition
from cp_pipeline.ingest import ATTEMPTS, Pipeline
from cp_pipeline.warehouse import Finding, Question, ask, count_partitions, failed_attempts

_ERROR, _WARN = dg.AssetCheckSeverity.ERROR, dg.AssetCheckSeverity.WARN
RECORDS_MATCH_LINEAGE = "records_match_lineage"
NOTHING_WAITS_FOR_A_PERSON = "nothing_waits_for_a_person"
_SHOWN = 50


@dataclass(frozen=True, slots=True)
class Check:
    """A check: its severity if it fails, its description, and what the rows at fault are."""

    name: str
    severity: dg.AssetCheckSeverity
    description: str
    at_fault: str


CHECKS = (
    Check(
        Question.LISTED_EXECUTION_IS_LOADED.value,
        _ERROR,
        "For each export, the program execution that CentrePoint lists is loaded.",
        "partitions that are stale, missing or failed",
    ),
    Check(
        Question.LISTED_ITEMS_CAN_BE_USED.value,
        _ERROR,
        "Every item that CentrePoint lists names its export, its program execution and its file. "
        "Nothing is loaded from an item that does not. Report it to ActiGraph support.",
        "invalid items in the listing",
    ),
    Check(
        Question.ROWS_MATCH_FILES.value,
        _ERROR,
        "Each load has as many rows in the warehouse as its file has records.",
        "loads whose number of rows differs from their file",
    ),
    Check(
        Question.FILES_ARE_OF_THEIR_EXECUTION.value,
        _ERROR,
        "Each file was written after the program execution for which it is loaded. If CentrePoint "
        "has not written the new file after a day, the old file is loaded. Its rows may come from "
        "the previous execution. Ask ActiGraph support.",
        "current loads whose file is older than their program execution",
    ),
    Check(
        NOTHING_WAITS_FOR_A_PERSON,
        _ERROR,
        f"No partition has failed {ATTEMPTS} times. After that, it is not retried automatically. "
        "Look at the reason, then materialize the partition.",
        "partitions that wait for a person",
    ),
    Check(
        Question.SCHEMA_IS_UNCHANGED.value,
        _WARN,
        "The newest execution of each export has the same columns and types as the previous one.",
        "current loads that changed a column",
    ),
    Check(
        Question.EXECUTIONS_GO_FORWARD.value,
        _WARN,
        "CentrePoint lists no older program execution than the loaded one.",
        "exports that are listed with an older execution; the newer one stays loaded",
    ),
    Check(
        Question.EXPORTS_ARE_STILL_LISTED.value,
        _WARN,
        "CentrePoint still lists every loaded export.",
        "loaded exports that are not listed any more (withdrawn); their rows are kept",
    ),
    Check(
        Question.TIMESTAMPS_ARE_UNIQUE.value,
        _WARN,
        "No file has two rows for the same subject and timestamp.",
        "current loads that have more than one row for a timestamp",
    ),
    Check(
        Question.DATASETS_ARE_OF_ONE_PROGRAM.value,
        _WARN,
        "Each subject's data set comes from one study program. If not, its rows are those of all "
        "programs: tell them apart by `_study_program_id`.",
        "partitions with exports of several study programs",
    ),
    Check(
        RECORDS_MATCH_LINEAGE,
        _WARN,
        "For each partition, Dagster's newest event names the program executions that are in the "
        "warehouse. If not, the next `sync` of the whole study stores the missing event. "
        "Materializing the partition stores it too. Nothing is downloaded for that.",
        "partitions whose event in Dagster names other executions than the warehouse",
    ),
)


@dg.multi_asset_check(
    name="dataset_exports_checks",
    specs=[
        dg.AssetCheckSpec(check.name, asset=DATASET_EXPORTS, description=check.description)
        for check in CHECKS
    ],
    can_subset=True,
)
def dataset_exports_checks(
    context: dg.AssetCheckExecutionContext, source: dg.ResourceParam[PipelineResource]
) -> Iterator[dg.AssetCheckResult]:
    """Execute the selected checks."""
    pipeline, instance = source.open(), context.instance
    selected = {key.name for key in context.selected_asset_check_keys}
    for check in CHECKS:
        if check.name in selected:
            yield result_of(_evaluate(check, pipeline, lambda: compare_events(pipeline, instance)))


def log_checks(
    context: dg.OpExecutionContext | dg.AssetExecutionContext,
    pipeline: Pipeline,
    compared: EventComparison | None,
) -> None:
    """Execute the checks at the end of a run that loads.

    ``compared``: the run's own comparison of Dagster's events with the warehouse; None if it made
    none. Then the check of that keeps its last result.
    """
    # Each opens the warehouse anew: what DuckDB has read stays in memory until it is closed.
    for check in CHECKS:
        if check.name == RECORDS_MATCH_LINEAGE and compared is None:
            continue
        evaluated = _evaluate(check, pipeline, lambda: compared or EventComparison(0, {}))
        # Dagster stores it, although the annotation of `log_event` does not name it.
        context.log_event(evaluated)  # type: ignore[arg-type]


def _evaluate(
    check: Check, pipeline: Pipeline, compared: Callable[[], EventComparison]
) -> dg.AssetCheckEvaluation:
    if check.name == RECORDS_MATCH_LINEAGE:
        finding = _missing_events(compared())
    elif check.name == NOTHING_WAITS_FOR_A_PERSON:
        finding = _waiting_for_a_person(pipeline)
    else:
        finding = ask(pipeline.questions, Question(check.name))
    key = dg.AssetCheckKey(DATASET_EXPORTS, check.name)
    return evaluation(key, check.severity, check.at_fault, finding, pipeline)


def _waiting_for_a_person(pipeline: Pipeline) -> Finding:
    """Find the partitions that are not retried automatically any more."""
    waiting = {
        Partition(key.subject_id, key.dataset_name): failed
        for (key, _), failed in failed_attempts(pipeline.questions).items()
        if failed.number >= ATTEMPTS
    }
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
        count_partitions(pipeline.questions),
        len(rows),
        ("subject", "dataset", "attempts", "last_attempt", "reason"),
        rows[:_SHOWN],
    )


def _missing_events(compared: EventComparison) -> Finding:
    """Find the partitions whose event in Dagster does not match the warehouse."""
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
