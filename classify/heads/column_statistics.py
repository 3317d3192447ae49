"""Mean and deviation of columns, in bounded memory."""

import numpy as np
from numpy.typing import NDArray

from classify.heads.blocks import BLOCK_ROWS
from classify.heads.stored import Embeddings
from classify.heads.sums import sum_over

# A column that varies less than this share of its mean holds rounding errors only.
SMALLEST_VARIATION = 1e-6


def moments(
    X: Embeddings, weight: NDArray[np.float64]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Weighted mean and standard deviation of each column.

    Parameters
    ----------
    X : float32 (n_images, dim), in memory or in a file
    weight : float64 (n_images,)

    Returns
    -------
    mean, scale : float32 (dim,)
        The scale of a constant column is 1.
    """
    # Near the mean: what is squared below then loses no digits. Corrected afterwards.
    center = X[:BLOCK_ROWS].mean(axis=0)
    sums, squares = sum_over(_powers, X, (weight,), center)
    total = weight.sum()
    shift = sums / total
    mean = center + shift
    return mean.astype(np.float32), scale_of(squares / total - shift**2, mean).astype(np.float32)


def scale_of(variance: NDArray[np.float64], mean: NDArray[np.float64]) -> NDArray[np.float64]:
    """Standard deviation of each column, 1 where it is constant but for rounding."""
    deviation = np.sqrt(np.maximum(variance, 0))
    return np.where(deviation <= SMALLEST_VARIATION * np.abs(mean), 1.0, deviation)


def _powers(
    X: NDArray[np.float32], weight: NDArray[np.float64], center: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    offset = X - center
    weight_32 = weight.astype(np.float32)
    return weight_32 @ offset, weight_32 @ np.square(offset)
