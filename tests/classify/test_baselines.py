"""The closed forms and the neighbours against scikit-learn and by hand."""

import numpy as np
import pytest
from sklearn.linear_model import Ridge as PlainRidge
from sklearn.preprocessing import StandardScaler

from headbench.classify.heads.head import Labelled
from headbench.classify.heads.ridge import Ridge
from headbench.classify.heads.simple import KNN, Centroid, Prior
from headbench.classify.heads.tree_columns import PENALTY_PER_COLUMN, cross_fitted_scores
from tests.benchmarks.food101_like import World
from tests.classify.test_heads import separable


@pytest.mark.parametrize("n_images", [60, 900])
@pytest.mark.parametrize("alpha", [1e-3, 1.0])
def test_ridge_is_scikit_learns(n_images: int, alpha: float) -> None:
    X, y = World(n_classes=6, dim=120).draw(n_images, seed=1)
    head = Ridge(alpha=alpha).fit(X, y)
    Z = StandardScaler().fit_transform(X.astype(np.float64))
    plain = PlainRidge(alpha=alpha * n_images).fit(Z, np.eye(6)[y])
    np.testing.assert_allclose(X @ head.kernel_ + head.bias_, plain.predict(Z), atol=2e-3)


def test_scores_of_an_image_come_from_the_folds_without_it() -> None:
    X, y = World(n_classes=4, dim=30).draw(400, seed=1)
    train = Labelled(X, y.astype(np.intp), np.ones(400))
    scores, out_of_fold = cross_fitted_scores(train, 4, seed=0)
    columns = out_of_fold(X, slice(None))
    # Few columns: the principal axes of all of them, and they themselves.
    assert columns.shape == (400, 4 + 30 + 30)
    in_sample = scores(X)[:, :4].argmax(axis=1) == y
    held_out = columns[:, :4].argmax(axis=1) == y
    assert held_out.mean() < in_sample.mean()
    Z = StandardScaler().fit_transform(X.astype(np.float64))
    whole = PlainRidge(alpha=PENALTY_PER_COLUMN * 30, fit_intercept=False).fit(
        Z, np.eye(4)[y] - 0.25
    )
    np.testing.assert_allclose(scores(X)[:, :4], whole.predict(Z), atol=1e-3)
    np.testing.assert_allclose(scores(X)[:, -30:], Z, atol=1e-3)


def test_the_prior_is_the_share_of_each_class_whatever_the_image() -> None:
    y = np.repeat(["a", "b"], [30, 10])
    head = Prior().fit(np.random.default_rng(0).normal(size=(40, 3)), y)
    np.testing.assert_allclose(head.predict_proba(np.zeros((2, 3))), [[0.75, 0.25]] * 2)
    balanced = Prior(class_weight="balanced").fit(np.zeros((40, 3)) + np.arange(3), y)
    np.testing.assert_allclose(balanced.predict_proba(np.zeros((1, 3))), [[0.5, 0.5]])


def test_the_nearest_mean_by_cosine_by_hand() -> None:
    X = np.array([[1, 0], [3, 0], [0, 1], [0, 3]], dtype=np.float32)
    head = Centroid().fit(X, [0, 0, 1, 1])
    # Far out, nearer in direction than in distance.
    np.testing.assert_array_equal(head.predict([[50, 1], [1, 50]]), [0, 1])


def test_neighbours_that_are_more_alike_count_more() -> None:
    X, y, X_val, y_val = separable(5)
    head = KNN(n_neighbors=3).fit(X, y)
    cosine, nearest = head._search(X_val, 3)
    assert (np.diff(cosine, axis=1) <= 1e-6).all()
    proba = head.predict_proba(X_val[:1])[0]
    votes = np.exp((cosine[0] - cosine[0, 0]) / 0.07)
    by_hand = 0.99 * np.bincount(y[nearest[0]], votes, 5) / votes.sum() + 0.01 / 5
    np.testing.assert_allclose(proba, by_hand, atol=1e-5)
    assert (head.predict(X_val) == y_val).mean() > 0.9


def test_more_neighbours_than_images_are_all_of_them() -> None:
    X, y, X_val, y_val = separable(2, n=4)
    assert KNN(n_neighbors=500).fit(X, y, X_val, y_val).used_ <= len(X)
