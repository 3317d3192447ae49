"""The page in a real browser. That it says nothing and asks for nothing, `opened` checks."""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from headbench.cache.reader import FeatureFile
from headbench.classify.metrics import confusion_matrix
from headbench.classify.report.versus import compare_runs, write_page
from headbench.classify.report.write import write_report
from headbench.classify.run import Run
from tests.classify.report.browser import opened
from tests.classify.report.conftest import HOSTILE, HOSTILE_FILE

WIDTHS, SCHEMES = (375, 1280), ("light", "dark")
OUTSIDE = """() => [...document.querySelectorAll("main *")].filter((each) => {
  if (each.closest(".scroll") && !each.matches(".scroll")) return false;
  const box = each.getBoundingClientRect();
  return box.width > 0 && (box.right > innerWidth + 1 || box.left < -1);
}).map((each) => each.outerHTML.slice(0, 100))"""
OVERLAPS = """() => [...document.querySelectorAll("main svg")].flatMap((svg) => {
  const texts = [...svg.querySelectorAll("text")]
    .map((each) => [each.textContent, each.getBoundingClientRect()]);
  return texts.flatMap(([text, a], index) => texts.slice(index + 1)
    .filter(([, b]) => Math.min(a.right, b.right) - Math.max(a.left, b.left) > 2
      && Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 5)
    .map(([other]) => `${text} | ${other}`));
})"""


def column(page: Page, title: str, of: str = ".heads") -> list[str]:
    titles = page.locator(f"{of} thead th").all_inner_texts()
    number = [each.split()[:-1] if "↕" in each else each.split() for each in titles]
    index = number.index(title.split()) + 1
    return page.locator(f"{of} tbody tr > :nth-child({index})").all_inner_texts()


@pytest.mark.parametrize("width", WIDTHS)
def test_nothing_is_wider_than_the_window(browser: Browser, page_path: Path, width: int) -> None:
    with opened(browser, page_path, width) as page:
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.evaluate(OUTSIDE) == []


@pytest.mark.parametrize("width", WIDTHS)
def test_no_two_labels_of_a_picture_overlap(browser: Browser, page_path: Path, width: int) -> None:
    with opened(browser, page_path, width) as page:
        assert page.locator("main svg text").count() > 50
        assert page.evaluate(OVERLAPS) == []


@pytest.mark.parametrize(("width", "scheme"), list(zip(WIDTHS, SCHEMES, strict=True)))
def test_axe_finds_nothing_serious(
    browser: Browser, page_path: Path, width: int, scheme: str
) -> None:
    with opened(browser, page_path, width, scheme) as page:
        page.evaluate(
            "document.querySelectorAll('details').forEach((each) => { each.open = true })"
        )
        found = Axe().run(page).response
        assert len(found["passes"]) > 10
        assert [
            (each["id"], each["nodes"][0]["html"][:200])
            for each in found["violations"]
            if each["impact"] in ("serious", "critical")
        ] == []


def test_names_are_text(browser: Browser, page_path: Path) -> None:
    with opened(browser, page_path) as page:
        text = page.locator("main").inner_text()
        for name in (*HOSTILE, "<i>run<i>"):
            assert name in text
        assert HOSTILE_FILE in text
        assert page.locator("script").count() == 2
        assert page.locator("main b, main i, [onerror], [onclick], img[src=x]").count() == 0


def test_a_click_on_a_heading_sorts_and_another_turns_round(
    browser: Browser, page_path: Path, results: dict
) -> None:
    by_loss = sorted(results["heads"], key=lambda head: head["test"]["log_loss"]["value"])
    names = [head["name"] for head in by_loss]
    with opened(browser, page_path) as page:
        heading = page.locator(".heads thead th", has_text="test log loss")
        heading.locator("button").click()
        assert column(page, "head") == names
        expect(heading).to_have_attribute("aria-sort", "ascending")
        heading.locator("button").press("Enter")
        assert column(page, "head") == names[::-1]
        expect(heading).to_have_attribute("aria-sort", "descending")
        page.locator(".heads thead button", has_text="head").first.click()
        assert column(page, "head") == sorted(names)


def test_a_cell_of_the_matrix_says_what_it_holds(
    browser: Browser, page_path: Path, hostile_run: Run, results: dict
) -> None:
    with FeatureFile(hostile_run.features_path) as features:
        shown = hostile_run.find(results["shown"], features)
        y, classes = features.labels("test"), features.classes
        counts = confusion_matrix(y, shown.test.argmax(axis=1), len(classes))
    with opened(browser, page_path) as page:
        cells = page.locator("#cells")
        cells.scroll_into_view_if_needed()
        box = cells.bounding_box()
        assert box
        names = page.evaluate("data.matrix.names")
        seen = np.zeros_like(counts)
        side = box["width"] / len(classes)
        for row in range(len(classes)):
            for at in range(len(classes)):
                page.mouse.move(box["x"] + side * (at + 0.5), box["y"] + side * (row + 0.5))
                text = page.locator("#cell-text").inner_text()
                true, given = (classes.index(names[each]) for each in (row, at))
                assert page.locator("#tip").inner_text().strip() == text
                assert text.startswith(names[row])
                seen[true, given] = int(text.rsplit(": ", 1)[1].split(" of ")[0])
        np.testing.assert_array_equal(seen, counts)


