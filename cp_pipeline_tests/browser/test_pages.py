"""The pages of the Dagster UI as a person sees them. Each test saves a picture of its page."""

import re
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote

from cp_pipeline_tests.browser.conftest import DAILY, EPOCHS, FAILING, PARTITIONS, Failed
from cp_pipeline_tests.browser.dagster_ui import DagsterUi, Run, until

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page


def partition_page(partition: str) -> str:
    return f"/assets/dataset_exports?view=partitions&partition={quote(partition)}"


def metadata(page: "Page", name: str) -> "Locator":
    """The row of a metadata entry."""
    return page.get_by_role("row").filter(has=page.get_by_text(name, exact=True)).last


def picture(place: "Locator") -> tuple[str, int]:
    """The SVG of a chart, once it is drawn, and its width in pixels."""
    image = place.locator("img[src^='data:image/svg+xml']")
    image.wait_for()
    width = until(
        "the picture to be drawn",
        lambda: int(image.evaluate("image => image.complete ? image.naturalWidth : 0")),
    )
    return unquote(str(image.get_attribute("src"))), width


def wholly_shown(place: "Locator") -> bool:
    """Whether the element is fully visible in the window and in every scrolling box around it."""
    return bool(
        place.evaluate(
            """async place => await new Promise(resolve => new IntersectionObserver(
                ([seen]) => resolve(seen.intersectionRatio > 0.99)).observe(place))"""
        )
    )


def blue_pixels(page: "Page", image: "Locator") -> int:
    """The number of pixels of an image that are blue rather than grey, as the browser draws it."""
    return int(
        image.evaluate(
            """image => {
                const canvas = document.createElement('canvas')
                canvas.width = image.naturalWidth
                canvas.height = image.naturalHeight
                const paper = canvas.getContext('2d')
                paper.drawImage(image, 0, 0)
                const {data} = paper.getImageData(0, 0, canvas.width, canvas.height)
                let blue = 0
                for (let at = 0; at < data.length; at += 4) blue += data[at + 2] - data[at] > 80
                return blue
            }"""
        )
    )


def test_the_asset_graph_shows_the_way_from_the_listing_to_the_exports(
    page: "Page", loaded: dict[str, Run]
) -> None:
    page.goto("/asset-groups")
    nodes = page.locator("foreignObject")
    for group in ("models", "marts", "analysts"):
        nodes.get_by_text(group, exact=True).wait_for()
    nodes.get_by_text("centrepoint", exact=True).click()
    for name in ("export_files", "listed_executions", "dataset_exports"):
        nodes.get_by_text(name, exact=True).wait_for()


def test_the_partition_matrix_has_data_sets_and_subjects_all_materialized(
    page: "Page", loaded: dict[str, Run]
) -> None:
    page.goto("/assets/dataset_exports?view=partitions")
    for name in (DAILY, EPOCHS, *map(str, range(10821, 10829))):
        page.get_by_text(name, exact=True).first.wait_for()
    for dimension in ("dataset", "subject"):
        page.get_by_placeholder(f"Filter by {dimension}").wait_for()
    for words in (f"Materialized ({PARTITIONS})", "Missing (0)", "Failed (0)"):
        page.get_by_text(words, exact=True).wait_for()


def test_a_partition_shows_its_execution_a_curve_and_first_records_without_a_click(
    page: "Page", ui: DagsterUi, loaded: dict[str, Run]
) -> None:
    partition = f"{EPOCHS}|10821"
    page.goto(partition_page(partition))
    metadata(page, "program_execution").get_by_text(ui.listed()[partition]).wait_for()
    curve = metadata(page, "curve")
    drawn, width = picture(curve)
    assert "STEPS, mean over TIMESTAMPUTC" in drawn
    assert width > 0
    assert wholly_shown(curve.locator("img"))
    first_records = metadata(page, "first_records")
    first_records.get_by_text("2024-02-05 00:00:00").wait_for()
    first_records.get_by_text("The first of 2,880 records.").wait_for()


def test_a_curve_of_one_value_a_day_can_be_seen(page: "Page", loaded: dict[str, Run]) -> None:
    page.goto(partition_page(f"{DAILY}|10821"))
    curve = metadata(page, "curve")
    picture(curve)
    dots = until("the two dots", lambda: blue_pixels(page, curve.locator("img")))
    assert dots > 20


