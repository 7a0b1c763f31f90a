"""Dagster's partitions: one per subject and data set.

Belongs here: the two dynamic dimensions, and converting a partition to its key and back.
Does not belong: which partitions exist (the listing has them).

The dimensions are dynamic, because new subjects and study programs appear during a study. Dagster
sorts dimensions by name, so a key reads ``data set|subject``.

In a key, Dagster separates dimensions with ``|``, and reads ``,``, ``[a...b]``, ``*`` and quotes as
a selection of several keys. So these characters are percent-encoded as in a URL (``%7C``). All
other characters are unchanged.
"""

import re
from collections.abc import Iterable
from urllib.parse import unquote

import dagster as dg

from cp_pipeline.domain.exports import Partition

subjects = dg.DynamicPartitionsDefinition(name="subjects")
datasets = dg.DynamicPartitionsDefinition(name="datasets")
subject_by_dataset = dg.MultiPartitionsDefinition({"subject": subjects, "dataset": datasets})

# Also what a form trims or cannot show, and a percent sign that looks like an encoded character.
_NOT_IN_A_KEY = re.compile(
    r'[|,\[\]*"\x00-\x1f\x7f]|^\s|\s$|^\.+$|\.{3,}|%(?=[0-9A-Fa-f]{2})', re.ASCII
)
# SQLite allows about 32,000 variables in a statement (dagster issue 16260).
_KEYS_AT_ONCE = 10_000


def key_of(partition: Partition) -> dg.MultiPartitionKey:
    """Return Dagster's key of a partition."""
    return dg.MultiPartitionKey(
        {"subject": str(partition.subject_id), "dataset": dataset_key(partition.dataset_name)}
    )


def dataset_key(dataset_name: str) -> str:
    """Return a data set's key: its name, with the characters encoded that a key cannot have."""
    return _NOT_IN_A_KEY.sub(_percent_encoded, dataset_name)


def _percent_encoded(match: re.Match[str]) -> str:
    return "".join(f"%{ord(character):02X}" for character in match[0])


def partition_of(key: dg.MultiPartitionKey) -> Partition:
    """Return the partition of a key of Dagster."""
    dimensions = key.keys_by_dimension
    return Partition(int(dimensions["subject"]), unquote(dimensions["dataset"]))


def register(instance: dg.DagsterInstance, partitions: Iterable[Partition]) -> tuple[int, int]:
    """Add subjects and data sets that Dagster does not know yet; return how many of each.

    Only new keys are sent, because Dagster checks each key separately.
    """
    subject_ids, dataset_names = set(), set()
    for partition in partitions:
        subject_ids.add(partition.subject_id)
        dataset_names.add(partition.dataset_name)
    return (
        _add(instance, "subjects", {str(each) for each in subject_ids}),
        _add(instance, "datasets", {dataset_key(each) for each in dataset_names}),
    )


def _add(instance: dg.DagsterInstance, name: str, keys: set[str]) -> int:
    new = sorted(keys.difference(instance.get_dynamic_partitions(name)))
    for start in range(0, len(new), _KEYS_AT_ONCE):
        instance.add_dynamic_partitions(name, new[start : start + _KEYS_AT_ONCE])
    return len(new)
