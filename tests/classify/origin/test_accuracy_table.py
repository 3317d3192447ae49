from pathlib import Path
from typing import Any

import numpy as np
import pytest

from headbench.classify.doctor.model.measured import Condition
from headbench.classify.errors import RunError
from headbench.classify.origin.accuracy_table import (
    TITLES,
    compare_cells,
    explain_cells,
    make_head,
    measure_cells,
    most_predicted,
    table_rows,
    table_text,
    verdict,
)
from headbench.classify.origin.origin_images import Extraction
from tests.classify.origin.conftest import Shown, estimate
from tests.classify.origin.test_origin_images import split

Results = dict[str, Any]


@pytest.fixture
def extraction(photos: Path) -> Extraction:
    """Embeddings that say the class, but wrong pixels hide half and the batch shifts them all."""
    images = split(photos)
    rng = np.random.default_rng(0)
    clear = np.eye(3)[images.labels] + 0.1 * rng.standard_normal((len(images.labels), 3))
    noisy = np.eye(3)[images.labels] + 0.8 * rng.standard_normal((len(images.labels), 3))
    shift = np.array([9.0, 9.0, 0.0])
    embeddings = {
        Condition("caffe", by_batch=False): clear,
        Condition("caffe", by_batch=True): clear,
        Condition("/255", by_batch=False): noisy,
        Condition("/255", by_batch=True): clear + shift,
    }
    made = {condition: each.astype(np.float32) for condition, each in embeddings.items()}
    return Extraction(images, made, dict.fromkeys(made, 1.0))


def test_each_head_is_validated_in_both_modes_and_two_cells_are_marked(
    extraction: Extraction,
) -> None:
    cells = measure_cells(extraction, "logreg", 0)
    assert len(cells) == 8
    assert [cell.role for cell in cells if cell.role] == ["right", "origin"]
    for first, second in zip(cells[::2], cells[1::2], strict=True):
        assert first.trained == second.trained
        assert first.train == second.train
        assert (first.by_batch, second.by_batch) == (False, True)
        assert first.val.n == second.val.n == len(extraction.images.rows("val"))
        assert first.train.n == len(extraction.images.rows("train"))
        same = first if first.trained.by_batch == first.by_batch else second
        assert same.train_validated == same.train


def test_a_shift_between_the_modes_leaves_one_prediction_and_is_seen_paired(
    extraction: Extraction,
) -> None:
    cells = measure_cells(extraction, "logreg", 0)
    right, origin = (
        next(each for each in cells if each.role == role) for role in ("right", "origin")
    )
    assert right.val.value == 1
    assert origin.train.value == 1
    assert origin.predicted_share.value == 1
    labels = extraction.images.labels[extraction.images.rows("train")]
    assert origin.train_validated.value == np.mean(labels == origin.most_predicted)
    found = compare_cells(cells, seed=0)
    assert found["both"].difference.value == pytest.approx(origin.val.value - right.val.value)
    assert found["both"].is_seen
    assert found["switch"].is_seen
    assert not found["statistics"].is_seen
    assert found["statistics"].difference.value == 0


def test_p_is_corrected_for_all_comparisons(extraction: Extraction) -> None:
    found = compare_cells(measure_cells(extraction, "logreg", 0), seed=0)
    assert all(each.p_holm >= each.p for each in found.values())
    smallest = min(found.values(), key=lambda each: each.p)
    assert smallest.p_holm == pytest.approx(len(found) * smallest.p)


def test_an_unknown_head_is_named() -> None:
    with pytest.raises(RunError, match="unknown head 'forest'"):
        make_head("forest", 0)


def test_the_class_that_most_images_are_given() -> None:
    proba = np.array([[0.1, 0.9], [0.2, 0.8], [0.3, 0.7], [0.6, 0.4]])
    label, share = most_predicted(proba)
    assert (label, share.value, share.n) == (1, 0.75, 4)


def text(results: Results) -> str:
    return " ".join(explain_cells(results))


def test_the_verdict_is_two_numbers_and_their_n(failed: Results) -> None:
    assert verdict(failed) == (
        "Validation accuracy: 60.0 % [55.0, 65.0] with correct pixels and statistics, 11.0 % [6.0, "
        "16.0] with the two mistakes of the original script (n = 200). Always predicting the most "
        "frequent class gives 12.0 %."
    )


def test_a_failure_is_explained_with_its_numbers(failed: Results) -> None:
    found = text(failed)
    assert "Pixels / 255 alone: -30.0 points [-35.0, -25.0]" in found
    assert "batch statistics in training alone: -15.0 points" in found
    assert "; both mistakes: -49.0 points" in found
    assert "predicts 'sushi' for 97.0 % of val" in found
    assert "This is not overfitting" in found
    assert "reaches 52.0 % [47.0, 57.0] on the same val images" in found
    assert "reaches 10.0 % [8.0, 12.0] on its own training images" in found
    assert "'headbench features' uses correct pixels" in found


def test_where_nothing_costs_anything_no_mistake_is_blamed(unharmed: Results) -> None:
    found = text(unharmed)
    assert found.count("no significant difference (") == 3
    assert "the two mistakes make no significant difference" in found
    for word in ("overfitting", "headbench features", "sushi", "better than chance"):
        assert word not in found


def test_where_even_what_is_right_is_chance_nothing_else_is_said(failed: Results) -> None:
    failed["cells"][0]["val"] = estimate(0.14)
    [found] = explain_cells(failed)
    assert "the other rows mean nothing" in found


def test_random_weights_are_said_first(failed: Results) -> None:
    assert "RANDOM" not in text(failed)
    failed["network"]["has_random_weights"] = True
    assert explain_cells(failed)[0].startswith("RANDOM WEIGHTS")


def test_the_table_has_eight_rows_and_marks_two(shown: Shown) -> None:
    lines = table_text(shown.results).splitlines()
    assert len(lines) == 9
    assert lines[0].split("  ")[0] == TITLES[0]
    assert [line.split("<- ")[1] for line in lines if "<- " in line] == ["correct", "original"]
    assert lines[1].startswith("caffe")
    assert lines[1].endswith("<- correct")
    assert all(len(row) == len(TITLES) for row in table_rows(shown.results))
