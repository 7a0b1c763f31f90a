"""An invalid item of the listing, without what a load needs: only it fails, and it is named."""

import json
import urllib.request
from typing import Any, NamedTuple

import dagster as dg
import pytest

from cp_pipeline.cli.sync import run_sync
from cp_pipeline.defs.definitions import build_defs
from cp_pipeline.defs.resources import PipelineResource
from cp_pipeline.defs.sensor_memory import Memory
from cp_pipeline.defs.sensors import tick
from cp_pipeline.domain.errors import PipelineError
from cp_pipeline.domain.exports import InvalidItem
from cp_pipeline.ingest import PartitionLoaded, PartitionResult, Request
from cp_pipeline.sandbox import SandboxStudy
from cp_pipeline.warehouse import Question, ask
from cp_pipeline_tests.conftest import one, open_pipeline, rows, sync_all
from cp_pipeline_tests.faults import FaultySandbox
from cp_pipeline_tests.study_site import Site
from cp_pipeline_tests.warehouse_contents import run
from cp_pipeline_tests.warehouses import changing

EXECUTION = "lastSuccessfulProgramExecutionTimeStamp"
BROKEN: list[dict[str, Any]] = [
    {"dataSetName": ""},
    {"dataSetName": None},
    {"dataSetName": 8},
    {"subjectId": ""},
    {"subjectId": None},
    {"studyProgramId": ""},
    {"fileName": ""},
    {"fileUrl": ""},
    {"fileUrl": None},
    {"fileUrl": ["https://x/y?sv=1&sig=TopSecret"]},
    {EXECUTION: ""},
    {EXECUTION: "2024-02-30T10:09:20+00:00"},
    {"modifiedDate": "yesterday"},
    # This time in nanoseconds does not fit into 64 bits.
    {"modifiedDate": "9999-12-31T23:59:59.9999999+00:00"},
    {EXECUTION: "9999-12-31T23:59:59.9999999+00:00"},
    {"subjectId": 2**63},
    {"dataSetName": "Ki\ud800nds"},
]


def listing(sandbox: FaultySandbox) -> list[dict[str, Any]]:
    """The items that the sandbox lists."""
    environment = sandbox.environment
    form = (
        f"client_id={environment['CP_CLIENT_ID']}&client_secret={environment['CP_CLIENT_SECRET']}"
        "&grant_type=client_credentials&scope=DataAccess"
    )
    with urllib.request.urlopen(environment["CP_TOKEN_URL"], form.encode()) as answer:
        token = json.load(answer)["access_token"]
    address = f"{environment['CP_API_URL']}/studies/4711/datasetexportfiles"
    asking = urllib.request.Request(address, headers={"Authorization": f"Bearer {token}"})
    with urllib.request.urlopen(asking) as answer:
        items: list[dict[str, Any]] = json.load(answer)["items"]
        return items


def list_broken(sandbox: FaultySandbox, changes: dict[int, dict[str, Any]], times: int = 1) -> None:
    """Make subjects' items invalid in the next listings; other items stay unchanged.

    Args:
        changes: subject: what is different in its items.
    """
    items = [item | changes.get(item["subjectId"], {}) for item in listing(sandbox)]
    page = {"items": items, "totalCount": len(items), "links": {}, "limit": 100, "offset": 0}
    sandbox.fail("listing", status=200, body=json.dumps(page), times=times)
    sandbox.forget_requests()


class Recorded(NamedTuple):
    """What two syncs left behind; all broken items were in the listing of the first one alone."""

    loaded: set[int]
    unusable: list[tuple[object, ...]]
    failures: list[tuple[object, ...]]
    listings: int
    loaded_next: set[int]
    unusable_next: list[tuple[object, ...]]


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    """Each broken item has a subject and a data set of its own; two sound ones stand beside."""
    unusable = "SELECT study_id, subject_id, dataset_name, reason FROM lineage.unusable_items"
    failures = "SELECT stage, subject_id, dataset_name, error FROM lineage.failures"
    with FaultySandbox(SandboxStudy.empty()) as sandbox:
        site = Site(sandbox, tmp_path_factory.mktemp("broken") / "data")
        for subject in range(len(BROKEN) + 2):
            site.put("N\n1\n", subject_id=subject, dataset=f"Own {subject}")
        list_broken(sandbox, dict(enumerate(BROKEN)))
        loaded = subjects_loaded(site.sync())
        written_down = site.rows(unusable), site.rows(failures)
        listings = [each.kind for each in sandbox.requests].count("listing")
        return Recorded(
            loaded, *written_down, listings, subjects_loaded(site.sync()), site.rows(unusable)
        )