def test_the_matrix_is_read_by_the_keyboard(browser: Browser, page_path: Path) -> None:
    with opened(browser, page_path) as page:
        names = page.evaluate("data.matrix.names")
        page.locator("#cells").focus()
        expect(page.locator("#cell-text")).to_contain_text(f"{names[0]}, classified correctly")
        page.keyboard.press("ArrowRight")
        expect(page.locator("#cell-text")).to_contain_text(f"{names[0]} mistaken for {names[1]}")
        page.keyboard.press("ArrowDown")
        expect(page.locator("#cell-text")).to_contain_text(f"{names[1]}, classified correctly")


def test_a_click_on_a_picture_shows_path_truth_and_the_top_five(
    browser: Browser, page_path: Path
) -> None:
    with opened(browser, page_path) as page:
        card = page.locator(".card").first
        detail = page.evaluate("(row) => data.details[row]", card.get_attribute("data-row"))
        card.press("Enter")
        dialog = page.locator("dialog")
        expect(dialog).to_be_visible()
        expect(dialog.locator("h2")).to_have_text(detail["path"])
        expect(dialog.locator("#detail-truth")).to_contain_text(detail["class"])
        rows = dialog.locator("tbody tr").all_inner_texts()
        assert [row.split("\t") for row in rows] == [
            [name, f"{proba:.3f}"] for name, proba in detail["top"]
        ]
        assert len(rows) == 5
        assert dialog.locator("img").evaluate("(image) => image.naturalWidth") == 160
        page.keyboard.press("Escape")
        expect(dialog).to_be_hidden()


def test_a_point_of_the_map_shows_its_picture_and_opens(browser: Browser, page_path: Path) -> None:
    with opened(browser, page_path) as page:
        point = page.locator("#map-pca-points use").nth(3)
        point.scroll_into_view_if_needed()
        point.hover(force=True)
        tip = page.locator("#tip")
        expect(tip).to_be_visible()
        assert tip.locator("img").evaluate("(image) => image.naturalWidth") == 64
        path = tip.locator("span").first.inner_text()
        page.mouse.down()
        page.mouse.up()
        expect(page.locator("dialog h2")).to_have_text(path)


def test_the_map_is_read_by_the_keyboard_class_by_class(browser: Browser, page_path: Path) -> None:
    with opened(browser, page_path) as page:
        page.locator("#map-class").select_option("2")
        labels = page.evaluate("data.map.labels")
        dimmed = page.locator("#map-pca-points use.off").count()
        assert dimmed == sum(label != 2 for label in labels) > 0
        name = page.locator("#map-class option").nth(3).inner_text()
        page.locator(".map").first.focus()
        for _ in range(3):
            page.keyboard.press("ArrowRight")
            expect(page.locator("#tip")).to_contain_text(f"true: {name}")


def test_paper_is_white_and_nothing_is_folded_or_cut(browser: Browser, page_path: Path) -> None:
    with opened(browser, page_path, scheme="dark") as page:
        dark = page.evaluate("getComputedStyle(document.body).backgroundColor")
        page.emulate_media(media="print")
        page.evaluate("dispatchEvent(new Event('beforeprint'))")
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") != dark
        assert (
            page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
        )
        assert page.locator("details:not([open])").count() == 0
        for region in page.locator(".scroll.low").all():
            assert region.evaluate("(each) => getComputedStyle(each).maxHeight") == "none"


def test_without_the_folder_of_images_it_says_so_and_shows_the_rest(
    browser: Browser, own_run: Run, tmp_path: Path
) -> None:
    write_report(own_run, data=tmp_path / "gone")
    with opened(browser, own_run.report_folder / "index.html") as page:
        note = page.locator(".banner", has_text="No photographs")
        expect(note).to_contain_text("gone")
        expect(note).to_contain_text("--data")
        assert page.locator("main img").count() == 0
        assert page.locator(".no-picture").count() > 3
        page.locator(".card").first.click()
        expect(page.locator("dialog h2")).not_to_be_empty()
        assert page.locator("dialog img").is_hidden()


def test_an_image_that_is_another_now_is_not_shown(
    hostile_run: Run, own_run: Run, tmp_path: Path
) -> None:
    photos = Path(shutil.copytree(hostile_run.folder.parents[1] / "photos", tmp_path / "photos"))
    for path in photos.rglob("*.png"):
        path.write_bytes(path.read_bytes() + b"\0")
    write_report(own_run, data=photos)
    page = (own_run.report_folder / "index.html").read_text("utf-8")
    assert "data:image/webp" not in page
    assert "photographs cannot be shown" in page
    assert "its content changed" in page


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize(("n_runs", "column_of_b"), [(2, "B test"), (3, "test")])
def test_the_page_of_runs_is_as_sound(
    browser: Browser, own_run: Run, width: int, n_runs: int, column_of_b: str
) -> None:
    path = write_page(compare_runs(*[own_run] * n_runs), own_run.report_folder)
    with opened(browser, path, width) as page:
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.evaluate(OUTSIDE) == []
        assert page.evaluate(OVERLAPS) == []
        found = Axe().run(page).response
        assert [
            each["id"] for each in found["violations"] if each["impact"] in ("serious", "critical")
        ] == []
        page.locator(".heads thead button", has_text=re.compile(f"^{column_of_b}$")).click()
        values = [float(each.split()[0]) for each in column(page, column_of_b)]
        assert values == sorted(values)
