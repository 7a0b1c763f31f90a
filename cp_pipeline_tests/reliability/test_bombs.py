"""Small files that decompress to very large ones: rejected at a limit, with bounded resources."""

import gzip
import io
import tracemalloc
import zipfile
from pathlib import Path

import pytest

from cp_pipeline.ingest import PartitionFailed, PartitionLoaded
from cp_pipeline.landing import ExportRefused, read_csv_text
from cp_pipeline.settings import SettingsError, StorageSettings
from cp_pipeline_tests.conftest import files_fetched, sync_all
from cp_pipeline_tests.study_site import Site

CSV = b"N\n" + b"1\n" * 40_000_000
LARGEST = 20_000_000


@pytest.fixture(scope="module")
def bomb() -> bytes:
    """80 MB of CSV in less than 80 kB."""
    packed = gzip.compress(CSV, 9)
    assert len(CSV) > 1000 * len(packed)
    return packed


def zipped(content: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        archive.writestr("a.csv", content)
    return buffer.getvalue()


@pytest.mark.parametrize("packing", ["gzip", "gzip in gzip", "zip", "gzip of a long zip"])
def test_it_is_refused_in_bounded_memory_and_leaves_nothing(
    bomb: bytes, tmp_path: Path, packing: str
) -> None:
    file, scratch = tmp_path / "bomb", tmp_path / "aside"
    scratch.mkdir()
    stored = io.BytesIO()
    with zipfile.ZipFile(stored, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("a.csv", CSV)
    packed = {
        "gzip": lambda: bomb,
        "gzip in gzip": lambda: gzip.compress(bomb),
        "zip": lambda: zipped(CSV),
        "gzip of a long zip": lambda: gzip.compress(stored.getvalue()),
    }[packing]()
    file.write_bytes(packed)
    tracemalloc.start()
    with pytest.raises(ExportRefused, match=r"more than 0\.02 GB\. .*CP_LARGEST_CSV_GIGABYTES"):
        read_csv_text(file, scratch, largest_bytes=LARGEST)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 45 << 20
    assert list(scratch.iterdir()) == []


def test_a_sync_refuses_it_keeps_it_as_it_came_and_loads_the_rest(
    here: Site, bomb: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CP_LARGEST_CSV_GIGABYTES", "0.02")
    here.put("N\n1\n", dataset="Good")
    here.sandbox.study.put(subject_id=1, data_set_name="Bomb", raw=bomb)
    results = {each.partition.dataset_name: each for each in sync_all()}
    refused = results["Bomb"]
    assert isinstance(refused, PartitionFailed)
    assert "CP_LARGEST_CSV_GIGABYTES" in refused.error
    assert isinstance(results["Good"], PartitionLoaded)
    # A file that is too large is not downloaded again, unlike a damaged file.
    assert files_fetched(here.sandbox) == 2
    (kept,) = here.storage.data_dir.glob("quarantine/*/*/*/*.export")
    assert kept.read_bytes() == bomb


def test_what_is_allowed_is_loaded(here: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    here.sandbox.study.put(subject_id=1, data_set_name="Large", csv=b"N\n" + b"1\n" * 4_000_000)
    monkeypatch.setenv("CP_LARGEST_CSV_GIGABYTES", "0.0081")
    assert isinstance(sync_all()[0], PartitionLoaded)
    assert here.rows("SELECT count(*) FROM exports.Large") == [(4_000_000,)]


@pytest.mark.parametrize("value", ["0", "-1", "many", "1e9", "nan"])
def test_a_ceiling_must_be_a_number_above_0(value: str) -> None:
    with pytest.raises(SettingsError, match="CP_LARGEST_CSV_GIGABYTES"):
        StorageSettings.from_environment({"CP_LARGEST_CSV_GIGABYTES": value})
