"""Malformed export files, one for each kind of error, with the expected message."""

import gzip
import io
import struct
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, cached_property, partial

from cp_pipeline.landing.csv_validation import RESERVED_NAMES
from cp_pipeline_tests.headers import REFUSED

HEADER = b"SUBJECTID,TIMESTAMPUTC,STEPS\n"
# The header is line 1, so record n is on line n + 1.
NEAR, FAR, DEEP = 3, 5_000, 190_000
PLACES = {"near-the-top": NEAR, "5000-rows-down": FAR, "in-a-large-file": DEEP}


@dataclass(frozen=True)
class Malformed:
    """A file and the expected message. ``declared_length``: a false Content-Length."""

    name: str
    # A function for a large file: each process that only lists the tests would make it, too.
    content: bytes | Callable[[], bytes]
    words: str
    line: int | None = None
    declared_length: int | None = None

    @cached_property
    def blob(self) -> bytes:
        return self.content if isinstance(self.content, bytes) else self.content()


def good_record(number: int) -> bytes:
    return b"10821,2024-02-29 %02d:%02d:00,%d\n" % (number // 60 % 24, number % 60, number)


def good_csv(rows: int = 10) -> bytes:
    return HEADER + b"".join(map(good_record, range(1, rows + 1)))


@cache
def _lines_around(place: int) -> list[bytes]:
    return good_csv(200_000 if place == DEEP else place + 20).split(b"\n")


def with_record(place: int, record: bytes) -> bytes:
    """Return a valid CSV with one record replaced; over 4 MiB if that record is far down."""
    lines = _lines_around(place)
    return b"\n".join([*lines[:place], record, *lines[place + 1 :]])


def zipped(members: dict[str, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue()


def locked_zip() -> bytes:
    """Return a ZIP whose flags mark its member as encrypted (PKZIP's bit 0)."""
    blob = bytearray(zipped({"a.csv": good_csv()}))
    blob[6] |= 1
    blob[blob.index(b"PK\x01\x02") + 8] |= 1
    return bytes(blob)


def packed(csv: bytes) -> bytes:
    return gzip.compress(csv, 1, mtime=0)


def _packed_with(place: int, record: bytes) -> bytes:
    return packed(with_record(place, record))


def _structures() -> list[Malformed]:
    found = []
    for where, place in PLACES.items():
        start = len(b"\n".join(_lines_around(place)[:place])) + 1
        faults = [
            ("shorter", b"10821,2024-02-29 10:00:00", "shorter than the header", place + 1),
            ("longer", b"10821,2024-02-29 10:00:00,1,2", "longer than the header", place + 1),
            (
                "trailing-comma",
                b"10821,2024-02-29 10:00:00,1,",
                "longer than the header",
                place + 1,
            ),
            ("blank-line", b"", "blank", place + 1),
            ("unclosed-quote", b'10821,"2024-02-29 10:00:00,1', "never closed", place + 1),
            ("nul", b"10821,2024-02-29 10:00:00,\0", f"NUL byte at byte {start + 26}", None),
            ("latin-1", b"10821,caf\xe9,1", f"not UTF-8: byte {start + 9} is 0xe9", None),
            ("short-then-long", b"1,2\n1,2,3,4", "shorter than", place + 1),
            ("blank-then-long", b"\n1,2,3,4,5", "blank", place + 1),
        ]
        found += [
            Malformed(f"{name}-{where}", partial(_packed_with, place, record), words, line)
            for name, record, words, line in faults
        ]
    return found


def _quotes() -> list[Malformed]:
    return [
        Malformed(name, partial(_packed_with, FAR, record), words, FAR + 1)
        for name, record, words in [
            ("text-after-a-closing-quote", b'1,"2"x,3', "text after a closing quote"),
            ("quote-inside-an-unquoted-field", b'1,5"x"y,3', "quote inside an unquoted field"),
            ("space-before-a-quote", b'1, "2",3', "quote inside an unquoted field"),
            ("lone-carriage-return", b"1,2\r2,3", "lone carriage return"),
        ]
    ] + [
        Malformed(
            "unclosed-quote-in-the-last-record",
            packed(good_csv(20) + b'1,2,"3\n'),
            "never closed",
            22,
        ),
        Malformed("quoted-lines-before-a-short-record", packed(HEADER + b'1,"a\nb",3\n1,2\n'),
                  "shorter than", 4),
    ]  # fmt: skip


def _headers() -> list[Malformed]:
    headers = [
        ("two-columns-of-one-name", b"A,B,A", "same name"),
        ("two-columns-of-one-name-by-case", b"Steps,B,STEPS", "same name"),
        ("two-columns-of-one-name-quoted", b'A,"A"', "same name"),
        ("two-columns-of-one-name-by-umlaut-case", "\u00c4,\u00e4".encode(), "same name"),
        ("empty-first-column-name", b",B", "name of column 1 is empty"),
        ("empty-last-column-name", b"A,B,", "name of column 3 is empty"),
        ("blank-column-name", b"A,  ,C", "name of column 2 is empty"),
        ("quoted-empty-column-name", b'A,""', "name of column 2 is empty"),
        ("text-after-a-quoted-column-name", b'"A"B,C', "text after a closing quote"),
        ("unclosed-quote-in-the-header", b'A,"B', "never closed"),
        *((f"name-of-ours-{n}", f"A,{n}".encode(), n) for n in sorted(RESERVED_NAMES)),
        ("name-of-ours-in-upper-case", b"A,_LOAD_ID", "_LOAD_ID"),
        ("blank-line-before-the-header", b"\nA,B", "blank where the header"),
    ]
    return [
        Malformed(name, packed(header + b"\n" + b"1," * header.count(b",") + b"1\n"), words, 1)
        for name, header, words in headers
    ]


def _no_headers() -> list[Malformed]:
    return [
        Malformed(name, partial(packed, csv.encode()), words, n) for name, csv, words, n in REFUSED
    ]


def _not_a_csv() -> list[Malformed]:
    text = good_csv(20).decode()
    return [
        Malformed("nothing-at-all", b"", "file is empty"),
        Malformed("gzip-of-nothing", packed(b""), "file is empty"),
        Malformed("zip-of-nothing", zipped({"a.csv": b""}), "file is empty"),
        Malformed("byte-order-mark-alone", packed(b"\xef\xbb\xbf"), "file is empty"),
        Malformed("blank-lines-alone", packed(b"\n\r\n\n"), "empty or blank"),
        Malformed("utf-16-le", packed(b"\xff\xfe" + text.encode("utf-16-le")), "UTF-16.*byte 0"),
        Malformed("utf-16-be", packed(b"\xfe\xff" + text.encode("utf-16-be")), "UTF-16.*byte 0"),
        Malformed("utf-16-without-a-mark", packed(text.encode("utf-16-le")), "byte 1"),
        Malformed("ends-inside-a-character", packed(b"A\n1\nx\xe2\x82"), "inside a char.*byte 5"),
        Malformed("surrogate", packed(b"A\nx\xed\xa0\x80\n"), "not UTF-8: byte 3"),
        Malformed("latin-1-in-the-header", packed("A,\u00c5,B\n1,2,3\n".encode("latin-1")),
                  "not UTF-8: byte 2"),
        Malformed("latin-1-after-a-byte-order-mark", packed(b"\xef\xbb\xbfA\n\xe9\n"),
                  "not UTF-8: byte 5"),
        Malformed("nul-in-the-header", packed(b"A\0,B\n1,2\n"), "NUL byte at byte 1"),
        Malformed("html", b"<!DOCTYPE html>\n<html><body>Sign in</body></html>\n",
                  "HTML or XML page", 1),
        Malformed("html-packed-after-blanks", packed(b"\n  <HTML lang='en'>\n</HTML>"),
                  "HTML or XML page", 1),
        Malformed("html-comment", b"<!-- maintenance -->\n<p>Back soon</p>\n",
                  "HTML or XML page", 1),
        Malformed("storage-error", b"\xef\xbb\xbf<?xml version=\"1.0\"?><Error><Code>ServerBusy"
                  b"</Code></Error>", "HTML or XML page", 1),
        Malformed("storage-error-without-declaration", b"<Error><Code>A</Code></Error>",
                  "HTML or XML page", 1),
    ]  # fmt: skip


@cache
def _large() -> bytes:
    return packed(good_csv(200_000))


def _packings() -> list[Malformed]:
    blob, csv = packed(good_csv(2_000)), good_csv(2_000)
    wrong_crc = blob[:-8] + struct.pack("<I", zlib.crc32(csv) ^ 1) + blob[-4:]
    wrong_length = blob[:-4] + struct.pack("<I", len(csv) + 1)
    one = zipped({"a.csv": csv})
    zip_crc = bytearray(one)
    zip_crc[one.index(b"PK\x01\x02") + 16] ^= 1
    return [
        Malformed("gzip-truncated", blob[: len(blob) // 2], "truncated"),
        Malformed("gzip-truncated-in-its-trailer", blob[:-3], "truncated"),
        Malformed("gzip-truncated-in-its-header", blob[:5], "truncated"),
        Malformed("gzip-truncated-large", lambda: _large()[:-100], "truncated"),
        Malformed("gzip-wrong-crc", wrong_crc, "checksum"),
        Malformed("gzip-wrong-crc-large", lambda: _large()[:-8] + bytes(4) + _large()[-4:],
                  "checksum"),
        Malformed("gzip-wrong-length-field", wrong_length, "damaged|length|checksum"),
        Malformed("gzip-bytes-after-the-end", blob + b"1,2,3\n", "bytes after the end"),
        Malformed("gzip-zeros-after-the-end", blob + bytes(512), "bytes after the end"),
        Malformed("gzip-one-byte-after-the-end", blob + b"\x1f", "bytes after the end"),
        Malformed("gzip-by-its-magic-alone", b"\x1f\x8b" + csv, "damaged"),
        Malformed("gzip-second-member-truncated", blob + blob[:40], "truncated"),
        Malformed("zip-by-its-magic-alone", b"PK\x03\x04" + csv, "ZIP cannot be opened"),
        Malformed("zip-of-several", zipped({"a.csv": csv, "b.csv": csv}), "2 members"),
        Malformed("zip-of-none", zipped({}), "0 members"),
        Malformed("zip-locked", locked_zip(), "password"),
        Malformed("zip-truncated", one[:-30], "ZIP cannot be opened"),
        Malformed("zip-wrong-crc", bytes(zip_crc), "CRC"),
        Malformed("zip-bytes-after-the-end", one + b"garbage", "bytes after the end"),
        Malformed("zip-of-a-truncated-gzip", zipped({"a.csv.gz": blob[:-20]}), "truncated"),
        Malformed("packed-thrice", packed(packed(packed(csv))), "more than twice"),
        Malformed("zip-of-gzip-of-zip", zipped({"a": packed(one)}), "more than twice"),
        Malformed("content-length-too-long", blob,
                  f"{len(blob)} of {len(blob) + 9} announced bytes", declared_length=len(blob) + 9),
        Malformed("content-length-too-long-of-a-plain-csv", csv,
                  f"{len(csv)} of {len(csv) + 1} announced bytes", declared_length=len(csv) + 1),
    ]  # fmt: skip


MALFORMED = [*_structures(), *_quotes(), *_headers(), *_no_headers(), *_not_a_csv(), *_packings()]
