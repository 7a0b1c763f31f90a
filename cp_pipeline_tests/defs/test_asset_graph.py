"""The asset graph that people see is the one in ``asset_graph.json``.

If you change the graph, run ``python -m cp_pipeline_tests.defs.test_asset_graph``. It writes the
file again. Review the difference.
"""

import json
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.remote_representation.external_data import RepositorySnap

from cp_pipeline.defs.dbt_project import model_definitions
from cp_pipeline.defs.definitions import build_defs

PINNED = Path(__file__).with_name("asset_graph.json")


def asset(spec: dg.AssetSpec) -> dict[str, Any]:
    """Return what the UI shows of an asset, without the path of its code on this machine."""
    partitions = spec.partitions_def
    return {
        "upstream": sorted(dep.asset_key.to_user_string() for dep in spec.deps),
        "group": spec.group_name,
        "kinds": sorted(spec.kinds),
        "owners": list(spec.owners),
        "tags": {k: v for k, v in spec.tags.items() if not k.startswith("dagster/kind/")},
        "metadata": sorted(spec.metadata),
        "code_version": spec.code_version,
        "dimensions": sorted(partitions.partition_dimension_names)
        if isinstance(partitions, dg.MultiPartitionsDefinition)
        else [],
        "description": spec.description,
    }


def graph() -> dict[str, Any]:
    """Return the assets, checks, jobs and sensors of the code location."""
    definitions = build_defs(models=model_definitions())
    repository = definitions.get_repository_def()
    checks = [
        spec for node in repository.asset_checks_defs_by_key.values() for spec in node.check_specs
    ]
    return {
        "assets": {
            spec.key.to_user_string(): asset(spec)
            for spec in sorted(definitions.resolve_all_asset_specs(), key=lambda spec: spec.key)
        },
        "checks": {
            f"{spec.asset_key.to_user_string()}: {spec.name}": spec.description
            for spec in sorted(checks, key=lambda spec: spec.name)
        },
        "jobs": {
            name: repository.get_job(name).description
            for name in sorted(repository.job_names)
            if not name.startswith("__")
        },
        "sensors": {
            sensor.name: {"description": sensor.description, "running": sensor.default_status.value}
            for sensor in sorted(repository.sensor_defs, key=lambda sensor: sensor.name)
        },
    }


def test_the_asset_graph_is_the_pinned_one() -> None:
    assert graph() == json.loads(PINNED.read_text())


def test_everything_is_described() -> None:
    shown = graph()
    for name, fields in shown["assets"].items():
        assert "one " in fields["description"].lower(), f"{name} does not say what one row is"
        for field in ("group", "kinds", "owners", "metadata"):
            assert fields[field], f"{name} has no {field}"
    for kind in ("checks", "jobs"):
        assert all(shown[kind].values()), f"one of the {kind} has no description"


def test_materializable_assets_and_jobs_link_to_their_code() -> None:
    for spec in build_defs().resolve_all_asset_specs():
        if spec.key != dg.AssetKey("listed_executions"):
            assert "dagster/code_references" in spec.metadata


def test_the_page_of_each_asset_shows_a_sensor() -> None:
    definitions = build_defs(models=model_definitions())
    snapshot = RepositorySnap.from_def(definitions.get_repository_def())
    # Dagster's UI says "No automations found" where no sensor has a job of the asset.
    jobs = {job for sensor in snapshot.sensors for job in sensor.target_dict}
    assert {
        node.asset_key.to_user_string()
        for node in snapshot.asset_nodes
        if not jobs & set(node.job_names)
    } == {"listed_executions"}


def test_the_resource_shows_the_names_of_its_variables_and_no_value(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CP_CLIENT_SECRET", "a secret value")
    (source,) = [
        each
        for each in RepositorySnap.from_def(build_defs().get_repository_def()).resources or []
        if each.name == "source"
    ]
    described = str(source.resource_snapshot.description)
    assert {"`CP_CLIENT_SECRET`", "`CP_STUDY_ID`", "`CP_DATA_DIR`"} <= set(
        described.replace(",", " ").replace(". ", " ").split()
    )
    assert "a secret value" not in described


if __name__ == "__main__":
    PINNED.write_text(json.dumps(graph(), indent=2, ensure_ascii=False) + "\n")
