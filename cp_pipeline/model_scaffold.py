"""Generate a dbt staging model for a data set that has none: its columns, documentation and tests.

Belongs here: names and text. Does not belong: reading the data set's schema
(``warehouse.dataset_tables``), what a staging model does
(``dbt_style_sql/macros/exported_rows.sql``).
"""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from cp_pipeline.domain.errors import PipelineError
from cp_pipeline.warehouse import DatasetDescription

_VERSION = re.compile(r"[0-9]+$| \([0-9]+\)$")
# A word begins between a lower-case letter and a capital, and at the last of several capitals:
# HTTPAnswer.
_WORD_BEGINS = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_LINEAGE_COLUMNS = (
    "study_id",
    "subject_id",
    "study_program_id",
    "dataset_name",
    "program_execution",
    "program_executed_at",
    "load_id",
)
_UNREADABLE = "unreadable_columns"
# Units of columns.yml, by DuckDB type.
_UNITS = {
    "BIGINT": "whole_number",
    "DOUBLE": "number",
    "DATE": "date",
    "TIMESTAMP": "timestamp",
    "TIMESTAMP_NS": "timestamp_ns",
}
_KNOWN_FROM = "our study"


@dataclass(frozen=True, slots=True)
class StagingModel:
    """The files of a model, ``{name}.sql`` and ``{name}.yml``, and its part of ``columns.yml``."""

    name: str
    family: str
    sql: str
    yml: str
    columns: str

    def write(self, project: Path) -> list[Path]:
        """Write both files, add the family to ``columns.yml``, and return the paths of all three.

        Nothing is written if one of the files exists, or ``columns.yml`` has the family.

        Args:
            project: the folder of the dbt project.

        Raises:
            PipelineError: one of the files exists, ``columns.yml`` has the family, or the folder is
                no dbt project.
        """
        folder, mapping = project / "models" / "staging", project / "columns.yml"
        files = {folder / f"{self.name}.sql": self.sql, folder / f"{self.name}.yml": self.yml}
        if not (project / "dbt_project.yml").is_file():
            raise PipelineError(
                f"The folder {project} has no dbt_project.yml.",
                "Name the dbt project with --project-dir.",
            )
        for path in files:
            if path.exists():
                raise PipelineError(
                    f"{path} already exists and was not changed.",
                    "Edit it, or move it away so that it can be written again.",
                )
        written = mapping.read_text(encoding="utf-8") if mapping.exists() else ""
        if re.search(rf"^{re.escape(_key(self.family))}:", written, re.MULTILINE):
            raise PipelineError(
                f"{mapping} already has the family {self.family} and was not changed.",
                "Edit it there, or remove it so that it can be written again.",
            )
        mapping.write_text(f"{written.rstrip()}\n\n{self.columns}".lstrip(), encoding="utf-8")
        folder.mkdir(parents=True, exist_ok=True)
        for path, text in files.items():
            path.write_text(text, encoding="utf-8")
        return [*files, mapping]


def family_of(dataset_name: str) -> str:
    """Return a data set's name without its version: ``ActivityDaily`` for ``ActivityDaily8``."""
    return _VERSION.sub("", dataset_name) or dataset_name


def snake_case(name: str) -> str:
    """Return ``heart_rate`` for ``HeartRate`` or ``Heart rate``, ``steps`` for ``STEPS``."""
    words = _WORD_BEGINS.sub("_", name)
    return re.sub(r"_+", "_", re.sub(r"\W", "_", words)).strip("_").lower()


def staging_model(dataset: DatasetDescription) -> StagingModel:
    """Generate the model of a data set from its columns in the warehouse."""
    family = family_of(dataset.name)
    name = snake_case(family) or "data_set"
    if name[0].isdigit():
        name = f"data_set_{name}"
    names = _column_names((column.name for column in dataset.columns), dataset.reserved_words)
    grain = _grain(dataset, names)
    sql = f"-- {grain}: see {name}.yml.\n{{{{ cp_models.exported_rows({family!r}) }}}}\n"
    return StagingModel(
        name, family, sql, _yml(dataset, name, names), _mapping(dataset, family, names)
    )


def _mapping(dataset: DatasetDescription, family: str, names: dict[str, str]) -> str:
    """Return the family's part of ``columns.yml``: each column under its own name."""
    lines = [f"{_key(family)}:", "  required: []", "  measures:"]
    for column in dataset.columns:
        unit = _UNITS.get(column.kind.sql_type, "text")
        quoted = json.dumps(column.name, ensure_ascii=False)
        lines += [
            f"    {_key(names[column.name])}:",
            f"      - {{column: {quoted}, unit: {unit}, known_from: {_KNOWN_FROM}}}",
        ]
    return "\n".join([*lines, ""])


def _key(name: str) -> str:
    return (
        name
        if re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name)
        else json.dumps(name, ensure_ascii=False)
    )


def _column_names(columns: Iterable[str], reserved: frozenset[str]) -> dict[str, str]:
    """Return a unique name for each column that is neither reserved in SQL nor a lineage column."""
    taken = {*_LINEAGE_COLUMNS, _UNREADABLE, *reserved}
    names: dict[str, str] = {}
    for number, column in enumerate(columns, start=1):
        name = snake_case(column) or f"column_{number}"
        if name[0].isdigit():
            name = f"column_{name}"
        if name in taken:
            name = f"{name}_in_export"
        if name in taken:
            name = f"{name}_{number}"
        taken.add(name)
        names[column] = name
    return names


def _grain(dataset: DatasetDescription, names: dict[str, str]) -> str:
    if dataset.time_column is not None and dataset.has_unique_times:
        return f"One row per subject, study program and {names[dataset.time_column.name]}"
    return "One row per row of the export; describe here what identifies a row"


def _yml(dataset: DatasetDescription, name: str, names: dict[str, str]) -> str:
    grain = _grain(dataset, names)
    time = names[dataset.time_column.name] if dataset.time_column is not None else None
    lines = [
        "version: 2",
        "",
        "models:",
        f"  - name: {name}",
        "    description: >",
        f"      {grain}.",
        f"      From the current load of every version of {_plain(family_of(dataset.name))}.",
        "    data_tests:",
        "      - nothing_unreadable",
    ]
    if time is not None and dataset.has_unique_times:
        lines += [
            "      - unique_combination:",
            "          arguments:",
            f"            columns: [load_id, {time}]",
        ]
    lines.append("    columns:")
    for column in _LINEAGE_COLUMNS:
        lines += [f"      - name: {column}", f"        description: \"{{{{ doc('{column}') }}}}\""]
        if column in {"subject_id", "load_id"}:
            lines.append("        data_tests: [not_null]")
    for column, own in names.items():
        described = json.dumps(f"{_plain(column)} of the export.", ensure_ascii=False)
        lines += [f"      - name: {own}", f"        description: {described}"]
        if own == time:
            lines.append("        data_tests: [not_null]")
    lines += [
        f"      - name: {_UNREADABLE}",
        f"        description: \"{{{{ doc('{_UNREADABLE}') }}}}\"",
    ]
    return "\n".join([*lines, ""])


def _plain(name: str) -> str:
    """Return a name for a description: on one line, without characters of dbt's templates."""
    return "`" + " ".join(re.sub(r"[{}%`]", " ", name).split()) + "`"
