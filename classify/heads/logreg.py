"""Multinomial logistic regression on standardised embeddings, two matrix products a pass."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax
from threadpoolctl import threadpool_limits

from headbench.cache.progress import Progress
from headbench.classify.heads.column_statistics import PrincipalAxes, principal_axes
from headbench.classify.heads.grid import AT_LIMIT, Choice, choose_from
from headbench.classify.heads.head import Head, Labelled
from headbench.classify.heads.keras_layers import linear
from headbench.classify.heads.parameters import ASCENDING, POSITIVE, Range, or_none, whole
from headbench.classify.heads.regularization_path import Fit, PathSolver
from headbench.classify.heads.streaming import sum_over
from headbench.classify.metrics import mean_log_loss

C_PATH = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1, 1.0, 3.0, 10.0)
C_LIMITS = (1e-8, 1e4)
# Of fits that are only compared on val: their log loss is within 0.3 % there, and that of the next
# value of C differs by several percent.
PATH_TOLERANCE = 1e-3
# Below this many multiplications in one product of X with the weights, a second BLAS thread costs
# more than it does: on 2 cores, 1 000 x 2048 and 10 classes took 31 ms an iteration with two
# threads and 6 ms with one; 4 000 x 2048 and 101 classes 96 and 59; 16 000 and 101 the same.
SMALL_PRODUCT = 2_000_000_000
# Columns whose mean is this many deviations from 0 lose digits unless it is subtracted first.
FAR_FROM_ZERO = 30.0


class LogReg(Head):
    """Logistic regression; the regularisation strength is chosen on val by log loss.

    It fits from strong to weak regularisation and stops when the log loss on val rises. The best
    fit is then brought nearer to its optimum.

    Parameters
    ----------
    cs : sequence of float or None
        Inverse regularisation strengths to try, ascending, as scikit-learn's `C`. None: 1e-4 to 10,
        and beyond if an end is the best.
    C : float
        Used without val.
    tol : float
        Relative distance of the loss from its minimum, as estimated from the curvature.
    max_iter : int
        Passes over the embeddings for each value, at most.
    class_weight : {None, "balanced"} or mapping

    Attributes
    ----------
    kernel_ : float32 (dim, n_classes)
        For embeddings that are not standardised: the standardisation is part of it.
    bias_ : float32 (n_classes,)
    n_iter_ : int
        Passes over the embeddings, over all values of C.
    """

    is_exportable: ClassVar[bool] = True
    ranges: ClassVar[Mapping[str, Range]] = {
        "cs": or_none(ASCENDING),
        "C": POSITIVE,
        "tol": POSITIVE,
        "max_iter": whole(1),
    }
    refit_with: ClassVar[Mapping[str, str]] = {"C": "C"}
    arrays_file: ClassVar[str] = "softmax.npz"
    array_names: ClassVar[Sequence[str]] = ("kernel", "bias")

    def __init__(
        self,
        cs: Sequence[float] | None = None,
        C: float = 0.01,
        tol: float = 3e-5,
        max_iter: int = 500,
        class_weight: Any = None,
    ) -> None:
        self.cs = cs
        self.C = C
        self.tol = tol
        self.max_iter = max_iter
        self.class_weight = class_weight

    def _fit(self, train: Labelled, val: Labelled | None) -> None:
        n_classes = len(self.classes_)
        shares = np.bincount(train.y, train.weight, n_classes) / train.weight.sum()
        with _blas_threads(train.X.size * n_classes):
            # float32, because the axes only speed up the search.
            axes = principal_axes(train.X, train.weight, np.float32)
            loss = SoftmaxLoss(train, axes, n_classes)
            solver = PathSolver(loss, axes, shares)
            self.n_iter_, choice = 0, None
            self._is_path_converged = True
            with Progress("fit", len(self._path) if val else 1, "values of C") as progress:
                if val is None:
                    fit = solver.solve(self._penalty(self.C, train), self.tol, self.max_iter)
                else:
                    choice, start = self._choose(solver, loss, train, val, progress)
                    penalty = self._penalty(choice.best, train)
                    fit = solver.polish(start, penalty, self.tol, self.max_iter)
        self.kernel_, self.bias_ = loss.unshifted(fit.theta)
        self.n_iter_ += fit.iterations
        self.chosen_ = {
            "C": float(choice.best if choice else self.C),
            "iterations": self.n_iter_,
            # A fit that was cut short may have hidden a better C.
            "is_converged": fit.is_converged and self._is_path_converged,
        }
        if choice and choice.is_at_limit:
            self.chosen_[AT_LIMIT] = True

    @property
    def _path(self) -> Sequence[float]:
        return self.cs or C_PATH

    def _choose(
        self,
        solver: PathSolver,
        loss: "SoftmaxLoss",
        train: Labelled,
        val: Labelled,
        progress: Progress,
    ) -> tuple[Choice, Fit]:
        fits: dict[float, Fit] = {}
        tolerance = max(self.tol, PATH_TOLERANCE)

        def loss_of(C: float) -> float:
            penalty = self._penalty(C, train)
            if fits and min(fits) > C:  # beyond the lower end of the path
                fits[C] = solver.polish(fits[min(fits)], penalty, tolerance, self.max_iter)
            else:
                fits[C] = solver.solve(penalty, tolerance, self.max_iter)
            self.kernel_, self.bias_ = loss.unshifted(fits[C].theta)
            return mean_log_loss(val.y, self._proba(val.X), val.weight)

        limits = None if self.cs else C_LIMITS
        choice = choose_from(progress.counting(loss_of), self._path, 10**0.5, limits, is_path=True)
        self.history_ = {"C": choice.tried, "val_log_loss": choice.losses}
        self.n_iter_ = sum(fit.iterations for fit in fits.values())
        self._is_path_converged = all(fit.is_converged for fit in fits.values())
        return choice, fits[choice.best]

    def _penalty(self, C: float, train: Labelled) -> float:
        # With two classes scikit-learn has one row of weights, the difference of our two rows.
        # Split evenly, its penalty is half as large.
        n_rows = 2 if len(self.classes_) == 2 else 1
        return float(n_rows / (C * train.weight.sum()))

    def _predict_proba(self, X: NDArray[np.float32]) -> NDArray[Any]:
        return softmax(X @ self.kernel_ + self.bias_, axis=1)  # type: ignore[no-any-return]

    def keras_logits(self, X: Any) -> Any:
        """See `Head.keras_logits`."""
        return linear(X, *self.linear_logits())

    def linear_logits(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """See `Head.linear_logits`."""
        return self.kernel_, self.bias_


class SoftmaxLoss:
    """Mean weighted log loss on standardised embeddings, without a copy of them.

    The standardisation is applied to the weights: x'w with x' = (x - mean) / scale equals
    x(w / scale) - mean(w / scale). Products are float32, sums over blocks float64.

    Parameters
    ----------
    axes : PrincipalAxes
        Whose mean and scale are used.
    """

    def __init__(self, train: Labelled, axes: PrincipalAxes, n_classes: int) -> None:
        self.train = train
        self.n_classes = n_classes
        self.share = (train.weight / train.weight.sum()).astype(np.float32)
        self.scale = axes.scale.astype(np.float32)[:, None]
        mean = axes.mean.astype(np.float32)
        is_far = np.abs(axes.mean / axes.scale).max() > FAR_FROM_ZERO
        self.shift = mean if is_far else None
        # What the shift leaves of the mean.
        self.mean = axes.mean - mean if is_far else axes.mean

    def unshifted(self, theta: NDArray[np.float32]) -> tuple[NDArray[Any], NDArray[Any]]:
        """Kernel (dim, n_classes) and bias (n_classes,) on the embeddings as they are, float32."""
        kernel, bias = self._folded(theta)
        return kernel, bias if self.shift is None else bias - self.shift @ kernel

    def __call__(self, theta: NDArray[np.float32]) -> tuple[float, NDArray[np.float32]]:
        """Loss and gradient.

        Parameters
        ----------
        theta : float32 (dim + 1, n_classes)
            Weights of the standardised columns, and last the biases.

        Returns
        -------
        loss : float
        gradient : float32, shaped like `theta`
        """
        kernel, bias = self._folded(theta)
        columns = (self.train.y, self.share)
        loss, data, biases = sum_over(_terms, self.train.X, columns, kernel, bias, self.shift)
        data -= np.outer(self.mean, biases)
        data /= self.scale
        return float(loss), np.vstack([data, biases]).astype(np.float32)

    def _folded(self, theta: NDArray[np.float32]) -> tuple[NDArray[Any], NDArray[Any]]:
        kernel = theta[:-1] / self.scale
        bias = theta[-1] - self.mean @ kernel
        return kernel, bias.astype(np.float32)


def _terms(
    X: NDArray[np.float32],
    y: NDArray[np.integer],
    share: NDArray[np.float32],
    kernel: NDArray[np.float32],
    bias: NDArray[np.float32],
    shift: NDArray[np.float32] | None,
) -> tuple[Any, ...]:
    """Loss of a block, and its gradient with respect to kernel and bias."""
    if shift is not None:
        X = X - shift
    residual = X @ kernel
    residual += bias
    loss = _to_residual(residual, y, share)
    return loss, X.T @ residual, residual.sum(axis=0)


def _to_residual(
    logits: NDArray[np.float32], y: NDArray[np.integer], share: NDArray[np.float32]
) -> float:
    """Turn logits into the gradient with respect to them, in place; gives their loss."""
    of_truth = np.arange(len(y)), y
    logits -= logits.max(axis=1, keepdims=True)
    truth = logits[of_truth]
    np.exp(logits, out=logits)
    total = logits.sum(axis=1)
    loss = float(share @ (np.log(total) - truth).astype(np.float64))
    logits /= total[:, None]
    logits[of_truth] -= 1
    logits *= share[:, None]
    return loss


def _blas_threads(n_products: int) -> Any:
    return threadpool_limits(1 if n_products < SMALL_PRODUCT else None, "blas")
