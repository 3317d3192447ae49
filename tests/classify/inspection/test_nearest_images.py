import numpy as np
import pytest

from headbench.cache.reader import FeatureFile
from headbench.classify.inspection import nearest_images
from headbench.classify.inspection.nearest_images import find_nearest
from headbench.classify.inspection.principal_axes import unit
from tests.classify.inspection.conftest import Writer


def by_hand(X: np.ndarray, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    similarity = unit(np.float32(queries)) @ unit(np.float32(X)).T
    order = np.argsort(-similarity, axis=1, kind="stable")[:, :k]
    return order, np.take_along_axis(similarity, order, axis=1)


@pytest.mark.parametrize("k", [1, 7, 300])
@pytest.mark.parametrize("store", ["float32", "float16"])
def test_the_nearest_are_those_of_a_search_by_hand(
    write: Writer, monkeypatch: pytest.MonkeyPatch, k: int, store: str
) -> None:
    monkeypatch.setattr(nearest_images, "BLOCK_ROWS", 16)
    monkeypatch.setattr(nearest_images, "MOST_QUERIES", 10)
    rng = np.random.default_rng(0)
    queries = rng.normal(size=(25, 20)).astype(np.float32) * 1e3
    with FeatureFile(write(rng.normal(size=(333, 20)), store=store)) as features:
        rows = np.arange(5, 330)
        found = find_nearest(features, queries, k, rows)
        order, similarity = by_hand(features.read(rows), queries, k)
    np.testing.assert_allclose(found.similarity, similarity, atol=1e-6)
    assert (rows[order] == found.rows).mean() > 0.99  # but for what is equal to rounding


def test_equal_images_come_in_their_order_and_the_first_ones_are_kept(
    write: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nearest_images, "BLOCK_ROWS", 4)
    X = np.ones((30, 4))
    X[::3, 0] = -1
    with FeatureFile(write(X)) as features:
        found = find_nearest(features, np.ones((2, 4), np.float32), 5, np.arange(30))
    assert found.rows.tolist() == [[1, 2, 4, 5, 7]] * 2


def test_an_image_does_not_find_itself_but_its_copies(write: Writer) -> None:
    X = np.eye(4, dtype=np.float32)[[0, 1, 1, 2]]
    with FeatureFile(write(X, numbers=[0, 1, 1, 2])) as features:
        rows, own = np.arange(4), np.array([1, 3])
        found = find_nearest(features, X[own], 9, rows, own)
        assert found.rows[:, 0].tolist() == [2, 0]
        assert found.similarity[0].tolist() == [1, 0, 0, -np.inf]


def test_an_embedding_of_zeros_is_like_nothing(write: Writer) -> None:
    X = np.eye(3, dtype=np.float32)
    X[1] = 0
    with FeatureFile(write(X)) as features:
        found = find_nearest(features, np.float32([[0, 0, 0], [2, 0, 0]]), 3, np.arange(3))
    assert found.similarity.tolist() == [[0, 0, 0], [1, 0, 0]]
