"""Tests of a DuckLake as the warehouse. They need DuckDB 1.5.5: `make test-lake`."""
