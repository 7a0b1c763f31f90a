"""How the bytes of a CSV become a blob.

Belongs here: every packing that a client may meet (docs/api.md, Files). Does not belong: HTTP, the
contents.
"""

import gzip
import io
import zipfile
from enum import StrEnum


class Packing(StrEnum):
    """How an export file is packed.

    `CONTENT_ENCODING` is the plain CSV gzipped once and sent with `Content-Encoding: gzip`, which
    HTTP clients undo. `MIXED` gives each export file one of the others, by its position.
    """

    GZIP = "gzip"
    ZIP_CSV = "zip_csv"
    ZIP_GZIP = "zip_gzip"
    PLAIN = "plain"
    CONTENT_ENCODING = "content_encoding"
    MIXED = "mixed"

    def at(self, position: int) -> "Packing":
        """The packing of the export file at this position of the listing, never `MIXED`."""
        single = [packing for packing in Packing if packing is not Packing.MIXED]
        return single[position % len(single)] if self is Packing.MIXED else self


def pack(csv: bytes, packing: Packing, file_name: str) -> bytes:
    """The blob of a CSV, the same bytes each time. The file name is that of a ZIP's member."""
    if packing is Packing.MIXED:
        raise ValueError("Packing.MIXED is a choice among packings: ask it for one with at().")
    if packing is Packing.PLAIN:
        return csv
    if packing is Packing.ZIP_CSV:
        return _zipped(file_name.removesuffix(".gz"), csv, zipfile.ZIP_DEFLATED)
    compressed = gzip.compress(csv, compresslevel=1, mtime=0)
    if packing is Packing.ZIP_GZIP:
        return _zipped(file_name, compressed, zipfile.ZIP_STORED)
    return compressed


def _zipped(member: str, content: bytes, method: int) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        # A ZipInfo of its own has a fixed date, so the same CSV gives the same bytes.
        archive.writestr(zipfile.ZipInfo(member), content, method, compresslevel=1)
    return file.getvalue()
