"""The settings, read from environment variables; the README documents their names.

- ``reader`` knows kinds of values, and reports all invalid settings in one message.
- ``centrepoint``, ``storage`` and ``notifications`` have the names and the defaults.
- ``names`` lists the variables.
"""

from cp_pipeline.settings.centrepoint import (
    SENSOR_SECONDS as SENSOR_SECONDS,
    CentrePointSettings as CentrePointSettings,
    Dialect as Dialect,
    DialectSetting as DialectSetting,
    SubjectField as SubjectField,
    configured_studies as configured_studies,
    sensor_seconds as sensor_seconds,
)
from cp_pipeline.settings.names import variable_names as variable_names
from cp_pipeline.settings.reader import SettingsError as SettingsError
from cp_pipeline.settings.storage import (
    DBT_PROJECT as DBT_PROJECT,
    StorageSettings as StorageSettings,
    anchor_paths as anchor_paths,
    for_the_owner_alone as for_the_owner_alone,
    is_lake as is_lake,
)
