"""A real Chromium for the tests of pages."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

CHROMIUM = "HEADBENCH_CHROMIUM"
NAMES = ("chromium", "chromium-browser", "google-chrome")


def chromium_path() -> str:
    """Where Chromium is; skips where there is none, fails where one was promised."""
    if CHROMIUM in os.environ:
        # A name is enough; Playwright takes paths only.
        promised = shutil.which(os.environ[CHROMIUM])
        if promised is None:
            pytest.fail(f"{CHROMIUM}={os.environ[CHROMIUM]}: there is no such program")
        return promised
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        pytest.skip(f"no Chromium: install one, or name it in {CHROMIUM}")
    return found


@contextmanager
def opened(
    browser: Browser,
    address: Path | str,
    width: int = 1280,
    scheme: str = "light",
) -> Iterator[Page]:
    """A page, which at the end must have said nothing and asked for nothing but its own."""
    address = address.as_uri() if isinstance(address, Path) else address
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    said: list[str] = []
    page.on("console", lambda message: said.append(f"console: {message.text}"))
    page.on("pageerror", lambda error: said.append(f"error: {error}"))
    page.on("dialog", lambda dialog: said.append(f"dialog: {dialog.message}"))
    page.on("request", lambda request: said.append(f"request: {request.url[:100]}"))
    page.goto(address)
    yield page
    page.close()
    own = ("request: data:", f"request: blob:{address}", f"request: {address[:100]}")
    # A browser reports every answer that is an error; what the page makes of it is tested.
    own += ("console: Failed to load resource: the server responded with a status of 422",)
    assert [each for each in said if not each.startswith(own)] == []
