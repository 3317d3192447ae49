import re
from dataclasses import replace

import numpy as np
import pytest

from headbench.classify.inspection.embedding_map import EmbeddingMap
from headbench.classify.intervals import wilson
from headbench.classify.metrics import Metrics
from headbench.classify.report.page.render import FOLDER
from headbench.classify.report.pictures.classes import (
    ConfusionCells,
    class_balance,
    confusion_picture,
    describe_map,
    map_pictures,
)
from headbench.classify.report.pictures.heads import (
    accuracy_by_run,
    histories,
    learning_curves,
    spread,
)
from headbench.classify.report.results import ClassCounts, HeadResult
from headbench.classify.report.write import PICTURES
from headbench.classify.studies.learning_curve import CurvePoint


def texts(svg: str) -> list[str]:
    return re.findall(r">([^<>]+)</text>", svg)


def head(name: str, history: dict, chosen: dict) -> HeadResult:
    metrics = Metrics(*[wilson(5, 10)] * 6)
    return HeadResult(name, 1.0, 1e-5, 0, chosen, {}, history, {}, False, 1, metrics, metrics, [])


@pytest.mark.parametrize(
    "wanted", [[0.5] * 8, [0, 0.01, 0.02, 0.9, 1], [0.2, 0.6], [0.3], list(np.linspace(0, 1, 30))]
)
def test_labels_are_apart_in_order_and_inside(wanted: list[float]) -> None:
    found = spread(wanted, 0.06, 0, 1)
    assert found.min() >= -1e-9
    assert found.max() <= 1 + 1e-9
    if len(wanted) > 1:
        gap = min(0.06, 1 / (len(wanted) - 1))
        assert np.diff(found).min() >= gap - 1e-9


def test_labels_with_room_stay_where_they_are() -> None:
    np.testing.assert_allclose(spread([0.1, 0.4, 0.9], 0.06, 0, 1), [0.1, 0.4, 0.9])


def test_few_classes_are_counted_in_their_cells() -> None:
    confusion = np.array([[17, 3, 0], [0, 23, 1], [5, 0, 29]])
    drawn = confusion_picture(
        ConfusionCells(["a", "b", "c"], confusion, confusion.sum(axis=1), n_classes=3)
    )
    shown, box = texts(drawn.svg), drawn.panel
    assert {"17", "3", "23", "1", "5", "29"} < set(shown)
    assert "0" not in shown
    assert shown.count("a") == 2
    assert "mistakes are shown" not in drawn.caption
    assert 0 < box["left"] < box["left"] + box["width"] < 100
    assert 0 < box["top"] < box["top"] + box["height"] < 100


def test_many_classes_have_names_and_no_counts() -> None:
    n = 101
    names = [f"class number {label}" for label in range(n)]
    drawn = confusion_picture(ConfusionCells(names, np.full((n, n), 7), np.full(n, 7 * n), 200))
    shown = texts(drawn.svg)
    assert set(names) < set(shown)
    assert "7" not in shown
    assert "Only the 101 of 200 classes with the most mistakes are shown." in drawn.caption
    assert drawn.panel["width"] == pytest.approx(drawn.panel["height"])
    assert len(drawn.svg) < 200_000


@pytest.mark.parametrize("n_classes", [3, 40])
def test_the_balance_names_the_smallest_and_the_largest(n_classes: int) -> None:
    classes = [
        ClassCounts(f"kind {label}", train=10 + label, val=2, test=3) for label in range(n_classes)
    ]
    drawn = class_balance(classes)
    largest = f"{9 + n_classes} of kind {n_classes - 1}, the most."
    assert f"In train: 10 images of kind 0, the fewest; {largest}" in drawn.caption
    assert ("kind 1" in texts(drawn.svg)) == (n_classes == 3)
    even = class_balance([replace(each, train=5) for each in classes])
    assert even.caption == "Every class has 5 images in train."


def test_a_map_has_a_point_for_each_image_in_order() -> None:
    points = np.array([[0, 0], [1, 0], [2, 0], [3, 0]], dtype=np.float32)
    found = EmbeddingMap({"PCA": points}, variance_share=0.8)
    [drawn] = map_pictures(found, np.array([0, 1, 0, 1]), np.array([1, 0]))
    svg = drawn.svg
    group = svg[svg.index('id="map-pca-points"') :]
    xs = [float(x) for x in re.findall(r'<use [^>]*x="([\d.]+)"', group)]
    assert len(xs) == 4
    assert xs == sorted(xs)
    fills = re.findall(r'<use [^>]*fill: ([^;"]+)', group)
    assert fills[0] == fills[2] != fills[1] == fills[3]


def test_a_map_of_a_part_says_of_how_many_images_it_is() -> None:
    found = EmbeddingMap({"PCA": np.zeros((4, 2), np.float32)}, variance_share=0.8)
    assert "(4 of 9, drawn at random)" in describe_map(found, 9)
    assert '80 % of the variance. pip install "headbench[map]"' in describe_map(found, 4)
    assert "drawn at random" not in describe_map(found, 4)


def test_each_kind_of_head_has_its_curves() -> None:
    epochs = {"train_loss": [2.0, 1.0], "val_log_loss": [2.0, 1.5, 1.4]}
    more = {
        f"{split}_{name}": [0.2, 0.4] for split in ("train", "val") for name in ("top1", "top5")
    }
    heads = [
        head("mlp 1/2", {**epochs, **more}, {"epochs": 2}),
        head("logreg", {"C": [0.1, 1], "val_log_loss": [1.0, 2.0]}, {"C": 0.1}),
        head("lightgbm", {"train_log_loss": [2.0, 1], "val_log_loss": [2.0, 1]}, {"rounds": 2}),
        head("own", {"val_log_loss": [2.0, 1]}, {}),
        head("prior", {}, {}),
    ]
    drawn = histories(heads)
    assert [each.name for each in drawn] == [
        "curve-mlp-1-2-loss",
        "curve-mlp-1-2-accuracy",
        "curve-logreg-path",
        "curve-lightgbm-rounds",
        "curve-own-rounds",
    ]
    assert {"train top-5", "val top-1"} < set(texts(drawn[1].svg))
    assert {"train", "val"} < set(texts(drawn[3].svg))
    assert "train" not in texts(drawn[4].svg)


def test_a_learning_curve_names_every_head() -> None:
    points = [
        CurvePoint(name, {}, n / 100, 0, n, wilson(n // 2, n), "")
        for name in ("knn", "ridge")
        for n in (10, 100)
    ]
    assert {"knn", "ridge"} < set(texts(learning_curves(points).svg))


def test_a_head_of_one_run_alone_is_drawn_once() -> None:
    one = accuracy_by_run(
        ["A: x", "B: y"], [("ridge", (wilson(5, 10), wilson(6, 10))), ("mlp", (None, None))]
    )
    assert {"A: x", "B: y", "ridge", "mlp"} < set(texts(one.svg))


def test_every_place_for_pictures_is_on_the_page_and_no_other() -> None:
    page = (FOLDER / "index.html").read_text("utf-8")
    assert set(re.findall(r"\bpictures\.(\w+)", page)) == set(PICTURES)
