"""Columns of the embeddings that say nothing, and the lengths of the embeddings: one reading."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cache.format import SPLITS
from cache.reader import FeatureFile
from classify.heads.column_statistics import SMALLEST_VARIATION
from classify.heads.streaming import row_blocks


@dataclass(frozen=True)
class Columns:
    """What the columns hold over train, and how long each embedding of the file is.

    Attributes
    ----------
    n_train : int
    n_active : int64 (dim,)
        In how many images of train a column is not 0.
    lowest, highest : float32 (dim,)
        Over train.
    norms : float64 (n_images,)
        Euclidean length of each embedding, those of val and test too.
    """

    n_train: int
    n_active: NDArray[np.int64]
    lowest: NDArray[np.float32]
    highest: NDArray[np.float32]
    norms: NDArray[np.float64]

    @property
    def dim(self) -> int:
        """Number of columns."""
        return len(self.n_active)

    @property
    def is_dead(self) -> NDArray[np.bool_]:
        """Whether each column is 0 in every image of train, bool (dim,)."""
        return np.asarray(self.n_active == 0)

    @property
    def is_constant(self) -> NDArray[np.bool_]:
        """Whether each column is the same number, not 0, in every image of train, bool (dim,)."""
        largest = np.maximum(np.abs(self.lowest), np.abs(self.highest))
        varies = self.highest - self.lowest > SMALLEST_VARIATION * largest
        return ~varies & ~self.is_dead

    @property
    def n_unseen(self) -> float:
        """How many of the dead columns would be active with more images.

        Columns that are active in one image or in two say how many are in none of so few: the
        estimate of unseen species, bias-corrected (Chao 1987, Biometrics 43, 783-791).
        """
        once, twice = (int((self.n_active == n).sum()) for n in (1, 2))
        return min(once * (once - 1) / (2 * (twice + 1)), float(self.is_dead.sum()))


def measure_columns(features: FeatureFile) -> Columns:
    """Read all embeddings once, block by block.

    Raises
    ------
    FeatureFileError
        If an embedding is damaged or not finite.
    """
    is_train = features.table.splits == SPLITS.index("train")
    n_active = np.zeros(features.dim, dtype=np.int64)
    lowest = np.full(features.dim, np.inf, dtype=np.float32)
    highest = -lowest
    norms = np.empty(features.n_images)
    for block in row_blocks(features.n_images):
        X = features.read(np.arange(features.n_images)[block])
        norms[block] = np.linalg.norm(X.astype(np.float64), axis=1)
        train = X[is_train[block]]
        if len(train):
            n_active += (train != 0).sum(axis=0)
            lowest = np.minimum(lowest, train.min(axis=0))
            highest = np.maximum(highest, train.max(axis=0))
    return Columns(int(is_train.sum()), n_active, lowest, highest, norms)
