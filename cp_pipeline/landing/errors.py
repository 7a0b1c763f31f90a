"""What can be wrong with the bytes of one export file; it fails its own partition only.

ExportRefused
├── PackingRefused     the gzip or ZIP around the CSV is damaged or not what we can open
└── CsvRefused         the CSV itself is malformed; says the line where there is one
"""

from cp_pipeline.domain.errors import PipelineError


class ExportRefused(PipelineError):
    """The file is kept as it came, and not loaded.

    ``may_be_damaged``: nothing proves that these are the bytes that are stored, so they may have
    been damaged on their way, and another copy may be good. A checksum that holds is such a proof.
    """

    may_be_damaged = False


class PackingRefused(ExportRefused):
    """The packing (gzip, ZIP) cannot be opened, or its checksum is wrong."""

    may_be_damaged = True


class CsvRefused(ExportRefused):
    """The decoded text is not a CSV that can be loaded without guessing.

    ``line`` is the number of the line in the decoded CSV, the header being line 1, or None.
    """

    def __init__(self, what: str, line: int | None = None) -> None:
        super().__init__(what if line is None else f"Line {line}: {what}")
        self.line = line
