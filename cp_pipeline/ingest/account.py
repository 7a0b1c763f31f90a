"""The account of a plan: what was planned is loaded or failed, or somebody is told.

Belongs here: counting. Does not belong: loading (``executor``), saying it (``cli``, ``defs``).

What is pending is not planned; the plan itself says how much that is.
"""

from cp_pipeline.domain.errors import PipelineError
from cp_pipeline.domain.exports import Partition
from cp_pipeline.domain.texts import count
from cp_pipeline.ingest.partition_results import PartitionLoaded, PartitionResult
from cp_pipeline.ingest.plan import Plan

_NAMED = 3


class Unaccounted(PipelineError):
    """A plan has come to its end, and not every partition of it was loaded or failed."""


class Account:
    """How many partitions of a plan were loaded and failed so far."""

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
                f"There are two results for {result.partition}, or it was never planned.",
                "What was loaded is loaded. Report this to those who made cp-pipeline.",
            )
        self._open.discard(result.partition)
        if isinstance(result, PartitionLoaded):
            self.loaded += 1
        else:
            self.failed += 1

    def close(self) -> None:
        """See that nothing is left.

        Raises:
            Unaccounted: some partitions were neither loaded nor failed.
        """
        if not self._open:
            return
        named = "; ".join(map(str, sorted(self._open)[:_NAMED]))
        raise Unaccounted(
            f"{count(self.planned, 'partition')} planned, but only {self.loaded:,} loaded and "
            f"{self.failed:,} failed. Nothing is known of {count(len(self._open), 'partition')} "
            f"({named}{'; …' if len(self._open) > _NAMED else ''}).",
            "Run this again. If it stays so, report it to those who made cp-pipeline.",
        )
