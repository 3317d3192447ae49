import subprocess
import sys
import warnings

import numpy as np
import pytest

from headbench.classify.inspection import embedding_map as module
from headbench.classify.inspection.embedding_map import embedding_map, sample_rows
from headbench.classify.run import Run
from tests.conftest import ROOT


class File:
    """Embeddings in memory that are read like those of a file."""

    def __init__(self, X: np.ndarray) -> None:
        self.X = X.astype(np.float32)

    def read(self, rows: np.ndarray) -> np.ndarray:
        return self.X[rows]

    def rows(self, _: str) -> np.ndarray:
        return np.arange(len(self.X))


def two_groups(n: int, dim: int = 60) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    group = np.arange(n) % 2
    return rng.normal(size=(n, dim)) + 6 * group[:, None], group


def mapped(X: np.ndarray, seed: int = 0) -> module.EmbeddingMap:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return embedding_map(File(X), np.arange(len(X)), seed)


def test_groups_that_are_apart_stay_apart_in_both_maps() -> None:
    X, group = two_groups(80)
    found = mapped(X)
    assert set(found.points) == {"PCA", "t-SNE"}
    for points in found.points.values():
        assert points.shape == (80, 2)
        centers = [points[group == each].mean(axis=0) for each in (0, 1)]
        spread = max(points[group == each].std() for each in (0, 1))
        assert np.linalg.norm(centers[0] - centers[1]) > 2 * spread


def test_the_share_of_variance_is_that_of_the_first_two_axes() -> None:
    X, _ = two_groups(40, dim=5)
    values = np.linalg.eigvalsh(np.cov(X.T))[::-1]
    assert mapped(X).variance_share == pytest.approx(values[:2].sum() / values.sum(), rel=1e-4)


def test_the_same_seed_gives_the_same_map() -> None:
    X, _ = two_groups(70)
    first, second = mapped(X), mapped(X)
    for name, points in first.points.items():
        np.testing.assert_array_equal(points, second.points[name])


@pytest.mark.parametrize("n", [1, 2, 3, 9, 10, 11])
def test_few_images_and_few_columns_have_a_map(n: int) -> None:
    for dim in (1, 2, 60):
        found = mapped(np.random.default_rng(n).normal(size=(n, dim)))
        assert ("t-SNE" in found.points) == (n >= 10 and dim > 1)
        for points in found.points.values():
            assert points.shape == (n, 2)
            assert np.isfinite(points).all()


def test_images_that_are_all_the_same_have_a_map() -> None:
    found = mapped(np.ones((5, 8)))
    assert np.isfinite(found.points["PCA"]).all()
    assert found.variance_share == 0


def test_without_opentsne_there_is_pca(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "has_opentsne", lambda: False)
    assert set(mapped(two_groups(20)[0]).points) == {"PCA"}


def test_it_is_imported_only_where_it_is_used() -> None:
    code = (
        "import sys, headbench.classify.inspection.embedding_map; "
        "sys.exit('openTSNE' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def test_a_sample_is_of_the_split_and_repeats(run: Run) -> None:
    from headbench.cache.reader import FeatureFile

    with FeatureFile(run.features_path) as features:
        rows = sample_rows(features, "test", 5, seed=3)
        assert len(rows) == 5
        assert set(rows) < set(features.rows("test"))
        np.testing.assert_array_equal(rows, sample_rows(features, "test", 5, seed=3))
        assert (np.diff(rows) > 0).all()
        everything = sample_rows(features, "test", 10_000, seed=3)
        np.testing.assert_array_equal(everything, features.rows("test"))
