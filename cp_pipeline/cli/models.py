"""``cp-pipeline models``: help with writing SQL models.

Belongs here: options and messages. Does not belong: the text of a model (``model_scaffold``),
building models (dbt, and ``defs.dbt_assets``).
"""

from pathlib import Path

import click

from cp_pipeline.cli.screen import answers
from cp_pipeline.domain.errors import PipelineError
from cp_pipeline.model_scaffold import staging_model
from cp_pipeline.settings import DBT_PROJECT, StorageSettings
from cp_pipeline.warehouse import Warehouse, dataset_names, describe_dataset


@click.group()
def models() -> None:
    """Work on the SQL models of dbt_style_sql."""


@models.command()
@click.argument("dataset_name", metavar="DATASET")
@click.option(
    "--project-dir",
    type=click.Path(file_okay=False, path_type=Path),
    help="The dbt project to write to.",
    show_default="CP_DBT_PROJECT, else dbt_style_sql",
)
def scaffold(dataset_name: str, project_dir: Path | None) -> None:
    """Write a staging model for DATASET, from its columns in the warehouse.

    Writes two files, the model and its documentation with tests, and adds the columns to
    columns.yml. Never overwrites anything.
    """
    storage = StorageSettings.from_environment()
    project_dir = project_dir or storage.dbt_project or DBT_PROJECT
    warehouse = Warehouse.of(storage)
    described = describe_dataset(warehouse, dataset_name)
    if described is None:
        present = ", ".join(dataset_names(warehouse)) or "none yet; run cp-pipeline sync"
        raise PipelineError(
            f"The warehouse has no data set {dataset_name!r}.", f"It has: {present}."
        )
    model = staging_model(described)
    for path in model.write(project_dir):
        answers.print(f"Wrote {path}")
    answers.print(
        "Give the columns their names and units in columns.yml, and the same names in the .yml;"
        " describe what a row is, and build the model:\n"
        f"dbt build --project-dir {project_dir} --profiles-dir {project_dir} --select {model.name}"
    )
