"""The numbers of the report, arranged by section: sums, groups, and what needs attention.

Belongs here: arranging. Does not belong: reading (``warehouse.report_numbers``), how one value is
written (``report.words``), HTML (the templates).
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from typing import NamedTuple

from cp_pipeline.charts import ROWS_WITH_NAMES, STATE_COLOURS
from cp_pipeline.domain.study_details import SubjectName
from cp_pipeline.domain.texts import count
from cp_pipeline.report.words import NO_SITE, share
from cp_pipeline.warehouse.report_numbers import ReportNumbers
from cp_pipeline.warehouse.report_rows import Subject

# How many subjects have a row of their own in the report.
SUBJECTS_SHOWN = 5000
_BUCKETS = 12
_WORSE_FIRST = ("failed", "stale", "missing", "pending", "withdrawn")


class Divided(NamedTuple):
    """A row of a table: a name, and how many of its partitions are in each state."""

    name: str
    states: Mapping[str, int]

    @property
    def total(self) -> int:
        """All partitions."""
        return sum(self.states.values())


class Attention(NamedTuple):
    """Something that needs a look: how many, what, and the anchor of its section."""

    number: str
    what: str
    anchor: str


class Figure(NamedTuple):
    """A number of the first screen, with what it is of."""

    name: str
    value: str
    of: str


@dataclass(frozen=True, slots=True)
class Sections:
    """What the template shows, beside the numbers themselves.

    ``sites``: the subjects of each site, by its name.
    """

    title: str
    figures: Sequence[Figure]
    attention: Sequence[Attention]
    by_site: Sequence[Divided]
    by_dataset: Sequence[Divided]
    all_states: Mapping[str, int]
    names: Mapping[int, tuple[str, str]]
    valid_days: Sequence[tuple[str, int]]
    sites: Sequence[tuple[str, Sequence[Subject]]]
    subjects_left_out: int
    site_reason: str
    has_several_studies: bool
    is_small: bool

    @property
    def most_subjects(self) -> int:
        """The highest number of subjects with the same number of valid days."""
        return max((subjects for _, subjects in self.valid_days), default=0)

    def site(self, study_id: int, name: str | None) -> str:
        """Return the name of a site, with its study if there are several."""
        return _site_name(study_id, name, several=self.has_several_studies)


def arranged(numbers: ReportNumbers) -> Sections:
    """Arrange the numbers by section."""
    several = len(numbers.studies) > 1
    site = partial(_site_name, several=several)
    states = Counter[str]()
    by_site: dict[tuple[int, int | None, str], Counter[str]] = {}
    by_dataset: dict[str, Counter[str]] = {}
    for each in numbers.coverage:
        key = (each.study_id, each.site_id, site(each.study_id, each.site))
        for counted in (states, by_site.setdefault(key, Counter()),
                        by_dataset.setdefault(each.dataset_name, Counter())):  # fmt: skip
            counted[each.state] += each.partitions
    shown = numbers.subjects[:SUBJECTS_SHOWN]
    return Sections(
        title=_title(numbers),
        figures=_figures(numbers, states),
        attention=_attention(numbers, states),
        by_site=[Divided(key[2], _ordered(counted)) for key, counted in by_site.items()],
        by_dataset=[Divided(name, _ordered(by_dataset[name])) for name in sorted(by_dataset)],
        all_states=_ordered(states),
        names=_names(numbers, site),
        valid_days=_buckets([(each.valid_days, each.subjects) for each in numbers.valid_days]),
        sites=[
            (site(study_id, name), list(some))
            for (study_id, _, name), some in groupby(
                shown, key=lambda each: (each.study_id, each.site_id, each.site)
            )
        ],
        subjects_left_out=len(numbers.subjects) - len(shown),
        site_reason=_site_reason(numbers),
        has_several_studies=several,
        is_small=len(numbers.subjects) <= ROWS_WITH_NAMES,
    )


def _site_name(study_id: int, name: str | None, *, several: bool) -> str:
    return f"study {study_id}: {name or NO_SITE}" if several else name or NO_SITE


def _title(numbers: ReportNumbers) -> str:
    named = [
        f"{each.name} (study {each.study_id})" if each.name else f"study {each.study_id}"
        for each in numbers.studies
    ]
    return ", ".join(named) or "no study"


def _ordered(states: Mapping[str, int]) -> dict[str, int]:
    """Return all states, in the order of the chart's colours."""
    return {state: states.get(state, 0) for state in STATE_COLOURS}


