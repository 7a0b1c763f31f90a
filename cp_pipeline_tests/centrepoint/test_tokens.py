"""The client requests and renews tokens (docs/api.md, "Tokens")."""

import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from cp_pipeline.centrepoint import (
    AnswerNotUnderstood,
    CentrePoint,
    CredentialsRefused,
    ScopeRefused,
    ServiceUnavailable,
    TokenRefused,
)
from cp_pipeline.sandbox import ExportFile, SandboxStudy
from cp_pipeline.sandbox.export_file import Filters
from cp_pipeline_tests.centrepoint.clients import STUDY, asked, connect, forget_tokens, small_study
from cp_pipeline_tests.centrepoint.scripted import Said, Scripted, page_of
from cp_pipeline_tests.faults import FaultySandbox


class SlowStudy(SandboxStudy):
    """A study whose pages are slow."""

    def listed(self, filters: Filters) -> Sequence[ExportFile]:
        time.sleep(0.4)
        return super().listed(filters)


def test_one_token_serves_many_requests(sandbox: FaultySandbox) -> None:
    centrepoint = connect(sandbox)
    centrepoint.check_access()
    for _ in range(3):
        assert centrepoint.count_export_files(STUDY) == 14
    assert asked(sandbox, "token") == [("token", 200)]


def test_a_token_of_two_seconds_is_renewed_in_time_during_a_long_listing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("cp_pipeline.centrepoint.listing.PAGE_SIZE", 2)
    study = small_study(14, SlowStudy(STUDY))
    with FaultySandbox(study, token_seconds=2) as sandbox:
        assert len(connect(sandbox).list_export_files(STUDY).items) == 14
        assert asked(sandbox, "token") == [("token", 200)] * 2
        assert asked(sandbox, "listing") == [("listing", 200)] * 7


def test_a_token_that_runs_out_earlier_than_announced_is_replaced(study: SandboxStudy) -> None:
    with FaultySandbox(study, token_seconds=0.3) as sandbox:
        centrepoint = connect(sandbox)
        centrepoint.check_access()
        time.sleep(0.35)
        assert centrepoint.count_export_files(STUDY) == 14
        assert asked(sandbox) == [
            ("token", 200),
            ("listing", 401),
            ("token", 200),
            ("listing", 200),
        ]


def test_a_fresh_token_that_is_refused_too_is_an_error_and_not_tried_again(
    sandbox: FaultySandbox,
) -> None:
    sandbox.fail("listing", status=401, times=2)
    centrepoint = connect(sandbox)
    with pytest.raises(TokenRefused, match="CP_API_URL and CP_TOKEN_URL"):
        centrepoint.list_export_files(STUDY)
    assert asked(sandbox) == [("token", 200), ("listing", 401)] * 2
    assert centrepoint.count_export_files(STUDY) == 14


def test_threads_whose_token_was_refused_share_one_new_token(sandbox: FaultySandbox) -> None:
    centrepoint = connect(sandbox)
    centrepoint.check_access()
    forget_tokens(sandbox)
    together = threading.Barrier(8)

    def count(_: int) -> int:
        together.wait(timeout=10)
        return centrepoint.count_export_files(STUDY)

    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(count, range(8))) == [14] * 8
    assert asked(sandbox, "token") == [("token", 200)] * 2


@pytest.mark.parametrize("setting", ["client_id", "client_secret"])
def test_wrong_credentials_are_refused_at_once_naming_the_variables(
    sandbox: FaultySandbox, setting: str
) -> None:
    with pytest.raises(CredentialsRefused, match="CP_CLIENT_ID and CP_CLIENT_SECRET"):
        connect(sandbox, **{setting: "wrong"}).check_access()
    assert asked(sandbox) == [("token", 400)]


