import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from classify.heads.logreg import C_PATH, PATIENCE, LogReg
from tests.classify.test_heads import separable


@pytest.mark.parametrize("n_classes", [2, 5])
def test_it_is_scikit_learns_optimum_on_standardised_columns(n_classes: int) -> None:
    X, y, X_val, y_val = separable(n_classes)
    X[:, 3] = 7.0  # a constant column carries nothing and breaks nothing
    head = LogReg(cs=(0.003, 0.03)).fit(X, y, X_val, y_val)
    model = LogisticRegression(C=head.chosen_["C"], tol=1e-8, max_iter=5000)
    reference = make_pipeline(StandardScaler(), model).fit(X.astype(np.float64), y)
    np.testing.assert_allclose(head.predict_proba(X_val), reference.predict_proba(X_val), atol=2e-3)


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
    assert len(tried) - 1 - tried.index(head.chosen_["C"]) == PATIENCE
