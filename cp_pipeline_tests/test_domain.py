"""The shared domain types: timestamps to 100 nanoseconds, and the equality of exports."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from itertools import pairwise
from random import Random

import pytest
from hypothesis import given, strategies as st

from cp_pipeline.domain.exports import TICKS_PER_SECOND, ExportFile, ExportKey, Instant, Partition

SECOND = 1_709_201_360  # 2024-02-29T10:09:20Z
FILE = ExportFile(
    study_id=4711,
    subject_id=10821,
    study_program_id="5e65f4e3-6996-41fe-a5aa-c79210285f7e",
    dataset_name="ActivityDaily8",
    file_name="10821_x.csv.gz",
    file_format="csv",
    modified=Instant.parse("2024-02-29T10:09:21Z"),
    execution=Instant.parse("2024-02-29T10:09:20.5899754+00:00"),
    url="https://blobs.example.invalid/x?sig=TopSecret",
)


@pytest.mark.parametrize(
    ("text", "ticks"),
    [
        ("2024-02-29T10:09:20.5899754+00:00", 5_899_754),
        ("2024-02-29T10:09:20.0000001+00:00", 1),
        ("2024-02-29T10:09:20.58+00:00", 5_800_000),
        ("2024-02-29T10:09:20.5+00:00", 5_000_000),
        ("2024-02-29T10:09:20+00:00", 0),
        ("2024-02-29T10:09:20Z", 0),
        ("2024-02-29t10:09:20.5z", 5_000_000),
        ("2024-02-29 10:09:20.5Z", 5_000_000),
        ("2024-02-29T12:09:20.5+02:00", 5_000_000),
        ("2024-02-29T12:09:20.5+0200", 5_000_000),
        ("2024-02-29T15:39:20.5+05:30", 5_000_000),
        ("2024-02-29T00:39:20.5-09:30", 5_000_000),
        ("2024-03-01T00:09:20.5899754+14:00", 5_899_754),
        ("2024-02-29T10:09:20.589975400+00:00", 5_899_754),
    ],
)
def test_a_timestamp_is_read_to_its_last_digit_and_kept_to_the_letter(
    text: str, ticks: int
) -> None:
    instant = Instant.parse(text)
    assert instant.ticks == SECOND * TICKS_PER_SECOND + ticks
    assert instant.nanoseconds == instant.ticks * 100
    assert str(instant) == instant.verbatim == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "yesterday",
        "2024-02-29",
        "2024-02-29T10:09:20.5899754",
        "2024-02-29T10:09:20",
        "2024-02-29T10:09+00:00",
        "2024-02-29T10:09:20.+00:00",
        "2024-02-29T10:09:20,5+00:00",
        "2024-02-30T10:09:20+00:00",
        "2023-02-29T10:09:20+00:00",
        "2024-02-29T24:09:20+00:00",
        "2024-02-29T10:09:60+00:00",
        "2024-02-29T10:09:20+24:00",
        "2024-02-29T10:09:20+01:60",
        "2024-02-29T10:09:20+1:00",
        "2024-02-29T10:09:20+00:00 ",
        "2024-02-29T10:09:20+00:00\n",
        "\u0662\u0660\u0662\u0664-02-29T10:09:20+00:00",
        "2024-02-29T10:09:20.\u0665+00:00",
    ],
)
def test_what_is_no_timestamp_with_an_offset_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        Instant.parse(text)


@pytest.mark.parametrize("fraction", ["58997541", "00000001", "589975401", "000000001"])
def test_what_is_finer_than_100_nanoseconds_is_refused_and_not_rounded(fraction: str) -> None:
    with pytest.raises(ValueError, match="finer than 100 nanoseconds"):
        Instant.parse(f"2024-02-29T10:09:20.{fraction}+00:00")


def test_the_same_moment_written_differently_is_equal() -> None:
    instants = {
        Instant.parse(text)
        for text in (
            "2024-02-29T10:09:20.5000000+00:00",
            "2024-02-29T10:09:20.5Z",
            "2024-02-29T11:09:20.50+01:00",
        )
    }
    assert len(instants) == 1
    texts: set[object] = {"2024-02-29T10:09:20.5Z"}
    assert instants != texts


def test_instants_are_ordered_by_the_moment_and_not_by_the_text() -> None:
    in_order = [
        Instant.parse(text)
        for text in (
            "0001-01-01T00:00:00+00:00",
            "1969-12-31T23:59:59.9999999+00:00",
            "1970-01-01T00:00:00+00:00",
            "2024-03-01T00:09:20+14:00",
            "2024-02-29T10:09:20.5899754+00:00",
            "2024-02-29T10:09:20.5899755+00:00",
            "2024-02-29T10:09:20.59+00:00",
            "2024-02-29T01:09:20.59-09:01",
            "9999-12-31T23:59:59.9999999-12:00",
        )
    ]
    assert all(
        one < other and one <= other and not other <= one for one, other in pairwise(in_order)
    )
    mixed = list(in_order)
    Random(1).shuffle(mixed)
    assert [str(each) for each in sorted(mixed)] == [str(each) for each in in_order]
    assert in_order[1].ticks == -1


offsets = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timedelta(minutes=minutes))
wholes = st.datetimes(datetime(1000, 1, 2), datetime(9999, 12, 30)).map(  # noqa: DTZ001
    lambda moment: moment.replace(microsecond=0)
)


def written(whole: datetime, digits: str, offset: timedelta) -> str:
    """Return a timestamp as CentrePoint writes it."""
    minutes = abs(offset) // timedelta(minutes=1)
    sign = "-" if offset < timedelta() else "+"
    zone = f"{sign}{minutes // 60:02d}:{minutes % 60:02d}"
    return f"{whole.isoformat()}{'.' if digits else ''}{digits}{zone}"


@given(wholes, st.text("0123456789", max_size=7), offsets)
def test_every_moment_means_what_python_says_and_a_tick_more_is_later(
    whole: datetime, digits: str, offset: timedelta
) -> None:
    instant = Instant.parse(written(whole, digits, offset))
    since = whole.replace(tzinfo=timezone(offset)) - datetime(1970, 1, 1, tzinfo=UTC)
    fraction = int(digits.ljust(7, "0"))
    assert instant.ticks == since // timedelta(seconds=1) * TICKS_PER_SECOND + fraction
    if fraction < TICKS_PER_SECOND - 1:
        assert instant < Instant.parse(written(whole, f"{fraction + 1:07d}", offset))


def test_two_programs_with_one_file_name_are_two_exports_of_one_partition() -> None:
    other = replace(FILE, study_program_id="another")
    assert other.key != FILE.key
    assert other.partition == FILE.partition == Partition(10821, "ActivityDaily8")
    assert FILE.key == ExportKey(4711, 10821, FILE.study_program_id, "ActivityDaily8")


def test_a_new_link_makes_no_new_export_file() -> None:
    fresh = replace(FILE, url="https://blobs.example.invalid/x?sig=Another")
    assert fresh == FILE
    assert hash(fresh) == hash(FILE)


def test_a_file_is_shown_with_everything_that_names_it_but_its_link() -> None:
    assert str(FILE) == (
        "study 4711, subject 10821, data set ActivityDaily8, "
        f"study program {FILE.study_program_id}, file 10821_x.csv.gz"
    )
    assert "TopSecret" not in f"{FILE!r}"
    assert str(FILE.partition) == "subject 10821, data set ActivityDaily8"
