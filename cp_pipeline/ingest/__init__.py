"""From the export API to the warehouse: plan, and execute the plan for many partitions at once.

Belongs here: what uses ``centrepoint``, ``landing`` and ``warehouse`` together.
Does not belong: Dagster.
"""

from cp_pipeline.ingest.account import Account as Account, Unaccounted as Unaccounted
from cp_pipeline.ingest.fetching import NOT_FORESEEN as NOT_FORESEEN, explain as explain
from cp_pipeline.ingest.look import Look as Look, LookPosition as LookPosition
from cp_pipeline.ingest.look_survey import LookSurvey as LookSurvey
from cp_pipeline.ingest.partition_results import (
    PartitionFailed as PartitionFailed,
    PartitionLoaded as PartitionLoaded,
    PartitionResult as PartitionResult,
)
from cp_pipeline.ingest.pipeline import (
    EVERYTHING as EVERYTHING,
    Executor as Executor,
    Pipeline as Pipeline,
)
from cp_pipeline.ingest.plan import (
    Plan as Plan,
    Reason as Reason,
    make_plan as make_plan,
    pending_remarks as pending_remarks,
)
from cp_pipeline.ingest.retry_schedule import (
    ATTEMPTS as ATTEMPTS,
    RetrySchedule as RetrySchedule,
    pause_after as pause_after,
)
from cp_pipeline.ingest.study_refresh import RefreshedDetails as RefreshedDetails
from cp_pipeline.ingest.subject_erasure import (
    Erasable as Erasable,
    SyncRunning as SyncRunning,
    erasable as erasable,
    erase as erase,
)
from cp_pipeline.ingest.subprocess_executor import ProcessLost as ProcessLost
from cp_pipeline.ingest.survey import (
    SUBJECTS_AT_ONCE as SUBJECTS_AT_ONCE,
    Request as Request,
    Survey as Survey,
)
from cp_pipeline.ingest.timings import Activity as Activity
from cp_pipeline.ingest.warehouse_rebuild import rebuild as rebuild
