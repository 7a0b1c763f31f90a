"""The partitions: one per subject and data set, as Dagster sees them.

Belongs here: the two dynamic dimensions, and the way between a partition and its key.
Does not belong: which partitions there are (the listing says so).

The dimensions are dynamic because subjects enrol and programs appear while a study runs. Dagster
sorts dimensions by name, so a key reads ``data set|subject``.

In a key, Dagster parts dimensions by ``|`` and reads ``,``, ``[a...b]``, ``*`` and quotes as a
selection of several keys, so these stand there as in a URL (``%7C``). All else stands as it is.
"""

import re
from collections.abc import Iterable
from urllib.parse import unquote

import dagster as dg

from cp_pipeline.domain.exports import Partition

subjects = dg.DynamicPartitionsDefinition(name="subjects")
datasets = dg.DynamicPartitionsDefinition(name="datasets")
subject_by_dataset = dg.MultiPartitionsDefinition({"subject": subjects, "dataset": datasets})

# Also what a form trims or cannot show, and a percent sign that could be taken for one of ours.
_NOT_IN_A_KEY = re.compile(
    r'[|,\[\]*"\x00-\x1f\x7f]|^\s|\s$|^\.+$|\.{3,}|%(?=[0-9A-Fa-f]{2})', re.ASCII
)
# SQLite takes about 32,000 variables in a statement (dagster issue 16260).
_KEYS_AT_ONCE = 10_000


def key_of(partition: Partition) -> dg.MultiPartitionKey:
    """Dagster's key of a partition."""
    return dg.MultiPartitionKey(
        {"subject": str(partition.subject_id), "dataset": dataset_key(partition.dataset_name)}
    )


def dataset_key(dataset_name: str) -> str:
    """A data set's key: its name, where Dagster can carry it."""
    return _NOT_IN_A_KEY.sub(_as_in_a_url, dataset_name)


def _as_in_a_url(found: re.Match[str]) -> str:
    return "".join(f"%{ord(sign):02X}" for sign in found[0])


def partition_of(key: dg.MultiPartitionKey) -> Partition:
    """The partition of one of Dagster's keys."""
    dimensions = key.keys_by_dimension
    return Partition(int(dimensions["subject"]), unquote(dimensions["dataset"]))


def register(instance: dg.DagsterInstance, partitions: Iterable[Partition]) -> tuple[int, int]:
    """Add subjects and data sets that Dagster does not know yet; how many of each.

    Only new ones are sent: Dagster checks each key by itself.
    """
    wanted = list(partitions)
    return (
        _add(instance, "subjects", {str(partition.subject_id) for partition in wanted}),
        _add(instance, "datasets", {dataset_key(partition.dataset_name) for partition in wanted}),
    )


def _add(instance: dg.DagsterInstance, name: str, keys: set[str]) -> int:
    new = sorted(keys.difference(instance.get_dynamic_partitions(name)))
    for start in range(0, len(new), _KEYS_AT_ONCE):
        instance.add_dynamic_partitions(name, new[start : start + _KEYS_AT_ONCE])
    return len(new)
