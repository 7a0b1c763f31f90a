"""Decompress an export: gzip, ZIP, both, or neither (docs/api.md, "Files").

Belongs here: recognizing at most two layers by their magic numbers, and verifying every checksum.
Does not belong: the contents of the CSV (``csv_validation``).
"""

import os
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from io import BytesIO, RawIOBase
from itertools import chain
from pathlib import Path
from typing import IO, cast

# isal inflates several times faster than zlib, and checks gzip's CRC; DuckDB's reader does not.
from isal import isal_zlib

from cp_pipeline.landing.errors import ExportRefused, PackingRefused

CHUNK_BYTES = 1 << 20
GZIP_MAGIC = b"\x1f\x8b"
ZIP_MAGICS = (b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08")
_MAGIC_BYTES = 4
_LAYERS = 2
_GZIP_WINDOW = 31
_ZIP_END_BYTES = 22
# isal's type stub does not declare it as a class.
_INFLATE_ERROR = cast("type[Exception]", isal_zlib.error)


def unpack(packed: Path | bytes, largest_bytes: int | None = None) -> Iterator[bytes]:
    """Yield the decompressed bytes of a file, in chunks of about a megabyte.

    Args:
        packed: the file, or its bytes.
        largest_bytes: the limit for each decompressed layer; None for no limit.

    Raises:
        ExportRefused: a layer decompresses to more than ``largest_bytes``.
        PackingRefused: the file is truncated, has a wrong checksum or bytes after its end, is not
            the format of its magic number, is a ZIP with several members or a password, or is
            compressed more than twice.
    """
    opened: IO[bytes] | RawIOBase = (
        BytesIO(packed) if isinstance(packed, bytes) else packed.open("rb", buffering=0)
    )
    with opened as file:
        chunks: Iterator[bytes] = iter(lambda: file.read(CHUNK_BYTES), b"")
        for _ in range(_LAYERS):
            beginning, chunks = peek(chunks, _MAGIC_BYTES)
            if beginning.startswith(GZIP_MAGIC):
                chunks = _gunzip(chunks)
            elif beginning.startswith(ZIP_MAGICS):
                chunks = _unzip(chunks)
            else:
                break
            chunks = _at_most(largest_bytes, chunks)
        beginning, chunks = peek(chunks, _MAGIC_BYTES)
        if beginning.startswith((GZIP_MAGIC, *ZIP_MAGICS)):
            raise PackingRefused("The file is compressed more than twice.")
        yield from chunks


def is_packed(source: Path | bytes) -> bool:
    """Whether a file is compressed, by its magic number, and therefore has a checksum."""
    if isinstance(source, bytes):
        return source.startswith((GZIP_MAGIC, *ZIP_MAGICS))
    with source.open("rb", buffering=0) as file:
        return file.read(_MAGIC_BYTES).startswith((GZIP_MAGIC, *ZIP_MAGICS))


def _at_most(largest_bytes: int | None, chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Yield the same bytes up to a limit; a file can decompress to a thousand times its size."""
    byte_count = 0
    for chunk in chunks:
        byte_count += len(chunk)
        if largest_bytes is not None and byte_count > largest_bytes:
            raise ExportRefused(
                f"The file decompresses to more than {largest_bytes / 10**9:g} GB.",
                "If a data set is really that large, set CP_LARGEST_CSV_GIGABYTES higher.",
            )
        yield chunk


def peek(chunks: Iterator[bytes], least: int) -> tuple[bytes, Iterator[bytes]]:
    """Return the beginning, with this length if there is so much, and the same bytes again."""
    beginning = b""
    for chunk in chunks:
        beginning += chunk
        if len(beginning) >= least:
            break
    return beginning, chain([beginning] if beginning else [], chunks)


def _gunzip(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Yield the bytes of all members of a gzip stream; refuse other bytes after a member."""
    member = isal_zlib.decompressobj(wbits=_GZIP_WINDOW)
    rest = b""
    for chunk in chunks:
        rest += chunk
        while rest:
            if member.eof:
                if not GZIP_MAGIC.startswith(rest[:2]):
                    raise PackingRefused("The file has bytes after the end of the gzip data.")
                if len(rest) < len(GZIP_MAGIC):
                    break
                member = isal_zlib.decompressobj(wbits=_GZIP_WINDOW)
            yield from _inflate(member, rest)
            rest = member.unused_data if member.eof else b""
    if rest:
        raise PackingRefused("The file has bytes after the end of the gzip data.")
    if not member.eof:
        raise PackingRefused("The gzip data is truncated: it ends before its end marker.")


def _inflate(member: "isal_zlib.Decompress", packed: bytes) -> Iterator[bytes]:
    """Inflate with bounded memory: a chunk can decompress to a thousand times its size."""
    while True:
        try:
            plain = member.decompress(packed, CHUNK_BYTES)
        except (_INFLATE_ERROR, zlib.error) as error:
            raise PackingRefused(f"The gzip data is damaged: {_reason(error)}.") from None
        if plain:
            yield plain
        packed = member.unconsumed_tail
        if member.eof or (not packed and len(plain) < CHUNK_BYTES):
            return


def _reason(error: Exception) -> str:
    text = str(error)
    if "checksum" in text.lower():
        return "its checksum (CRC-32) does not match its content"
    return text or type(error).__name__


def _unzip(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Yield the bytes of a ZIP's only member; spool the ZIP first: its index is at the end."""
    with tempfile.SpooledTemporaryFile(max_size=16 * CHUNK_BYTES) as spool:
        for chunk in chunks:
            spool.write(chunk)
        try:
            with zipfile.ZipFile(cast("IO[bytes]", spool)) as archive:
                _refuse_bytes_after_end(cast("IO[bytes]", spool), archive.comment)
                members = [item for item in archive.infolist() if not item.is_dir()]
                if len(members) != 1:
                    raise PackingRefused(
                        f"The ZIP has {len(members)} members, but must have exactly one."
                    )
                with archive.open(members[0]) as member:
                    yield from iter(lambda: member.read(CHUNK_BYTES), b"")
        except (zipfile.BadZipFile, NotImplementedError, zlib.error, EOFError) as error:
            reason = str(error)
        except RuntimeError:
            reason = "it is protected with a password"
        else:
            return
    raise PackingRefused(f"The ZIP cannot be opened: {reason}.")


def _refuse_bytes_after_end(spool: IO[bytes], comment: bytes) -> None:
    """Require the end record at the end of the file; ``zipfile`` also accepts an earlier one."""
    spool.seek(-_ZIP_END_BYTES - len(comment), os.SEEK_END)
    if spool.read(4) != ZIP_MAGICS[1]:
        raise PackingRefused("The file has bytes after the end of the ZIP.")
