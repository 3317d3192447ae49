"""The page of what spoke for the classes of files."""

import re
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser

from headbench.classify.deployment.classifier import open_classifier
from headbench.classify.deployment.explained_files import explained
from headbench.classify.deployment.prediction import Prediction, predict_files
from headbench.classify.errors import RunError
from headbench.classify.run import Run
from headbench.extract.settings import Runtime
from tests.classify.report.browser import opened
from tests.classify.report.conftest import HOSTILE
from tests.classify.report.test_page import OUTSIDE

PAGE = "new/why.html"


def explain(run: Run, page: Path, *paths: Path, true: str | None = None) -> list[Prediction]:
    classifier = open_classifier(run, "logreg", None)
    truth = {} if true is None else dict.fromkeys(paths, true)
    predictions = predict_files(classifier, paths, 3, Runtime(), truth)
    return list(explained(predictions, classifier, Runtime(), page))


@pytest.fixture
def hostile_photos(hostile_run: Run) -> Path:
    return hostile_run.folder.parents[1] / "photos"


def test_the_page_shows_each_file_with_the_predicted_and_another_class(
    hostile_run: Run, hostile_photos: Path, tmp_path: Path, browser: Browser
) -> None:
    good = [hostile_photos / HOSTILE[number] / "2.png" for number in (1, 0)]
    bad = hostile_photos / HOSTILE[0] / "gone.png"
    found = explain(hostile_run, tmp_path / PAGE, good[0], bad, good[1], true=HOSTILE[5])
    assert [each.path for each in found] == [good[0], bad, good[1]]
    assert [path.name for path in (tmp_path / PAGE).parent.iterdir()] == ["why.html"]
    for width in (375, 1280):
        with opened(browser, tmp_path / PAGE, width) as page:
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            assert page.evaluate(OUTSIDE) == []
            pictures = page.locator("main img").all()
            assert [each.evaluate("(e) => e.naturalWidth") for each in pictures] == [16] * 6
            assert page.locator("main b, main i, main script").count() == 0
            assert page.locator("h3").all_inner_texts() == list(map(str, good))
            captions = page.locator(".card span").all_inner_texts()
            by_file = [captions[:3], captions[3:]]
            for path, (image, first, other) in zip(good, by_file, strict=True):
                assert image == "image"
                assert first.startswith(f"for {path.parent.name} (")
                assert other.startswith(f"for {HOSTILE[5]}")
            assert page.get_by_text(f"true: {HOSTILE[5]}", exact=True).count() == 2
            found_by_axe = Axe().run(page).response["violations"]
            assert [
                each["id"] for each in found_by_axe if each["impact"] in ("serious", "critical")
            ] == []


def test_without_a_true_class_the_next_probable_one_is_explained(
    hostile_run: Run, hostile_photos: Path, tmp_path: Path
) -> None:
    [found] = explain(hostile_run, tmp_path / PAGE, hostile_photos / HOSTILE[1] / "2.png")
    page = (tmp_path / PAGE).read_text("utf-8")
    assert '<p class="soft">true: ' not in page
    for _, proba in found.top[:2]:
        assert f" ({proba:.2f})</span>" in page


def test_so_many_images_are_explained_and_the_page_says_so(
    hostile_run: Run, hostile_photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("headbench.classify.deployment.explained_files.MOST_IMAGES", 1)
    found = explain(hostile_run, tmp_path / PAGE, *hostile_photos.glob("plain_name/1*.png"))
    page = (tmp_path / PAGE).read_text("utf-8")
    assert page.count("<h3>") == 1
    assert f"The first 1 of {len(found)} images are shown." in page


def test_an_image_that_is_gone_by_then_has_no_picture_and_the_next_one_has_its_own(
    hostile_run: Run, hostile_photos: Path, tmp_path: Path
) -> None:
    there = hostile_photos / HOSTILE[5] / "1.png"
    classifier = open_classifier(hostile_run, "logreg", None)
    [known] = predict_files(classifier, [there], 3)
    predictions = iter([known._replace(path=tmp_path / "gone.png"), known])
    list(explained(predictions, classifier, Runtime(), tmp_path / PAGE))
    page = (tmp_path / PAGE).read_text("utf-8")
    assert re.findall('no picture|alt="[a-z]+', page) == [
        "no picture",
        'alt="image',
        *2 * ['alt="for'],
    ]
    assert "No such file" in page


def test_only_a_page_is_replaced(hostile_run: Run, hostile_photos: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine.png"
    mine.write_bytes(b"mine")
    for name in (mine, tmp_path):
        with pytest.raises(RunError, match="expected the name of a page"):
            explain(hostile_run, name, hostile_photos / HOSTILE[1] / "2.png")
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"mine"]


def test_a_page_that_is_not_finished_is_not_there(
    hostile_run: Run, hostile_photos: Path, tmp_path: Path
) -> None:
    classifier = open_classifier(hostile_run, "logreg", None)
    paths = sorted((hostile_photos / HOSTILE[1]).glob("*.png"))[:3]
    predictions = predict_files(classifier, paths, 3)
    some = explained(predictions, classifier, Runtime(), tmp_path / PAGE)
    next(some)
    some.close()
    assert list(tmp_path.iterdir()) == []
