"""The settings, read from environment variables; the README documents their names.

- ``reader`` knows kinds of values, and reports all invalid settings in one message.
- ``centrepoint``, ``storage`` and ``notifications`` have the names and the defaults.
- ``names`` lists the variables.
"""

from cp_pipeline.settings.centrepoint import (
    SENSOR_SECONDS,
    CentrePointSettings,
    Dialect,
    DialectSetting,
    SubjectField,
    configured_studies,
    sensor_seconds,
)
from cp_pipeline.settings.names import variable_names
from cp_pipeline.settings.reader import SettingsError
from cp_pipeline.settings.storage import (
    DBT_PROJECT,
    StorageSettings,
    anchor_paths,
    for_the_owner_alone,
    is_lake,
)

__all__ = [
    "DBT_PROJECT",
    "SENSOR_SECONDS",
    "CentrePointSettings",
    "Dialect",
    "DialectSetting",
    "SettingsError",
    "StorageSettings",
    "SubjectField",
    "anchor_paths",
    "configured_studies",
    "for_the_owner_alone",
    "is_lake",
    "sensor_seconds",
    "variable_names",
]
