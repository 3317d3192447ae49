"""Chance: what anyone can say without looking."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from classify.arrays import load_arrays, save_arrays
from classify.heads.head import Head, Labelled

PRIOR_FILE = "prior.npz"


class Prior(Head):
    """The share of each class in train, whatever the image.

    Parameters
    ----------
    class_weight : {None, "balanced"} or mapping
    """

    def __init__(self, class_weight: Any = None) -> None:
        self.class_weight = class_weight

    def _fit(self, train: Labelled, val: Labelled | None) -> None:  # noqa: ARG002, the contract's
        counts = np.bincount(train.y, train.weight, len(self.classes_))
        self.prior_ = counts / counts.sum()

    def _predict_proba(self, X: NDArray[np.float32]) -> NDArray[Any]:
        return np.tile(self.prior_, (len(X), 1))

    def _save(self, folder: Path) -> None:
        save_arrays(folder / PRIOR_FILE, {"prior": self.prior_})

    def _load(self, folder: Path) -> None:
        self.prior_ = load_arrays(folder / PRIOR_FILE)["prior"]