def test_a_scope_that_is_not_granted_is_told_from_wrong_credentials(
    sandbox: FaultySandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cp_pipeline.centrepoint.tokens.SCOPE", "SomethingElse")
    with pytest.raises(ScopeRefused, match="CP_CLIENT_ID") as refusal:
        connect(sandbox).check_access()
    assert "CP_CLIENT_SECRET" not in str(refusal.value)
    assert asked(sandbox) == [("token", 400)]


def test_another_refusal_is_shown_with_its_words(sandbox: FaultySandbox) -> None:
    sandbox.fail("token", status=400, body='{"error": "unsupported_grant_type"}')
    with pytest.raises(AnswerNotUnderstood, match=r"unsupported_grant_type.*CP_TOKEN_URL"):
        connect(sandbox).check_access()


@pytest.mark.parametrize(
    "answer",
    [
        "<html>Sign in</html>",
        "",
        "[]",
        "null",
        "{}",
        '{"access_token": ""}',
        '{"access_token": null}',
        '{"access_token": 3, "expires_in": 3600}',
    ],
)
def test_an_answer_without_a_token_is_not_understood(sandbox: FaultySandbox, answer: str) -> None:
    sandbox.fail("token", status=200, body=answer)
    with pytest.raises(AnswerNotUnderstood, match="CP_TOKEN_URL"):
        connect(sandbox).check_access()


@pytest.mark.usefixtures("no_backoff")
def test_a_token_service_that_fails_for_a_moment_is_asked_again(sandbox: FaultySandbox) -> None:
    sandbox.fail("token", status=503, times=2)
    sandbox.disconnect("token")
    connect(sandbox).check_access()
    assert asked(sandbox) == [("token", 503), ("token", 503), ("token", 0), ("token", 200)]


@pytest.mark.usefixtures("no_backoff")
def test_a_token_service_that_keeps_failing_is_unavailable(sandbox: FaultySandbox) -> None:
    sandbox.fail("token", status=502, times=50)
    with pytest.raises(ServiceUnavailable, match=r"HTTP 502 \(Bad Gateway\)"):
        connect(sandbox).check_access()


def test_a_token_without_a_lifetime_is_good_for_an_hour() -> None:
    with Scripted(lambda asked: page_of(total=3)) as service:
        centrepoint = CentrePoint(service.settings)
        assert [centrepoint.count_export_files(STUDY) for _ in range(2)] == [3, 3]
        assert [each.path == "/token" for each in service.asked] == [True, False, False]


@pytest.mark.parametrize(
    "lifetime",
    [
        "null", '""', '"soon"', '"PT1H"', "0", "-1", "-3600", '"-5"', "NaN", '"nan"', "true", "[]",
        "{}", "3600.5", '"3600"', '" 3600 "', '"3600.0"', "1e300", "1e999", '"inf"', "9" * 500,
        "1" + "0" * 400,
    ],
)  # fmt: skip
def test_a_lifetime_that_says_nothing_is_an_hour_and_no_error(lifetime: str) -> None:
    token = Said(body=f'{{"access_token": "good", "expires_in": {lifetime}}}'.encode())
    with Scripted(lambda asked: page_of(total=3), token=token) as service:
        centrepoint = CentrePoint(service.settings)
        assert [centrepoint.count_export_files(STUDY) for _ in range(3)] == [3, 3, 3]
        assert [each.path == "/token" for each in service.asked] == [True, False, False, False]


def test_a_token_whose_lifetime_is_not_known_is_renewed_by_the_refusal(
    sandbox: FaultySandbox,
) -> None:
    centrepoint = connect(sandbox)
    centrepoint.check_access()
    centrepoint._tokens._renew_at = float("inf")
    forget_tokens(sandbox)
    assert len(centrepoint.list_export_files(STUDY).items) == 14
    assert asked(sandbox) == [
        ("token", 200), ("listing", 401), ("token", 200), ("listing", 200),
    ]  # fmt: skip


def test_a_refusal_with_a_byte_order_mark_is_told_by_its_reason(sandbox: FaultySandbox) -> None:
    sandbox.fail("token", 400, body=b'\xef\xbb\xbf{"error": "invalid_client"}')
    with pytest.raises(CredentialsRefused, match="invalid_client"):
        connect(sandbox).check_access()


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_of_the_token_service_is_not_followed(status: int) -> None:
    with Scripted(lambda asked: Said()) as elsewhere:
        redirect = Said(status, headers={"Location": f"{elsewhere.url}/token"})
        with (
            Scripted(lambda asked: Said(), token=redirect) as service,
            pytest.raises(AnswerNotUnderstood, match=r"redirect.*CP_TOKEN_URL"),
        ):
            CentrePoint(service.settings).check_access()
        assert elsewhere.asked == []
