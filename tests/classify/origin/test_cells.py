from pathlib import Path

import numpy as np
import pytest

from classify.errors import RunError
from classify.origin.cells import compare_cells, make_head, measure_cells, most_predicted
from classify.origin.extraction import BATCH, MOVING, Extraction, Variant
from tests.classify.origin.test_images import split


@pytest.fixture
def extraction(photos: Path) -> Extraction:
    """Embeddings that say the class, but wrong pixels hide half and the batch shifts them all."""
    images = split(photos)
    rng = np.random.default_rng(0)
    clear = np.eye(3)[images.labels] + 0.1 * rng.standard_normal((len(images.labels), 3))
    noisy = np.eye(3)[images.labels] + 0.8 * rng.standard_normal((len(images.labels), 3))
    shift = np.array([9.0, 9.0, 0.0])
    embeddings = {
        Variant("caffe", MOVING): clear,
        Variant("caffe", BATCH): clear,
        Variant("/255", MOVING): noisy,
        Variant("/255", BATCH): clear + shift,
    }
    made = {variant: each.astype(np.float32) for variant, each in embeddings.items()}
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
        assert first.validated != second.validated
        assert first.val.n == second.val.n == len(extraction.images.rows("val"))
        assert first.train.n == len(extraction.images.rows("train"))
        same = first if first.trained == first.validated else second
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
    assert found["mend_pixels"].difference.value == pytest.approx(-found["both"].difference.value)


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
