"""The details of a study: what is asked for, what is recorded, what is not kept."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from cp_pipeline.centrepoint import ServiceError
from cp_pipeline.centrepoint.study_details import _ON_REQUEST, FIELDS, column
from cp_pipeline.centrepoint.tokens import TokenSource
from cp_pipeline.centrepoint.transport import ReadOnlyTransport, Transport
from cp_pipeline.ingest import Pipeline, RefreshedDetails, rebuild
from cp_pipeline.sandbox import SandboxStudy
from cp_pipeline.settings import CentrePointSettings
from cp_pipeline.warehouse import StudyQuestion, ask_study
from cp_pipeline.warehouse.study_details import KEYS
from cp_pipeline.warehouse.study_tables import DETAILS
from cp_pipeline_tests.faults import FaultySandbox
from cp_pipeline_tests.study_site import Site

NOW = datetime(2026, 11, 27, tzinfo=UTC)
PERSONAL = "dob, age_years, gender, weight, weight_unit, height, height_unit"


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Site]:
    study = SandboxStudy.synthetic(subjects=4, days=1, epoch_rows=5, datasets=("ActivityDaily8",))
    with FaultySandbox(study) as sandbox:
        yield Site(sandbox, tmp_path / "data")


def opened(site: Site, **variables: str) -> Pipeline:
    environment = {**site.sandbox.environment, "CP_STUDY_DETAILS": "1", **variables}
    return Pipeline(CentrePointSettings.from_environment(environment), site.storage)


def refresh(site: Site, day: int = 0, **variables: str) -> RefreshedDetails:
    found = opened(site, **variables).refresh_details(NOW + timedelta(days=day))
    assert found is not None
    return found


def details_asked_for(site: Site) -> list[str]:
    return [each.path for each in site.sandbox.requests if each.kind == "details"]


def test_the_columns_are_those_of_the_tables() -> None:
    more = [name for fields in _ON_REQUEST.values() for name in fields]
    for table, fields in FIELDS.items():
        read = {column(name) for name in (*fields, *(more if table == "subjects" else ()))}
        ours = {"study_id", "age_years"}
        assert read | ours == set(DETAILS[table]) | ours
        assert set(KEYS[table]) <= set(DETAILS[table])


def test_it_records_everything_once_and_asks_for_time_zones_once(here: Site) -> None:
    assert refresh(here).rows == {
        "studies": 1, "sites": 3, "subjects": 4, "planned_visits": 2, "visits": 8,
    }  # fmt: skip
    assert here.rows("SELECT id, site_identifier, timezone FROM study.sites ORDER BY id") == [
        (501, "101", "(UTC +01:00) Europe/Vienna"),
        (502, "102", "(UTC +05:30) Asia/Kolkata"),
        (503, None, "Central Time"),
    ]
    assert here.rows(
        "SELECT id, site_id, site_identifier, subject_identifier, timezone, wear_position,"
        " assignment_status FROM study.subjects ORDER BY id LIMIT 1"
    ) == [(10821, 501, "101", "0001", "Europe/Vienna", "Wrist", "Assigned")]
    assert here.rows("SELECT wear_positions, created_date_time::VARCHAR FROM study.studies") == [
        (["Wrist", "Waist"], "2024-01-10 09:00:00")
    ]
    assert here.rows("SELECT count(*), count(wear_period_id) FROM study.visits") == [(8, 4)]
    assert here.rows("SELECT count(*) FROM study.timezones") == [(4,)]
    before = len(details_asked_for(here))
    again = refresh(here, day=1)
    assert (again.versions, again.requests) == (0, 0)
    assert not any("timezone" in path.lower() for path in details_asked_for(here)[before:])
    assert here.rows("SELECT count(*), count(valid_to) FROM study.subjects_history") == [(4, 0)]


def test_a_change_is_a_new_version_and_what_is_gone_ends(here: Site) -> None:
    refresh(here)
    people = here.sandbox.study.people
    people.change(10821, identifier="0099")
    people.change(10822, timezone="Asia/Tokyo", since="2024-02-09T00:00:00Z")
    people.unlisted.add(10824)
    assert refresh(here, day=1).requests == 1
    history = here.rows(
        "SELECT id, subject_identifier, timezone, valid_from::DATE::VARCHAR,"
        " valid_to::DATE::VARCHAR FROM study.subjects_history WHERE id <> 10823 ORDER BY 1, 4"
    )
    assert history == [
        (10821, "0001", "Europe/Vienna", "2026-11-27", "2026-11-28"),
        (10821, "0099", "Europe/Vienna", "2026-11-28", None),
        (10822, "0002", "Asia/Kolkata", "2026-11-27", "2026-11-28"),
        (10822, "0002", "Asia/Tokyo", "2026-11-28", None),
        (10824, "0004", "Europe/Vienna", "2026-11-27", "2026-11-28"),
    ]
    moved = "SELECT timezone FROM study.timezones WHERE subject_id = 10822 ORDER BY ALL"
    assert here.rows(moved) == [("Asia/Kolkata",), ("Asia/Tokyo",)]
    assert here.rows("SELECT count(*) FROM study.timezones WHERE subject_id = 10824") == [(0,)]
    before = here.rows("FROM study.subjects_history ORDER BY ALL")
    rebuild(here.storage)
    assert here.rows("FROM study.subjects_history ORDER BY ALL") == before


def test_off_it_asks_for_nothing_and_takes_no_token_for_it(here: Site) -> None:
    pipeline = opened(here, CP_STUDY_DETAILS="0")
    assert pipeline.refresh_details(NOW) is None
    assert pipeline.refresh_study(NOW) == ""
    assert not details_asked_for(here)
    assert here.sandbox._service._tokens._scopes
    scopes = here.sandbox._service._tokens._scopes.values()
    assert all(each == {"DataAccess"} for each in scopes)
    assert pipeline.centrepoint.details is None


def test_on_its_token_is_another_one_and_every_request_is_a_get(here: Site) -> None:
    pipeline = opened(here)
    pipeline.refresh_study(NOW)
    pipeline.refresh_details(NOW)
    scopes = sorted(map(sorted, here.sandbox._service._tokens._scopes.values()))
    assert scopes == [["CentrePoint"], ["DataAccess"]]
    records = [each for each in here.sandbox.requests if each.kind != "token"]
    assert {each.method for each in records} == {"GET"}
    # 5 lists, and the history of each subject's time zones.
    assert len(details_asked_for(here)) == 5 + 4


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "get", "HEAD"])
def test_the_transport_refuses_everything_but_get(here: Site, method: str) -> None:
    address = f"{here.sandbox.base_url}/centrepoint/v3"
    transport = ReadOnlyTransport(Transport(None), address)
    for how, url, options in (
        (method, f"{address}/Studies/4711", {}),
        ("GET", f"{here.sandbox.base_url}/dataaccess/v3/studies/4711", {}),
        ("GET", f"{address}.example.com/Studies/4711", {}),
        ("GET", f"{address}/Studies/4711", {"json": {"a": 1}}),
    ):
        with pytest.raises(PermissionError):
            transport.send(how, url, purpose="writing", **options)
    assert not here.sandbox.requests


def test_another_client_is_used_if_the_settings_name_one(here: Site) -> None:
    found = refresh(here, CP_DETAILS_CLIENT_ID="other", CP_DETAILS_CLIENT_SECRET="wrong")
    assert found.failure is not None
    assert "CP_DETAILS_CLIENT_ID" in str(found.failure.remedy)


def test_a_client_without_the_scope_goes_on_without_and_is_told_once(here: Site) -> None:
    here.sandbox.refuse_scope("CentrePoint")
    pipeline = opened(here)
    found = pipeline.refresh_details(NOW)
    assert found is not None
    (remark,) = found.remarks
    assert "invalid_scope" in remark
    assert "CentrePoint" in remark
    assert pipeline.refresh_details(NOW) is found
    assert here.sync()


@pytest.mark.parametrize("status", [400, 403, 200])
def test_a_failing_service_is_said_and_no_message_shows_a_page(here: Site, status: int) -> None:
    here.sandbox.fail("details", status=403 if status == 200 else status, times=40)
    if status == 200:
        here.sandbox.faults = type(here.sandbox.faults)()
        here.sandbox.fail("details", status=200, body='{"dob": "1970-01-01"}', times=9)
    pipeline = opened(here)
    assert pipeline.centrepoint.details is not None
    found = pipeline.refresh_details(NOW)
    assert found is not None
    assert isinstance(found.failure, ServiceError)
    assert "1970" not in " ".join(found.remarks)


def test_no_visits_are_none(here: Site) -> None:
    here.sandbox.study.people.has_visits = False
    assert not refresh(here).remarks
    assert here.rows("SELECT count(*) FROM study.visits_history") == [(0,)]
    assert here.rows("SELECT count(*) FROM study.subjects") == [(4,)]


def test_what_is_personal_is_kept_only_if_it_is_named(here: Site) -> None:
    refresh(here)
    personal = f"SELECT DISTINCT {PERSONAL} FROM study.subjects_history"
    assert here.rows(personal) == [(None,) * 7]
    assert refresh(here, 1, CP_SUBJECT_FIELDS="age_years, weight").versions == 4
    row = here.rows(
        f"SELECT count(DISTINCT id), {', '.join(f'count({c})' for c in PERSONAL.split(', '))}"
        " FROM study.subjects"
    )
    assert row == [(4, 0, 4, 0, 4, 4, 0, 0)]
    assert here.rows("SELECT count(*) FROM study.subjects WHERE age_years BETWEEN 24 AND 87") == [
        (4,)
    ]
    # Not named any more: it goes from the history, too.
    refresh(here, 2)
    assert here.rows(personal) == [(None,) * 7]


def test_the_history_of_time_zones_stays_within_a_minute_of_requests(here: Site) -> None:
    first = refresh(here, CP_REQUESTS_PER_MINUTE="3000")
    assert first.requests == 4
    for subject in here.sandbox.study.subject_ids:
        here.sandbox.study.people.change(subject, timezone="Europe/Paris")
    pipeline = opened(here)
    pipeline.centrepoint.settings = CentrePointSettings.from_environment(
        {
            **here.sandbox.environment,
            "CP_STUDY_DETAILS": "1",
            "CP_REQUESTS_PER_MINUTE": "3",
        }
    )
    found = pipeline.refresh_details(NOW + timedelta(days=1))
    assert found is not None
    assert found.requests == 3
    assert "1 subject" in found.remarks[0]
    assert refresh(here, day=2).requests == 1


def test_checks_name_unknown_subjects_shared_identifiers_and_odd_time_zones(here: Site) -> None:
    here.sync()
    refresh(here)
    pipeline = opened(here)
    assert [ask_study(pipeline.questions, each).at_fault for each in StudyQuestion] == [0, 0, 0]
    people = here.sandbox.study.people
    people.unlisted.add(10824)
    people.change(10822, identifier="0001")
    people.change(10823, timezone="Central Time")
    refresh(here, day=1)
    found = {each: ask_study(pipeline.questions, each) for each in StudyQuestion}
    assert [each.at_fault for each in found.values()] == [1, 2, 1]
    assert [row[0] for each in found.values() for row in each.rows] == [10824, 10821, 10822, 10823]


def test_the_history_of_looks_is_kept(here: Site) -> None:
    pipeline = opened(here, CP_STUDY_DETAILS="0")
    pipeline.refresh_study(NOW)
    (before,) = here.rows("SELECT program_execution FROM study.executions WHERE subject_id = 10821")
    here.sandbox.execute_again(subject_id=10821)
    pipeline.refresh_study(NOW + timedelta(days=1))
    (after,) = here.rows("SELECT program_execution FROM study.executions WHERE subject_id = 10821")
    assert here.rows(
        "SELECT program_execution, valid_to IS NULL FROM study.executions_history"
        " WHERE subject_id = 10821 ORDER BY valid_from"
    ) == [(*before, False), (*after, True)]
    assert here.rows("SELECT count(*) FROM study.executions_history") == [(5,)]
    assert here.rows("SELECT study_program_name FROM study.programs_history") == [
        ("Activity (30)",)
    ]
    assert here.rows("SELECT dataset_name FROM study.program_datasets_history") == [
        ("ActivityDaily8",)
    ]


def test_tokens_are_for_the_scope_that_they_are_asked_for(here: Site) -> None:
    settings = CentrePointSettings.from_environment(here.sandbox.environment)
    TokenSource(settings, Transport(None), "CentrePoint").current()
    assert list(here.sandbox._service._tokens._scopes.values()) == [{"CentrePoint"}]
