import numpy as np
import pytest

from cache.reader import FeatureFile
from classify.errors import RunError
from classify.folds import content_folds, cross_validate, overall
from classify.heads.registry import create_head
from classify.report.studies import describe_folds
from classify.run import Run


def folds_of(run: Run, n_folds: int, said: list[str]) -> list[dict]:
    heads = {name: create_head(name, 0) for name in ("centroid", "logreg")}
    with FeatureFile(run.features_path) as features:
        return cross_validate(run.folder, features, heads, n_folds, 0, 2, said.append)


def test_copies_of_one_image_are_in_one_fold_and_classes_are_spread() -> None:
    rng = np.random.default_rng(0)
    content = rng.integers(0, 256, (60, 32), dtype=np.uint8)
    copies = np.concatenate([content, content[:30]])
    y = np.concatenate([np.arange(60) % 3, np.arange(30) % 3])
    fold_of = content_folds(y, copies, 5, seed=0)
    np.testing.assert_array_equal(fold_of[:30], fold_of[60:])
    counts = np.array([np.bincount(y[fold_of == fold], minlength=3) for fold in range(5)])
    assert counts.min() >= 3


def test_every_image_of_train_and_val_is_measured_once(run: Run) -> None:
    said: list[str] = []
    points = folds_of(run, 4, said)
    assert [(point["head"], point["fold"]) for point in points] == [
        (name, fold) for name in ("centroid", "logreg") for fold in range(4)
    ]
    with FeatureFile(run.features_path) as features:
        n_images = len(features.rows("train")) + len(features.rows("val"))
    total = overall(points[4:])
    assert total.n == n_images
    assert total.value > 0.9
    assert f"(n={n_images})" in describe_folds(points)
    assert folds_of(run, 4, said) == points
    assert said[-1] == "folds: 0 fits, 8 reused"


def test_other_folds_are_other_results(run: Run) -> None:
    said: list[str] = []
    folds_of(run, 4, said)
    assert {point["n_folds"] for point in folds_of(run, 3, said)} == {3}
    assert said[-1] == "folds: 6 fits, 0 reused"


def test_too_few_folds_and_too_small_classes_are_refused(run: Run) -> None:
    with pytest.raises(RunError, match="--folds 2: expected at least 3"):
        folds_of(run, 2, [])
    with pytest.raises(
        RunError, match=r"class '\w+' has \d+ different images in train and val for 40"
    ):
        folds_of(run, 40, [])
