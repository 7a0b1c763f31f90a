"""How the report writes numbers, times and names: what is not known is written with its reason.

Belongs here: one function for each kind of value. Does not belong: HTML of more than one element
(the templates), which values there are (``report.sections``).
"""

from datetime import datetime

from markupsafe import Markup

from cp_pipeline.warehouse.report_rows import Spread

# What each state in marts.subject_processing waits for.
WAITS_FOR = {
    "failed": "A file of it cannot be loaded. The message is under “Not current”.",
    "uploaded_never_processed": "Raw data is there, and the study program was never executed on it."
    " Ask ActiGraph for processing (cp-pipeline status --waiting has the text).",
    "uploaded_since_processed": "Raw data came after the newest execution. Ask ActiGraph for"
    " processing (cp-pipeline status --waiting has the text).",
    "processed_no_file": "The program was executed, and CentrePoint lists no file of it.",
    "pending": "The program was executed; not all of its files are written and loaded yet.",
    "never_uploaded": "There is no raw data yet: the site has to upload it.",
}
NO_SITE = "site unknown"


def unknown(reason: str) -> Markup:
    """Return what stands in place of a value that is not known."""
    return Markup('<span class="unknown">unknown</span> <span class="why">({})</span>').format(
        reason
    )


def number(value: float | None, reason: str = "", decimals: int = 0) -> Markup | str:
    """Return a number with separators, or that it is unknown and why."""
    return unknown(reason) if value is None else f"{value:,.{decimals}f}"


def share(part: int, whole: int) -> str:
    """Return a percentage that is 100 or 0 only if all or none are meant; empty of nothing."""
    if not whole:
        return ""
    percent = 100 * part / whole
    if 0 < part < whole:
        percent = min(max(percent, 0.1), 99.9)
    return f"{percent:.1f} %" if percent % 1 else f"{percent:.0f} %"


def text(value: str | None, reason: str) -> Markup | str:
    """Return a text, or that it is unknown and why."""
    return unknown(reason) if value is None else value


def moment(value: datetime | None, reason: str = "") -> Markup | str:
    """Return a time in UTC to the minute, or that it is unknown and why."""
    return unknown(reason) if value is None else f"{value:%Y-%m-%d %H:%M} UTC"


def spread(value: Spread, decimals: int = 0) -> Markup | str:
    """Return a median, the quartiles and the number of subjects."""
    if value["median"] is None:
        return unknown("no subject has a valid day with it")
    three = value["median"], value["lower"], value["upper"]
    median, lower, upper = (number(each, decimals=decimals) for each in three)
    return Markup("{} <span class='why'>({} to {}; n {:,})</span>").format(
        median, lower, upper, value["n"]
    )


def subject(identifier: str | None, subject_id: int) -> str:
    """Return how people call a subject, with CentrePoint's number."""
    return f"{identifier} ({subject_id})" if identifier else str(subject_id)


def answer(value: bool | None, reason: str) -> Markup | str:
    """Return yes or no, or that it is unknown and why."""
    if value is None:
        return unknown(reason)
    return "yes" if value else "no"
