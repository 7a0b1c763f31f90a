"""The client finds the dialect that a service speaks (docs/api.md, first paragraph)."""

import logging
from dataclasses import replace

import pytest

from cp_pipeline.centrepoint import (
    AnswerNotUnderstood,
    CentrePoint,
    Filters,
    ServiceError,
    ServiceUnavailable,
    StudyRefused,
)
from cp_pipeline.centrepoint.dialects import CURRENT, SEED
from cp_pipeline_tests.centrepoint.clients import STUDY, connect, small_study
from cp_pipeline_tests.centrepoint.scripted import Asked, Said, Scripted, page_of
from cp_pipeline_tests.faults import FaultySandbox

LACKING = pytest.mark.parametrize("status", [400, 404, 405])


def asked_in(sandbox: FaultySandbox) -> list[str]:
    """Return the dialect of each request for a page."""
    return [each.path.rpartition("/")[2] for each in sandbox.requests if each.kind == "listing"]


def test_the_seeds_dialect_is_asked_for_first_and_kept(
    sandbox: FaultySandbox, caplog: pytest.LogCaptureFixture
) -> None:
    centrepoint = connect(sandbox)
    assert (centrepoint.settings.dialect, centrepoint.dialect) == ("auto", None)
    with caplog.at_level(logging.DEBUG, "cp_pipeline"):
        for _ in range(3):
            assert len(centrepoint.list_export_files(STUDY).items) == 14
    assert centrepoint.dialect == SEED
    assert asked_in(sandbox) == [SEED] * 3
    assert caplog.text.count("answers in the dialect datasetexportfiles") == 1
    assert caplog.records[-1].levelname == "DEBUG"


@LACKING
@pytest.mark.parametrize("filters", [Filters(), Filters(10821)])
def test_where_the_seeds_dialect_is_missing_the_current_one_is_kept(
    sandbox: FaultySandbox, status: int, filters: Filters, caplog: pytest.LogCaptureFixture
) -> None:
    sandbox.lack(SEED, status=status)
    centrepoint = connect(sandbox)
    with caplog.at_level(logging.DEBUG, "cp_pipeline"):
        for _ in range(2):
            listed = centrepoint.list_export_files(STUDY, filters).items
            assert len(listed) == (5 if filters.subject_id else 14)
    assert centrepoint.dialect == CURRENT
    # A proxy may be what refuses a body: once, the seed's dialect is asked for without one.
    again = [SEED] if filters.subject_id and status != 404 else []
    assert asked_in(sandbox) == [SEED, CURRENT, *again, CURRENT]
    assert caplog.text.count("answers in the dialect datasetfiles") == 1
    assert "proxy" not in caplog.text


@LACKING
def test_a_service_that_lacks_the_current_dialect_is_not_asked_for_it(
    sandbox: FaultySandbox, status: int
) -> None:
    sandbox.lack(CURRENT, status=status)
    assert connect(sandbox).count_export_files(STUDY) == 14
    assert asked_in(sandbox) == [SEED]


@LACKING
@pytest.mark.parametrize("second", [400, 404, 405, 403])
def test_where_both_fail_the_message_names_both_and_the_study(
    sandbox: FaultySandbox, status: int, second: int
) -> None:
    sandbox.lack(SEED, status=status)
    sandbox.lack(CURRENT, status=second)
    centrepoint = connect(sandbox)
    with pytest.raises(ServiceError) as refusal:
        centrepoint.list_export_files(STUDY)
    for words in (f"{SEED}: HTTP {status}", f"{CURRENT}: HTTP {second}", "study 4711",
                  "CP_STUDY_ID"):  # fmt: skip
        assert words in str(refusal.value)
    assert isinstance(refusal.value, StudyRefused)
    assert centrepoint.dialect is None
    # A failure is not kept: the service may be mended.
    sandbox.lack_nothing()
    assert centrepoint.count_export_files(STUDY) == 14


@pytest.mark.parametrize("status", [403, 406, 410, 411, 413, 422])
def test_other_refusals_do_not_make_it_ask_in_the_other_dialect(
    sandbox: FaultySandbox, status: int
) -> None:
    sandbox.lack(SEED, status=status)
    with pytest.raises(StudyRefused if status == 403 else AnswerNotUnderstood):
        connect(sandbox).list_export_files(STUDY)
    assert asked_in(sandbox) == [SEED]


