"""A plain client of the sandbox: what a test asks and reads, without any cleverness.

Belongs here: requests as docs/api.md describes them. Does not: retries, checks, anything of a
pipeline.
"""

from typing import Any

import requests

from cp_pipeline.sandbox import Sandbox

SEED = "datasetexportfiles"
CURRENT = "datasetfiles"


def ask_for_token(sandbox: Sandbox, **changes: str | None) -> requests.Response:
    """Asks for a token with the right form, but for the changes (None leaves a field out)."""
    environment = sandbox.environment
    form: dict[str, str | None] = {
        "client_id": environment["CP_CLIENT_ID"],
        "client_secret": environment["CP_CLIENT_SECRET"],
        "grant_type": "client_credentials",
        "scope": "DataAccess",
    }
    return requests.post(environment["CP_TOKEN_URL"], data={**form, **changes}, timeout=10)


def authorization(sandbox: Sandbox) -> dict[str, str]:
    """The Authorization header with a fresh token."""
    return {"Authorization": f"Bearer {ask_for_token(sandbox).json()['access_token']}"}


def listing_url(sandbox: Sandbox, dialect: str = SEED) -> str:
    """The URL of the sandbox's listing."""
    environment = sandbox.environment
    return f"{environment['CP_API_URL']}/studies/{environment['CP_STUDY_ID']}/{dialect}"


def ask_for_page(sandbox: Sandbox, dialect: str = SEED, **how: Any) -> requests.Response:
    """Asks for a page with a fresh token; `how` goes to requests (params, json, data, …)."""
    how["headers"] = how.get("headers") or authorization(sandbox)
    return requests.get(listing_url(sandbox, dialect), timeout=10, **how)


def page(sandbox: Sandbox, dialect: str = SEED, **how: Any) -> dict[str, Any]:
    """A page that is expected to come."""
    answer = ask_for_page(sandbox, dialect, **how)
    assert answer.status_code == 200, answer.text
    content: dict[str, Any] = answer.json()
    return content


def items(sandbox: Sandbox, **filters: object) -> list[dict[str, Any]]:
    """The first hundred items that pass the filters."""
    listed: list[dict[str, Any]] = page(sandbox, json=filters)["items"]
    return listed


def download(item: dict[str, Any]) -> requests.Response:
    """Asks for the file of an item."""
    return requests.get(item["fileUrl"], timeout=10)


def raw_bytes(item: dict[str, Any]) -> bytes:
    """The bytes of an item's file as they come over the wire, no Content-Encoding undone."""
    with requests.get(item["fileUrl"], timeout=10, stream=True) as answer:
        assert answer.status_code == 200
        blob: bytes = answer.raw.read(decode_content=False)
        return blob
