"""The version of the study's definition is in lineage, in the dialect that says it."""

import pytest

from cp_pipeline.ingest import rebuild
from cp_pipeline_tests.study_site import Site

pytestmark = pytest.mark.both_engines

VERSIONS = (
    "SELECT (SELECT list(DISTINCT study_version) FROM lineage.loads),"
    " (SELECT list(DISTINCT study_version) FROM lineage.export_files)"
)


def test_it_is_recorded_and_a_rebuild_keeps_it(site: Site) -> None:
    site.sandbox.lack("datasetexportfiles")
    site.load("N\n1\n")
    assert site.rows(VERSIONS) == [([3], [3])]
    rebuild(site.storage)
    assert site.rows(VERSIONS) == [([3], [3])]


def test_the_dialect_without_it_loads_all_the_same_and_forgets_nothing(site: Site) -> None:
    site.load("N\n1\n")
    assert site.rows(VERSIONS) == [([None], [None])]
    site.sandbox.lack("datasetexportfiles")
    assert not site.sync()
    site.sandbox.lack_nothing()
    assert not site.sync()
    assert site.rows(VERSIONS) == [([None], [3])]