def subjects_loaded(results: list[PartitionResult]) -> set[int]:
    assert {type(result) for result in results} == {PartitionLoaded}
    return {result.partition.subject_id for result in results}


@pytest.fixture
def three(here: Site) -> Site:
    """Three subjects with one file each."""
    for subject in (1, 2, 3):
        here.put(f"N\n{subject}\n", subject_id=subject)
    return here


@pytest.mark.parametrize(("number", "change"), list(enumerate(BROKEN)), ids=map(str, BROKEN))
def test_a_broken_item_is_named_and_written_down(
    recorded: Recorded, number: int, change: dict[str, Any]
) -> None:
    subject = None if "subjectId" in change else number
    dataset = None if "dataSetName" in change else f"Own {number}"
    (reason,) = (why for *where, why in recorded.unusable if where == [4711, subject, dataset])
    assert recorded.failures.count(("listing", subject, dataset, reason)) == 1
    ((value),) = change.values()
    assert "TopSecret" not in str(reason)
    if not isinstance(value, list):
        assert repr(value) in str(reason)


def test_everything_else_is_loaded_and_what_is_listed_as_it_should_be_next(
    recorded: Recorded,
) -> None:
    sound = {len(BROKEN), len(BROKEN) + 1}
    assert recorded.loaded == sound
    assert len(recorded.unusable) == len(recorded.failures) == len(BROKEN)
    # The invalid items were listed once; the next listing has valid ones.
    assert recorded.listings == 1
    assert recorded.loaded_next == set(range(len(BROKEN)))
    assert recorded.unusable_next == []


@pytest.mark.both_engines
def test_the_command_names_it_exits_with_1_and_status_has_it(three: Site) -> None:
    list_broken(three.sandbox, {2: {"dataSetName": ""}}, times=2)
    dry = run("sync", "--dry-run")
    assert dry.returncode == 0
    done = run("sync")
    assert done.returncode == 1
    assert "2 partitions loaded" in done.stdout
    for said in (dry.stderr, done.stderr, run("status").stdout):
        assert "1 listed item cannot be used" in said
        assert "Study 4711, subject 2, data set (none)" in said
        assert "'' is not a text" in said
        assert "Report this to ActiGraph support" in said
    assert "Traceback" not in done.stdout + done.stderr


