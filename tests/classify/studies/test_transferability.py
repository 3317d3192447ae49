import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.stats import multivariate_normal

from headbench.classify.studies.transferability import log_me


def slow_log_me(X: NDArray[np.float64], y: NDArray[np.int_]) -> float:
    """By the definition: each target is normal, and both precisions are searched for."""
    found = []
    for label in np.unique(y):
        target = (y == label).astype(float)

        def loss(logs: NDArray[np.float64], target: NDArray[np.float64] = target) -> float:
            alpha, beta = np.exp(np.clip(logs, -20, 20))
            covariance = X @ X.T / alpha + np.eye(len(X)) / beta
            return -float(multivariate_normal.logpdf(target, cov=covariance)) / len(X)

        starts = [(0.0, 1.5), (6.0, 1.5)]
        found.append(-min(minimize(loss, start, method="Nelder-Mead").fun for start in starts))
    return float(np.mean(found))


def embeddings(n: int, dim: int, signal: float) -> tuple[NDArray[np.float64], NDArray[np.int_]]:
    rng = np.random.default_rng(0)
    y = np.arange(n) % 3
    X = rng.normal(size=(n, dim)) + signal * rng.normal(size=(3, dim))[y] + 0.5
    return X, y


@pytest.mark.parametrize(("n", "dim", "signal"), [(36, 5, 1.0), (36, 5, 0.0), (24, 40, 0.7)])
def test_log_me_is_the_largest_evidence_by_its_definition(n: int, dim: int, signal: float) -> None:
    X, y = embeddings(n, dim, signal)
    assert log_me(X, y) == pytest.approx(slow_log_me(X, y), abs=1e-4)
    assert log_me(X, y) >= slow_log_me(X, y) - 1e-6


def test_log_me_is_higher_for_embeddings_that_tell_the_classes_apart() -> None:
    found = [log_me(*embeddings(60, 20, signal)) for signal in (0.0, 0.5, 2.0)]
    assert found == sorted(found)
    assert found[2] - found[0] > 0.3


def test_log_me_depends_on_neither_the_names_of_labels_nor_the_scale_of_embeddings() -> None:
    X, y = embeddings(60, 20, 0.5)
    assert log_me(X, 7 - 2 * y) == pytest.approx(log_me(X, y))
    assert log_me(100 * X.astype(np.float32), y) == pytest.approx(log_me(X, y), abs=1e-5)


@pytest.mark.parametrize("dim", [1, 3])
def test_embeddings_that_fit_exactly_or_hold_nothing_have_a_finite_log_me(dim: int) -> None:
    y = np.arange(12) % 2
    assert np.isfinite(log_me(np.repeat(y[:, None], dim, axis=1).astype(float), y))
    assert np.isfinite(log_me(np.zeros((12, dim)), y))
