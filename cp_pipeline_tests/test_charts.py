"""Charts: well-formed SVG with the right content, and small enough for the UI."""

import math
from collections.abc import Mapping
from itertools import pairwise
from urllib.parse import unquote
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given, strategies as st

from cp_pipeline.charts import (
    bars,
    coverage_map,
    curve,
    in_markdown,
    label_in_markdown,
    share_bar,
)

SVG = "{http://www.w3.org/2000/svg}"
# The length that the Dagster UI shows without a click (dagster-webserver 1.13.27).
WITHOUT_A_CLICK = 1000
STATES = ["current", "stale", "missing", "failed", "pending", "withdrawn"]


def drawn(picture: str) -> ET.Element:
    return ET.fromstring(picture)


def texts(picture: str) -> list[str]:
    return [str(element.text) for element in drawn(picture).iter(f"{SVG}text")]


def colours(picture: str) -> list[str]:
    return [str(element.get("fill")) for element in drawn(picture).iter(f"{SVG}rect")]


def coverage(
    pairs: Mapping[tuple[int, str], str], names: Mapping[int, tuple[str, str]] | None = None
) -> str:
    """Draw the map of the state of each subject and data set."""
    states: dict[str, dict[int, str]] = {}
    for (subject, dataset), state in pairs.items():
        states.setdefault(dataset, {})[subject] = state
    return coverage_map(states, names)


def test_a_small_study_has_a_row_for_each_subject_and_its_number() -> None:
    states = {(subject, "Daily"): "current" for subject in range(100, 112)}
    picture = coverage(states)
    assert texts(picture)[:13] == ["Daily", *map(str, range(100, 112))]
    assert "current 12" in texts(picture)


def test_a_pair_without_an_export_is_neither_missing_nor_current() -> None:
    picture = coverage({(1, "A"): "current", (2, "B"): "current"})
    assert "missing 0" in texts(picture)
    # Two cells and the legend.
    assert colours(picture).count("#f0f2f4") == 3


def test_two_thousand_subjects_fit_on_a_screen_and_one_failure_shows() -> None:
    states = {(s, f"Set {d}"): "current" for s in range(2000) for d in range(40)}
    sound = coverage(states)
    states[1234, "Set 7"] = "failed"
    picture = coverage(states)
    assert colours(picture).count("#d1495b") == colours(sound).count("#d1495b") + 1
    assert "failed 1" in texts(picture)
    assert float(str(drawn(picture).get("height"))) < 900
    assert float(str(drawn(picture).get("width"))) < 1400
    assert len(picture) < 200_000


def test_a_shared_row_is_divided_by_how_many_are_in_which_state() -> None:
    states = {(subject, "A"): "current" for subject in range(240)}
    states |= {(subject, "A"): "missing" for subject in range(1, 240, 2)}
    picture = coverage(states)
    assert texts(picture)[-7:-4] == ["current 120", "stale 0", "missing 120"]
    halves = [
        float(str(element.get("width")))
        for element in drawn(picture).iter(f"{SVG}rect")
        if element.get("fill") in {"#2a9d68", "#9aa7b5"} and element.get("height") == "5"
    ]
    assert halves
    assert set(halves) == {12.0}


def test_subjects_of_a_site_stand_together_under_their_identifiers() -> None:
    states = {(subject, "Daily"): "current" for subject in range(1, 6)}
    names = {1: ("101 Graz", "101-0003"), 2: ("102 Pune", "102-0001"), 3: ("", "0007"),
             4: ("101 Graz", "101-0001")}  # fmt: skip
    words = texts(coverage(states, names))
    assert words[1:4] == ["101 Graz", "102 Pune", "no site"]
    assert words[4:9] == ["101-0001", "101-0003", "102-0001", "5", "0007"]


def test_a_shared_row_is_of_one_site_and_no_label_covers_another() -> None:
    subjects = range(2000)
    states = {(subject, "A"): "current" for subject in subjects}
    for number in (3, 25, 180):
        names = {each: (f"Site {each % number:03}", f"{each:04}") for each in subjects}
        drawing = drawn(coverage(states, names))
        assert float(str(drawing.get("height"))) < 1100
        bases: dict[str, list[float]] = {}
        for element in drawing.iter(f"{SVG}text"):
            bases.setdefault(str(element.get("x")), []).append(float(str(element.get("y"))))
        for column in list(bases.values())[1:3]:
            assert len(column) > 2
            assert all(after - before >= 11 for before, after in pairwise(column))


def test_a_label_is_found_in_the_markdown_of_a_picture() -> None:
    label = 'a-1 & "b" <c> %\n'
    picture = coverage({(1, "A"): "current"}, {1: ("s", label)})
    assert label_in_markdown(label) in in_markdown(picture, "words")


