"""Mean, standard deviation and principal axes of embeddings, in bounded memory."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike, NDArray
from scipy.linalg import eigh

from headbench.cache.progress import Progress
from headbench.classify.heads.streaming import BLOCK_ROWS, Embeddings, sum_over

# A column that varies by less than this share of its mean holds only rounding errors.
SMALLEST_VARIATION = 1e-6


def mean_and_scale(
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
    """Standard deviation of each column; 1 where it is constant up to rounding."""
    deviation = np.sqrt(np.maximum(variance, 0))
    return np.where(deviation <= SMALLEST_VARIATION * np.abs(mean), 1.0, deviation)


def _powers(
    X: NDArray[np.float32], weight: NDArray[np.float64], center: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    offset = X - center
    weight_32 = weight.astype(np.float32)
    return weight_32 @ offset, weight_32 @ np.square(offset)


class PrincipalAxes(NamedTuple):
    """Standardised embeddings, described by their principal axes.

    Attributes
    ----------
    mean, scale : float64 (dim,)
        Mean and standard deviation of each column; the scale of a constant column is 1.
    axes : float64 (dim, rank)
        Orthonormal.
    eigenvalues : float64 (rank,)
        Variance of the standardised embeddings along each axis, ascending, not negative. They do
        not vary in directions orthogonal to all axes.
    """

    mean: NDArray[np.float64]
    scale: NDArray[np.float64]
    axes: NDArray[np.float64]
    eigenvalues: NDArray[np.float64]


def principal_axes(
    X: Embeddings, weight: NDArray[np.float64], dtype: DTypeLike = np.float64
) -> PrincipalAxes:
    """Moments and principal axes, by one pass over the embeddings and one `eigh`.

    It uses `eigh` of the smaller of the two Gram matrices instead of the SVD of the embeddings.
    That needs no copy of them, and the squared condition number does not matter, because a penalty
    is added to the eigenvalues.

    Parameters
    ----------
    X : float32 (n_images, dim), in memory or in a file
    weight : float64 (n_images,)
        Weight of each row.
    dtype : dtype
        Type of the products: float64 if small eigenvalues matter; float32 takes half the time.
    """
    n_rows, dim = X.shape
    if n_rows < dim:
        return _of_few_rows(X[:], weight)
    share = weight / weight.sum()
    # Near the mean: what is squared below then loses no digits. Corrected afterwards.
    center = X[:BLOCK_ROWS].mean(axis=0)
    with Progress("principal axes", n_rows) as progress:
        offset, gram = sum_over(_products, X, (share,), center, dtype, on_rows=progress.update)
        mean = center + offset
        gram -= np.outer(offset, offset)
        scale = scale_of(np.diag(gram), mean)
        gram /= np.outer(scale, scale)
        eigenvalues, axes = eigh(gram, driver="evd", overwrite_a=True, check_finite=False)
    return PrincipalAxes(mean, scale, axes, np.maximum(eigenvalues, 0))


def _products(
    X: NDArray[np.float32],
    share: NDArray[np.float64],
    center: NDArray[np.float32],
    dtype: DTypeLike,
) -> tuple[NDArray[Any], NDArray[Any]]:
    block = (X - center).astype(dtype, copy=False)
    root = np.sqrt(share).astype(dtype)
    block *= root[:, None]
    return root @ block, block.T @ block


def _of_few_rows(X: NDArray[np.float32], weight: NDArray[np.float64]) -> PrincipalAxes:
    """The same with fewer rows than columns, where all of it is small."""
    share = weight / weight.sum()
    mean = share @ X.astype(np.float64)
    rows = (X - mean) * np.sqrt(share)[:, None]
    scale = scale_of((rows**2).sum(axis=0), mean)
    rows /= scale
    eigenvalues, turned = eigh(rows @ rows.T, driver="evd", overwrite_a=True, check_finite=False)
    largest = eigenvalues[-1] if len(eigenvalues) else 0.0
    kept = eigenvalues > max(largest * len(X) * np.finfo(np.float64).eps, 0.0)
    eigenvalues, turned = eigenvalues[kept], turned[:, kept]
    return PrincipalAxes(mean, scale, rows.T @ turned / np.sqrt(eigenvalues), eigenvalues)
