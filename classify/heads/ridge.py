"""Ridge regression on class indicators, in closed form."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from headbench.cache.progress import Progress
from headbench.classify.heads.column_statistics import PrincipalAxes, principal_axes
from headbench.classify.heads.grid import AT_LIMIT, Choice, choose_from
from headbench.classify.heads.head import Head, Labelled
from headbench.classify.heads.keras_layers import linear
from headbench.classify.heads.parameters import ASCENDING, POSITIVE, Range, or_none
from headbench.classify.heads.streaming import sum_over
from headbench.classify.heads.temperature import fit_temperature, sharpen
from headbench.classify.metrics import mean_log_loss

ALPHA_PATH = tuple(10.0**power for power in range(-5, 3))
# Smaller penalties vanish in rounding errors; with larger ones all classes get the same score.
ALPHA_LIMITS = (1e-10, 1e6)
# Factor on the scores before the softmax, without a temperature fitted on val.
SHARPNESS = 10.0


class Ridge(Head):
    """Ridge regression of the class indicators on standardised columns.

    One `eigh` serves all penalties (as in big_vision's few-shot probe). It is computed in float64:
    with fewer images than columns, small float32 eigenvalues are noise, which a weak penalty
    amplifies.

    Parameters
    ----------
    alphas : sequence of float or None
        Penalties to try, ascending, per image; they are added to variances of 1. The best is chosen
        on val by log loss, each at its own best temperature. None: 1e-5 to 100, and beyond if an
        end is the best.
    alpha : float
        Used without val.
    class_weight : {None, "balanced"} or mapping
    """

    is_exportable: ClassVar[bool] = True
    ranges: ClassVar[Mapping[str, Range]] = {"alphas": or_none(ASCENDING), "alpha": POSITIVE}
    refit_with: ClassVar[Mapping[str, str]] = {"alpha": "alpha"}
    arrays_file: ClassVar[str] = "scores.npz"
    array_names: ClassVar[Sequence[str]] = ("kernel", "bias")

    def __init__(
        self,
        alphas: Sequence[float] | None = None,
        alpha: float = 1.0,
        class_weight: Any = None,
    ) -> None:
        self.alphas = alphas
        self.alpha = alpha
        self.class_weight = class_weight

    def _fit(self, train: Labelled, val: Labelled | None) -> None:
        axes = principal_axes(train.X, train.weight)
        shares = np.bincount(train.y, train.weight, len(self.classes_)) / train.weight.sum()
        along = _targets_along(axes, train, shares)
        alpha = self.alpha
        if val is not None:
            choice = self._choose(lambda alpha: self._val_loss(axes, along, shares, alpha, val))
            alpha = choice.best
            self.history_ = {"alpha": choice.tried, "val_log_loss": choice.losses}
        self._solve(axes, along, shares, alpha)
        self.chosen_ = {"alpha": float(alpha)}
        if val is not None and choice.is_at_limit:
            self.chosen_[AT_LIMIT] = True

    def _choose(self, loss_of: Callable[[float], float]) -> Choice:
        alphas = self.alphas or ALPHA_PATH
        limits = None if self.alphas else ALPHA_LIMITS
        with Progress("fit", len(alphas), "values of alpha") as progress:
            return choose_from(progress.counting(loss_of), alphas, limits=limits)

    def _val_loss(
        self, axes: PrincipalAxes, along: Any, shares: Any, alpha: float, val: Labelled
    ) -> float:
        self._solve(axes, along, shares, alpha)
        proba = self._proba(val.X)
        best = sharpen(proba, fit_temperature(proba, val.y, val.weight))
        return mean_log_loss(val.y, best, val.weight)

    def _solve(self, axes: PrincipalAxes, along: Any, shares: Any, alpha: float) -> None:
        weights = axes.axes @ (along / (axes.eigenvalues[:, None] + alpha))
        kernel = weights / axes.scale[:, None]
        self.kernel_ = kernel.astype(np.float32)
        self.bias_ = (shares - axes.mean @ kernel).astype(np.float32)

    def _predict_proba(self, X: NDArray[np.float32]) -> NDArray[Any]:
        scores = X @ self.kernel_ + self.bias_
        return softmax(SHARPNESS * scores, axis=1)  # type: ignore[no-any-return]

    def keras_logits(self, X: Any) -> Any:
        """See `Head.keras_logits`."""
        return linear(X, *self.linear_logits())

    def linear_logits(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """See `Head.linear_logits`."""
        return SHARPNESS * self.kernel_, SHARPNESS * self.bias_


def _targets_along(
    axes: PrincipalAxes, train: Labelled, shares: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Covariance of the class indicators with the axes, float64 (rank, n_classes)."""
    share = train.weight / train.weight.sum()
    [covariance] = sum_over(_covariance, train.X, (train.y, share), axes.mean, shares)
    along: NDArray[np.float64] = axes.axes.T @ (covariance / axes.scale[:, None])
    return along


def _covariance(
    X: NDArray[np.float32],
    y: NDArray[np.integer],
    share: NDArray[np.float64],
    mean: NDArray[np.float64],
    shares: NDArray[np.float64],
) -> tuple[NDArray[np.float64]]:
    indicators = np.zeros((len(y), len(shares)))
    indicators[np.arange(len(y)), y] = 1
    indicators -= shares
    indicators *= share[:, None]
    return ((X - mean).T @ indicators,)
