"""What the sandbox promises about packings (docs/api.md, Files)."""

import gzip
import io
import zipfile

import pytest

from cp_pipeline.sandbox import Packing, Sandbox, SandboxStudy
from cp_pipeline.sandbox.packing import pack
from cp_pipeline_tests.sandbox.raw_requests import download, items, raw_bytes

SINGLE = [packing for packing in Packing if packing is not Packing.MIXED]


def member(blob: bytes) -> bytes:
    """The one member of a ZIP."""
    with zipfile.ZipFile(io.BytesIO(blob)) as archive:
        (name,) = archive.namelist()
        return archive.read(name)


def unpacked(blob: bytes, packing: Packing) -> bytes:
    """The CSV in a blob, by what its packing promises and not by looking."""
    if packing is Packing.PLAIN:
        return blob
    if packing is Packing.ZIP_CSV:
        return member(blob)
    return gzip.decompress(member(blob) if packing is Packing.ZIP_GZIP else blob)


@pytest.mark.parametrize("packing", SINGLE)
def test_each_packing_holds_the_csv(study: SandboxStudy, packing: Packing) -> None:
    with Sandbox(study, packing=packing) as sandbox:
        for item, file in zip(items(sandbox), study.export_files, strict=True):
            assert unpacked(raw_bytes(item), packing) == file.csv


def test_gzip_is_not_undone_by_a_client_and_content_encoding_is(study: SandboxStudy) -> None:
    file = study.export_files[0]
    with Sandbox(study, packing=Packing.GZIP) as sandbox:
        answer = download(items(sandbox)[0])
        assert "Content-Encoding" not in answer.headers
        assert gzip.decompress(answer.content) == file.csv
    with Sandbox(study, packing=Packing.CONTENT_ENCODING) as sandbox:
        answer = download(items(sandbox)[0])
        assert answer.headers["Content-Encoding"] == "gzip"
        assert answer.content == file.csv
        assert int(answer.headers["Content-Length"]) != len(file.csv)


def test_mixed_gives_each_export_file_another_packing_in_turn(study: SandboxStudy) -> None:
    with Sandbox(study, packing=Packing.MIXED) as sandbox:
        listed = zip(items(sandbox), study.export_files, strict=True)
        for position, (item, file) in enumerate(listed):
            packing = SINGLE[position % 5]
            assert unpacked(raw_bytes(item), packing) == file.csv
            assert (download(item).headers.get("Content-Encoding") == "gzip") == (
                packing is Packing.CONTENT_ENCODING
            )


def test_a_file_of_its_own_packing_ignores_the_sandboxs(study: SandboxStudy) -> None:
    study.put(subject_id=1, data_set_name="X", csv=b"A\n1\n", packing=Packing.ZIP_GZIP)
    with Sandbox(study, packing=Packing.PLAIN) as sandbox:
        (item,) = items(sandbox, subjectId=1)
        assert gzip.decompress(member(raw_bytes(item))) == b"A\n1\n"


@pytest.mark.parametrize("packing", SINGLE)
def test_the_same_csv_gives_the_same_bytes(packing: Packing) -> None:
    assert pack(b"A\n1\n", packing, "x.csv.gz") == pack(b"A\n1\n", packing, "x.csv.gz")


def test_mixed_by_itself_packs_nothing() -> None:
    with pytest.raises(ValueError, match="MIXED"):
        pack(b"A\n", Packing.MIXED, "x.csv.gz")


def test_blobs_are_kept_while_there_is_room_and_made_each_time_afterwards(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made: list[str] = []

    def packed(csv: bytes, packing: Packing, name: str) -> bytes:
        made.append(name)
        return csv

    monkeypatch.setattr("cp_pipeline.sandbox.service.pack", packed)
    monkeypatch.setattr("cp_pipeline.sandbox.service._KEPT_BYTES", 10)
    study = SandboxStudy.empty()
    for name, size in (("a", 4), ("huge", 7), ("b", 6)):
        study.put(subject_id=1, data_set_name=name, csv=bytes(size), file_name=name)
    with Sandbox(study) as sandbox:
        for _ in range(2):
            for item in items(sandbox):
                content = download(item).content
                assert content == bytes({"a": 4, "huge": 7, "b": 6}[item["fileName"]])
    assert made == ["a", "huge", "b", "huge"]
