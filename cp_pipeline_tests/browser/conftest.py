"""One server for all tests here, the stages of its study, and a browser.

The fixtures ``loaded``, ``executed_again`` and ``failed`` always run in this order, whichever a
test requests first. So the tests pass in any order.
"""

import re
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cp_pipeline.sandbox import Sandbox, SandboxStudy
from cp_pipeline_tests.browser.dagster_ui import (
    DAGSTER_STORAGE,
    ENDED,
    PATIENCE,
    REPOSITORY,
    DagsterUi,
    Run,
    dagster_dev,
    until,
)
from cp_pipeline_tests.malformed_files import packed, with_record
from cp_pipeline_tests.postgres_servers import PostgresServer

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page

DAILY, EPOCHS = "ActivityDaily8", "ActivityEpochs10"
PARTITIONS = 16
ALL_LOADED = f"all {PARTITIONS} listed exports are loaded"
FAILING = 10828
ARTEFACTS = REPOSITORY / "ci_artefacts"
WIDTH, HEIGHT = 1500, 1000
CHROMIUM_SWITCHES = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="package")
def ui(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DagsterUi]:
    """``dagster dev`` for a sandbox with 8 subjects and 2 data sets each."""
    study = SandboxStudy.synthetic(subjects=8, days=2, datasets=(DAILY, EPOCHS))
    with ExitStack() as opened:
        postgres = None
        if DAGSTER_STORAGE == "postgres":
            postgres = PostgresServer()
            opened.callback(postgres.stop)
        sandbox = opened.enter_context(Sandbox(study))
        folder = tmp_path_factory.mktemp("dagster_ui")
        yield opened.enter_context(dagster_dev(sandbox, folder, postgres))


@pytest.fixture(scope="package")
def loaded(ui: DagsterUi) -> dict[str, Run]:
    """Everything is loaded and published, without a click. Returns the runs that load.

    Nothing more is published later: each load would have to wait until that is done.
    """
    until("all partitions to be loaded", lambda: ui.versions() == ui.listed())
    until("the sensor to find nothing new", lambda: ALL_LOADED in ui.skip_reasons())
    until("a publication", lambda: set(ui.publications()) & ENDED)
    assert ui.publications() == ["SUCCESS"]
    ui.stop_sensor("publish_after_loads")
    return ui.when_loaded()


@pytest.fixture(scope="package")
def executed_again(ui: DagsterUi, loaded: dict[str, Run]) -> dict[str, Run]:
    """The programs of 8 exports were executed again, and everything is loaded. Returns the runs."""
    before = ui.when_loaded()
    assert len(ui.sandbox.execute_again(data_set_name=DAILY)) == 8
    until("what was executed again to be loaded", lambda: ui.versions() == ui.listed())
    return {run_id: run for run_id, run in ui.when_loaded().items() if run_id not in before}


@dataclass(frozen=True)
class Failed:
    """A partition whose newest execution has a malformed file."""

    partition: str
    file_name: str
    listed: str
    loaded: str
    run_id: str


@pytest.fixture(scope="package")
def failed(ui: DagsterUi, executed_again: dict[str, Run]) -> Failed:
    """One program was executed again, with a file whose line 6 is too short; the load failed."""
    before = ui.when_loaded()
    partition = f"{EPOCHS}|{FAILING}"
    was_loaded = ui.versions()[partition]
    put = ui.sandbox.study.put(
        subject_id=FAILING,
        data_set_name=EPOCHS,
        raw=packed(with_record(5, b"10828,2024-02-29 10:00:00")),
    )
    until("a run of what failed", lambda: set(ui.loads()) - set(before))
    (run_id,) = set(ui.when_loaded()) - set(before)
    return Failed(partition, put.file_name, put.execution, was_loaded, run_id)


@pytest.fixture(scope="package")
def browser() -> Iterator["Browser"]:
    """Chromium, if it is installed."""
    names = ("chromium", "chromium-browser", "google-chrome")
    executable = next(filter(None, map(shutil.which, names)), None)
    if executable is None:
        pytest.skip(f"no browser: none of {', '.join(names)}; get one: apt-get install chromium")
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="no Playwright; get it: pip install playwright"
    )
    with playwright.sync_playwright() as driver:
        launched = driver.chromium.launch(executable_path=executable, args=CHROMIUM_SWITCHES)
        yield launched
        launched.close()


@pytest.fixture(scope="package")
def context(browser: "Browser", ui: DagsterUi) -> Iterator["BrowserContext"]:
    """One for all pages, so that the browser fetches the UI's code once."""
    opened = browser.new_context(
        base_url=ui.url, viewport={"width": WIDTH, "height": HEIGHT}, timezone_id="UTC"
    )
    opened.set_default_timeout(PATIENCE * 1000)
    yield opened
    opened.close()


@pytest.fixture
def page(
    context: "BrowserContext", ui: DagsterUi, request: pytest.FixtureRequest
) -> Iterator["Page"]:
    """An empty page. A picture of it at the end of the test is saved in ``ci_artefacts``."""
    opened = context.new_page()
    # What the UI has stored in the browser is of an earlier test.
    stored = {"origin": ui.url, "storageTypes": "all"}
    context.new_cdp_session(opened).send("Storage.clearDataForOrigin", stored)
    yield opened
    keep_picture(opened, request.node.name.removeprefix("test_"))
    opened.close()


def keep_picture(page: "Page", name: str) -> Path:
    """Save a picture of the page as a PNG in ``ci_artefacts``."""
    ARTEFACTS.mkdir(exist_ok=True)
    path = ARTEFACTS / f"{re.sub(r'[^a-z0-9]+', '-', name.lower())}.png"
    page.screenshot(path=path, animations="disabled")
    return path
