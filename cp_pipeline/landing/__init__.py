"""The landing: unchanged files on disk, their checksums, and reading them.

Belongs here: files, decompression, CSV validation.
Does not belong: HTTP, DuckDB, Dagster, what a value means.
"""

from cp_pipeline.landing.csv_text import CsvText, read_csv_text
from cp_pipeline.landing.errors import CsvRefused, ExportRefused, PackingRefused
from cp_pipeline.landing.file_erasure import (
    count_files,
    erase_files,
    remember_erasure,
    remembered_erasures,
    texts_of,
)
from cp_pipeline.landing.inventory import is_in_use, is_intact, landed_files
from cp_pipeline.landing.store import IncompleteFile, LandedFile, Landing, read_description

__all__ = [
    "CsvRefused",
    "CsvText",
    "ExportRefused",
    "IncompleteFile",
    "LandedFile",
    "Landing",
    "PackingRefused",
    "count_files",
    "erase_files",
    "is_in_use",
    "is_intact",
    "landed_files",
    "read_csv_text",
    "read_description",
    "remember_erasure",
    "remembered_erasures",
    "texts_of",
]
