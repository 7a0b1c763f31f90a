"""``cp-pipeline status`` for some subjects: the state of each of their data sets.

Belongs here: the table on the screen. Does not belong: what a state means (``warehouse.views``).
"""

from collections.abc import Collection

from rich.console import Console
from rich.table import Table

from cp_pipeline.cli.study_words import subject_words
from cp_pipeline.warehouse import Warehouse, partition_states, study_names


def say_subjects(screen: Console, warehouse: Warehouse, subject_ids: Collection[int]) -> None:
    """Print the state of each data set of the subjects, as of the latest listing."""
    names = study_names(warehouse)
    table = Table("subject", "site", "data set", "state", "listed", "loaded", box=None)
    seen = set()
    for each in sorted(partition_states(warehouse), key=lambda state: state.partition):
        subject_id = each.partition.subject_id
        if subject_id not in subject_ids:
            continue
        seen.add(subject_id)
        named = names.subjects.get(subject_id)
        table.add_row(
            subject_words(names, subject_id),
            named.site if named else "",
            each.partition.dataset_name,
            each.state,
            each.exported_execution or "",
            each.loaded_execution or "",
        )
    if seen:
        screen.print(table)
    for subject_id in sorted(set(subject_ids) - seen):
        screen.print(f"Nothing is listed or loaded of subject {subject_words(names, subject_id)}.")
