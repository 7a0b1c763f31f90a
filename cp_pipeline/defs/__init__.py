"""Dagster: partitions, assets, checks, jobs, sensors, and the function that combines them.

Belongs here: everything that uses Dagster; it calls ``ingest`` for the work.
Does not belong: HTTP, SQL.
"""
