"""The client reads unusual headers and bodies correctly."""

import time
from email.utils import formatdate

import pytest
from hypothesis import given, strategies as st

from cp_pipeline.centrepoint import CentrePoint
from cp_pipeline.centrepoint.answers import retry_after
from cp_pipeline_tests.centrepoint.clients import STUDY, Keeper, asked, connect, small_study
from cp_pipeline_tests.centrepoint.scripted import TOKEN, Asked, Said, Scripted, page_of
from cp_pipeline_tests.centrepoint.test_items import ITEM
from cp_pipeline_tests.faults import FaultySandbox

UNREADABLE = [
    "", " ", "soon", "1m0s", "-1", "-0.5", "nan", "inf", "-inf", "1e3", "0x10", "1,5", "1, 2",
    "1 s", "60s", "PT1M", "null", "Wed", "2024-02-29", "٣", "+5", ".", "1.2.3",
    "Fri, 99 Foo 2024 10:00:00 GMT", "Fri, 01 Mar 99999999999 10:00:00 GMT",
    "Fri, 31 Feb 2024 10:00:00 GMT", "Fri, 01 Mar 2024 25:61:00 GMT", "\u00e9", "1_0",
]  # fmt: skip


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        *((unreadable, None) for unreadable in UNREADABLE),
        (None, None),
        ("0", 0.0),
        ("1", 1.0),
        (" 7 ", 7.0),
        ("1.0", 1.0),
        ("0.493", 0.493),
        ("2.", 2.0),
        (".5", 0.5),
        ("007", 7.0),
        ("299", 299.0),
        ("86400", 300.0),
        ("9" * 400, 300.0),
        ("Fri, 01 Mar 2024 10:00:00 GMT", 0.0),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0.0),
        ("Friday, 01-Mar-24 10:00:00 GMT", 0.0),
        ("Fri Mar  1 10:00:00 2024", 0.0),
        ("Fri, 01 Mar 2024 10:00:00", 0.0),
        ("Fri, 01 Mar 9999 10:00:00 GMT", 300.0),
    ],
)
def test_a_retry_after_is_seconds_or_a_date_or_none(
    header: str | None, seconds: float | None
) -> None:
    assert retry_after(header) == seconds


@given(st.text(st.characters(max_codepoint=0x2FF), max_size=40))
def test_no_retry_after_is_an_error_or_a_long_wait(header: str) -> None:
    seconds = retry_after(header)
    assert seconds is None or 0 <= seconds <= 300


def test_a_date_to_come_is_waited_for() -> None:
    found = retry_after(formatdate(time.time() + 40, usegmt=True))
    assert found is not None
    assert 38 < found <= 40


@pytest.mark.usefixtures("no_backoff")
@pytest.mark.parametrize("header", [each for each in UNREADABLE if each.isascii()])
def test_a_retry_after_that_cannot_be_read_is_none(sandbox: FaultySandbox, header: str) -> None:
    centrepoint = connect(sandbox)
    for kind in ("token", "listing"):
        sandbox.fail(kind, 429, retry_after=header)
    file = centrepoint.list_export_files(STUDY).items[0]
    sandbox.fail("file", 503, retry_after=header)
    assert centrepoint.fetch(file, Keeper())
    assert asked(sandbox) == [
        ("token", 429), ("token", 200), ("listing", 429), ("listing", 200), ("file", 503),
        ("file", 200),
    ]  # fmt: skip


MARKS = {"utf-8": b"\xef\xbb\xbf", "utf-16": b"", "utf-32": b""}
TYPES = ["application/json", "application/json; charset=utf-8", "text/plain", None]


@pytest.mark.parametrize("charset", MARKS)
@pytest.mark.parametrize("kind", TYPES)
def test_a_byte_order_mark_before_any_json_means_nothing(charset: str, kind: str | None) -> None:
    headers = {} if kind is None else {"Content-Type": kind}

    def marked(said: Said) -> Said:
        return Said(body=MARKS[charset] + said.body.decode().encode(charset), headers=headers)

    token = marked(Said(body=f'{{"access_token": "{TOKEN}", "expires_in": 3600}}'.encode()))
    with Scripted(lambda asked: marked(page_of(ITEM)), token=token) as service:
        listing = CentrePoint(service.settings).list_export_files(STUDY)
        assert len(listing.items) == 1
        assert service.asked[-1].headers["Authorization"] == f"Bearer {TOKEN}"


def test_json_in_an_older_charset_is_read_as_its_header_says() -> None:
    page = page_of({**ITEM, "dataSetName": "Größe"}).body.decode("unicode_escape")
    said = Said(
        body=page.encode("latin-1"), headers={"Content-Type": "application/json; charset=latin-1"}
    )
    with Scripted(lambda asked: said) as service:
        (item,) = CentrePoint(service.settings).list_export_files(STUDY).items
        assert item.dataset_name == "Größe"


# The answers of proxies that refuse a GET request with a body.
REFUSALS = [403, 400, 405, 411, 413, 415, 501, 502, 0]


@pytest.mark.usefixtures("no_backoff")
@pytest.mark.parametrize("status", REFUSALS)
def test_a_proxy_that_refuses_bodies_stops_no_listing_without_filters(status: int) -> None:
    with FaultySandbox(small_study(250)) as sandbox:
        sandbox.bodies_of_get = status
        centrepoint = connect(sandbox)
        assert len(centrepoint.list_export_files(STUDY).items) == 250
        assert centrepoint.count_export_files(STUDY) == 250


@pytest.mark.parametrize("dialect", ["datasetexportfiles", "datasetfiles"])
def test_without_filters_no_body_is_sent(dialect: str) -> None:
    def answer(asked: Asked) -> Said:
        return page_of()

    with Scripted(answer) as service:
        settings = {name: getattr(service.settings, name) for name in service.settings.__slots__}
        CentrePoint(type(service.settings)(**settings | {"dialect": dialect})).list_export_files(
            STUDY
        )
        request = service.asked[-1]
    assert request.body == b""
    assert not {"Content-Length", "Content-Type", "Transfer-Encoding"} & set(request.headers)
