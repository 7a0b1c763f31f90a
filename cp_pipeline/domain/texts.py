"""What several rooms say to people: numbers in sentences, and why a study has no exports."""

# The vendor's documentation of the data set exports; docs/api.md, "An item".
NO_EXPORTS = (
    "CentrePoint lists no exports. That is no error: it is so until ActiGraph has processed the "
    "study. Ask for that by e-mail to CPDprocessing@theactigraph.com, naming the study, the "
    "programs, the subjects (all, if you name none) and whom to exclude. It takes one to two "
    "business days, and a study can have one open request."
)


def count(number: int, singular: str) -> str:
    """``1 file``, ``1,234 files``."""
    return f"{number:,} {singular}" + ("" if number == 1 else "s")
