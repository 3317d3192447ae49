"""Multinomial logistic regression on standardised embeddings."""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from classify.arrays import load_arrays, save_arrays
from classify.heads.head import Head

C_PATH = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1, 1.0, 3.0, 10.0)
# The path runs from strong to weak regularisation; once val has lost this often it keeps losing.
PATIENCE = 2
# Below this many multiplications in one product of X with the weights, a second BLAS thread costs
# more than it does: on 2 cores, 1 000 x 2048 and 10 classes took 31 ms an iteration with two
# threads and 6 ms with one; 4 000 x 2048 and 101 classes 96 and 59; 16 000 and 101 the same.
SMALL_PRODUCT = 2_000_000_000
SOFTMAX_FILE = "softmax.npz"


class LogReg(Head):
    """Logistic regression, its strength of regularisation chosen on val by log loss.

    Parameters
    ----------
    cs : sequence of float
        Inverse regularisation strengths to try, ascending; each fit starts from the one before.
    C : float
        Taken where there is no val to choose on.
    max_iter : int
        Most iterations of L-BFGS for each value.

    Attributes
    ----------
    kernel_ : float32 (dim, n_classes)
        On the embeddings as they are, the standardisation folded in.
    bias_ : float32 (n_classes,)
    """

    def __init__(self, cs: Sequence[float] = C_PATH, C: float = 0.01, max_iter: int = 300) -> None:
        self.cs = cs
        self.C = C
        self.max_iter = max_iter

    def _fit(self, X: Any, y: Any, val: Any) -> None:
        scaler = StandardScaler().fit(X)
        model = LogisticRegression(max_iter=self.max_iter, warm_start=True)
        X_scaled = scaler.transform(X)
        if val is None:
            self._fit_one(model, X_scaled, y, self.C)
            self._keep(model, scaler)
            return
        X_val, y_val = scaler.transform(val[0]), val[1]
        losses: list[float] = []
        for C in self.cs:
            self._fit_one(model, X_scaled, y, C)
            losses.append(log_loss(y_val, model.predict_proba(X_val), labels=model.classes_))
            best = int(np.argmin(losses))
            if best == len(losses) - 1:
                self._keep(model, scaler)
            elif len(losses) - 1 - best >= PATIENCE:
                break
        self.history_ = {"C": list(self.cs[: len(losses)]), "val_log_loss": losses}

    def _fit_one(self, model: Any, X: Any, y: Any, C: float) -> None:
        model.set_params(C=C)
        is_small = X.size * len(self.classes_) < SMALL_PRODUCT
        with warnings.catch_warnings(), threadpool_limits(1 if is_small else None, "blas"):
            # Said in the results instead: is_converged.
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit(X, y)

    def _keep(self, model: Any, scaler: Any) -> None:
        coef, intercept = model.coef_.astype(np.float64), model.intercept_.astype(np.float64)
        if len(self.classes_) == 2:
            # scikit-learn keeps one row for two classes: softmax over (0, z) is the same model.
            coef = np.vstack([np.zeros_like(coef), coef])
            intercept = np.append(0.0, intercept)
        kernel = coef.T / scaler.scale_[:, None]
        self.kernel_ = kernel.astype(np.float32)
        self.bias_ = (intercept - scaler.mean_ @ kernel).astype(np.float32)
        self.chosen_ = {
            "C": float(model.C),
            "iterations": int(model.n_iter_.max()),
            "is_converged": bool(model.n_iter_.max() < self.max_iter),
        }

    def _predict_proba(self, X: Any) -> NDArray[Any]:
        logits = X @ self.kernel_ + self.bias_
        proba = np.exp(logits - logits.max(axis=1, keepdims=True))
        return proba / proba.sum(axis=1, keepdims=True)  # type: ignore[no-any-return]

    def _save(self, folder: Path) -> None:
        save_arrays(folder / SOFTMAX_FILE, {"kernel": self.kernel_, "bias": self.bias_})

    def _load(self, folder: Path) -> None:
        arrays = load_arrays(folder / SOFTMAX_FILE)
        self.kernel_, self.bias_ = arrays["kernel"], arrays["bias"]
