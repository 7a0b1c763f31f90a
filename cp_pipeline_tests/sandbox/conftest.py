"""Sandboxes that the tests of this folder share the making of."""

from collections.abc import Iterator

import pytest

from cp_pipeline.sandbox import Sandbox, SandboxStudy


@pytest.fixture
def study() -> SandboxStudy:
    """Three subjects, one day, every data set: 14 export files."""
    return SandboxStudy.synthetic(subjects=3, days=1)


@pytest.fixture
def sandbox(study: SandboxStudy) -> Iterator[Sandbox]:
    """The study, served."""
    with Sandbox(study) as served:
        yield served
