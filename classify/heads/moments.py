"""Mean and deviation of columns, in bounded memory."""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from classify.heads.blocks import row_blocks

# A column that varies less than this share of its mean holds rounding errors only.
SMALLEST_VARIATION = 1e-6

Block = tuple[NDArray[np.float32], NDArray[np.float64]]


def moments(
    X: NDArray[np.float32], weight: NDArray[np.float64]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Weighted mean and standard deviation of each column.

    Parameters
    ----------
    X : float32 (n_images, dim)
    weight : float64 (n_images,)

    Returns
    -------
    mean, scale : float32 (dim,)
        The scale of a constant column is 1.
    """
    return moments_of_blocks((X[rows], weight[rows]) for rows in row_blocks(len(X)))


def moments_of_blocks(
    blocks: Iterable[Block],
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The same of embeddings that come in blocks, such as from a file."""
    total = 0.0
    for X, weight in blocks:
        if not total:
            # Near the mean: what is squared below then loses no digits. Corrected afterwards.
            center = X.mean(axis=0)
            sums, squares = np.zeros(len(center)), np.zeros(len(center))
        offset = X - center
        weight_32 = weight.astype(np.float32)
        sums += weight_32 @ offset
        squares += weight_32 @ np.square(offset, out=offset)
        total += float(weight.sum())
    shift = sums / total
    mean = center + shift
    return mean.astype(np.float32), scale_of(squares / total - shift**2, mean).astype(np.float32)


def scale_of(variance: NDArray[np.float64], mean: NDArray[np.float64]) -> NDArray[np.float64]:
    """Standard deviation of each column, 1 where it is constant but for rounding."""
    deviation = np.sqrt(np.maximum(variance, 0))
    return np.where(deviation <= SMALLEST_VARIATION * np.abs(mean), 1.0, deviation)
