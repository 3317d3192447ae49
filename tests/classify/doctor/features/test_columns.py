import numpy as np
import pytest

from cache.format import SPLITS
from cache.reader import FeatureFile
from classify.doctor.features.columns import Columns, measure_columns
from classify.run import Run
from tests.classify.doctor.zoo.good_run import rewrite


def columns_of(n_active: list[int], n_train: int = 10) -> Columns:
    counts = np.array(n_active)
    ones = np.ones(len(counts), dtype=np.float32)
    return Columns(n_train, counts, 0 * ones, ones, np.ones(n_train))


def test_columns_are_measured_over_train_and_lengths_over_all(run: Run) -> None:
    with FeatureFile(run.features_path) as features:
        table = features.table
    in_val = table.splits == SPLITS.index("val")

    def change(rows: np.ndarray) -> np.ndarray:
        rows[:, 0] = np.where(in_val, 3, 0)
        rows[:, 1] = 4
        return rows

    with FeatureFile(rewrite(run, "embeddings", change).features_path) as features:
        columns = measure_columns(features)
        blue = features.read(np.arange(features.n_images))[:, 2]
    assert columns.n_train == int((table.splits == 0).sum())
    assert columns.is_dead.tolist() == [True, False, False]
    assert columns.is_constant.tolist() == [False, True, False]
    expected = np.sqrt(np.where(in_val, 9, 0) + 16 + blue.astype(float) ** 2)
    assert columns.norms == pytest.approx(expected, rel=1e-6)


def test_columns_seen_once_or_twice_say_how_many_few_images_miss() -> None:
    # Chao: once * (once - 1) / (2 * (twice + 1)) = 4 * 3 / (2 * 2) of the 5 dead ones.
    columns = columns_of([0] * 5 + [1] * 4 + [2] + [9] * 90)
    assert columns.n_unseen == 3


def test_no_more_columns_are_explained_than_are_dead() -> None:
    assert columns_of([0] * 2 + [1] * 20).n_unseen == 2


def test_columns_that_no_image_nearly_misses_leave_dead_ones_unexplained() -> None:
    assert columns_of([0] * 50 + [9] * 50).n_unseen == 0
