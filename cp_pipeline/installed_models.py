"""Where the SQL models of this installation are.

Belongs here: the folder. Does not belong: reading or building them (``defs.dbt_project``).
"""

from pathlib import Path

# Beside the package, in a checkout and in an installation from a wheel.
PROJECT = Path(__file__).parents[1] / "dbt_style_sql"