def test_a_check_goes_red_and_shows_the_number_and_the_partition_at_fault(
    page: "Page", failed: Failed
) -> None:
    page.goto("/assets/dataset_exports?view=checks")
    page.get_by_text("listed_execution_is_loaded", exact=True).first.click()
    page.get_by_text("Evaluation result").wait_for()
    page.get_by_text("Failed", exact=True).last.wait_for()
    metadata(page, "at_fault").get_by_text("1", exact=True).wait_for()
    metadata(page, "examined").get_by_text(str(PARTITIONS), exact=True).wait_for()
    at_fault = page.get_by_role("row").filter(has=page.get_by_text(str(FAILING), exact=True)).last
    for words in (EPOCHS, "failed", failed.listed, failed.loaded):
        at_fault.get_by_text(words, exact=True).wait_for()


def test_a_failed_run_tells_the_reason_without_scrolling(page: "Page", failed: Failed) -> None:
    page.goto(f"/runs/{failed.run_id}")
    reason = page.get_by_text(
        f"subject {FAILING}, data set {EPOCHS}, file {failed.file_name}: Line 6"
    ).last
    reason.wait_for()
    until("the log to be at its end", lambda: wholly_shown(reason), 30)


def test_the_coverage_map_shows_every_subject_and_data_set_by_state(
    page: "Page", failed: Failed
) -> None:
    page.goto("/assets/export_files")
    metadata(page, "coverage").get_by_text("[Show Markdown]").click()
    drawn, width = picture(page.get_by_role("dialog"))
    assert width > 0
    for words in (DAILY, EPOCHS, "10821", str(FAILING), f"current {PARTITIONS - 1}", "failed 1"):
        assert f">{words}<" in drawn
    assert wholly_shown(page.get_by_role("dialog").locator("img"))


def test_where_the_time_of_a_run_went_is_a_picture(page: "Page", failed: Failed) -> None:
    page.goto("/assets/export_files")
    metadata(page, "where_the_time_went").get_by_text("[Show Markdown]").click()
    drawn, width = picture(page.get_by_role("dialog"))
    assert width > 0
    for words in ("listing", "download", "decode", "load", "warehouse_held"):
        assert f">{words}<" in drawn
    assert wholly_shown(page.get_by_role("dialog").locator("img"))


def test_a_stale_partition_says_that_its_listed_execution_is_newer(
    page: "Page", failed: Failed
) -> None:
    page.goto(partition_page(failed.partition))
    metadata(page, "program_execution").get_by_text(failed.loaded).wait_for()
    page.get_by_text("Unsynced (1)", exact=True).hover()
    page.get_by_text("1 upstream data version change").wait_for()
    page.get_by_text("has a new data version").wait_for()
    page.get_by_role("link", name="listed_executions").last.wait_for()


def test_the_sensor_says_why_it_asks_for_nothing(
    page: "Page", ui: DagsterUi, failed: Failed
) -> None:
    rests = "1 partition failed and waiting"
    until("the sensor to skip", lambda: ui.skip_reasons()[0].startswith(rests))
    page.goto("/locations/cp_pipeline.definitions/sensors/new_program_executions")
    page.get_by_role("button", name="View logs").last.wait_for()
    words = page.get_by_text(re.compile("failed and waiting, the first until .* UTC"))

    def shown() -> bool:
        # A new tick moves the row away from the pointer, and so hides its tooltip.
        page.mouse.move(0, 0)
        page.get_by_text("0 runs requested", exact=True).first.hover()
        page.wait_for_timeout(1000)
        return words.is_visible()

    until("the sensor's reason", shown)


def test_one_partition_is_materialized_by_clicks_and_shows_its_new_record(
    page: "Page", ui: DagsterUi, loaded: dict[str, Run]
) -> None:
    partition = f"{EPOCHS}|10822"
    before = ui.records()[partition]
    page.goto(partition_page(partition))
    page.get_by_text(f"View all historical events ({len(before)})").wait_for()
    page.get_by_role("button", name="Materialize").first.click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_text("1 partition", exact=True).wait_for()
    dialog.get_by_role("button", name="Launch 1 run").click()
    launched = page.get_by_text(re.compile("^Launched run "))
    launched.wait_for()
    run_id = launched.inner_text().split()[-1]

    (newest,) = until("a new record", lambda: ui.records()[partition][: -len(before)])
    assert newest.run_id.startswith(run_id)
    assert newest.data_version == ui.listed()[partition]
    assert ui.when_loaded()[newest.run_id].status == "SUCCESS"
    page.reload()
    page.get_by_text(f"View all historical events ({len(before) + 1})").wait_for()
    page.get_by_role("link", name=run_id).wait_for()
    picture(metadata(page, "curve"))
