"""The page in a real browser; that it says nothing and asks for nothing, `opened` checks."""

import json
from typing import Any

import pytest
from playwright.sync_api import Browser, expect

from tests.classify.origin.conftest import Shown
from tests.classify.report.browser import opened
from tests.classify.report.conftest import HOSTILE
from tests.classify.report.test_page import OUTSIDE, OVERLAPS, SCHEMES, WIDTHS


def test_the_json_file_holds_what_was_measured(shown: Shown) -> None:
    assert {path.name for path in shown.folder.iterdir()} == {"index.html", "results.json"}
    found = json.loads((shown.folder / "results.json").read_text("utf-8"))
    assert found == shown.results


def test_numbers_that_json_does_not_know_are_not_in_it(shown: Shown) -> None:
    def refuse(name: str) -> Any:
        pytest.fail(f"{name} is no JSON")

    json.loads((shown.folder / "results.json").read_text("utf-8"), parse_constant=refuse)


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("width", WIDTHS)
def test_nothing_is_wider_than_the_window_and_no_labels_overlap(
    browser: Browser, shown: Shown, width: int, scheme: str
) -> None:
    with opened(browser, shown.folder / "index.html", width, scheme) as page:
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.evaluate(OUTSIDE) == []
        assert page.locator("main svg text").count() > 20
        assert page.evaluate(OVERLAPS) == []


def test_random_weights_stand_above_all_and_names_are_text(browser: Browser, shown: Shown) -> None:
    with opened(browser, shown.folder / "index.html") as page:
        expect(page.get_by_role("note").first).to_contain_text("RANDOM")
        expect(page.locator("h1")).to_contain_text("<i>photos<i>")
        named = {cell["most_predicted"] for cell in shown.results["cells"]}
        assert named <= set(HOSTILE)
        cells = page.locator(".heads tbody td:last-child").all_inner_texts()
        assert {cell.split(" % ", 1)[1] for cell in cells} == named
