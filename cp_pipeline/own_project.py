"""A project of one's own: settings, a Dagster workspace, and dbt models that build on ours.

Belongs here: its files. Does not belong: building its models (``defs.dbt_project``).
"""

import json
from collections.abc import Iterator
from pathlib import Path

from cp_pipeline.domain.errors import PipelineError
from cp_pipeline.settings import DBT_PROJECT

_ENV = """\
# The settings of cp-pipeline; its README has all of them. Values are taken literally.
CP_CLIENT_ID=
CP_CLIENT_SECRET=
# One study, or several with commas.
CP_STUDY_ID=
# Your SQL models, together with those of cp-pipeline.
CP_DBT_PROJECT=models
"""
_WORKSPACE = """\
# For `dagster dev` and Dagster's services. `cp-pipeline ui` needs no such file.
load_from:
  - python_module: cp_pipeline.definitions
"""
_IGNORED = """\
.env
data/
models/target/
models/logs/
models/dbt_packages/
models/package-lock.yml
"""
_PROJECT = """\
# Your own SQL models. They build on those of cp-pipeline, which are a package of this project.
name: own_models
config-version: 2
profile: cp_models

flags:
  send_anonymous_usage_stats: false

models:
  own_models:
    +materialized: table
    # The published file has the schemas `staging` and `marts`.
    +schema: marts
    +persist_docs:
      relation: true
      columns: true
"""
_PACKAGES = """\
# The models of the cp-pipeline that is installed. If it moves, correct this path.
packages:
  - local: {path}
"""
_COLUMNS = """\
# Which column of your data sets is which measure, where its name is not one that cp-pipeline knows.
# Your columns come before ours. For units and `known_from`, see columns.yml of cp-pipeline.
#
# ActivityDaily:
#   measures:
#     wear_minutes:
#       - {column: WEARTIME, unit: hours, known_from: our study}
"""
_MODEL = """\
-- One row per study: how many subjects have enough valid days. An example: change or remove it.
SELECT
    study_id,
    count(*) AS subjects,
    count(*) FILTER (has_enough_valid_days) AS subjects_with_enough_days
FROM {{ ref('cp_models', 'subject_summary') }}
GROUP BY study_id
"""


def make_project(folder: Path) -> list[Path]:
    """Write the files of a new project, and return their paths.

    Args:
        folder: is created if it does not exist.

    Raises:
        PipelineError: one of the files exists already; nothing is written then.
    """
    files = dict(_files(folder))
    if existing := [path for path in files if path.exists()]:
        raise PipelineError(
            f"{existing[0]} already exists. Nothing was written.", "Name another folder."
        )
    for path, text in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return sorted(files)


def _files(folder: Path) -> Iterator[tuple[Path, str]]:
    models = folder / "models"
    yield folder / ".env", _ENV
    yield folder / ".gitignore", _IGNORED
    yield folder / "workspace.yaml", _WORKSPACE
    yield models / "dbt_project.yml", _PROJECT
    # As JSON, which is YAML: a path may have characters that mean something to YAML.
    yield models / "packages.yml", _PACKAGES.format(path=json.dumps(str(DBT_PROJECT)))
    yield models / "columns.yml", _COLUMNS
    for name in ("profiles.yml", "macros/generate_schema_name.sql"):
        yield models / name, (DBT_PROJECT / name).read_text()
    yield models / "models" / "subjects_with_enough_days.sql", _MODEL