def _names(
    numbers: ReportNumbers, site: Callable[[int, str | None], str]
) -> dict[int, tuple[str, str]]:
    """Return the site and the label of each subject whose site or identifier is known."""
    return {
        each.subject_id: (
            site(each.study_id, each.site) if each.site else "",
            SubjectName(each.study_id, each.subject_id, each.subject_identifier, None).label,
        )
        for each in numbers.subjects
        if each.site or each.subject_identifier
    }


def _figures(numbers: ReportNumbers, states: Mapping[str, int]) -> list[Figure]:
    partitions, current = sum(states.values()), states.get("current", 0)
    subjects = sum(each.subjects for each in numbers.studies)
    exporting = sum(each.subjects_with_exports for each in numbers.studies)
    totals = [each for each in numbers.wear if each.is_total]
    visits = [each for each in numbers.visits if each.is_total]
    valid = Figure(
        "Enough valid days",
        f"{sum(each.enough for each in totals):,}",
        f"of {sum(each.subjects for each in totals):,} subjects with exports; unknown for "
        f"{sum(each.enough_unknown for each in totals):,}",
    )
    compliant = Figure(
        "Compliant visits",
        f"{sum(each.compliant for each in visits):,}",
        f"of {sum(each.with_wear_period for each in visits):,} with a wear period; unknown for "
        f"{sum(each.compliance_unknown for each in visits):,}",
    )
    return [
        Figure("Subjects", f"{subjects:,}", f"{exporting:,} with exports"),
        Figure(
            "Current",
            share(current, partitions) or "no exports",
            f"{current:,} of {partitions:,} partitions",
        ),
        valid,
        compliant if visits else Figure("Compliant visits", "unknown", "no visit is known"),
        Figure(
            "Executed again",
            f"{sum(each.executed_again for each in numbers.changes):,}",
            f"exports; {sum(each.changed for each in numbers.changes):,} changed",
        ),
        Figure("Waiting", f"{numbers.waits.subjects:,}", "subjects")
        if numbers.waits.pairs
        else Figure("Waiting", "unknown", "no look at CentrePoint is recorded"),
    ]


def _attention(numbers: ReportNumbers, states: Mapping[str, int]) -> list[Attention]:
    found = [
        Attention(count(states[state], "partition"), state, "not-current")
        for state in _WORSE_FIRST
        if states.get(state)
    ]
    if invalid := sum(each.invalid_items for each in numbers.studies):
        found.append(Attention(count(invalid, "listed item"), "invalid", "state"))
    unknown_days = sum(each.unknown_days for each in numbers.wear if each.is_total)
    if unknown_days:
        found.append(Attention(count(unknown_days, "day"), "of unknown validity", "unknown-days"))
    if waiting := numbers.waits.to_process:
        found.append(Attention(count(waiting, "subject"), "uploaded, not processed", "waiting"))
    return found


def _buckets(valid_days: Sequence[tuple[int, int]]) -> list[tuple[str, int]]:
    """Return how many subjects have how many valid days, in at most about a dozen rows."""
    if not valid_days:
        return []
    most = max(days for days, _ in valid_days)
    width = -(-(most + 1) // _BUCKETS)
    counted = Counter[int]()
    for days, subjects in valid_days:
        counted[days // width] += subjects
    return [
        (
            str(place) if width == 1 else f"{place * width} to {(place + 1) * width - 1}",
            counted[place],
        )
        for place in range(most // width + 1)
    ]


def _site_reason(numbers: ReportNumbers) -> str:
    """Return why the site of subjects is unknown; empty if all sites are known."""
    if all(each.site for each in numbers.subjects):
        return ""
    if any(each.site for each in numbers.subjects):
        return "CentrePoint names no site for these subjects"
    return "the details of the study are not read; CP_STUDY_DETAILS=1 reads them"
