"""What the sandbox promises about the number of requests (docs/api.md, Limits)."""

import pytest
import requests

from cp_pipeline.sandbox import Sandbox, SandboxStudy
from cp_pipeline.sandbox.access import RateLimit
from cp_pipeline_tests.sandbox.raw_requests import ask_for_page, authorization, download, page


def test_one_request_too_many_is_a_429_that_says_when_to_come_back(study: SandboxStudy) -> None:
    with Sandbox(study, requests_per_minute=3) as sandbox:
        headers = authorization(sandbox)
        for _ in range(2):
            assert ask_for_page(sandbox, headers=headers).status_code == 200
        answer = ask_for_page(sandbox, headers=headers)
        assert answer.status_code == 429
        assert 58 <= int(answer.headers["Retry-After"]) <= 60
        assert answer.headers["Content-Type"].startswith("text/plain")
        token = requests.post(sandbox.environment["CP_TOKEN_URL"], timeout=10)
        assert token.status_code == 429


def test_downloads_and_the_control_endpoint_are_not_counted(study: SandboxStudy) -> None:
    with Sandbox(study, requests_per_minute=3) as sandbox:
        item = page(sandbox)["items"][0]
        assert [download(item).status_code for _ in range(5)] == [200] * 5
        url = f"{sandbox.base_url}/sandbox/executions"
        assert requests.post(url, json={"subjectId": 1}, timeout=10).status_code == 200
        assert authorization(sandbox)


def test_the_window_slides() -> None:
    times = iter((1000.0, 1010.0, 1020.0, 1030.0, 1059.5, 1060.0, 1060.1, 1070.0))
    limit = RateLimit(3, clock=lambda: next(times))
    assert [limit.wait() for _ in range(8)] == [0, 0, 0, 30, 1, 0, 10, 0]


@pytest.mark.parametrize("requests_per_minute", [1, 500])
def test_any_sixty_seconds_hold_no_more_than_the_limit(requests_per_minute: int) -> None:
    now = 0.0
    limit = RateLimit(requests_per_minute, clock=lambda: now)
    passed = []
    for tick in range(3_000):
        now = tick * 0.1
        if limit.wait() == 0:
            passed.append(now)
    for place in range(len(passed) - requests_per_minute):
        assert passed[place + requests_per_minute] - passed[place] >= 60 - 1e-9
