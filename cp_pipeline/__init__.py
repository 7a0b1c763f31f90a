"""CentrePoint data set exports in DuckDB: correct, current, and traceable to a program execution.

The packages in the order of the data: ``centrepoint`` lists and downloads files, ``landing`` stores
and reads them, ``warehouse`` types and loads their rows, ``ingest`` combines these three, and
``defs`` defines the Dagster assets, jobs and sensors. ``settings`` and ``domain`` are shared.
"""
