"""Dagster: partitions, assets, jobs, and the one function that puts them together.

Knows: Dagster, and what ``ingest`` can be asked for.
Does not know: HTTP, SQL.
"""
