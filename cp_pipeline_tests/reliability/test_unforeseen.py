"""An unexpected error fails only its partition, by name, and is never taken for the end of a run.

The faults are put into the code that loads: it fails for a file with the word ``Boom``. All other
code is unchanged.
"""

import os
from pathlib import Path

import pytest

from cp_pipeline.defs.definitions import build_defs
from cp_pipeline.defs.resources import PipelineResource
from cp_pipeline.defs.sensor_memory import Memory
from cp_pipeline.defs.sensors import tick
from cp_pipeline.ingest import (
    Account,
    PartitionFailed,
    PartitionLoaded,
    Pipeline,
    Unaccounted,
    rebuild,
)
from cp_pipeline.ingest.batches import Batch
from cp_pipeline.settings import StorageSettings
from cp_pipeline.warehouse import NotEnoughMemory, profile
from cp_pipeline_tests import forked
from cp_pipeline_tests.conftest import one, open_pipeline, rows, sync_all
from cp_pipeline_tests.dagster_homes import instance_in
from cp_pipeline_tests.study_site import Site

_PLACES = {
    "profile": ("cp_pipeline.warehouse.loader", "profiles", "args[2][0].name == 'Boom'"),
    "commit": ("cp_pipeline.warehouse.load_transaction", "grow", "args[2][0].name == 'Boom'"),
    "typing": ("cp_pipeline.warehouse.batch_staging", "stage", "'Boom' in str(args[2])"),
    "validation": ("cp_pipeline.ingest.fetching", "read_csv_text", "b'Boom' in args[0]"),
}
_FAULT = """
from importlib import import_module
module = import_module({module!r})
called = getattr(module, {name!r})
def broken(*args, **options):
    if {condition}:
        raise {error}
    return called(*args, **options)
setattr(module, {name!r}, broken)
"""


def broken(place: str, error: str = "KeyError('ended')") -> str:
    """Python code that breaks a place in the code of its process."""
    module, name, condition = _PLACES[place]
    return _FAULT.format(module=module, name=name, condition=condition, error=error)


def a_study(here: Site, subjects: int = 3) -> None:
    """Two data sets, and a third one with the fault."""
    for subject in range(1, subjects + 1):
        here.put(f"N\n{subject}\n", subject_id=subject, dataset="Sound")
        here.put(f"M,T\n{subject},a\n", subject_id=subject, dataset="Other")
    here.sandbox.study.put(subject_id=2, data_set_name="Faulty", csv=b"Boom\nBoom\n", raw=None)


@pytest.mark.both_engines
@pytest.mark.parametrize("place", _PLACES)
def test_a_fault_that_nobody_foresaw_fails_its_partition_by_name_and_nothing_else(
    here: Site, place: str
) -> None:
    a_study(here)
    if place == "validation":
        # This fault searches the bytes as downloaded, so the file must not be compressed.
        here.sandbox.study.put(subject_id=2, data_set_name="Faulty", raw=b"Boom\nBoom\n")
    done = forked.command("sync", before=broken(place))
    assert done.returncode == 1, done.stderr
    assert "6 partitions loaded" in done.stdout
    assert "subject 2, data set Faulty" in done.stderr
    assert "Unexpected error: KeyError: 'ended'" in done.stderr
    assert rows("SELECT subject_id, dataset_name, error FROM lineage.failures") == [
        (2, "Faulty", "Unexpected error: KeyError: 'ended'")
    ]
    # The file itself is not known to be invalid, so it is not moved to the quarantine.
    assert not list(here.storage.data_dir.glob("quarantine/**/*.export"))


