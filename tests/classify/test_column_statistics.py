import numpy as np
import pytest
from sklearn.preprocessing import StandardScaler

from headbench.classify.heads.column_statistics import mean_and_scale, principal_axes


@pytest.mark.parametrize("n_images", [30, 5000])
def test_it_is_that_of_the_standardised_embeddings(n_images: int) -> None:
    rng = np.random.default_rng(0)
    X = (rng.gamma(1, 1, (n_images, 40)) * rng.uniform(0.1, 9, 40)).astype(np.float32)
    weight = rng.uniform(0.5, 3, n_images)
    found = principal_axes(X, weight)
    scaler = StandardScaler().fit(X.astype(np.float64), sample_weight=weight)
    np.testing.assert_allclose(found.mean, scaler.mean_, rtol=1e-5)
    np.testing.assert_allclose(found.scale, scaler.scale_, rtol=1e-5)
    Z = scaler.transform(X.astype(np.float64))
    covariance = (Z * weight[:, None]).T @ Z / weight.sum()
    rebuilt = (found.axes * found.eigenvalues) @ found.axes.T
    np.testing.assert_allclose(rebuilt, covariance, atol=1e-4)
    np.testing.assert_allclose(found.axes.T @ found.axes, np.eye(len(found.eigenvalues)), atol=1e-6)
    mean, scale = mean_and_scale(X, weight)
    np.testing.assert_allclose(mean, scaler.mean_, rtol=1e-5)
    np.testing.assert_allclose(scale, scaler.scale_, rtol=1e-4)


@pytest.mark.parametrize("n_images", [5, 5000])
def test_a_constant_column_has_scale_1_whatever_its_value(n_images: int) -> None:
    X = np.random.default_rng(0).normal(size=(n_images, 8)).astype(np.float32)
    X[:, 2], X[:, 5] = 0, 12345.678
    weight = np.ones(n_images)
    for scale in (principal_axes(X, weight).scale, mean_and_scale(X, weight)[1]):
        assert scale[2] == scale[5] == 1
        assert (np.delete(scale, [2, 5]) != 1).all()


def test_rows_that_are_sorted_by_class_make_no_difference() -> None:
    rng = np.random.default_rng(0)
    X = np.sort(rng.normal(1000, 1, (9000, 6)).astype(np.float32), axis=0)
    found = principal_axes(X, np.ones(len(X)), np.float32)
    np.testing.assert_allclose(found.scale, X.std(axis=0, dtype=np.float64), rtol=1e-4)
