"""The errors of the landing: of one export file, which fail its partition, and of the place.

ExportRefused
├── PackingRefused     the gzip or ZIP around the CSV is damaged, or its format is not supported
└── CsvRefused         the CSV itself is malformed; the error has the line number, if it is known

LandingUnusable        the object store itself: every file fails, and a person has to do something
└── LandingUnavailable it does not answer now

Belongs here: the error classes. Does not belong: their messages (the modules that raise them).
"""

from cp_pipeline.domain.errors import PipelineError


class ExportRefused(PipelineError):
    """The file is kept unchanged, and not loaded.

    ``may_be_damaged``: no valid checksum proves that the bytes are the stored ones. The download
    may have damaged them, and another download may succeed.
    """

    may_be_damaged = False


class PackingRefused(ExportRefused):
    """The gzip or ZIP file cannot be decompressed, or its checksum is wrong."""

    may_be_damaged = True


class CsvRefused(ExportRefused):
    """The decompressed text is not a CSV that can be loaded without guessing.

    ``line`` is the line number in the decompressed CSV (the header is line 1), or None.
    """

    def __init__(self, what: str, line: int | None = None) -> None:
        super().__init__(what if line is None else f"Line {line}: {what}")
        self.line = line


class LandingUnusable(PipelineError):
    """The object store of the landing cannot be used, so no other file can be landed either."""


class LandingUnavailable(LandingUnusable):
    """The object store does not answer now."""

    passing = True
