"""Data folders and files with unusual names: every command works, or rejects the name at once."""

from pathlib import Path

import duckdb
import pytest

from cp_pipeline.ingest import PartitionLoaded
from cp_pipeline.sandbox import Sandbox, SandboxStudy
from cp_pipeline.settings import SettingsError, StorageSettings
from cp_pipeline_tests import forked
from cp_pipeline_tests.small_project import small_project
from cp_pipeline_tests.study_site import Site
from cp_pipeline_tests.warehouses import publish

WORKING = (
    "a*b", "[ab]", "a[!b]c", "50%", "a  b", "it's", 'a"b', "-a", "--help", "a::b", "s3:", "{% x",
    "a{b,c}", "${HOME}", "~", "..a", "line\nend\ttab", "Ärzte 💤", "memory", ":memory:", "md:x",
    "ducklake:x",
)  # fmt: skip
# Rejected names: the variables that reject them, and a part of the message.
REFUSED = {
    "a?b": (("CP_WAREHOUSE", "CP_PUBLISHED", "DAGSTER_HOME"), "'?'"),
    "?": (("CP_WAREHOUSE", "CP_PUBLISHED", "DAGSTER_HOME"), "'?'"),
    "a\\b": (("CP_WAREHOUSE", "CP_PUBLISHED"), "backslash"),
    "a#b": (("CP_WAREHOUSE",), "'#'"),
    "50%20": (("DAGSTER_HOME",), "'%'"),
    "%C3": (("DAGSTER_HOME",), "'%'"),
    "a\udcffb": (("CP_DATA_DIR",), "UTF-8"),
}
ALL_AT_ONCE = "-a*b[ab] {{ 7*7 }}'\"=;:~${HOME}%&,|ü💤"
COMMANDS = (
    ("sync",), ("publish",), ("query", "FROM marts.loads"), ("status",),
    ("compact", "--older-than", "0", "--yes"), ("erase", "--subject", "10821", "--yes"),
    ("rebuild",), ("query", "--warehouse", "FROM lineage.loads"),
)  # fmt: skip


# Each is the name of a folder in the one before it: a sync in 22 folders takes many seconds.
@pytest.mark.parametrize("names", [WORKING[nth::5] for nth in range(5)], ids=" in ".join)
def test_folders_of_those_names_are_used_as_they_are(
    site: Site, tmp_path: Path, names: tuple[str, ...]
) -> None:
    folder = tmp_path.joinpath("of", *names)
    site.storage = StorageSettings.from_environment({"CP_DATA_DIR": str(folder)})
    # One export is read from its own file, the other is joined with more exports.
    site.put(
        "N,V\n" + "".join(f"{number},{'x' * 990}\n" for number in range(5_000)), dataset="Large"
    )
    site.put("N\n1\n", dataset="Small")
    assert {type(result) for result in site.sync()} == {PartitionLoaded}
    assert site.rows("SELECT sum(N)::BIGINT FROM exports.Large") == [(12_497_500,)]
    publish(site.storage)
    with duckdb.connect(str(site.storage.published), read_only=True) as published:
        assert published.sql("FROM exports.Small").fetchall()[0][0] == 1
    for nth, name in enumerate(names):
        around = tmp_path.joinpath("of", *names[:nth])
        assert [each.name for each in around.iterdir()] == [name]


def test_every_command_works_where_names_are_as_bad_as_they_may_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "of" / ALL_AT_ONCE
    monkeypatch.setenv("CP_DATA_DIR", str(folder))
    file_name = ALL_AT_ONCE.translate(dict.fromkeys(map(ord, ";\"'")))
    monkeypatch.setenv("CP_WAREHOUSE", str(folder / ALL_AT_ONCE / f"{file_name}.duckdb"))
    monkeypatch.setenv("CP_PUBLISHED", str(folder / "#;" / f"{ALL_AT_ONCE}#.duckdb"))
    monkeypatch.setenv("DAGSTER_HOME", str(folder / f"home # {ALL_AT_ONCE}"))
    project = small_project(tmp_path / "models")
    monkeypatch.setenv("CP_DBT_PROJECT", str(project))
    study = SandboxStudy.synthetic(study_id=4711, subjects=2, days=1, seed=1, epoch_rows=10)
    with Sandbox(study) as service:
        for name, value in service.environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.chdir(tmp_path)
        for command in COMMANDS:
            done = forked.command(*command, seconds=120)
            assert done.returncode == 0, (command, done.stdout, done.stderr)
    assert [each.name for each in (tmp_path / "of").iterdir()] == [ALL_AT_ONCE]


def refusal(variable: str, path: Path) -> str:
    with pytest.raises(SettingsError) as refused:
        StorageSettings.from_environment({variable: str(path)})
    return str(refused.value)


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_opened_is_refused_with_the_variable(tmp_path: Path, name: str) -> None:
    variables, words = REFUSED[name]
    for variable in variables:
        said = refusal(variable, tmp_path / name / "file")
        assert f"{variable} leads to" in said
        assert words in said
        assert "CP_DATA_DIR leads to" in refusal("CP_DATA_DIR", tmp_path / name)
    for variable in {"CP_WAREHOUSE", "CP_PUBLISHED", "DAGSTER_HOME"} - {*variables}:
        if "CP_DATA_DIR" not in variables:
            StorageSettings.from_environment({variable: str(tmp_path / name / "file")})


def test_a_link_to_such_a_folder_is_refused_too(tmp_path: Path) -> None:
    (tmp_path / "a?b").mkdir()
    (tmp_path / "link").symlink_to("a?b")
    assert "a?b" in refusal("CP_WAREHOUSE", tmp_path / "link" / "w.duckdb")


@pytest.mark.parametrize("name", ["exports.duckdb", "Main", ".lineage.db", "system.a.b", "temp."])
def test_a_warehouse_is_not_named_as_a_schema(tmp_path: Path, name: str) -> None:
    assert "the name of a schema" in refusal("CP_WAREHOUSE", tmp_path / name)
    for other in (f"my_{name}", f"a.{name}"):
        StorageSettings.from_environment({"CP_WAREHOUSE": str(tmp_path / other)})


@pytest.mark.parametrize("name", ["a;b", 'a"b', "it's"])
def test_a_warehouse_is_not_named_as_dbt_would_cut_it_though_its_folder_may_be(
    tmp_path: Path, name: str
) -> None:
    assert "in the file's name" in refusal("CP_WAREHOUSE", tmp_path / f"{name}.duckdb")
    StorageSettings.from_environment({"CP_WAREHOUSE": str(tmp_path / name / "w.duckdb")})


@pytest.mark.parametrize("name", REFUSED)
def test_a_command_says_so_before_anything_is_done(
    sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("CP_DATA_DIR", str(tmp_path / name))
    monkeypatch.chdir(tmp_path)
    done = forked.command("sync")
    assert done.returncode == 2, done.stdout + done.stderr
    assert "CP_DATA_DIR" in done.stderr
    assert "Traceback" not in done.stderr
    assert sandbox.requests == []
    assert list(tmp_path.iterdir()) == []
