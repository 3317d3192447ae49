"""Intervals: bootstrap over images, and Wilson's for shares."""

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

Z_95 = 1.959963984540054
N_DRAWS = 2000
BLOCK_DRAWS = 250


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


def resampled_means(values: NDArray[np.floating], seed: int) -> NDArray[np.float64]:
    """Means over images drawn with replacement, as often as there are.

    Parameters
    ----------
    values : float (n_images, n_values)
    seed : int
        The same seed draws the same images, whatever the values: comparisons are paired.

    Returns
    -------
    float64 (2 000, n_values)
    """
    counts = _draws(len(values), seed)
    values = values.astype(np.float32)
    starts = range(0, N_DRAWS, BLOCK_DRAWS)
    blocks = (counts[start : start + BLOCK_DRAWS].astype(np.float32) for start in starts)
    sums = np.concatenate([block @ values for block in blocks])
    return sums.astype(np.float64) / len(values)


def left_out_means(values: NDArray[np.floating]) -> NDArray[np.float64]:
    """Means without each of the images, float64 (n_images, n_values)."""
    n = len(values)
    total = values.sum(axis=0, dtype=np.float64)
    return np.asarray((total - values) / max(n - 1, 1))


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
    bias = norm.ppf(np.clip(below, 1 / len(draws), 1 - 1 / len(draws)))
    deviation = left_out.mean() - left_out
    spread = (deviation**2).sum() ** 1.5
    acceleration = (deviation**3).sum() / (6 * spread) if spread > 0 else 0.0
    ends = bias + np.array([-Z_95, Z_95])
    low, high = np.quantile(draws, norm.cdf(bias + ends / (1 - acceleration * ends)))
    return Estimate(value, float(low), float(high), len(left_out))


@lru_cache(maxsize=2)
def _draws(n: int, seed: int) -> NDArray[np.uint8]:
    """How often each image is drawn, uint8 (2 000, n): drawn once for all numbers of a report."""
    rng = np.random.default_rng(seed)
    counts = np.empty((N_DRAWS, n), dtype=np.uint8)
    for draw in counts:
        draw[:] = np.bincount(rng.integers(n, size=n, dtype=np.int32), minlength=n)
    counts.flags.writeable = False
    return counts
