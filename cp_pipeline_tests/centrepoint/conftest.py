"""Shared fixtures: sandboxes, and retries without waiting."""

from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from cp_pipeline.sandbox import SandboxStudy
from cp_pipeline_tests.faults import FaultySandbox


@pytest.fixture
def study() -> SandboxStudy:
    """Three subjects, one day, every data set: 14 export files."""
    return SandboxStudy.synthetic(subjects=3, days=1)


@pytest.fixture
def sandbox(study: SandboxStudy) -> Iterator[FaultySandbox]:
    """A sandbox that serves the study."""
    with FaultySandbox(study) as served:
        yield served


@pytest.fixture
def no_backoff(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retry at once, except where a Retry-After header says otherwise."""
    retry = "cp_pipeline.centrepoint.transport._BudgetedRetry"
    monkeypatch.setattr(f"{retry}.get_backoff_time", lambda self: 0.0)
    time_without_sleep = SimpleNamespace(sleep=lambda seconds: None)
    monkeypatch.setattr("cp_pipeline.centrepoint.downloads.time", time_without_sleep)
