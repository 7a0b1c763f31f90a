"""The sandbox that the client is tested with."""

from cp_pipeline_tests.centrepoint.conftest import sandbox, study

__all__ = ["sandbox", "study"]
