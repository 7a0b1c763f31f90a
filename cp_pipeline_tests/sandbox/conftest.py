"""Sandboxes that the tests of this folder share the making of."""

from collections.abc import Iterator

import pytest

from cp_pipeline.sandbox import SandboxStudy
from cp_pipeline_tests.faults import FaultySandbox


@pytest.fixture
def study() -> SandboxStudy:
    """Three subjects, one day, every data set: 14 export files."""
    return SandboxStudy.synthetic(subjects=3, days=1)


@pytest.fixture
def sandbox(study: SandboxStudy) -> Iterator[FaultySandbox]:
    """The study, served."""
    with FaultySandbox(study) as served:
        yield served
