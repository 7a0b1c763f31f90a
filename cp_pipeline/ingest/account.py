"""The account of a plan: every planned partition must end as loaded or failed, or it is an error.

Belongs here: counting. Does not belong: loading (``executor``), showing it (``cli``, ``defs``).

Pending exports are not part of the count; the plan has their number.
"""

from cp_pipeline.domain.errors import PipelineError
from cp_pipeline.domain.exports import Partition
from cp_pipeline.domain.texts import count
from cp_pipeline.ingest.partition_results import PartitionLoaded, PartitionResult
from cp_pipeline.ingest.plan import Plan

_NAMED = 3


class Unaccounted(PipelineError):
    """A plan has ended, but some of its partitions were neither loaded nor failed."""


class Account:
    """The number of partitions of a plan that were loaded or failed so far."""

    def __init__(self, plan: Plan) -> None:
        self.planned = len(plan.to_load)
        self.loaded = 0
        self.failed = 0
        self._open: set[Partition] = set(plan.to_load)

    def saw(self, result: PartitionResult) -> None:
        """Count one partition.

        Raises:
            Unaccounted: it was not planned, or was counted before.
        """
        if result.partition not in self._open:
            raise Unaccounted(
                f"{result.partition} has two results, or was never planned.",
                "All finished loads are kept. Report this to the developers of cp-pipeline.",
            )
        self._open.discard(result.partition)
        if isinstance(result, PartitionLoaded):
            self.loaded += 1
        else:
            self.failed += 1

    def close(self) -> None:
        """Check that every planned partition has a result.

        Raises:
            Unaccounted: some partitions were neither loaded nor failed.
        """
        if not self._open:
            return
        named = "; ".join(map(str, sorted(self._open)[:_NAMED]))
        raise Unaccounted(
            f"{count(self.planned, 'partition')} planned, but only {self.loaded:,} loaded and "
            f"{self.failed:,} failed. {count(len(self._open), 'partition')} without a result "
            f"({named}{'; …' if len(self._open) > _NAMED else ''}).",
            "Run this again. If it happens again, report it to the developers of cp-pipeline.",
        )