@LACKING
@pytest.mark.parametrize("offset", [100, 200])
def test_the_dialect_does_not_change_in_the_middle_of_paging(status: int, offset: int) -> None:
    with FaultySandbox(small_study(250)) as sandbox:
        answered: list[str] = []

        def lack_it_now(page: dict[str, object]) -> dict[str, object]:
            answered.append("page")
            if len(answered) == offset // 100:
                sandbox.lack(SEED, status=status)
            return page

        sandbox.rewrite_page = lack_it_now
        centrepoint = connect(sandbox)
        with pytest.raises(ServiceError):
            centrepoint.list_export_files(STUDY)
        assert set(asked_in(sandbox)) == {SEED}
        assert centrepoint.dialect == SEED


@LACKING
@pytest.mark.parametrize("dialect", [SEED, CURRENT])
def test_a_dialect_that_is_set_is_the_only_one_asked_for(
    sandbox: FaultySandbox, status: int, dialect: str
) -> None:
    sandbox.lack(SEED, CURRENT, status=status)
    with pytest.raises(ServiceError, match="CP_EXPORT_DIALECT"):
        connect(sandbox, dialect=dialect).list_export_files(STUDY)
    assert asked_in(sandbox) == [dialect]


@pytest.mark.parametrize("status", [400, 405])
def test_a_proxy_that_refuses_a_body_as_an_unknown_dialect_is_named_too(
    sandbox: FaultySandbox, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    sandbox.bodies_of_get = status
    centrepoint = connect(sandbox)
    with caplog.at_level(logging.WARNING, "cp_pipeline"):
        for _ in range(2):
            assert len(centrepoint.list_export_files(STUDY, Filters(10821)).items) == 5
            assert centrepoint.dialect == CURRENT
    assert asked_in(sandbox) == [SEED, CURRENT, SEED, CURRENT]
    assert caplog.text.count(f"proxy in front of CentrePoint refuses a GET request with a body "
                             f"(HTTP {status})") == 1  # fmt: skip
    assert "CP_EXPORT_DIALECT=datasetfiles" in caplog.text


# Of these, only 400 and 405 may also mean that the dialect is unknown.
@pytest.mark.usefixtures("no_backoff")
@pytest.mark.parametrize("status", [403, 411, 413, 415, 501, 502, 0])
def test_a_proxy_that_refuses_a_body_is_named_with_the_setting_that_needs_none(
    sandbox: FaultySandbox, status: int
) -> None:
    sandbox.bodies_of_get = status
    with pytest.raises(ServiceError, match=r"proxy .*body.*CP_EXPORT_DIALECT=datasetfiles"):
        connect(sandbox).list_export_files(STUDY, Filters(10821))
    assert set(asked_in(sandbox)) == {SEED}


@pytest.mark.parametrize("status", [400, 405])
def test_a_refused_body_after_an_answer_is_named(sandbox: FaultySandbox, status: int) -> None:
    sandbox.bodies_of_get = status
    centrepoint = connect(sandbox)
    assert centrepoint.count_export_files(STUDY) == 14
    with pytest.raises(ServiceError, match=r"proxy .*body.*CP_EXPORT_DIALECT=datasetfiles"):
        centrepoint.list_export_files(STUDY, Filters(10821))


def test_an_expired_token_is_replaced_before_the_other_dialect_is_asked_for() -> None:
    def answer(asked: Asked) -> Said:
        if len(service.asked) < 3:
            return Said(401)
        return Said(404) if asked.path.endswith(SEED) else page_of()

    with Scripted(answer) as service:
        assert CentrePoint(service.settings).count_export_files(STUDY) == 0
    paths = [each.path.rpartition("/")[2] for each in service.asked]
    assert paths == ["token", SEED, "token", SEED, CURRENT]


@pytest.mark.usefixtures("no_backoff")
def test_a_service_that_fails_is_not_asked_in_the_other_dialect(sandbox: FaultySandbox) -> None:
    sandbox.fail("listing", 503, times=20)
    with pytest.raises(ServiceUnavailable):
        connect(sandbox).count_export_files(STUDY)
    assert set(asked_in(sandbox)) == {SEED}


def test_an_answer_that_is_no_page_settles_nothing(sandbox: FaultySandbox) -> None:
    sandbox.fail("listing", 200, body="<html>Sign in</html>")
    centrepoint = connect(sandbox)
    with pytest.raises(AnswerNotUnderstood):
        centrepoint.count_export_files(STUDY)
    assert centrepoint.dialect is None


def test_another_client_need_not_find_the_dialect_again(sandbox: FaultySandbox) -> None:
    sandbox.lack(SEED)
    centrepoint = connect(sandbox)
    assert centrepoint.settings_found == centrepoint.settings
    centrepoint.count_export_files(STUDY)
    assert centrepoint.settings_found == replace(centrepoint.settings, dialect=CURRENT)
