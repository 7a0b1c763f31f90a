"""The study report: the page from its parts, and the file.

Belongs here: filling the templates, writing the file. Does not belong: arranging numbers
(``report.sections``), reading them (``warehouse.report_numbers``).

Jinja escapes every value. What is marked as safe are our own charts, which escape by themselves.
"""

import stat
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from cp_pipeline.charts import ANSWER_COLOURS, STATE_COLOURS, coverage_map, share_bar
from cp_pipeline.domain.errors import PipelineError
from cp_pipeline.domain.texts import count
from cp_pipeline.locks.partial_files import replaced_at_once
from cp_pipeline.report import words
from cp_pipeline.report.sections import Figure, Sections, arranged
from cp_pipeline.settings import StorageSettings
from cp_pipeline.warehouse.report_numbers import ReportNumbers, read_report_numbers
from cp_pipeline.warehouse.report_queries import LISTED


@dataclass(frozen=True, slots=True)
class Report:
    """A report that was written: its file, and the numbers of its first screen.

    ``states``: how many partitions are in each state.
    """

    path: Path
    byte_count: int
    figures: tuple[Figure, ...]
    states: Mapping[str, int]


def write_report(storage: StorageSettings) -> Report:
    """Write the study report of the published file, with the permissions of that file.

    Raises:
        PipelineError: nothing is published, the published file lacks a model, or the report cannot
            be written; an older report stays.
    """
    numbers = read_report_numbers(storage.published)
    sections = arranged(numbers)
    page = rendered(numbers, sections, storage.published.name)
    mode = stat.S_IMODE(storage.published.stat().st_mode)
    try:
        with replaced_at_once(storage.report, mode) as partial:
            partial.write_text(page, encoding="utf-8")
    except OSError as error:
        raise PipelineError(
            f"The study report {storage.report} cannot be written: {error}.",
            "The old report is unchanged. Check the disk space and that the folder is writable.",
        ) from error
    size = storage.report.stat().st_size
    return Report(storage.report, size, tuple(sections.figures), sections.all_states)


def rendered(numbers: ReportNumbers, sections: Sections, file_name: str) -> str:
    """Return the page of a published file; ``sections`` are its numbers, arranged."""
    templates = Environment(
        loader=PackageLoader("cp_pipeline.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters |= {
        each.__name__: each
        for each in (words.number, words.moment, words.text, words.spread, words.answer)
    }
    templates.globals |= {
        "answer_colours": ANSWER_COLOURS,
        "bar": _bar,
        "count": count,
        "listed": LISTED,
        "share": words.share,
        "state_colours": STATE_COLOURS,
        "subject": words.subject,
        "unknown": words.unknown,
        "waits_for": words.WAITS_FOR,
    }
    states: dict[str, dict[int, str]] = {}
    for subject, dataset, state in numbers.states:
        states.setdefault(dataset, {})[subject] = state
    return templates.get_template("study_report.html").render(
        numbers=numbers,
        sections=sections,
        coverage_map=_drawn(coverage_map(states, sections.names)),
        file_name=file_name,
        made_at=datetime.now(UTC),
        version=version("cp-pipeline"),
    )


def _drawn(picture: str) -> Markup:
    """Return a chart as a part of the page; charts escape the names in them."""
    return Markup(picture)  # noqa: S704


def _bar(parts: Mapping[str, int], whole: int = 0) -> Markup:
    return _drawn(share_bar(parts, whole))