def test_it_is_named_again_where_there_is_nothing_to_load_but_written_down_once(
    three: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    list_broken(three.sandbox, {2: {"fileUrl": None}}, times=3)
    sync_all()
    capsys.readouterr()
    for _ in range(2):
        assert run_sync() == 1
        assert "subject 2, data set Kinds" in capsys.readouterr().err
    assert one("SELECT count(*) FROM lineage.failures") == 1
    assert run_sync() == 0
    assert one("SELECT count(*) FROM lineage.unusable_items") == 0


def test_an_export_whose_item_broke_stays_loaded_and_is_not_called_withdrawn(three: Site) -> None:
    sync_all()
    list_broken(three.sandbox, {2: {"fileUrl": None}})
    assert sync_all() == []
    assert rows("SELECT DISTINCT state FROM lineage.partition_status") == [("current",)]
    assert one('SELECT count(*) FROM exports."Kinds"') == 3


def test_a_listing_of_nothing_but_broken_items_is_another_contract_and_changes_nothing(
    here: Site,
) -> None:
    here.put("N\n1\n", subject_id=2)
    sync_all()
    list_broken(here.sandbox, {2: {"dataSetName": ""}})
    with pytest.raises(PipelineError, match=r"1 item, and none of them can be used.*subject 2"):
        sync_all()
    assert rows("SELECT state FROM lineage.partition_status") == [("current",)]


@pytest.mark.parametrize(
    ("subjects", "datasets", "named"),
    [([1], None, False), ([2], None, True), (None, ["Kinds"], True), (None, ["Others"], False)],
)
def test_it_is_named_where_it_may_be_what_was_asked_for(
    three: Site, subjects: list[int] | None, datasets: list[str] | None, named: bool
) -> None:
    list_broken(three.sandbox, {2: {"fileUrl": None}})
    listed = open_pipeline().survey(Request.of(subjects, datasets))
    assert [item.subject_id for item in listed.invalid] == ([2] if named else [])


def test_a_listing_narrowed_to_what_is_not_there_is_empty_though_another_item_is_broken(
    three: Site,
) -> None:
    list_broken(three.sandbox, {2: {"fileUrl": None}})
    # With so many subjects, everything is listed, and other subjects are filtered out afterwards.
    listed = open_pipeline().survey(Request.of(range(100, 110)))
    assert (listed.items, listed.invalid) == ((), ())


def test_a_listing_narrowed_to_others_leaves_it_written_down(three: Site) -> None:
    list_broken(three.sandbox, {2: {"fileUrl": None}})
    sync_all()
    exports = open_pipeline()
    exports.survey(Request.of([1]))
    assert one("SELECT subject_id FROM lineage.unusable_items") == 2


def test_dagster_loads_the_rest_and_its_check_and_sensor_name_it(three: Site) -> None:
    list_broken(three.sandbox, {2: {"dataSetName": ""}}, times=4)
    with dg.DagsterInstance.ephemeral() as instance:
        done = build_defs().resolve_job_def("sync").execute_in_process(instance=instance)
        assert done.success
        evaluations = {each.check_name: each for each in done.get_asset_check_evaluations()}
        check = evaluations[Question.LISTED_ITEMS_CAN_BE_USED.value]
        assert (check.passed, check.metadata["at_fault"].value) == (False, 1)
        assert check.metadata["examined"].value == 3
        listing_alone = dg.materialize(
            [build_defs().get_assets_def("export_files")],
            instance=instance,
            resources={"source": PipelineResource()},
        )
        assert listing_alone.success
        ticked = tick(instance, PipelineResource(), Memory(), 60)
    assert not ticked.run_requests
    assert "1 listed item cannot be used (Study 4711, subject 2" in str(ticked.skip_reason)


def test_an_item_that_is_broken_as_it_is_listed_again_fails_its_partition_alone(
    three: Site,
) -> None:
    exports = open_pipeline()
    listed = exports.survey()
    three.sandbox.execute_again(subject_id=2)
    list_broken(three.sandbox, {2: {"fileUrl": None}})
    with exports.execute(listed) as results:
        by_subject = {result.partition.subject_id: result for result in results}
    assert [type(by_subject[subject]) for subject in (1, 3)] == [PartitionLoaded] * 2
    assert "listed again, but its item is invalid" in getattr(by_subject[2], "error", "")


def test_an_erased_subjects_broken_item_is_neither_named_nor_written_down(three: Site) -> None:
    sync_all()
    assert run("erase", "--subject", "2", "--yes").returncode == 0
    list_broken(three.sandbox, {2: {"fileUrl": None}})
    assert open_pipeline().survey().invalid == ()


def test_a_warehouse_of_an_earlier_version_learns_of_broken_items(three: Site) -> None:
    sync_all()
    with changing(three.storage) as earlier:
        earlier.execute("DROP TABLE lineage.unusable_items")
    assert run("status").returncode == 0
    assert ask(open_pipeline().questions, Question.LISTED_ITEMS_CAN_BE_USED).at_fault == 0
    list_broken(three.sandbox, {2: {"fileUrl": None}})
    sync_all()
    assert ask(open_pipeline().questions, Question.LISTED_ITEMS_CAN_BE_USED).at_fault == 1


def test_the_words_say_what_is_missing() -> None:
    item = InvalidItem(1, None, "program", "Steps", None, None, "it is no good")
    assert str(item) == (
        "Study 1, subject (none), data set Steps, study program program, file (none): it is no good"
    )
    assert item.key is None
