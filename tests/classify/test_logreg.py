from dataclasses import dataclass, field

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from headbench.classify.heads.column_statistics import principal_axes
from headbench.classify.heads.head import Labelled
from headbench.classify.heads.logreg import C_PATH, LogReg, SoftmaxLoss
from headbench.classify.heads.regularization_path import PathSolver
from tests.benchmarks.food101_like import World
from tests.classify.test_heads import separable


def objective(
    X: np.ndarray, y: np.ndarray, kernel: np.ndarray, bias: np.ndarray, C: float
) -> float:
    """What scikit-learn minimises, per image, on standardised columns."""
    logits = X @ kernel + bias
    logits -= logits.max(axis=1, keepdims=True)
    of_truth = logits[np.arange(len(y)), y] - np.log(np.exp(logits).sum(axis=1))
    return float((kernel**2).sum() / (2 * C * len(y)) - of_truth.mean())


@pytest.mark.parametrize("C", [1e-3, 1e-2, 1.0])
@pytest.mark.parametrize("n_images", [90, 450])
def test_its_loss_is_scikit_learns_optimum_within_a_ten_thousandth(n_images: int, C: float) -> None:
    """On embeddings shaped like real ones; fewer and more images than columns."""
    X, y = World(n_classes=10, dim=120).draw(n_images, seed=1)
    y = y.astype(np.intp)
    head = LogReg(C=C, tol=1e-6).fit(X, y)
    mean, scale = X.mean(axis=0, dtype=np.float64), X.std(axis=0, dtype=np.float64)
    standardised = (X - mean) / scale
    best = LogisticRegression(C=C, tol=1e-9, max_iter=20_000).fit(standardised, y)
    kernel = head.kernel_ * scale[:, None]
    found = objective(standardised, y, kernel, head.bias_ + mean @ head.kernel_, C)
    wanted = objective(standardised, y, best.coef_.T, best.intercept_, C)
    assert wanted * (1 - 1e-6) <= found <= wanted * (1 + 1e-4)


@pytest.mark.parametrize("class_weight", [None, "balanced"])
@pytest.mark.parametrize("n_classes", [2, 5])
def test_it_is_scikit_learns_model(n_classes: int, class_weight: str | None) -> None:
    X, y, X_val, y_val = separable(n_classes)
    kept = (y > 0) | (np.arange(len(y)) % 3 == 0)
    X, y = X[kept], y[kept]
    X[:, 3] = 0.0  # a constant column carries nothing and breaks nothing
    head = LogReg(cs=(0.003, 0.03), tol=1e-7, class_weight=class_weight).fit(X, y, X_val, y_val)
    head.temperature_ = 1.0
    weight = LogReg(class_weight=class_weight)._weights(y)
    model = LogisticRegression(C=head.chosen_["C"], tol=1e-9, max_iter=5000)
    reference = make_pipeline(StandardScaler(), model).fit(
        X.astype(np.float64),
        y,
        standardscaler__sample_weight=weight,
        logisticregression__sample_weight=weight,
    )
    np.testing.assert_allclose(head.predict_proba(X_val), reference.predict_proba(X_val), atol=2e-3)


def test_columns_far_from_zero_lose_no_digits() -> None:
    X, y = World(n_classes=5, dim=60).draw(800, seed=1)
    scale = X.std(axis=0)
    near = LogReg(C=0.1).fit(X / scale, y)
    far = LogReg(C=0.1).fit(X / scale + 2048, y)
    assert np.abs(near.predict_proba(X / scale) - far.predict_proba(X / scale + 2048)).max() < 0.01


def test_gradient_is_the_slope_of_the_loss() -> None:
    X, y = World(n_classes=4, dim=12).draw(500, seed=1)
    rng = np.random.default_rng(0)
    train = Labelled(X, y.astype(np.intp), rng.uniform(0.5, 2, len(y)))
    loss = SoftmaxLoss(train, principal_axes(X, train.weight), 4)
    theta = rng.normal(size=(13, 4)).astype(np.float32) * 0.3
    step = rng.normal(size=theta.shape).astype(np.float32)
    _, gradient = loss(theta)
    slope = (loss(theta + 0.01 * step)[0] - loss(theta - 0.01 * step)[0]) / 0.02
    assert float((gradient * step).sum()) == pytest.approx(slope, rel=1e-3)


def test_c_is_the_one_with_the_smallest_log_loss_on_val() -> None:
    head = LogReg().fit(*separable(5))
    losses = head.history_["val_log_loss"]
    assert head.chosen_["C"] == head.history_["C"][int(np.argmin(losses))]
    assert head.chosen_["is_converged"]


def test_the_path_stops_when_val_no_longer_gains() -> None:
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(60, 200)).astype(np.float32), rng.integers(0, 3, 60)
    head = LogReg().fit(X, y, *(array[:30] for array in (X + rng.normal(size=X.shape) * 3, y)))
    tried = head.history_["C"]
    assert len(C_PATH) >= 6
    assert tried == list(C_PATH[: len(tried)])
    assert len(tried) < len(C_PATH)
    assert tried.index(head.chosen_["C"]) == len(tried) - 2


@dataclass
class Counted:
    """A loss that counts its calls."""

    loss: SoftmaxLoss
    calls: list[int] = field(default_factory=list)

    def __call__(self, theta: np.ndarray) -> tuple[float, np.ndarray]:
        self.calls.append(1)
        return self.loss(theta)


def test_a_path_costs_less_than_its_fits_from_cold() -> None:
    X, y = World(n_classes=10, dim=200).draw(3000, seed=1)
    train = Labelled(X, y.astype(np.intp), np.ones(len(y)))
    axes = principal_axes(X, train.weight)
    shares = np.full(10, 0.1)
    loss = Counted(SoftmaxLoss(train, axes, 10))
    penalties = [1 / (C * len(y)) for C in C_PATH[:7]]
    path = PathSolver(loss, axes, shares)
    for penalty in penalties:
        path.solve(penalty, 1e-3, 500)
    warm = len(loss.calls)
    for penalty in penalties:
        PathSolver(loss, axes, shares).solve(penalty, 1e-3, 500)
    assert warm < 0.8 * (len(loss.calls) - warm)
