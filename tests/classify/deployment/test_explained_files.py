"""The page of what spoke for the classes of files."""

from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from PIL import Image
from playwright.sync_api import Browser

from headbench.classify.deployment.classifier import open_classifier
from headbench.classify.deployment.explained_files import PAGE, explained
from headbench.classify.deployment.prediction import Prediction, predict_files
from headbench.classify.errors import RunError
from headbench.classify.run import Run
from headbench.extract.settings import Runtime
from tests.classify.report.browser import opened
from tests.classify.report.conftest import HOSTILE
from tests.classify.report.test_page import OUTSIDE

PICTURES = ("000001.webp", "000002.webp")


def explain(run: Run, folder: Path, *paths: Path, true: str | None = None) -> list[Prediction]:
    classifier = open_classifier(run, "logreg", None)
    truth = {} if true is None else dict.fromkeys(paths, true)
    predictions = predict_files(classifier, paths, 3, Runtime(), truth)
    return list(explained(predictions, classifier, Runtime(), folder))


@pytest.fixture
def hostile_photos(hostile_run: Run) -> Path:
    return hostile_run.folder.parents[1] / "photos"


def test_the_page_shows_each_file_with_the_predicted_and_another_class(
    hostile_run: Run, hostile_photos: Path, tmp_path: Path, browser: Browser
) -> None:
    good = [hostile_photos / HOSTILE[number] / "2.png" for number in (1, 0)]
    bad = hostile_photos / HOSTILE[0] / "gone.png"
    folder = tmp_path / "new/why"
    found = explain(hostile_run, folder, good[0], bad, good[1], true=HOSTILE[5])
    assert [each.path for each in found] == [good[0], bad, good[1]]
    assert sorted(path.name for path in folder.iterdir()) == [*PICTURES, PAGE]
    with Image.open(folder / "000001.webp") as picture:
        assert picture.size == (3 * 16, 16)
    for width in (375, 1280):
        with opened(browser, folder / PAGE, width, beside=PICTURES) as page:
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            assert page.evaluate(OUTSIDE) == []
            pictures = page.locator("main img").all()
            assert [each.evaluate("(e) => e.naturalWidth") for each in pictures] == [48, 48]
            assert page.locator("main b, main i, main script").count() == 0
            captions = page.locator("figcaption").all_inner_texts()
            for caption, path in zip(captions, good, strict=True):
                assert caption.startswith(str(path))
                assert f"for {path.parent.name} (" in caption
                assert f"for {HOSTILE[5]}" in caption
                assert caption.endswith(f"true: {HOSTILE[5]}")
            found_by_axe = Axe().run(page).response["violations"]
            assert [
                each["id"] for each in found_by_axe if each["impact"] in ("serious", "critical")
            ] == []


def test_without_a_true_class_the_next_probable_one_is_explained(
    hostile_run: Run, hostile_photos: Path, tmp_path: Path
) -> None:
    [found] = explain(hostile_run, tmp_path / "why", hostile_photos / HOSTILE[1] / "2.png")
    page = (tmp_path / "why" / PAGE).read_text("utf-8")
    assert "; true: " not in page
    assert f"({found.top[0][1]:.2f}); for " in page
    assert f"({found.top[1][1]:.2f})</figcaption>" in page


def test_nothing_of_somebody_elses_is_replaced(
    hostile_run: Run, hostile_photos: Path, tmp_path: Path
) -> None:
    (tmp_path / "notes.txt").write_text("mine", "utf-8", newline="\n")
    with pytest.raises(RunError, match="expected a new or an empty folder"):
        explain(hostile_run, tmp_path, hostile_photos / HOSTILE[1] / "2.png")
    with pytest.raises(RunError, match="expected a new or an empty folder"):
        explain(hostile_run, tmp_path / "notes.txt", hostile_photos / HOSTILE[1] / "2.png")
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_a_page_that_is_not_finished_is_not_there(
    hostile_run: Run, hostile_photos: Path, tmp_path: Path
) -> None:
    classifier = open_classifier(hostile_run, "logreg", None)
    paths = sorted((hostile_photos / HOSTILE[1]).glob("*.png"))[:3]
    predictions = predict_files(classifier, paths, 3)
    some = explained(predictions, classifier, Runtime(), tmp_path / "why")
    next(some)
    some.close()
    assert list(tmp_path.iterdir()) == []
