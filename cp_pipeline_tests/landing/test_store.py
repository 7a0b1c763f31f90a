"""The landing folder: our own names, checksums, and no incomplete files (docs/design.md)."""

import gzip
import hashlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from cp_pipeline.domain.exports import ExportFile, Instant
from cp_pipeline.landing import IncompleteFile, Landing, read_csv_text

ITEM = ExportFile(
    study_id=4711,
    subject_id=10821,
    study_program_id="5e65f4e3-6996-41fe-a5aa-c79210285f7e",
    dataset_name="ActivityDaily8",
    file_name="10821_5e65f4e3.csv.gz",
    file_format="csv",
    modified=Instant.parse("2024-02-29T10:10:00+00:00"),
    execution=Instant.parse("2024-02-29T10:09:20.5899754+00:00"),
    url="https://storage.invalid/x?sig=secret-signature",
)
BYTES = gzip.compress(b"A,B\n1,2\n", mtime=0)


class Interrupted(Exception):
    """An interrupted download."""


def half(data: bytes = BYTES) -> Iterator[bytes]:
    yield data[: len(data) // 2]
    raise Interrupted


@pytest.fixture
def landing(tmp_path: Path) -> Landing:
    return Landing(tmp_path / "landing")


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def test_the_bytes_are_kept_to_the_letter_with_their_checksum(landing: Landing) -> None:
    with landing.scratch_folder() as scratch:
        landed = landing.keep(ITEM, iter([BYTES[:5], BYTES[5:]]), scratch)
    assert (landing.root / landed.path).read_bytes() == BYTES
    assert landed.sha256 == hashlib.sha256(BYTES).hexdigest()
    assert landed.byte_count == len(BYTES)
    assert landed.execution == ITEM.execution.verbatim
    assert landed.key == ITEM.key
    assert landing.described(landed.path) == landed
    assert b"secret-signature" not in b"".join(path.read_bytes() for path in files(landing.root))


@pytest.mark.parametrize(
    "name",
    ["../../evil", "/etc/passwd", "a[1-9].csv", "*", "con", "x" * 500, "a/b\\c", "\u202e", ".", ""],
)
def test_no_name_of_the_servers_becomes_a_path(landing: Landing, name: str) -> None:
    item = replace(ITEM, file_name=name, dataset_name=name, study_program_id=name)
    with landing.scratch_folder() as scratch:
        landed = landing.keep(item, iter([BYTES]), scratch)
    path = landing.root / landed.path
    assert path.resolve().is_relative_to(landing.root.resolve())
    assert all(c.isascii() and (c.isalnum() or c in "-_./") for c in landed.path)
    assert ".." not in landed.path
    assert landed.file_name == name
    assert landing.find(item) == landed


def test_names_that_differ_only_in_their_signs_have_different_folders(landing: Landing) -> None:
    names = ["A B", "A-B", "a b", "A_B", "A  B"]
    with landing.scratch_folder() as scratch:
        paths = {
            landing.keep(replace(ITEM, dataset_name=name), iter([BYTES]), scratch).path
            for name in names
        }
    assert len({path.lower() for path in paths}) == len(names)


def test_a_landed_file_is_found_by_its_very_execution(landing: Landing) -> None:
    other = replace(ITEM, execution=Instant.parse("2024-02-29T10:09:20.5899755+00:00"))
    assert landing.find(ITEM) is None
    with landing.scratch_folder() as scratch:
        landed = landing.keep(ITEM, iter([BYTES]), scratch)
    assert landing.find(ITEM) == landed
    assert landing.find(other) is None


def test_a_file_is_found_only_while_its_checksum_holds(landing: Landing) -> None:
    with landing.scratch_folder() as scratch:
        landed = landing.keep(ITEM, iter([BYTES]), scratch)
    path = landing.root / landed.path
    path.write_bytes(BYTES[:-1] + b"x")
    assert landing.find(ITEM) is None
    path.write_bytes(BYTES)
    assert landing.find(ITEM) == landed
    path.with_suffix(".json").write_text("{")
    assert landing.find(ITEM) is None
    path.with_suffix(".json").unlink()
    assert landing.find(ITEM) is None


def test_of_two_contents_of_one_execution_the_newer_is_found(landing: Landing) -> None:
    with landing.scratch_folder() as scratch:
        first = landing.keep(ITEM, iter([BYTES]), scratch)
        second = landing.keep(ITEM, iter([BYTES + b"x"]), scratch)
    os.utime((landing.root / first.path), ns=(1, 1))
    assert landing.find(ITEM) == second
    os.utime((landing.root / second.path), ns=(0, 0))
    assert landing.find(ITEM) == first


def test_nothing_stays_of_an_interrupted_write(landing: Landing) -> None:
    with landing.scratch_folder() as scratch:
        with pytest.raises(Interrupted):
            landing.keep(ITEM, half(), scratch)
        assert [path.name for path in files(landing.root)] == [".lock"]
    assert files(landing.root) == []
    assert landing.find(ITEM) is None


def test_what_arrived_of_an_interrupted_file_can_be_kept_in_quarantine(landing: Landing) -> None:
    with landing.scratch_folder() as scratch:
        incomplete = IncompleteFile(scratch / "x.incomplete")
        for data in (b"first attempt", BYTES):
            with pytest.raises(Interrupted):
                landing.keep(ITEM, half(data), scratch, incomplete)
        refused = landing.quarantine_incomplete(incomplete, "too short", scratch)
    assert refused is not None
    target = landing.root.with_name("quarantine") / refused.path
    assert target.read_bytes() == BYTES[: len(BYTES) // 2]
    said = json.loads(target.with_suffix(".json").read_text())
    assert said["refused"] == "too short"
    assert said["byte_count"] == len(BYTES) // 2
    assert files(landing.root) == []


def test_where_nothing_arrived_nothing_is_quarantined(landing: Landing) -> None:
    with landing.scratch_folder() as scratch:
        incomplete = IncompleteFile(scratch / "x.incomplete")
        assert landing.quarantine_incomplete(incomplete, "no answer", scratch) is None
    assert not landing.root.with_name("quarantine").exists()


def test_a_refused_file_lies_beside_the_landing_with_the_reason(landing: Landing) -> None:
    with landing.scratch_folder() as scratch:
        landed = landing.keep(ITEM, iter([BYTES]), scratch)
        landing.quarantine(landed, "Line 3: wrong.", scratch)
    target = landing.root.with_name("quarantine") / landed.path
    assert target.read_bytes() == BYTES
    assert json.loads(target.with_suffix(".json").read_text())["refused"] == "Line 3: wrong."
    assert landing.find(ITEM) is None
    assert files(landing.root) == []


def test_a_scratch_folder_is_gone_at_its_end_even_after_an_error(landing: Landing) -> None:
    def fail_in(folders: list[Path]) -> None:
        with landing.scratch_folder() as scratch:
            folders.append(scratch)
            (scratch / "half.csv").write_text("1")
            raise Interrupted

    used: list[Path] = []
    with pytest.raises(Interrupted):
        fail_in(used)
    assert not used[0].exists()


def test_what_a_killed_process_left_is_removed_and_a_living_ones_is_not(landing: Landing) -> None:
    program = (
        "import pathlib, sys, time\n"
        "from cp_pipeline.landing import Landing\n"
        "with Landing(pathlib.Path(sys.argv[1])).scratch_folder() as aside:\n"
        "    (aside / 'half.part').write_text('1')\n"
        "    print(aside, flush=True)\n"
        "    time.sleep(60)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(landing.root)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        abandoned = Path(process.stdout.readline().strip())
        with landing.scratch_folder():
            assert (abandoned / "half.part").exists()
        process.send_signal(signal.SIGKILL)
    with landing.scratch_folder() as scratch:
        assert not abandoned.exists()
        assert scratch.exists()


def test_a_large_text_lies_aside_until_it_is_discarded_and_a_refused_one_not_at_all(
    landing: Landing,
) -> None:
    rows = b"1,2\n" * 1_200_000
    for end, whole in ((b"", True), (b'1,"2\n', False)):
        item = replace(ITEM, dataset_name=str(whole))
        with landing.scratch_folder() as scratch:
            packed = gzip.compress(b"A,B\n" + rows + end, 1)
            landed = landing.keep(item, iter([packed]), scratch)
            if whole:
                text = read_csv_text((landing.root / landed.path), scratch)
                assert (text.record_count, text.body) == (1_200_000, None)
                assert text.path is not None
                assert text.path.read_bytes() == rows
                text.discard()
            else:
                with pytest.raises(Exception, match="never closed"):
                    read_csv_text((landing.root / landed.path), scratch)
            assert [path.name for path in files(scratch)] == [".lock"]
