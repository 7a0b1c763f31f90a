"""A dbt project with one model, so that a build takes little."""

import shutil
from pathlib import Path

from cp_pipeline.settings import DBT_PROJECT

MODEL = """
SELECT count(*) AS loads FROM {{ adapter.quote(target.database) }}.lineage.current_loads
"""


def small_project(folder: Path) -> Path:
    """Make the project in a new folder, and return it; its model is ``marts.loads``."""
    (folder / "models").mkdir(parents=True)
    (folder / "macros").mkdir()
    for name in ("profiles.yml", "macros/generate_schema_name.sql"):
        shutil.copyfile(DBT_PROJECT / name, folder / name)
    (folder / "dbt_project.yml").write_text(
        "name: small\nconfig-version: 2\nprofile: cp_models\n"
        "models: {+materialized: table, +schema: marts}\n"
        # As in ours; otherwise dbt also writes a file of its own into the project.
        "flags: {send_anonymous_usage_stats: false}\n"
    )
    (folder / "models" / "loads.sql").write_text(MODEL)
    return folder
