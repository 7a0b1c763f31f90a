"""The landing: unchanged files in a folder or an object store, their checksums, and reading them.

Belongs here: files, decompression, CSV validation.
Does not belong: HTTP, DuckDB, Dagster, what a value means.
"""

from cp_pipeline.landing.csv_text import CsvText as CsvText, read_csv_text as read_csv_text
from cp_pipeline.landing.errors import (
    CsvRefused as CsvRefused,
    ExportRefused as ExportRefused,
    LandingUnavailable as LandingUnavailable,
    LandingUnusable as LandingUnusable,
    PackingRefused as PackingRefused,
)
from cp_pipeline.landing.file_erasure import (
    count_files as count_files,
    erase_files as erase_files,
    remember_erasure as remember_erasure,
    remembered_erasures as remembered_erasures,
    texts_of as texts_of,
)
from cp_pipeline.landing.folder import checksum_of as checksum_of
from cp_pipeline.landing.landed_file import (
    IncompleteFile as IncompleteFile,
    LandedFile as LandedFile,
)
from cp_pipeline.landing.object_store import ObjectStore as ObjectStore
from cp_pipeline.landing.store import Landing as Landing
