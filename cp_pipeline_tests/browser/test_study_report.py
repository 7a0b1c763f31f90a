"""The study report in Chromium: it asks nobody, fits wide and narrow windows, light and dark."""

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cp_pipeline.report import write_report
from cp_pipeline.settings import StorageSettings
from cp_pipeline_tests.browser.conftest import keep_picture

if TYPE_CHECKING:
    from playwright.sync_api import Browser


@pytest.mark.parametrize(("scheme", "width"), [("light", 1400), ("dark", 1400), ("light", 420)])
def test_the_report_fits_its_window(
    browser: "Browser", published_study: Path, tmp_path: Path, scheme: str, width: int
) -> None:
    settings = {"CP_DATA_DIR": str(published_study), "CP_REPORT": str(tmp_path / "report.html")}
    report = write_report(StorageSettings.from_environment(settings)).path
    page = browser.new_page(
        viewport={"width": width, "height": 900},
        color_scheme="dark" if scheme == "dark" else "light",
    )
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("request", lambda request: said.append(request.url))
    page.goto(report.as_uri())
    keep_picture(page, f"study-report-{scheme}-{width}")
    # The page itself is the only thing that is asked for, and its policy refuses nothing of it.
    assert said == [report.as_uri()]
    assert page.evaluate("document.documentElement.scrollWidth") == width
    paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert paper == ("rgb(13, 17, 23)" if scheme == "dark" else "rgb(255, 255, 255)")
    closed = page.locator("details:not([open])")
    assert closed.count() >= 3
    page.emulate_media(media="print")
    assert not closed.first.is_visible()
    assert page.locator("h2", has_text="Coverage").is_visible()
    page.close()
