"""CentrePoint data set exports in DuckDB: right, current, and traceable to a program execution.

The way of the data, room by room: ``centrepoint`` lists and downloads, ``landing`` keeps the bytes
and opens them, ``warehouse`` types and loads them, ``ingest`` puts the three together, and ``defs``
shows it all to Dagster. ``domain.exports``, ``domain.errors`` and ``settings`` hold the words they
share.
"""
