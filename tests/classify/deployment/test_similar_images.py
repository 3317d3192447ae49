import json
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from headbench.cache.reader import FeatureFile
from headbench.classify.deployment import similar_images
from headbench.classify.deployment.named_images import NamedImages
from headbench.classify.deployment.similar_images import (
    as_json,
    as_text,
    find_row,
    pairs_of,
    similar_to_files,
    similar_to_rows,
    write_page,
)
from headbench.classify.errors import RunError
from headbench.classify.run import Run
from headbench.extract.sources.open import images_of
from tests.classify.report.browser import opened
from tests.conftest import write_image


def test_files_find_themselves_and_broken_ones_keep_their_place(run: Run, photos: Path) -> None:
    new, broken = photos.parent / "new.png", photos.parent / "broken.png"
    write_image(new, 1234, (210, 30, 30))
    broken.write_bytes(b"no image")
    paths = [broken, photos / "green/003.png", broken, new, photos / "nowhere.png"]
    with FeatureFile(run.features_path) as features:
        found = list(similar_to_files(features, NamedImages(paths, {}, []), 4, None))
    assert [each.path for each in found] == list(map(str, paths))
    assert [bool(each.error) for each in found] == [True, False, True, False, True]
    first, *others = found[1].similar
    assert (first.path, first.similarity) == ("green/003.png", pytest.approx(1))
    assert all(each.similarity < first.similarity for each in others)
    assert {each.class_name for each in found[3].similar} == {"red"}


def test_more_files_than_are_compared_at_once_come_in_order(
    run: Run, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(similar_images, "MOST_QUERIES", 7)
    paths = sorted(photos.glob("*/*.png"))[:20]
    with FeatureFile(run.features_path) as features:
        found = list(similar_to_files(features, NamedImages(paths, {}, []), 1, None))
        assert [photos / each.similar[0].path for each in found] == paths
        rows = list(similar_to_rows(features, range(20), 1, None))
    assert [each.query.row for each in rows if each.query] == list(range(20))
    assert all(each.similar[0].row != each.query.row for each in rows if each.query)


def test_a_split_is_searched_alone(run: Run) -> None:
    with FeatureFile(run.features_path) as features:
        [found] = similar_to_rows(features, [0], 1000, "test")
        assert [each.row for each in found.similar if each.split != "test"] == []
        assert len(found.similar) == len(features.rows("test")) - (0 in features.rows("test"))
        with pytest.raises(RunError, match="expected images in unlabelled, found none"):
            list(similar_to_rows(features, [0], 1, "unlabelled"))


def test_a_row_is_named_by_number_or_path(run: Run) -> None:
    with FeatureFile(run.features_path) as features:
        assert find_row(features, "31") == find_row(features, "green/001.png") == 31
        for nothing in ("90", "-1", "green/099.png"):
            with pytest.raises(RunError, match="expected a row from 0 to 89 or the path"):
                find_row(features, nothing)


def test_pairs_and_what_is_printed_of_them(run: Run) -> None:
    with FeatureFile(run.features_path) as features:
        found, all_pairs = pairs_of(features, 0.99999, "train")
    assert len(found) == all_pairs.n_pairs > 0
    for each in found:
        [near] = each.similar
        assert near.similarity is not None
        assert near.similarity > 0.999989
        assert each.query is not None
        assert {each.query.split, near.split} == {"train"}
        assert as_text(each).count("\n") == 1
        line = json.loads(json.dumps(as_json(each)))
        assert line["row"] < line["similar"][0]["row"]
        assert set(line) == {"path", "row", "class", "split", "similar", "error"}


def test_names_on_the_page_are_text_and_pictures_are_in_it(
    hostile_run: Run, browser: Browser, tmp_path: Path
) -> None:
    page = tmp_path / "page.html"
    with FeatureFile(hostile_run.features_path) as features:
        found = list(similar_to_rows(features, range(3), 2, None))
        write_page(features, page, "<b>title", ["note"], found, images_of(features, None))
    with opened(browser, page) as shown:
        assert shown.locator("h1").inner_text() == "<b>title"
        assert shown.locator("li img").count() == 9
        assert shown.locator("b, i, script[src]").count() == 0
        assert [each.inner_text() for each in shown.locator("h3").all()] == [
            each.path for each in found
        ]


def test_without_the_images_the_page_says_so(run: Run, photos: Path, tmp_path: Path) -> None:
    photos.rename(tmp_path / "elsewhere")
    page = tmp_path / "page.html"
    with FeatureFile(run.features_path) as features:
        found = list(similar_to_rows(features, [0], 2, None))
        write_page(features, page, "title", [], found, images_of(features, None))
    text = page.read_text("utf-8")
    assert text.count("no picture") == 3
    assert "No photographs:" in text
