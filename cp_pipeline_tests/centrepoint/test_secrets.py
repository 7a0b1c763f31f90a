"""The client never shows secrets, tokens or the signatures of links."""

import logging
import re
import time
import traceback
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given, strategies as st

from cp_pipeline.centrepoint import CentrePoint, CentrePointError
from cp_pipeline.centrepoint.redaction import redact
from cp_pipeline.sandbox import SandboxStudy
from cp_pipeline_tests.centrepoint.clients import (
    CURRENT,
    SEED,
    STUDY,
    Keeper,
    connect,
    forget_tokens,
    tokens_handed_out,
)
from cp_pipeline_tests.centrepoint.scripted import Said, Scripted
from cp_pipeline_tests.faults import FaultySandbox

# Use names instead of literals, because a traceback shows the source line.
BAD_LINK = "https://x/y?sv=1&sig=TopSecret"

Provoke = Callable[[FaultySandbox, CentrePoint], object]


def everything_said(error: BaseException) -> str:
    """Return every text of an error and of the errors that it wraps, also suppressed ones."""
    said = [str(error), repr(error), *traceback.format_exception(error)]
    behind = (error.__cause__, error.__context__)
    return "\n".join([*said, *(everything_said(each) for each in behind if each is not None)])


def secrets_in(text: str, *known: str) -> list[str]:
    """Return the secrets that a text contains: known ones, and signatures of links."""
    return [each for each in known if each in text] + re.findall(r"(?i)sig(?:=|%3D)[^…\s].*", text)


def fetch(sandbox: FaultySandbox, centrepoint: CentrePoint, url: str | None = None) -> None:
    """Download one file, by its own link or by another one."""
    file = centrepoint.list_export_files(STUDY).items[0]
    centrepoint.fetch(replace(file, url=url or file.url), Keeper())


def wrong_secret(sandbox: FaultySandbox, centrepoint: CentrePoint) -> None:
    connect(sandbox, client_id="somebody else").check_access()


def token_service_that_repeats_what_it_was_told(
    sandbox: FaultySandbox, centrepoint: CentrePoint
) -> None:
    echo = "bad: client_id=x&client_secret=sandbox-secret&scope=DataAccess"
    sandbox.fail("token", status=400, body=echo)
    connect(sandbox).check_access()


def token_refused(sandbox: FaultySandbox, centrepoint: CentrePoint) -> None:
    sandbox.fail("listing", status=401, times=2)
    centrepoint.list_export_files(STUDY)


def service_that_repeats_the_token(sandbox: FaultySandbox, centrepoint: CentrePoint) -> None:
    token = tokens_handed_out(sandbox)[0]
    words = f"What is Authorization: Bearer {token}?"
    # In both dialects.
    sandbox.fail("listing", status=400, body=words, times=2)
    centrepoint.list_export_files(STUDY)


def page_that_is_no_page(sandbox: FaultySandbox, centrepoint: CentrePoint) -> None:
    sandbox.fail("listing", status=200, body='{"files": ["https://x/y?sv=1\\u0026sig=TopSecret"]}')
    centrepoint.list_export_files(STUDY)


def broken_item(sandbox: FaultySandbox, centrepoint: CentrePoint) -> None:
    file = centrepoint.list_export_files(STUDY).items[0]
    sandbox.execute_again()
    sandbox.rewrite_page = lambda page: {
        **page, "items": [{**item, "fileUrl": [BAD_LINK]} for item in page["items"]]
    }  # fmt: skip
    centrepoint.fetch(file, Keeper())


def foreign_study(sandbox: FaultySandbox, centrepoint: CentrePoint) -> None:
    centrepoint.list_export_files(9)


def service_hanging_up(sandbox: FaultySandbox, centrepoint: CentrePoint) -> None:
    sandbox.disconnect("listing", times=50)
    centrepoint.list_export_files(STUDY)


def service_down(sandbox: FaultySandbox, centrepoint: CentrePoint) -> None:
    sandbox.__exit__(None, None, None)
    centrepoint.list_export_files(STUDY)


def storage_busy(sandbox: FaultySandbox, centrepoint: CentrePoint) -> None:
    sandbox.fail("file", times=100)
    fetch(sandbox, centrepoint)


def storage_that_repeats_the_link(sandbox: FaultySandbox, centrepoint: CentrePoint) -> None:
    sandbox.fail("file", status=400, times=100, body="No: /x.csv.gz?sv=1&sig=TopSecret&sp=r")
    fetch(sandbox, centrepoint)


def storage_hanging_up(sandbox: FaultySandbox, centrepoint: CentrePoint) -> None:
    sandbox.disconnect("file", times=100)
    fetch(sandbox, centrepoint)


def storage_down(sandbox: FaultySandbox, centrepoint: CentrePoint) -> None:
    with Scripted(lambda asked: Said()) as storage:
        url = BAD_LINK.replace("https://x", storage.url)
    fetch(sandbox, centrepoint, url)


def storage_that_redirects(sandbox: FaultySandbox, centrepoint: CentrePoint) -> None:
    elsewhere = Said(302, headers={"Location": BAD_LINK})
    with Scripted(lambda asked: elsewhere) as storage:
        fetch(sandbox, centrepoint, BAD_LINK.replace("https://x", storage.url))


def file_cut_short(sandbox: FaultySandbox, centrepoint: CentrePoint) -> None:
    sandbox.cut_short(times=100)
    fetch(sandbox, centrepoint)


