"""Decompress every format of the export API (docs/api.md, "Files"), and refuse damaged files."""

import gzip
import io
import struct
import tracemalloc
import zipfile
import zlib
from pathlib import Path

import pytest

from cp_pipeline.landing import PackingRefused
from cp_pipeline.landing.decompression import CHUNK_BYTES, unpack
from cp_pipeline.sandbox import Packing
from cp_pipeline.sandbox.packing import pack

CSV = b"A,B\n" + b"".join(b"%d,%d\n" % (row, row * row) for row in range(5_000))
GZIP = gzip.compress(CSV, mtime=0)


def zipped(*members: bytes, method: int = zipfile.ZIP_DEFLATED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for place, member in enumerate(members):
            archive.writestr(f"{place}.csv", member)
    return file.getvalue()


def with_flag(blob: bytes, local: int, central: int, value: int) -> bytes:
    """Return the ZIP with one byte changed in each of its two headers."""
    changed = bytearray(blob)
    changed[local] |= value
    changed[blob.index(b"PK\x01\x02") + central] |= value
    return bytes(changed)


def unpacked(folder: Path, blob: bytes) -> bytes:
    path = folder / "blob"
    path.write_bytes(blob)
    return b"".join(unpack(path))


def refusal(folder: Path, blob: bytes) -> str:
    with pytest.raises(PackingRefused) as refused:
        unpacked(folder, blob)
    return str(refused.value)


@pytest.mark.parametrize("packing", [each for each in Packing if each is not Packing.MIXED])
def test_each_packing_of_the_service_is_opened(tmp_path: Path, packing: Packing) -> None:
    assert unpacked(tmp_path, pack(CSV, packing, "x.csv.gz")) == CSV


@pytest.mark.parametrize(
    "blob",
    [gzip.compress(GZIP), zipped(zipped(CSV)), zipped(GZIP), gzip.compress(zipped(CSV))],
    ids=["gzip-gzip", "zip-zip", "zip-gzip", "gzip-zip"],
)
def test_two_layers_are_opened(tmp_path: Path, blob: bytes) -> None:
    assert unpacked(tmp_path, blob) == CSV


def test_three_layers_are_refused(tmp_path: Path) -> None:
    assert "compressed more than twice" in refusal(tmp_path, gzip.compress(gzip.compress(GZIP)))
    assert "compressed more than twice" in refusal(tmp_path, zipped(zipped(zipped(CSV))))


@pytest.mark.parametrize("cut", [1, 2, 100, 1_000, len(CSV) - 1])
def test_a_gzip_of_several_members_is_one_text(tmp_path: Path, cut: int) -> None:
    assert unpacked(tmp_path, gzip.compress(CSV[:cut]) + gzip.compress(CSV[cut:])) == CSV


def test_a_gzip_member_may_end_where_a_chunk_ends(tmp_path: Path) -> None:
    stored = zlib.compressobj(0, zlib.DEFLATED, 31)
    first = bytes(range(256)) * 5_000
    blob = stored.compress(first) + stored.flush()
    name_bytes = CHUNK_BYTES * 2 - len(blob)
    named = blob[:3] + b"\x08" + blob[4:10] + b"n" * (name_bytes - 1) + b"\0" + blob[10:]
    assert len(named) == CHUNK_BYTES * 2
    assert unpacked(tmp_path, named + GZIP) == first + CSV


@pytest.mark.parametrize("kept", [3, 9, 10, 11, len(GZIP) // 2, *(len(GZIP) - n for n in range(9))])
def test_a_truncated_gzip_is_refused_wherever_it_was_cut(tmp_path: Path, kept: int) -> None:
    if kept == len(GZIP):
        assert unpacked(tmp_path, GZIP) == CSV
    else:
        assert "truncated" in refusal(tmp_path, GZIP[:kept])


def test_a_wrong_checksum_is_refused(tmp_path: Path) -> None:
    wrong = GZIP[:-8] + struct.pack("<I", zlib.crc32(CSV) ^ 1) + GZIP[-4:]
    assert "checksum" in refusal(tmp_path, wrong)


def test_a_wrong_length_field_is_refused(tmp_path: Path) -> None:
    assert refusal(tmp_path, GZIP[:-4] + struct.pack("<I", len(CSV) + 1))


@pytest.mark.parametrize("place", range(10, len(GZIP), len(GZIP) // 20))
def test_no_flipped_bit_of_a_gzip_goes_unnoticed(tmp_path: Path, place: int) -> None:
    flipped = bytearray(GZIP)
    flipped[place] ^= 0x10
    assert refusal(tmp_path, bytes(flipped))


@pytest.mark.parametrize("after", [b"\x1f", b"x", b"\0" * 8, b"1,2\n", bytes(CHUNK_BYTES)])
def test_bytes_after_the_end_of_a_gzip_are_refused(tmp_path: Path, after: bytes) -> None:
    assert "bytes after the end" in refusal(tmp_path, GZIP + after)


def test_what_only_begins_like_a_gzip_is_refused(tmp_path: Path) -> None:
    assert "damaged" in refusal(tmp_path, b"\x1f\x8b" + CSV)


@pytest.mark.parametrize(
    ("blob", "words"),
    [
        (zipped(), "0 members"),
        (zipped(CSV, CSV), "2 members"),
        (with_flag(zipped(CSV), 6, 8, 1), "password"),
        (with_flag(zipped(CSV), 8, 10, 64), "compression"),
        (zipped(CSV)[:-20], "ZIP cannot be opened"),
        (zipped(CSV)[:100], "ZIP cannot be opened"),
        (b"PK\x03\x04" + CSV, "ZIP cannot be opened"),
        (zipped(CSV) + b"x", "bytes after the end"),
        (zipped(GZIP[:-9]), "truncated"),
        (zipped(CSV, method=zipfile.ZIP_STORED).replace(b"17,289", b"17,288"), "CRC"),
    ],
    ids=[
        "no-member", "two-members", "locked", "unknown-compression", "truncated", "cut-early",
        "magic-alone", "bytes-after", "damaged-gzip-inside", "wrong-checksum",
    ],
)  # fmt: skip
def test_a_zip_that_is_not_one_whole_file_is_refused(
    tmp_path: Path, blob: bytes, words: str
) -> None:
    assert words in refusal(tmp_path, blob)


def test_a_zip_may_hold_folders_and_a_comment_beside_its_one_file(tmp_path: Path) -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("folder/", b"")
        archive.writestr("folder/a.csv", CSV)
        archive.comment = b"exported"
    assert unpacked(tmp_path, file.getvalue()) == CSV


def test_what_is_not_packed_comes_as_it_is(tmp_path: Path) -> None:
    for blob in (b"", b"A", b"A\n", CSV):
        assert unpacked(tmp_path, blob) == blob


@pytest.mark.parametrize("packing", [Packing.GZIP, Packing.ZIP_CSV, Packing.ZIP_GZIP])
def test_a_thousandfold_expansion_is_read_in_bounded_chunks(
    tmp_path: Path, packing: Packing
) -> None:
    size = 100 << 20
    path = tmp_path / "bomb"
    path.write_bytes(pack(bytes(size), packing, "x.csv.gz"))
    assert path.stat().st_size * 200 < size
    tracemalloc.start()
    try:
        lengths = [len(chunk) for chunk in unpack(path)]
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert sum(lengths) == size
    assert max(lengths) <= CHUNK_BYTES
    assert peak < 20 * CHUNK_BYTES
