"""The landing: unchanged files in a folder or an object store, their checksums, and reading them.

Belongs here: files, decompression, CSV validation.
Does not belong: HTTP, DuckDB, Dagster, what a value means.
"""

from cp_pipeline.landing.csv_text import CsvText, read_csv_text
from cp_pipeline.landing.errors import (
    CsvRefused,
    ExportRefused,
    LandingUnavailable,
    LandingUnusable,
    PackingRefused,
)
from cp_pipeline.landing.file_erasure import (
    count_files,
    erase_files,
    remember_erasure,
    remembered_erasures,
    texts_of,
)
from cp_pipeline.landing.folder import checksum_of
from cp_pipeline.landing.landed_file import IncompleteFile, LandedFile
from cp_pipeline.landing.object_store import ObjectStore
from cp_pipeline.landing.store import Landing

__all__ = [
    "CsvRefused",
    "CsvText",
    "ExportRefused",
    "IncompleteFile",
    "LandedFile",
    "Landing",
    "LandingUnavailable",
    "LandingUnusable",
    "ObjectStore",
    "PackingRefused",
    "checksum_of",
    "count_files",
    "erase_files",
    "read_csv_text",
    "remember_erasure",
    "remembered_erasures",
    "texts_of",
]
