"""Multinomial logistic regression on standardised embeddings."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax
from threadpoolctl import threadpool_limits

from classify.arrays import load_arrays, save_arrays
from classify.heads.head import Head, Labelled
from classify.heads.path import Fit, PathSolver
from classify.heads.softmax_loss import SoftmaxLoss
from classify.heads.spectrum import spectrum
from classify.metrics import mean_log_loss

C_PATH = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1, 1.0, 3.0, 10.0)
# Of the fits that are only compared on val: their log loss there is right to 0.3 %, where the next
# value of C differs by several.
PATH_TOLERANCE = 1e-3
# Below this many multiplications in one product of X with the weights, a second BLAS thread costs
# more than it does: on 2 cores, 1 000 x 2048 and 10 classes took 31 ms an iteration with two
# threads and 6 ms with one; 4 000 x 2048 and 101 classes 96 and 59; 16 000 and 101 the same.
SMALL_PRODUCT = 2_000_000_000
SOFTMAX_FILE = "softmax.npz"


class LogReg(Head):
    """Logistic regression, its strength of regularisation chosen on val by log loss.

    The path runs from strong to weak regularisation and ends where val loses for the first time;
    the best of it is then brought nearer to its optimum.

    Parameters
    ----------
    cs : sequence of float
        Inverse regularisation strengths to try, ascending, as scikit-learn's `C`.
    C : float
        Taken where there is no val to choose on.
    tol : float
        How far the loss may be from its minimum, as a share of it, as far as the curvature tells.
    max_iter : int
        Most passes over the embeddings for each value.
    class_weight : {None, "balanced"} or mapping

    Attributes
    ----------
    kernel_ : float32 (dim, n_classes)
        On the embeddings as they are, the standardisation folded in.
    bias_ : float32 (n_classes,)
    n_iter_ : int
        Passes over the embeddings, for all values together.
    """

    refit_with: ClassVar[Mapping[str, str]] = {"C": "C"}

    def __init__(
        self,
        cs: Sequence[float] = C_PATH,
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
            # float32: here the axes only speed the search up.
            axes = spectrum(train.X, train.weight, np.float32)
            loss = SoftmaxLoss(train, axes, n_classes)
            solver = PathSolver(loss, axes, shares)
            C, start = (self.C, None) if val is None else self._choose(solver, loss, train, val)
            penalty = self._penalty(C, train)
            if start is None:
                fit = solver.solve(penalty, self.tol, self.max_iter)
            else:
                fit = solver.polish(start, penalty, self.tol, self.max_iter)
        self.kernel_, self.bias_ = loss.unshifted(fit.theta)
        others = [each for each in solver.fits if each is not fit]
        self.n_iter_ = fit.iterations + sum(each.iterations for each in others)
        self.chosen_ = {
            "C": float(C),
            "iterations": self.n_iter_,
            "is_converged": fit.is_converged,
        }

    def _choose(
        self, solver: PathSolver, loss: SoftmaxLoss, train: Labelled, val: Labelled
    ) -> tuple[float, Fit]:
        losses: list[float] = []
        for C in self.cs:
            tolerance = max(self.tol, PATH_TOLERANCE)
            fit = solver.solve(self._penalty(C, train), tolerance, self.max_iter)
            self.kernel_, self.bias_ = loss.unshifted(fit.theta)
            losses.append(mean_log_loss(val.y, self._proba(val.X), val.weight))
            if losses[-1] > min(losses):
                break
        best = int(np.argmin(losses))
        self.history_ = {"C": list(map(float, self.cs[: len(losses)])), "val_log_loss": losses}
        return self.cs[best], solver.fits[best]

    def _penalty(self, C: float, train: Labelled) -> float:
        # Two classes: scikit-learn has one row of weights, which is the difference of our two and
        # counts half as much when it is split evenly.
        n_rows = 2 if len(self.classes_) == 2 else 1
        return float(n_rows / (C * train.weight.sum()))

    def _predict_proba(self, X: NDArray[np.float32]) -> NDArray[Any]:
        return softmax(X @ self.kernel_ + self.bias_, axis=1)  # type: ignore[no-any-return]

    def _save(self, folder: Path) -> None:
        save_arrays(folder / SOFTMAX_FILE, {"kernel": self.kernel_, "bias": self.bias_})

    def _load(self, folder: Path) -> None:
        arrays = load_arrays(folder / SOFTMAX_FILE)
        self.kernel_, self.bias_ = arrays["kernel"], arrays["bias"]


def _blas_threads(n_products: int) -> Any:
    return threadpool_limits(1 if n_products < SMALL_PRODUCT else None, "blas")
