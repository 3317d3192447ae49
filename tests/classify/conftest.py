"""A browser, and a run with names that try to be markup: for the tests of every page."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, sync_playwright

from classify.run import Run
from tests.classify.report.browser import chromium_path
from tests.classify.report.conftest import make_hostile_run


@pytest.fixture(scope="session")
def hostile_run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run whose classes and file names try to be markup; not to be changed by a test."""
    return make_hostile_run(tmp_path_factory.mktemp("hostile"))


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Chromium without a window."""
    path = chromium_path()
    with sync_playwright() as playwright:
        # Without its sandbox: in a container the kernel offers none to the root user.
        started = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield started
        started.close()
