"""The definitions of docs/models.md in Polars and Python, written from that page alone.

Belongs here: from the rows of files to days, subjects and visits. Does not belong: SQL; anything
that was read from ``dbt_style_sql``.
"""

import itertools
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import polars as pl

QUARTER = timedelta(minutes=15)
MILLION = 1_000_000
MEASURES = (
    "wear_minutes", "awake_wear_minutes", "sleep_minutes", "sedentary_minutes", "light_minutes",
    "moderate_minutes", "vigorous_minutes", "moderate_to_vigorous_minutes", "steps", "kilocalories",
)  # fmt: skip
Row = dict[str, object]


@dataclass(frozen=True)
class File:
    """One export: the rows as a frame of texts, named as in the file."""

    subject: int
    dataset: str
    rows: pl.DataFrame


@dataclass(frozen=True)
class Person:
    """A subject's clock: its own zone (None if unknown), and changes by date."""

    zone: str | None
    changes: Sequence[tuple[date, str]] = field(default=())

    def clock(self, moment: datetime) -> tuple[str, str]:
        """The zone at an instant (UTC, without a zone), and why it is that one."""
        for since, zone in reversed(self.changes):
            midnight = datetime(since.year, since.month, since.day, tzinfo=ZoneInfo(zone))
            if moment.replace(tzinfo=UTC) >= midnight:
                return zone, "timezone_history"
        return (self.zone, "subject_timezone") if self.zone else ("UTC", "utc")

    def local(self, moment: datetime) -> datetime:
        zone = ZoneInfo(self.clock(moment)[0])
        return moment.replace(tzinfo=UTC).astimezone(zone).replace(tzinfo=None)

    def day(self, day: date) -> Row:
        """The length of a local day, counted in quarters of an hour, and its last clock."""
        start = datetime.fromisoformat(str(day)) - timedelta(days=2)
        moments = [start + QUARTER * number for number in range(5 * 96)]
        inside = [moment for moment in moments if self.local(moment).date() == day]
        zone, basis = self.clock(inside[-1])
        return {"day_minutes": 15.0 * len(inside), "timezone": zone, "day_basis": basis}


def _number(text: str | None) -> int | None:
    """A value in millionths, so that sums are exact."""
    return None if text is None else round(float(text) * MILLION)


def _share(known: int, of: int) -> float | None:
    return known / of if of else None


def epoch_days(file: File, person: Person) -> dict[date, Row]:
    """The days of one load of epochs."""
    names = file.rows.columns
    is_local = "TIMESTAMP" in names
    time = "TIMESTAMP" if is_local else "TIMESTAMPUTC"
    columns = {
        "met": "MET",
        "steps": "STEPS",
        "kcal": "CALORIES",
        "worn": "WEAR",
        "awake": "AWAKEWEAR",
    }
    frame = file.rows.select(
        pl.col(time).str.to_datetime("%Y-%m-%d %H:%M:%S").alias("time"),
        *(
            (pl.col(name).cast(pl.Float64) * MILLION).round().cast(pl.Int64).alias(own)
            if name in names
            else pl.lit(None, pl.Int64).alias(own)
            for own, name in columns.items()
        ),
    )
    # A time that occurs twice counts once: the highest values, a missing one is the lowest.
    frame = frame.sort(list(columns), descending=True, nulls_last=True, maintain_order=True)
    frame = frame.unique("time", keep="first", maintain_order=True).sort("time")
    seconds = _length(frame, file.rows.select(pl.col(time).str.to_datetime("%Y-%m-%d %H:%M:%S")))
    by_day: dict[date, list[Row]] = defaultdict(list)
    for row in frame.iter_rows(named=True):
        moment = row["time"]
        by_day[(moment if is_local else person.local(moment)).date()].append(row)
    return {day: _day(rows, seconds) | {"is_local": is_local} for day, rows in by_day.items()}


