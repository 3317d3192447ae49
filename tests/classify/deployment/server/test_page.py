"""The page in a real browser. That it asks nobody else for anything, `opened` checks."""

import base64
from collections.abc import Iterator
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from headbench.classify.deployment.uncertainty import open_uncertainty
from headbench.classify.run import Run
from tests.classify.deployment.server.client import Client, serving
from tests.classify.report.browser import opened
from tests.classify.report.conftest import HOSTILE
from tests.conftest import write_image

# What a browser does when a file is dropped or pasted.
TRANSFER = """([kind, encoded, name]) => {
  const bytes = Uint8Array.from(atob(encoded), (each) => each.charCodeAt(0));
  const transfer = new DataTransfer();
  transfer.items.add(new File([bytes], name, { type: "image/png" }));
  const options = { bubbles: true, cancelable: true };
  document.getElementById("drop").dispatchEvent(kind === "paste"
    ? new ClipboardEvent(kind, { ...options, clipboardData: transfer })
    : new DragEvent(kind, { ...options, dataTransfer: transfer }));
}"""


@pytest.fixture(scope="module")
def hostile(hostile_run: Run) -> Iterator[Client]:
    """A server of classes that try to be markup."""
    with serving(hostile_run, max_mb=1) as client:
        yield client


@pytest.fixture
def photo(hostile_run: Run) -> Path:
    """A photograph of the first class."""
    return hostile_run.folder.parents[1] / "photos" / HOSTILE[0] / "2.png"


def transfer(page: Page, kind: str, data: bytes, name: str = "mine.png") -> None:
    page.evaluate(TRANSFER, [kind, base64.b64encode(data).decode(), name])


def names(page: Page) -> list[str]:
    return page.locator("#top .name").all_inner_texts()


@pytest.mark.parametrize("kind", ["drop", "paste"])
def test_a_photograph_that_is_dropped_or_pasted_is_classified(
    browser: Browser, hostile: Client, photo: Path, kind: str
) -> None:
    with opened(browser, hostile.address) as page:
        transfer(page, kind, photo.read_bytes(), "<b>mine</b>.png")
        expect(page.locator("#top li")).to_have_count(5)
        assert names(page)[0] in (HOSTILE[0], HOSTILE[-1])  # which look alike
        assert page.locator("#similar li").count() == 5
        for picture in page.locator("#similar img").all():
            expect(picture).to_have_js_property("complete", value=True)
            assert picture.evaluate("(e) => e.naturalWidth") > 0
        assert page.locator("#photo").evaluate("(e) => e.naturalWidth") == 32
        expect(page.locator("#status")).to_contain_text(names(page)[0])
        assert page.locator("#name").inner_text() == "<b>mine</b>.png"
        assert page.locator("main b, main script, main [onerror]").count() == 0


def test_doubts_are_shown_and_gone_with_the_next_photograph(
    browser: Browser, hostile_run: Run, photo: Path, tmp_path: Path
) -> None:
    write_image(tmp_path / "foreign.png", seed=1, color=(130, 10, 120))
    doubts = open_uncertainty(hostile_run, "logreg", 0.9, 0.05)
    with (
        serving(hostile_run, uncertainty=doubts) as client,
        opened(browser, client.address) as page,
    ):
        transfer(page, "drop", (tmp_path / "foreign.png").read_bytes())
        expect(page.locator("#foreign")).to_contain_text("This may be none of the classes")
        transfer(page, "drop", photo.read_bytes())
        expect(page.locator("#foreign")).to_be_hidden()
        expect(page.locator("#set")).to_contain_text("Possible classes (90.0 % of such sets")
        expect(page.locator("#set")).to_contain_text(HOSTILE[0])
        assert client.ask("GET", "/model").json["prediction_sets"]["coverage"] == 0.9


def test_a_photograph_can_be_chosen_and_answered_by_keyboard(
    browser: Browser, hostile: Client, photo: Path
) -> None:
    with opened(browser, hostile.address) as page:
        page.keyboard.press("Tab")
        expect(page.locator("#file")).to_be_focused()
        page.locator("#file").set_input_files(photo)
        expect(page.locator("#top li")).to_have_count(5)
        fills = page.locator("#top .fill")
        widths = [each.bounding_box()["width"] for each in fills.all()]
        assert widths == sorted(widths, reverse=True)
        assert widths[0] > 0


def test_what_is_wrong_is_said_in_words_and_goes_away(
    browser: Browser, hostile: Client, photo: Path
) -> None:
    with opened(browser, hostile.address) as page:
        error = page.locator("#error")
        transfer(page, "drop", b"text")
        expect(error).to_contain_text("cannot be classified")
        expect(error).to_contain_text("text, not an image")
        transfer(page, "drop", bytes(1_200_000))
        expect(error).to_contain_text("too large: 2 MB, and at most 1 MB")
        assert page.locator("#result").is_hidden()
        transfer(page, "drop", photo.read_bytes())
        expect(error).to_be_hidden()
        expect(page.locator("#result")).to_be_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [375, 1280])
def test_axe_finds_nothing_and_nothing_is_too_wide(
    browser: Browser, hostile: Client, photo: Path, width: int, scheme: str
) -> None:
    with opened(browser, hostile.address, width, scheme) as page:
        transfer(page, "drop", photo.read_bytes())
        expect(page.locator("#similar li")).to_have_count(5)
        found = Axe().run(page).response
        assert len(found["passes"]) > 10
        assert [(each["id"], each["nodes"][0]["html"]) for each in found["violations"]] == []
        assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_the_page_lets_no_other_script_run(browser: Browser, hostile: Client) -> None:
    policy = hostile.ask("GET", "/").headers["content-security-policy"]
    assert "unsafe" not in policy
    with opened(browser, hostile.address) as page:
        assert page.evaluate("getComputedStyle(document.getElementById('drop')).display") == "grid"


def test_a_server_that_is_gone_is_said_to_be(
    browser: Browser, hostile: Client, photo: Path
) -> None:
    page = browser.new_page()
    page.goto(hostile.address)
    page.route("**/predict*", lambda route: route.abort())
    transfer(page, "drop", photo.read_bytes())
    expect(page.locator("#error")).to_contain_text("The server does not answer")
    page.close()
