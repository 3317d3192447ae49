from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from headbench.cache.reader import FeatureFile
from headbench.classify.heads import mlp as module
from headbench.classify.heads.column_statistics import mean_and_scale
from headbench.classify.heads.head import Labelled
from headbench.classify.heads.mlp import MLP, epoch_batches
from headbench.classify.heads.registry import load_head
from headbench.classify.heads.streaming import StoredRows
from headbench.classify.run import Run
from tests.classify.conftest import save_as_before


@pytest.fixture(params=["memory", "file"])
def data(
    run: Run, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Labelled]:
    """The train split of three colours, in memory and in the file, there in small windows."""
    monkeypatch.setattr(module, "RUN_ROWS", 4)
    monkeypatch.setattr(module, "SHUFFLED_ROWS", 24)
    with FeatureFile(run.features_path) as features:
        X, y = features.load("train")
        stored = StoredRows(features, ("train",))
        yield Labelled(X if request.param == "memory" else stored, y.astype(np.intp), 1.0 + y)


def rows_of(data: Labelled, seed: int) -> np.ndarray:
    """Embeddings, labels and weights of an epoch, as they come."""
    epoch = list(epoch_batches(data, 8, np.random.default_rng(seed)))
    assert max(len(X) for X, _, _ in epoch) == 8
    return np.concatenate([np.column_stack([X, y, weight]) for X, y, weight in epoch])


def in_order(rows: np.ndarray) -> np.ndarray:
    return rows[np.lexsort(rows.T)]


def test_every_image_comes_once_with_its_own_label_and_weight(data: Labelled) -> None:
    wanted = np.column_stack([data.X[:], data.y, data.weight])
    first, second = rows_of(data, 0), rows_of(data, 1)
    np.testing.assert_array_equal(in_order(first), in_order(wanted))
    np.testing.assert_array_equal(in_order(second), in_order(wanted))


def test_the_order_is_random_mixes_classes_and_follows_the_seed(data: Labelled) -> None:
    first = rows_of(data, 0)
    assert not np.array_equal(first, rows_of(data, 1))
    np.testing.assert_array_equal(first, rows_of(data, 0))
    assert len(np.unique(first[:16, -2])) > 1


def test_moments_are_weighted(data: Labelled) -> None:
    X = data.X[:].astype(np.float64)
    mean, scale = mean_and_scale(data.X, data.weight)
    wanted = np.average(X, axis=0, weights=data.weight)
    np.testing.assert_allclose(mean, wanted, rtol=1e-5)
    variance = np.average((X - wanted) ** 2, axis=0, weights=data.weight)
    np.testing.assert_allclose(scale, np.sqrt(variance), rtol=1e-4)


@pytest.mark.parametrize("batch_norm", [False, True])
def test_a_head_that_was_saved_as_a_keras_file_gives_the_same(
    batch_norm: bool, tmp_path: Path
) -> None:
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(60, 5)).astype(np.float32), np.arange(60) % 3
    head = MLP((8, 4), batch_norm=batch_norm, max_epochs=2).fit(X, y, X, y)
    head.save(tmp_path)
    expected = head.keras_model()(head._normalise(X), training=False)
    np.testing.assert_allclose(head._predict_proba(X), expected, rtol=1e-5)
    save_as_before(tmp_path)
    np.testing.assert_array_equal(load_head(tmp_path).predict_proba(X), head.predict_proba(X))