def file_withdrawn(sandbox: FaultySandbox, centrepoint: CentrePoint) -> None:
    file = centrepoint.list_export_files(STUDY).items[0]
    sandbox.study.withdraw(subject_id=file.subject_id, data_set_name=file.dataset_name)
    centrepoint.fetch(file, Keeper())


def link_of_no_use(sandbox: FaultySandbox, centrepoint: CentrePoint) -> None:
    fetch(sandbox, centrepoint, BAD_LINK.replace("https", "ftp"))


def link_without_a_host(sandbox: FaultySandbox, centrepoint: CentrePoint) -> None:
    fetch(sandbox, centrepoint, BAD_LINK.replace("x", ""))


PROVOCATIONS: list[Provoke] = [
    wrong_secret,
    token_service_that_repeats_what_it_was_told,
    token_refused,
    service_that_repeats_the_token,
    page_that_is_no_page,
    broken_item,
    foreign_study,
    service_hanging_up,
    service_down,
    storage_busy,
    storage_that_repeats_the_link,
    storage_hanging_up,
    storage_down,
    storage_that_redirects,
    file_cut_short,
    file_withdrawn,
    link_of_no_use,
    link_without_a_host,
]


@pytest.mark.usefixtures("no_backoff")
@pytest.mark.parametrize("provoke", PROVOCATIONS)
def test_no_error_and_no_log_gives_a_secret_away(
    sandbox: FaultySandbox, caplog: pytest.LogCaptureFixture, provoke: Provoke
) -> None:
    caplog.set_level(logging.DEBUG)
    centrepoint = connect(sandbox)
    centrepoint.check_access()
    with pytest.raises(CentrePointError) as failure:
        provoke(sandbox, centrepoint)
    known = ("sandbox-secret", "TopSecret", *tokens_handed_out(sandbox))
    assert len(known) > 2
    assert secrets_in(everything_said(failure.value), *known) == []
    assert secrets_in(everything_logged(caplog), *known) == []


def everything_logged(caplog: pytest.LogCaptureFixture) -> str:
    """Return every record of every logger, with its arguments."""
    return "\n".join(
        f"{each.name} {each.getMessage()} {each.msg} {each.args} {each.exc_info} {each.exc_text}"
        for each in caplog.records
    )


@pytest.mark.usefixtures("no_backoff")
@pytest.mark.parametrize("dialect", [SEED, CURRENT])
def test_no_log_gives_a_secret_away_while_everything_is_tried_again(
    caplog: pytest.LogCaptureFixture, dialect: str
) -> None:
    caplog.set_level(logging.DEBUG)
    # A command in this process may have made it say less.
    caplog.set_level(logging.DEBUG, "urllib3")
    study = SandboxStudy.synthetic(subjects=1, days=1)
    with FaultySandbox(study, link_seconds=1.5) as sandbox:
        sandbox.fail("token", times=1)
        sandbox.disconnect("token")
        centrepoint = connect(sandbox, dialect=dialect)
        centrepoint.check_access()
        tokens = tokens_handed_out(sandbox)
        forget_tokens(sandbox)
        sandbox.fail("listing", status=429, times=2)
        sandbox.disconnect("listing")
        first, second, *_ = centrepoint.list_export_files(STUDY).items
        sandbox.fail("file", status=503)
        sandbox.disconnect("file")
        sandbox.cut_short()
        assert centrepoint.fetch(first, Keeper())
        time.sleep(1.55)
        assert centrepoint.fetch(second, Keeper())
        known = ("sandbox-secret", *tokens, *tokens_handed_out(sandbox))
    said = everything_logged(caplog)
    assert len(known) == 3
    assert "urllib3.util.retry Incremented Retry" in said
    assert "urllib3.connectionpool Retry: /dataaccess/" in said
    assert "the storage answered HTTP 503" in said
    assert "the link has expired" in said
    assert "announced bytes arrived" in said
    assert secrets_in(said, *known) == []


def test_a_client_and_its_settings_are_shown_without_secrets(sandbox: FaultySandbox) -> None:
    centrepoint = connect(sandbox)
    file = centrepoint.list_export_files(STUDY).items[0]
    shown = [centrepoint, centrepoint.settings, centrepoint._tokens.current(), file]
    text = " ".join(f"{each} {each!r} {[each]}" for each in shown)
    assert secrets_in(text, "sandbox-secret", *tokens_handed_out(sandbox)) == []


@given(
    signature=st.text("AZaz09%+/", min_size=12, max_size=60),
    before=st.sampled_from(["https://x/y?", "/y?sv=1&", "'/y?sv=1&sp=r&", "(/y?se=2024&"]),
    after=st.sampled_from(["", "&sp=r", "'", " HTTP/1.1", ")", '"', "\n"]),
)
def test_no_signature_of_a_link_survives_redaction(signature: str, before: str, after: str) -> None:
    assert signature not in redact(f"No: {before}sig={signature}{after}")


@pytest.mark.parametrize(
    ("text", "redacted"),
    [
        ("plain words: 3 of 4 (50%) went well", "plain words: 3 of 4 (50%) went well"),
        ("Authorization: Bearer abc.def-1_2~x/y+z==", "Authorization: Bearer …"),
        ("client_secret=abc&scope=DataAccess", "client_secret=…&scope=DataAccess"),
        ('{"access_token" : "abc", "expires_in": 3}', '{"access_token" : "…", "expires_in": 3}'),
        ("http://me:password@proxy:80/x", "http://…@proxy:80/x"),
    ],
)
def test_only_what_is_secret_is_redacted(text: str, redacted: str) -> None:
    assert redact(text) == redacted
