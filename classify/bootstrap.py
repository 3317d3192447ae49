"""Intervals: bootstrap over images, and Wilson's for shares."""

import os
from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, issparse
from scipy.special import ndtr, ndtri

from extract.threads import map_ahead

Z_95 = 1.959963984540054
N_DRAWS = 2000
# Draws are cast a block at a time: 50 MB for 25 000 images in float64.
BLOCK_DRAWS = 250
N_THREADS = os.cpu_count() or 1

# Dense, or a `scipy.sparse.csr_array` where most values are 0: SciPy has no types.
Values = Any


class Estimate(NamedTuple):
    """A number and how far it can be trusted.

    Attributes
    ----------
    value, low, high : float
        The number and its 95 % interval.
    n : int
        Images that it was measured on.
    """

    value: float
    low: float
    high: float
    n: int


def wilson(n_right: int, n: int) -> Estimate:
    """A share with Wilson's score interval (Wilson 1927, J. Am. Stat. Assoc. 22, 209-212).

    Parameters
    ----------
    n_right, n : int
        `n_right` of `n` images; n at least 1.
    """
    share = n_right / n
    center = (share + Z_95**2 / (2 * n)) / (1 + Z_95**2 / n)
    margin = Z_95 / (1 + Z_95**2 / n) * np.sqrt(share * (1 - share) / n + (Z_95 / (2 * n)) ** 2)
    return Estimate(share, max(0.0, float(center - margin)), min(1.0, float(center + margin)), n)


def estimates(
    scores: Callable[[NDArray[np.float64]], tuple[NDArray[np.float64], ...]],
    values: Values,
    kind: NDArray[np.integer],
    seed: int,
) -> list[Estimate]:
    """Scores with their intervals.

    Parameters
    ----------
    scores : callable
        From means over images, (..., n_values), to scores, (...) each.
    values : float (n_images, n_values)
        What the means are taken of, dense or sparse.
    kind : int (n_images,)
        The same for images with the same values: what leaving out one of a kind gives is found
        once.
    seed : int
    """
    _, first, of_image = np.unique(kind, return_index=True, return_inverse=True)
    of_all = values.sum(axis=0, dtype=np.float64) / len(kind)
    three = (of_all, resampled_means(values, seed), left_out_means(values, first))
    return [
        interval(float(value), draws, left_out[of_image])
        for value, draws, left_out in zip(*map(scores, three), strict=True)
    ]


def resampled_means(values: Values, seed: int) -> NDArray[np.float64]:
    """Means over images drawn with replacement, as often as there are.

    Parameters
    ----------
    values : float (n_images, n_values)
        Dense or sparse; zeros cost nothing. Sums are taken in its type: for whole numbers float32
        is exact, and faster.
    seed : int
        The same seed draws the same images, whatever the values: comparisons are paired.

    Returns
    -------
    float64 (2 000, n_values)
    """
    n = values.shape[0]
    sparse = csr_array(values).T

    def sums(counts: NDArray[np.uint8]) -> NDArray[np.floating]:
        return np.asarray((sparse @ counts.astype(sparse.dtype)).T)

    blocks = map_ahead(sums, _draws(n, seed), N_THREADS, N_THREADS)
    means: NDArray[np.float64] = np.concatenate(list(blocks), dtype=np.float64) / n
    return means


def left_out_means(
    values: Values, rows: NDArray[np.intp] | slice = slice(None)
) -> NDArray[np.float64]:
    """Means without each of the images.

    Parameters
    ----------
    values : float (n_images, n_values)
        Dense or sparse.
    rows : int (n_rows,) or slice
        Which images are left out, one after the other; by default each.

    Returns
    -------
    float64 (n_rows, n_values)
    """
    total = values.sum(axis=0, dtype=np.float64)
    left_out = values[rows].toarray() if issparse(values) else values[rows]
    return np.asarray((total - left_out) / max(values.shape[0] - 1, 1))


def interval(value: float, draws: NDArray[np.float64], left_out: NDArray[np.float64]) -> Estimate:
    """The BCa interval (Efron 1987, J. Am. Stat. Assoc. 82, 171-185).

    Plain percentiles are wrong for numbers that resampling moves to one side, as it does a
    calibration error, and for skewed ones, as a log loss is.

    Parameters
    ----------
    value : float
        The number, of all images.
    draws : float64 (n_draws,)
        The same of images drawn with replacement.
    left_out : float64 (n_images,)
        The same without each of the images.
    """
    below = (np.sum(draws < value) + np.sum(draws == value) / 2) / len(draws)
    bias = ndtri(np.clip(below, 1 / len(draws), 1 - 1 / len(draws)))
    deviation = left_out.mean() - left_out
    square = deviation * deviation
    spread = square.sum() ** 1.5
    acceleration = (square * deviation).sum() / (6 * spread) if spread > 0 else 0.0
    ends = bias + np.array([-Z_95, Z_95])
    low, high = np.quantile(draws, ndtr(bias + ends / (1 - acceleration * ends)))
    return Estimate(value, float(low), float(high), len(left_out))


@lru_cache(maxsize=2)
def _draws(n: int, seed: int) -> NDArray[np.uint8]:
    """How often each image is drawn, uint8 (n_blocks, n, 250): once for all numbers of a report."""
    rng = np.random.default_rng(seed)
    counts = np.empty((N_DRAWS // BLOCK_DRAWS, n, BLOCK_DRAWS), dtype=np.uint8)
    drawn = np.empty((BLOCK_DRAWS, n), dtype=np.uint8)
    for block in counts:
        for draw in drawn:
            draw[:] = np.bincount(rng.integers(n, size=n, dtype=np.int32), minlength=n)
        block[:] = drawn.T
    counts.flags.writeable = False
    return counts