def test_it_does_so_where_loads_have_a_process_of_their_own(
    here: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    a_study(here, subjects=Pipeline.subprocess_from)
    # Python imports this module in each process that starts from nothing.
    (tmp_path / "sitecustomize.py").write_text(broken("profile"))
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    done = forked.command("sync")
    assert done.returncode == 1, done.stderr
    assert f"{2 * Pipeline.subprocess_from} partitions loaded" in done.stdout
    assert one("SELECT count(*) FROM lineage.failures") == 1


@pytest.mark.both_engines
def test_of_a_partition_of_two_programs_the_export_at_fault_is_named(
    here: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    for program in ("11111111-0000-0000-0000-000000000000", "99999999-0000-0000-0000-000000000000"):
        here.sandbox.study.put(
            subject_id=1,
            data_set_name="Two",
            csv=b"Boom\n1\n" if program.startswith("9") else b"N\n1\n",
            study_program_id=program,
            file_name=f"{program[:4]}.csv.gz",
        )
    profiled = profile.profiles

    def broken(connection: object, table: str, columns: object) -> object:
        if "Boom" in str(columns):
            raise ZeroDivisionError
        return profiled(connection, table, columns)  # type: ignore[arg-type]

    monkeypatch.setattr("cp_pipeline.warehouse.loader.profiles", broken)
    (failed,) = sync_all()
    assert isinstance(failed, PartitionFailed)
    assert failed.export_file.file_name == "9999.csv.gz"
    assert "ZeroDivisionError" in failed.error
    # A partition is loaded completely or not at all.
    assert one("SELECT count(*) FROM lineage.loads") == 0


def test_in_dagsters_daemon_it_is_one_failed_run_and_then_rests(
    here: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    a_study(here)

    def broken(*_: object) -> object:
        raise KeyError("ended")

    profiled = profile.profiles
    monkeypatch.setattr(
        "cp_pipeline.warehouse.loader.profiles",
        lambda *args: broken() if "Boom" in str(args[2]) else profiled(*args),
    )
    with instance_in() as instance:
        memory = Memory()
        asked = tick(instance, PipelineResource(), memory, 60)
        (request,) = asked.run_requests or ()
        job = build_defs(PipelineResource()).resolve_job_def("load_partitions")
        done = job.execute_in_process(
            instance=instance, run_config=request.run_config, raise_on_error=False
        )
        assert not done.success
        assert not [event for event in done.all_events if event.is_step_up_for_retry]
        assert one("SELECT count(*) FROM lineage.current_loads") == 6
        again = tick(instance, PipelineResource(), Memory(), 60)
        assert not again.run_requests
        assert "1 partition failed and waiting" in str(again.skip_reason)


def test_a_run_that_breaks_outside_of_any_partition_says_so_and_is_not_tried_again(
    here: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    a_study(here)

    def broken(*_: object, **__: object) -> None:
        raise KeyError("no such thing")

    monkeypatch.setattr("cp_pipeline.defs.load_outcome.observations", broken)
    monkeypatch.setattr("cp_pipeline.defs.load_steps.materialization", broken)
    with instance_in() as instance:
        done = (
            build_defs(PipelineResource())
            .resolve_job_def("sync")
            .execute_in_process(instance=instance, raise_on_error=False)
        )
    (failure,) = [event.step_failure_data for event in done.all_events if event.is_step_failure]
    assert failure.user_failure_data is not None
    assert "KeyError: 'no such thing'" in str(failure.user_failure_data.description)
    assert not [event for event in done.all_events if event.is_step_up_for_retry]


def test_a_command_that_breaks_says_so_in_words_with_exit_code_2(here: Site) -> None:
    fault = _FAULT.format(
        module="cp_pipeline.ingest.survey",
        name="make_plan",
        condition="True",
        error="KeyError('https://x/y?sig=TopSecret')",
    )
    done = forked.command("sync", before=fault)
    assert done.returncode == 2
    assert "Unexpected error: KeyError" in done.stderr
    assert "Report it" in done.stderr
    assert "TopSecret" not in done.stdout + done.stderr


@pytest.mark.parametrize("apart", [False, True])
def test_results_can_be_had_once(here: Site, monkeypatch: pytest.MonkeyPatch, apart: bool) -> None:
    monkeypatch.setattr(Pipeline, "subprocess_from", 0 if apart else 1000)
    a_study(here)
    exports = open_pipeline()
    listed = exports.survey()
    with exports.execute(listed) as results:
        assert len(list(results)) == 7
        with pytest.raises(RuntimeError, match="once"):
            list(results)


def test_a_partition_that_gets_lost_on_the_way_is_missed(
    here: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    a_study(here)
    add = Batch.add
    monkeypatch.setattr(
        Batch,
        "add",
        lambda self, partition, fetched: (
            None if partition.dataset_name == "Other" else add(self, partition, fetched)
        ),
    )
    with pytest.raises(Unaccounted, match=r"7 partitions planned, but only 4 loaded and 0 failed"):
        sync_all()
    # The command reports the same error, with exit code 2.
    fault = (
        "from cp_pipeline.ingest.batches import Batch\n"
        "add = Batch.add\n"
        "Batch.add = lambda self, p, f: None if p.subject_id == 1 else add(self, p, f)\n"
    )
    done = forked.command("sync", "--refresh", before=fault)
    assert done.returncode == 2, done.stdout
    assert "2 partitions without a result (subject 1, data set Other; " in done.stderr


def test_an_account_counts_each_planned_partition_once(here: Site) -> None:
    a_study(here)
    exports = open_pipeline()
    listed = exports.survey()
    account = Account(listed.plan)
    with exports.execute(listed) as running:
        results = list(running)
    for result in results:
        account.saw(result)
    account.close()
    assert (account.planned, account.loaded, account.failed) == (7, 7, 0)
    with pytest.raises(Unaccounted, match="two results"):
        account.saw(results[0])


def test_a_fault_does_not_keep_others_out_of_a_rebuilt_warehouse(
    here: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    a_study(here)
    assert all(isinstance(result, PartitionLoaded) for result in sync_all())
    profiled = profile.profiles

    def broken(connection: object, table: str, columns: object) -> object:
        if "Boom" in str(columns):
            raise KeyError("ended")
        return profiled(connection, table, columns)  # type: ignore[arg-type]

    monkeypatch.setattr("cp_pipeline.warehouse.loader.profiles", broken)
    done = rebuild(StorageSettings.from_environment())
    assert done.loads == 6
    (left_out,) = done.left_out
    assert "KeyError" in left_out.reason


def test_too_little_memory_is_said_as_such_with_what_to_set(here: Site) -> None:
    a_study(here)
    out_of_memory = "__import__('duckdb').OutOfMemoryException('failed to allocate 16 MiB')"
    done = forked.command("sync", before=broken("profile", out_of_memory))
    assert done.returncode == 1
    assert "6 partitions loaded" in done.stdout
    for words in ("not enough memory", "failed to allocate", "CP_DOWNLOAD_THREADS"):
        assert words in done.stderr
    here.sandbox.study.put(subject_id=2, data_set_name="Faulty", raw=b"Boom\nBoom\n")
    done = forked.command("sync", before=broken("validation", "MemoryError()"))
    assert done.returncode == 1
    assert "not enough memory" in done.stderr


def test_a_warehouse_that_cannot_be_opened_for_want_of_memory_says_so(here: Site) -> None:
    a_study(here)
    sync_all()
    exports = open_pipeline()
    exports.warehouse.connection.execute("SET memory_limit = '1KB'")
    with pytest.raises(NotEnoughMemory, match="CP_DOWNLOAD_THREADS"):
        sync_all(exports, refresh=True)
