"""From the export API to the warehouse: plan, and execute the plan for many partitions at once.

Belongs here: what uses ``centrepoint``, ``landing`` and ``warehouse`` together.
Does not belong: Dagster.
"""

from cp_pipeline.ingest.account import Account, Unaccounted
from cp_pipeline.ingest.fetching import NOT_FORESEEN, explain
from cp_pipeline.ingest.look import Look, LookPosition
from cp_pipeline.ingest.look_survey import LookSurvey
from cp_pipeline.ingest.partition_results import PartitionFailed, PartitionLoaded, PartitionResult
from cp_pipeline.ingest.pipeline import EVERYTHING, Executor, Pipeline
from cp_pipeline.ingest.plan import Plan, Reason, make_plan, pending_remarks
from cp_pipeline.ingest.retry_schedule import ATTEMPTS, RetrySchedule, pause_after
from cp_pipeline.ingest.study_refresh import RefreshedDetails
from cp_pipeline.ingest.subject_erasure import Erasable, SyncRunning, erasable, erase
from cp_pipeline.ingest.subprocess_executor import ProcessLost
from cp_pipeline.ingest.survey import SUBJECTS_AT_ONCE, Request, Survey
from cp_pipeline.ingest.timings import Activity
from cp_pipeline.ingest.warehouse_rebuild import rebuild

__all__ = [
    "ATTEMPTS",
    "EVERYTHING",
    "NOT_FORESEEN",
    "SUBJECTS_AT_ONCE",
    "Account",
    "Activity",
    "Erasable",
    "Executor",
    "Look",
    "LookPosition",
    "LookSurvey",
    "PartitionFailed",
    "PartitionLoaded",
    "PartitionResult",
    "Pipeline",
    "Plan",
    "ProcessLost",
    "Reason",
    "RefreshedDetails",
    "Request",
    "RetrySchedule",
    "Survey",
    "SyncRunning",
    "Unaccounted",
    "erasable",
    "erase",
    "explain",
    "make_plan",
    "pause_after",
    "pending_remarks",
    "rebuild",
]
