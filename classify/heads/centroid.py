"""Nearest class mean by cosine."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax
from sklearn.preprocessing import normalize

from classify.arrays import load_arrays, save_arrays
from classify.heads.head import Head, Labelled
from classify.heads.moments import moments
from classify.heads.sums import sum_over

# Factor on the cosine before the softmax where there is no val to fit a temperature on.
SHARPNESS = 10.0
MEANS_FILE = "means.npz"


class Centroid(Head):
    """Cosine similarity to the mean of each class, on standardised columns.

    On the embeddings as they are, all of them point nearly the same way: val accuracy was 0.47
    there and 0.48 standardised on 220 photographs of 10 classes, 0.43 and 0.50 on 15 150 synthetic
    embeddings of 101.

    Parameters
    ----------
    class_weight : {None, "balanced"} or mapping
        Weighs the mean and deviation over train; a class's own mean stays.
    """

    def __init__(self, class_weight: Any = None) -> None:
        self.class_weight = class_weight

    def _fit(self, train: Labelled, val: Labelled | None) -> None:  # noqa: ARG002, the contract's
        self.mean_, self.scale_ = moments(train.X, train.weight)
        n_classes = len(self.classes_)
        [sums] = sum_over(_class_sums, train.X, (train.y,), self.mean_, n_classes)
        sizes = np.bincount(train.y, minlength=n_classes)[:, None]
        self.means_ = normalize(sums / sizes / self.scale_).astype(np.float32)

    def _predict_proba(self, X: NDArray[np.float32]) -> NDArray[Any]:
        cosine = normalize((X - self.mean_) / self.scale_, copy=False) @ self.means_.T
        return softmax(SHARPNESS * cosine, axis=1)  # type: ignore[no-any-return]

    def _save(self, folder: Path) -> None:
        arrays = {"mean": self.mean_, "scale": self.scale_, "means": self.means_}
        save_arrays(folder / MEANS_FILE, arrays)

    def _load(self, folder: Path) -> None:
        arrays = load_arrays(folder / MEANS_FILE)
        self.mean_, self.scale_, self.means_ = (arrays[key] for key in ("mean", "scale", "means"))


def _class_sums(
    X: NDArray[np.float32], y: NDArray[np.integer], mean: NDArray[np.float32], n_classes: int
) -> tuple[NDArray[np.float32]]:
    is_of_class = np.zeros((n_classes, len(y)), dtype=np.float32)
    is_of_class[y, np.arange(len(y))] = 1
    return (is_of_class @ (X - mean),)
