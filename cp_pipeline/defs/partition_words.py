"""A wrong or missing partition at ``dg launch`` or ``dagster asset materialize``, in words.

Belongs here: the words. Does not belong: what a partition is (``partitions``).

Dagster raises these errors before a run of ours begins, and its commands show them as a traceback.
"""

import os
import re
import sys
from types import TracebackType

import dagster as dg
from dagster_shared.check import CheckError

_KEY = re.compile(r"passed partition key `(.*?)`")
_FORM = "A partition of dataset_exports is its data set and its subject: 'ActivityDaily8|10821'."


def explain_partition_errors() -> None:
    """Let this process end with our words where Dagster says that a partition is wrong."""
    as_before = sys.excepthook

    def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if words := words_for(error):
            print(words, file=sys.stderr)  # noqa: T201
        else:
            as_before(kind, error, trace)

    sys.excepthook = hook


def words_for(error: BaseException) -> str | None:
    """Return what is wrong with a partition, and what to do; None for any other error."""
    text = str(error)
    if isinstance(error, CheckError) and "no '--partition' option" in text:
        return (
            f"dataset_exports has partitions. Name one with --partition. {_FORM} To load all that "
            "is new, launch the job sync."
        )
    named = _KEY.search(text) if isinstance(error, dg.DagsterInvalidSubsetError) else None
    if named is None:
        return None
    if not os.environ.get("DAGSTER_HOME"):
        return (
            f"DAGSTER_HOME is not set, so Dagster does not know the partition {named[1]!r}. Set it "
            "to the folder that cp-pipeline uses, by default data/dagster_home."
        )
    return (
        f"Dagster does not know the partition {named[1]!r}. {_FORM} New ones are known after "
        "cp-pipeline sync, or after you have materialized export_files."
    )
