"""CentrePoint data set exports in DuckDB: correct, current, and traceable to a program execution.

The packages in the order of the data: ``centrepoint`` lists and downloads files, ``landing`` stores
and reads them, ``warehouse`` types and loads their rows, ``ingest`` combines these three, and
``defs`` defines the Dagster assets, jobs and sensors. ``settings`` and ``domain`` are shared.
"""

try:
    import fcntl as _needed  # noqa: F401
except ImportError:
    raise ImportError(
        "cp-pipeline runs on Linux and macOS: it locks files in a way that Windows does not have "
        "(fcntl). On Windows, run it in WSL 2, with its data folder inside WSL. The published file "
        "can be read on Windows by any program that reads DuckDB."
    ) from None