def _length(frame: pl.DataFrame, every: pl.DataFrame) -> float | None:
    days = Counter(moment.date() for (moment,) in every.iter_rows())
    fullest = min(days, key=lambda day: (-days[day], day))
    times = [moment for moment in frame["time"] if moment.date() == fullest]
    apart = Counter(
        (later - earlier).total_seconds() for earlier, later in itertools.pairwise(times)
    )
    return min(apart, key=lambda distance: (-apart[distance], distance)) if apart else None


def _day(rows: list[Row], seconds: float | None) -> Row:
    measuring = [row for row in rows if row["worn"] is None or row["worn"] > 0]  # type: ignore[operator]
    known = {
        name: [row[name] for row in of if row[name] is not None]
        for name, of in (
            ("worn", rows), ("awake", rows),
            ("met", measuring), ("steps", measuring), ("kcal", measuring),
        )
    }  # fmt: skip
    shares = {
        "wear_known_share": _share(len(known["worn"]), len(rows)),
        "awake_wear_known_share": _share(len(known["awake"]), len(rows)),
        "effort_known_share": _share(len(known["met"]), len(measuring)),
        "steps_known_share": _share(len(known["steps"]), len(measuring)),
        "kilocalories_known_share": _share(len(known["kcal"]), len(measuring)),
    }
    enough = {name: share is not None and share >= 0.8 for name, share in shares.items()}
    totals = {name: sum(values) / MILLION for name, values in known.items()}  # type: ignore[arg-type]
    made: Row = dict.fromkeys((*MEASURES, "mean_met"), None)
    made |= shares | {
        "epoch_seconds": seconds,
        "covered_minutes": None if seconds is None else len(rows) * seconds / 60,
    }
    if enough["steps_known_share"]:
        made["steps"] = totals["steps"]
    if enough["kilocalories_known_share"]:
        made["kilocalories"] = totals["kcal"]
    if enough["effort_known_share"]:
        made["mean_met"] = totals["met"] / len(known["met"])
    if seconds is None:
        return made
    if enough["wear_known_share"]:
        made["wear_minutes"] = totals["worn"] * seconds / 60
    if enough["awake_wear_known_share"]:
        made["awake_wear_minutes"] = totals["awake"] * seconds / 60
    if enough["effort_known_share"]:
        levels = _levels(measuring, seconds)
        made |= {f"{name}_minutes": count * seconds / 60 for name, count in levels.items()}
        active = levels["moderate"] + levels["vigorous"]
        made["moderate_to_vigorous_minutes"] = active * seconds / 60
    return made


def _levels(rows: list[Row], seconds: float) -> dict[str, int]:
    groups: dict[object, list[int]] = defaultdict(list)
    for number, row in enumerate(rows):
        moment, met = row["time"], row["met"]
        assert isinstance(moment, datetime)
        if isinstance(met, int):
            groups[moment.replace(second=0) if seconds < 60 else number].append(met)
    levels = {"light": 0, "moderate": 0, "vigorous": 0}
    for mets in groups.values():
        mean = sum(mets) / MILLION / len(mets)
        if mean >= 6:
            levels["vigorous"] += len(mets)
        elif mean >= 3:
            levels["moderate"] += len(mets)
        elif mean > 1.5:
            levels["light"] += len(mets)
    return levels


