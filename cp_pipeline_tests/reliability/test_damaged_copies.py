"""Files damaged in transfer, with the correct length: a second download detects it."""

import gzip
import json
from pathlib import Path

import pytest

from cp_pipeline.ingest import PartitionFailed, PartitionLoaded
from cp_pipeline.landing import ExportRefused, PackingRefused, read_csv_text
from cp_pipeline.sandbox import Packing, SandboxStudy
from cp_pipeline_tests.conftest import files_fetched
from cp_pipeline_tests.faults import FaultySandbox, corrupted
from cp_pipeline_tests.malformed_files import good_csv
from cp_pipeline_tests.study_site import Site

PACKED = [Packing.GZIP, Packing.ZIP_CSV, Packing.ZIP_GZIP, Packing.CONTENT_ENCODING]


@pytest.mark.parametrize("packing", [*PACKED, Packing.PLAIN])
@pytest.mark.parametrize("rows", [5, 200_000], ids=["small", "large"])
def test_a_file_that_came_damaged_once_is_fetched_again_and_loaded(
    tmp_path: Path, packing: Packing, rows: int
) -> None:
    study = SandboxStudy.empty()
    study.put(subject_id=1, data_set_name="Kinds", csv=good_csv(rows))
    with FaultySandbox(study, packing=packing) as service:
        site = Site(service, tmp_path / "data")
        service.corrupt()
        (result,) = site.sync()
        assert isinstance(result, PartitionLoaded), result
        assert result.row_count == rows
        assert files_fetched(site.sandbox) == 2
    assert site.rows("SELECT count(*) FROM lineage.failures") == [(0,)]
    assert len(quarantined(site)) == 1


def quarantined(site: Site) -> list[tuple[dict[str, str], bytes]]:
    """The description and the bytes of each file in the quarantine."""
    return [
        (json.loads(path.read_text()), path.with_suffix(".export").read_bytes())
        for path in (site.storage.data_dir / "quarantine").rglob("*.json")
    ]


def test_a_file_that_is_damaged_where_it_is_stored_is_refused_after_two_copies(here: Site) -> None:
    stored = corrupted(gzip.compress(good_csv(), mtime=0))
    here.sandbox.study.put(subject_id=1, data_set_name="Kinds", raw=stored)
    here.put("N\n1\n", subject_id=2)
    results = {result.partition.subject_id: result for result in here.sync()}
    failed = results[1]
    assert isinstance(failed, PartitionFailed)
    assert "The gzip data is damaged" in failed.error
    assert isinstance(results[2], PartitionLoaded)
    assert files_fetched(here.sandbox) == 3
    ((said, kept),) = quarantined(here)
    assert (said["refused"], kept) == (failed.error, stored)


def test_an_error_page_that_came_once_in_a_files_place_is_not_taken_for_it(here: Site) -> None:
    here.put("N\n1\n")
    here.sandbox.fail("file", status=200, body="<html>Please log in to this network</html>")
    (result,) = here.sync()
    assert isinstance(result, PartitionLoaded)
    assert files_fetched(here.sandbox) == 2


def test_a_malformed_file_whose_checksum_holds_is_fetched_once(here: Site) -> None:
    here.put("A,B\n1,2\n1\n")
    (result,) = here.sync()
    assert isinstance(result, PartitionFailed)
    assert "shorter than the header" in result.error
    assert files_fetched(here.sandbox) == 1


@pytest.mark.parametrize("change", [0x01, 0x80, 0xFF])
def test_whatever_byte_of_a_gzip_is_changed_nothing_else_is_read_from_it(
    tmp_path: Path, change: int
) -> None:
    blob = gzip.compress(good_csv(5), mtime=1_709_201_360)
    path = tmp_path / "a.export"
    path.write_bytes(blob)
    good = read_csv_text(path, tmp_path)
    taken, refused_for_good = 0, []
    for place in range(len(blob)):
        path.write_bytes(blob[:place] + bytes([blob[place] ^ change]) + blob[place + 1 :])
        try:
            assert read_csv_text(path, tmp_path) == good
            taken += 1
        except ExportRefused as refusal:
            if not refusal.may_be_damaged:
                refused_for_good.append((place, str(refusal)))
    assert refused_for_good == []
    # Bytes of the header without effect: the time, the operating system, and unused flags.
    assert taken <= 8


def test_damage_is_told_by_the_checksum_and_not_by_what_it_makes_of_the_text(
    tmp_path: Path,
) -> None:
    path = tmp_path / "a.export"
    # Stored, not compressed. So the damage affects only one field, a thousand lines before the
    # checksum.
    text = good_csv(200_000)
    blob = bytearray(gzip.compress(text, 0, mtime=0))
    place = blob.index(b"2024-02-29 10:00:00")
    blob[place + 4] = ord(",")
    path.write_bytes(blob)
    with pytest.raises(PackingRefused, match="checksum"):
        read_csv_text(path, tmp_path)
