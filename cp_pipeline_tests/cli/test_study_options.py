"""Subjects by identifier, who waits for what, and the study around a sync, as commands."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from cp_pipeline.charts import label_in_markdown
from cp_pipeline.cli.waiting import request_text
from cp_pipeline.sandbox import SandboxStudy
from cp_pipeline.settings import StorageSettings
from cp_pipeline.warehouse import SubjectProcessing
from cp_pipeline_tests.conftest import one, rows
from cp_pipeline_tests.faults import FaultySandbox
from cp_pipeline_tests.warehouse_contents import run


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultySandbox]:
    study = SandboxStudy.synthetic(subjects=3, days=1, epoch_rows=5, datasets=("ActivityDaily8",))
    with FaultySandbox(study) as sandbox:
        for name, value in sandbox.environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("CP_STUDY_DETAILS", "1")
        yield sandbox


def test_subjects_go_by_identifier_and_erase_reaches_all_of_study(here: FaultySandbox) -> None:
    assert run("sync").returncode == 0
    here.study.people.change(10822, identifier="0001")
    here.study.people.change(10823, identifier="0099")
    assert run("sync").returncode == 0
    shown = run("status", "--subject-identifier", "101-0001")
    assert "10821 (101-0001)" in shown.stdout
    assert "10822" not in shown.stdout
    ambiguous = run("status", "--subject-identifier", "0001")
    assert ambiguous.returncode == 2
    assert "10821 (101-0001" in ambiguous.stderr
    assert "10822 (102-0001" in ambiguous.stderr
    unknown = run("sync", "--subject-identifier", "7777")
    assert unknown.returncode == 2
    assert "No subject of the study has the identifier 7777" in unknown.stderr
    again = run("sync", "--refresh", "--reason", "asked for", "--subject-identifier", "0099")
    assert again.returncode == 0
    assert rows("SELECT command, reason FROM lineage.actions") == [
        ("sync --refresh --subject 10823", "asked for")
    ]
    erased = run("erase", "--subject-identifier", "102-0001", "--yes", "--reason", "consent")
    assert erased.returncode == 0, erased.stderr
    for table in ("subjects_history", "timezones_history", "visits_history", "executions_history"):
        subject = "id" if table == "subjects_history" else "subject_id"
        assert one(f"SELECT count(*) FROM study.{table} WHERE {subject} = 10822") == 0
        assert one(f"SELECT count(*) FROM study.{table}")
    assert one("SELECT count(*) FROM study.timezones_asked WHERE subject_id = 10822") == 0
    assert run("sync").returncode == 0
    assert one("SELECT count(*) FROM study.subjects WHERE id = 10822") == 0
    # Also the label in the pictures of Dagster's events, and what was said of the subject.
    home = StorageSettings.from_environment().dagster_home
    label = label_in_markdown("102-0001").encode()
    kept = label_in_markdown("101-0001").encode()
    files = [each.read_bytes() for each in home.rglob("*") if each.is_file()]
    assert not any(label in each for each in files)
    assert any(kept in each for each in files)


def test_without_the_scope_a_sync_goes_on_and_says_so_once(here: FaultySandbox) -> None:
    here.refuse_scope("CentrePoint")
    done = run("sync")
    assert done.returncode == 0, done.stderr
    assert (done.stdout + done.stderr).count("invalid_scope") == 1
    assert one("SELECT count(*) FROM lineage.loads") == 3
    unknown = run("status", "--subject-identifier", "0001")
    assert unknown.returncode == 2
    assert "CP_STUDY_DETAILS" in unknown.stderr


@pytest.mark.parametrize(
    ("refuse", "variables", "code", "words"),
    [
        ("", {}, 0, ["✓ details of study 4711: granted, CentrePoint (client in CP_CLIENT_ID)"]),
        ("", {"CP_STUDY_DETAILS": "0"}, 0, []),
        (
            "scope",
            {},
            2,
            ["✗ details of study 4711", "invalid_scope", "CP_CLIENT_ID", "CP_STUDY_DETAILS off"],
        ),
        (
            "",
            {"CP_DETAILS_CLIENT_ID": "another", "CP_DETAILS_CLIENT_SECRET": "no"},
            2,
            ["✗ details of study 4711", "CP_DETAILS_CLIENT_ID and CP_DETAILS_CLIENT_SECRET"],
        ),
        (
            "study",
            {},
            2,
            ["✗ details of study 4711", "no access to study 4711", "client in CP_CLIENT_ID"],
        ),
    ],
    ids=["granted", "off", "invalid_scope", "wrong client", "study not allowed"],
)
def test_doctor_checks_the_second_scope_and_says_what_to_do(
    here: FaultySandbox,
    monkeypatch: pytest.MonkeyPatch,
    refuse: str,
    variables: dict[str, str],
    code: int,
    words: list[str],
) -> None:
    if refuse == "scope":
        here.refuse_scope("CentrePoint")
    elif refuse == "study":
        here.fail("details", status=403, times=9)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    done = run("doctor")
    said = " ".join(done.stdout.split())
    assert done.returncode == code, said
    assert "✓ study 4711" in said
    assert not [word for word in words if word not in said], said
    # Off, nothing of it is asked for.
    assert ("details" in said) is bool(words)
    asked = [each for each in here.requests if each.kind == "details"]
    assert len(asked) == (1 if words and (code == 0 or refuse == "study") else 0)


def test_a_request_names_study_programs_and_subjects_and_nobody_by_identifier() -> None:
    def row(subject_id: int, program: str, name: str | None) -> SubjectProcessing:
        state = "uploaded_never_processed"
        return SubjectProcessing(
            4711, subject_id, "0042", "101", program, name, "x", None, state, []
        )

    text = "\n".join(
        request_text([row(2, "p", "Leap (12)"), row(1, "p", "Leap (12)"), row(1, "q", None)])
    )
    assert "study 4711" in text
    assert "Study program Leap (12) (p)\n  Subjects: 1, 2" in text
    assert "Study program q\n  Subjects: 1" in text
    assert "0042" not in text