def daily_days(file: File) -> dict[date, Row]:
    """The days of one load of daily summaries."""
    names = {
        "wear_minutes": "WEARMINUTES", "awake_wear_minutes": "AWAKEWEARMINUTES",
        "sleep_minutes": "SLEEPMINUTES", "sedentary_minutes": "SEDENTARYMINUTES",
        "light_minutes": "LIGHTMINUTES", "moderate_minutes": "MODERATEMINUTES",
        "vigorous_minutes": "VIGOROUSMINUTES", "moderate_to_vigorous_minutes": "MVPAMINUTES",
        "steps": "STEPS", "kilocalories": "CALORIES", "mean_met": "MET",
    }  # fmt: skip
    days: dict[date, Row] = {}
    for row in file.rows.iter_rows(named=True):
        read = {
            own: None if row.get(name) is None else float(row[name]) for own, name in names.items()
        }
        moderate, vigorous = read["moderate_minutes"], read["vigorous_minutes"]
        if read["moderate_to_vigorous_minutes"] is None and None not in {moderate, vigorous}:
            read["moderate_to_vigorous_minutes"] = moderate + vigorous  # type: ignore[operator]
        day = date.fromisoformat(row["DATE"][:10])
        more = (read["wear_minutes"] or -1, read["steps"] or -1)
        old = days.get(day)
        if old is None or more > (old["wear_minutes"] or -1, old["steps"] or -1):
            days[day] = dict(read)
    return days


def subject_days(files: Iterable[File], people: Mapping[int, Person]) -> list[Row]:
    """Every row of ``marts.subject_days`` but its names and loads, in order."""
    chosen: dict[tuple[int, str], File] = {}
    for file in sorted(files, key=_version):
        chosen[file.subject, _series(file)] = file
    rows: list[Row] = []
    for subject, person in people.items():
        summaries = chosen.get((subject, "ActivityDaily"))
        epochs = chosen.get((subject, "ActivityEpochs"))
        of_summaries = daily_days(summaries) if summaries else {}
        for day, read in of_summaries.items():
            made = dict(person.day(day), **read, measured_by="daily summary")
            made |= {"subject_id": subject, "date": day, "day_basis": "as_written"}
            rows.append(made | {"dataset_name": summaries.dataset if summaries else ""})
        for day, read in (epoch_days(epochs, person) if epochs else {}).items():
            about = person.day(day)
            is_local = read.pop("is_local")
            reach = int(about["day_basis"] == "utc" and not is_local)
            near = {day + timedelta(days=apart) for apart in range(-reach, reach + 1)}
            if near & set(of_summaries):
                continue
            made = dict(about, **read, measured_by="epochs", subject_id=subject, date=day)
            made |= {"day_basis": "local_times"} if is_local else {}
            rows.append(made | {"dataset_name": epochs.dataset if epochs else ""})
    for row in rows:
        row.update(_validity(row))
    return sorted(rows, key=lambda row: (row["subject_id"], row["date"]))


def _series(file: File) -> str:
    return file.dataset.rstrip("0123456789")


def _version(file: File) -> tuple[bool, int]:
    return len(file.rows) > 0, int(file.dataset.removeprefix(_series(file)) or -1)


def _validity(row: Row) -> Row:
    awake, wear = row["awake_wear_minutes"], row["wear_minutes"]
    waking = None if awake is None else awake >= 600  # type: ignore[operator]
    whole = None if wear is None else wear >= 960  # type: ignore[operator]
    either = True if True in {waking, whole} else None if None in {waking, whole} else False
    return {"is_valid_waking_wear": waking, "is_valid_wear_24h": whole, "is_valid_day": either}


def means(days: Sequence[Row], prefix: str = "") -> Row:
    """The mean and n of each measure over the valid ones of these days."""
    made: Row = {}
    for measure in MEASURES:
        valid = [day for day in days if day["is_valid_day"] and day.get(measure) is not None]
        known = [_number(str(day[measure])) for day in valid]
        total = sum(value for value in known if value is not None)
        made[f"{prefix}mean_{measure}"] = total / MILLION / len(known) if known else None
        made[f"{prefix}n_{measure}"] = len(known)
    return made


def counts(days: Sequence[Row]) -> Row:
    """How many days there are, by validity."""
    return {
        "days": len(days),
        "valid_days": sum(row["is_valid_day"] is True for row in days),
        "unknown_days": sum(row["is_valid_day"] is None for row in days),
    }


def is_enough(valid: int, unknown: int, needed: int) -> bool | None:
    """Whether there are enough valid days; None if days of unknown validity could decide it."""
    return True if valid >= needed else False if valid + unknown < needed else None
