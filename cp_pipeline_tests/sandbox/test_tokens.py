"""What the sandbox promises about tokens (docs/api.md, Tokens)."""

import time

import pytest
import requests

from cp_pipeline.sandbox import Sandbox, SandboxStudy
from cp_pipeline_tests.sandbox.raw_requests import (
    ask_for_page,
    ask_for_token,
    authorization,
    listing_url,
)


def test_a_right_form_gets_a_bearer_token_for_an_hour(sandbox: Sandbox) -> None:
    answer = ask_for_token(sandbox)
    assert answer.status_code == 200
    content = answer.json()
    assert (content["token_type"], content["expires_in"]) == ("Bearer", 3600)
    assert len(content["access_token"]) > 20
    assert answer.headers["Cache-Control"] == "no-store"


def test_two_tokens_are_never_the_same_and_both_are_good(sandbox: Sandbox) -> None:
    first, second = authorization(sandbox), authorization(sandbox)
    assert first != second
    assert ask_for_page(sandbox, headers=first).status_code == 200
    assert ask_for_page(sandbox, headers=second).status_code == 200


def test_several_scopes_are_separated_by_spaces(sandbox: Sandbox) -> None:
    assert ask_for_token(sandbox, scope="DataAccess Analytics").status_code == 200


@pytest.mark.parametrize(
    ("field", "value", "error"),
    [
        ("client_id", "somebody-else", "invalid_client"),
        ("client_secret", "wrong", "invalid_client"),
        ("client_secret", None, "invalid_client"),
        ("scope", "dataaccess", "invalid_scope"),
        ("scope", "Analytics", "invalid_scope"),
        ("scope", "DataAccess,Analytics", "invalid_scope"),
        ("scope", "DataAccess Everything", "invalid_scope"),
        ("scope", None, "invalid_scope"),
        ("grant_type", "password", "unsupported_grant_type"),
        ("grant_type", None, "invalid_request"),
    ],
)
def test_a_wrong_field_gets_a_400_that_names_the_error(
    sandbox: Sandbox, field: str, value: str | None, error: str
) -> None:
    answer = ask_for_token(sandbox, **{field: value})
    assert answer.status_code == 400
    assert answer.json() == {"error": error}


def test_a_form_sent_as_json_or_in_the_query_is_an_invalid_request(sandbox: Sandbox) -> None:
    environment = sandbox.environment
    form = {
        "client_id": environment["CP_CLIENT_ID"],
        "client_secret": environment["CP_CLIENT_SECRET"],
        "grant_type": "client_credentials",
        "scope": "DataAccess",
    }
    as_json = requests.post(environment["CP_TOKEN_URL"], json=form, timeout=10)
    as_query = requests.post(environment["CP_TOKEN_URL"], params=form, timeout=10)
    assert as_json.status_code == as_query.status_code == 400
    assert as_json.json() == as_query.json() == {"error": "invalid_request"}


def test_tokens_are_had_by_post_alone(sandbox: Sandbox) -> None:
    answer = requests.get(sandbox.environment["CP_TOKEN_URL"], timeout=10)
    assert answer.status_code == 405
    assert answer.headers["Allow"] == "POST"


@pytest.mark.parametrize("header", ["", "Bearer", "Bearer made-up", "Basic {token}", "{token}"])
def test_a_listing_without_a_good_token_is_a_401(sandbox: Sandbox, header: str) -> None:
    token = authorization(sandbox)["Authorization"].split()[1]
    headers = {"Authorization": header.format(token=token)} if header else {}
    answer = requests.get(listing_url(sandbox), headers=headers, timeout=10)
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"] == "Bearer"


def test_a_token_runs_out(study: SandboxStudy) -> None:
    with Sandbox(study, token_seconds=0.6) as sandbox:
        headers = authorization(sandbox)
        assert ask_for_page(sandbox, headers=headers).status_code == 200
        time.sleep(0.65)
        answer = ask_for_page(sandbox, headers=headers)
        assert answer.status_code == 401
        assert answer.headers["WWW-Authenticate"] == "Bearer"
        assert ask_for_page(sandbox).status_code == 200


def test_a_token_of_one_sandbox_is_no_good_in_another(
    sandbox: Sandbox, study: SandboxStudy
) -> None:
    with Sandbox(study) as other:
        assert ask_for_page(other, headers=authorization(sandbox)).status_code == 401
