"""Texts that several packages show: numbers with a noun, and why a study has no exports.

Belongs here: texts that more than one package shows. Does not belong: error messages (the modules
that raise them).
"""

# Source: the vendor's documentation of the data set exports; docs/api.md, "An item".
NO_EXPORTS = (
    "CentrePoint lists no exports. This is not an error: ActiGraph must first process the study. "
    "Request the processing by e-mail to CPDprocessing@theactigraph.com. Name the study, the "
    "programs, the subjects (by default all) and the subjects to exclude. It takes one to two "
    "business days, and a study can have only one open request."
)


def count(number: int, singular: str) -> str:
    """Return a number with its noun: ``1 file``, ``1,234 files``."""
    return f"{number:,} {singular}" + ("" if number == 1 else "s")