def test_names_from_centrepoint_cannot_become_elements() -> None:
    picture = coverage({(1, "<script>alert('&')</script>"): "current"})
    assert texts(picture)[0] == "<script>alert('&')</script>"


def test_a_curve_of_three_days_needs_no_click() -> None:
    means = [abs(math.sin(hour / 4)) * 4000 + hour % 5 for hour in range(72)]
    picture = curve("AVGPRESSUREHPA, mean over TIMESTAMPUTC", "2024-02-05 00:00",
                    "2024-02-07 23:59", means)  # fmt: skip
    assert len(in_markdown(picture, "AVGPRESSUREHPA over time")) < WITHOUT_A_CLICK


def test_a_gap_is_not_drawn_over() -> None:
    line, dot = drawn(curve("", "", "", [1.0, 2.0, None, 3.0])).iter(f"{SVG}path")
    assert str(line.get("d")).count("M") == 1
    assert str(dot.get("d")).count("M") == 1


@given(st.lists(st.none() | st.floats(allow_nan=True, allow_infinity=True), max_size=80), st.text())
def test_any_values_make_a_curve_within_its_sheet(means: list[float | None], title: str) -> None:
    clean = "".join(letter for letter in title if letter.isprintable())
    picture = curve(clean, "then", "now", means)
    assert texts(picture)[0] == clean or not clean
    for path in drawn(picture).iter(f"{SVG}path"):
        assert "nan" not in str(path.get("d"))
        assert "inf" not in str(path.get("d"))


def test_markdown_gives_the_picture_back_whole() -> None:
    picture = coverage({(1, "50 % & <more> #1 (a) [b] \\"): "stale"})
    address = in_markdown(picture, "words").removeprefix("![words](<data:image/svg+xml,")
    assert unquote(address.removesuffix(">)")) == picture
    assert not set("<>#&\\") & set(address.removesuffix(">)"))


@pytest.mark.parametrize("quantities", [{}, {"nothing": 0.0}, {"listing": 0.1, "download": 43.1}])
def test_bars_name_every_quantity(quantities: dict[str, float]) -> None:
    words = texts(bars("Where the time went", quantities, "s"))
    assert words[0] == "Where the time went"
    assert words[1::2] == list(quantities)
    assert words[2::2] == [f"{value:,.2f} s" for value in quantities.values()]


def test_sites_without_room_for_their_names_are_counted_and_the_row_says_how_many_share_it() -> (
    None
):
    subjects = range(2000)
    states = {
        (subject, f"Daily{version}"): "current" for subject in subjects for version in (8, 10)
    }
    names = {each: (f"Site {each % 120:03}", f"{each:04}") for each in subjects}
    words = texts(coverage(states, names))
    assert words[:2] == ["Daily8", "Daily10"]
    named = [each for each in words if each.startswith("Site ")]
    more = sum(int(each.partition("+")[2] or 0) for each in named)
    assert len(named) + more == 120
    assert any(each.startswith("Each row: up to ") for each in words)
    assert not any("Each row" in each for each in texts(coverage({(1, "A"): "current"})))


@pytest.mark.parametrize("number", [1, 40_000])
def test_no_entry_of_the_legend_covers_the_next(number: int) -> None:
    states = {(subject, "A"): state for state in STATES for subject in [STATES.index(state)]}
    picture = coverage({**states, **{(n, "B"): "withdrawn" for n in range(number)}})
    entries = [each for each in drawn(picture).iter(f"{SVG}text") if each.get("font-size") == "10"]
    legend = [each for each in entries if str(each.text).split(" ")[0] in (*STATES, "no")]
    places = [(float(str(each.get("x"))), len(str(each.text))) for each in legend]
    assert len(places) == len(STATES) + 1
    assert all(left + 5 * signs <= right - 14 for (left, signs), (right, _) in pairwise(places))
    assert places[-1][0] + 5 * places[-1][1] < float(str(drawn(picture).get("width")))


@pytest.mark.parametrize(
    ("parts", "whole", "label"),
    [
        ({}, 0, "nothing"),
        ({"yes": 0, "no": 0}, 0, "nothing"),
        ({"current": 1999, "failed": 1}, 0, "current 1,999, failed 1"),
        ({"yes": 1}, 1000, "yes 1"),
        ({"yes": 3, "unknown": 0, "no": 1}, 0, "yes 3, no 1"),
    ],
)
def test_a_bar_of_shares_names_its_parts_and_hides_none(
    parts: dict[str, int], whole: int, label: str
) -> None:
    drawing = drawn(share_bar(parts, whole))
    assert drawing.get("aria-label") == label
    widths = [float(str(each.get("width"))) for each in drawing.iter(f"{SVG}rect")]
    assert len(widths) == sum(number > 0 for number in parts.values())
    assert all(width >= 1.5 for width in widths)
    assert sum(widths) <= float(str(drawing.get("width"))) + 0.1
