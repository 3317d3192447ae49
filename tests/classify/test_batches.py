from collections.abc import Iterator

import numpy as np
import pytest

from cache.reader import FeatureFile
from classify.heads import batches as module
from classify.heads.batches import ArrayBatches, Batches, FileBatches
from classify.heads.head import Labelled
from classify.run import Run


@pytest.fixture(params=["array", "file"])
def batches(
    run: Run, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Batches]:
    """Of the train split of three colours, from memory and from the file in small windows."""
    monkeypatch.setattr(module, "RUN_ROWS", 4)
    monkeypatch.setattr(module, "SHUFFLED_ROWS", 24)
    with FeatureFile(run.features_path) as features:
        X, y = features.load("train")
        weight = 1.0 + y
        if request.param == "array":
            yield ArrayBatches(Labelled(X, y.astype(np.intp), weight))
        else:
            yield FileBatches(features, "train", np.arange(3), lambda labels: 1.0 + labels)


def rows_of(batches: Batches, seed: int) -> np.ndarray:
    """Embeddings, labels and weights of an epoch, as they come."""
    epoch = list(batches.epoch(8, np.random.default_rng(seed)))
    assert max(len(X) for X, _, _ in epoch) == 8
    return np.concatenate([np.column_stack([X, y, weight]) for X, y, weight in epoch])


def in_order(rows: np.ndarray) -> np.ndarray:
    return rows[np.lexsort(rows.T)]


def test_every_image_comes_once_with_its_own_label_and_weight(batches: Batches) -> None:
    blocks = np.concatenate(list(batches.blocks()))
    wanted = np.column_stack([blocks, batches.y, batches.weight])
    first, second = rows_of(batches, 0), rows_of(batches, 1)
    np.testing.assert_array_equal(in_order(first), in_order(wanted))
    np.testing.assert_array_equal(in_order(second), in_order(wanted))
    assert len(wanted) == batches.n_rows


def test_the_order_is_random_mixes_classes_and_follows_the_seed(batches: Batches) -> None:
    first = rows_of(batches, 0)
    assert not np.array_equal(first, rows_of(batches, 1))
    np.testing.assert_array_equal(first, rows_of(batches, 0))
    assert len(np.unique(first[:16, -2])) > 1


def test_moments_are_weighted(batches: Batches) -> None:
    X = np.concatenate(list(batches.blocks())).astype(np.float64)
    mean, scale = batches.moments()
    wanted = np.average(X, axis=0, weights=batches.weight)
    np.testing.assert_allclose(mean, wanted, rtol=1e-5)
    variance = np.average((X - wanted) ** 2, axis=0, weights=batches.weight)
    np.testing.assert_allclose(scale, np.sqrt(variance), rtol=1e-4)
