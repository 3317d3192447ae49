"""Intervals (bootstrap and Wilson's), and paired comparison of heads on the same images."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, issparse
from scipy.special import bdtr, ndtr, ndtri

from headbench.extract.images.stream import map_ahead

Z_95 = 1.959963984540054
N_DRAWS = 2000
# Draws are cast a block at a time: 50 MB for 25 000 images in float64.
BLOCK_DRAWS = 250
N_THREADS = os.cpu_count() or 1

# Dense, or a `scipy.sparse.csr_array` where most values are 0: SciPy has no types.
Values = Any
SIGNIFICANT = 0.05


class Estimate(NamedTuple):
    """A number and its 95 % interval.

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


def wilson(n_right: float, n: float, z: float = Z_95) -> Estimate:
    """A share with Wilson's score interval (Wilson 1927, J. Am. Stat. Assoc. 22, 209-212).

    Parameters
    ----------
    n_right, n : float
        `n_right` of `n` images; n at least 1.
    z : float
        Standard deviations to each side: by default those of a 95 % interval.
    """
    share = n_right / n
    center = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    margin = z / (1 + z**2 / n) * np.sqrt(share * (1 - share) / n + (z / (2 * n)) ** 2)
    # The ends of 0 and of n are the share itself: rounding must not put it outside.
    low = 0.0 if n_right == 0 else float(center - margin)
    high = 1.0 if n_right == n else float(center + margin)
    return Estimate(share, low, high, int(n))


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


@dataclass(frozen=True)
class Comparison:
    """Two heads on the same images.

    Attributes
    ----------
    first : str
        In a report, the head with the better balanced accuracy on val.
    difference : Estimate
        Accuracy of the first minus that of the second; paired bootstrap interval.
    only_first, only_second : int
        Images that only this head classified correctly.
    p : float
        Of McNemar's exact test that neither is better (McNemar 1947, Psychometrika 12, 153-157).
    p_holm : float
        The same, corrected for the number of pairs compared (Holm 1979, Scand. J. Stat. 6, 65-70).
    is_seen : bool
        Whether the data show a difference at all: p_holm is below 0.05.
    """

    first: str
    second: str
    difference: Estimate
    only_first: int
    only_second: int
    p: float
    p_holm: float
    is_seen: bool = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "is_seen", self.p_holm < SIGNIFICANT)

    def of(self, name: str) -> Estimate:
        """Accuracy of one of the two minus that of the other."""
        gap = self.difference
        return gap if name == self.first else Estimate(-gap.value, -gap.high, -gap.low, gap.n)


def compare(
    y: NDArray[np.integer], probas: Mapping[str, NDArray[np.floating]], seed: int = 0
) -> list[Comparison]:
    """Compare every pair of heads on the images that all of them were measured on.

    Parameters
    ----------
    y : int (n_images,)
        True labels.
    probas : mapping of str to float (n_images, n_classes)
        Of each head, the better one first: it is the first of its pairs.
    seed : int
        Of the bootstrap.

    Returns
    -------
    list of Comparison
    """
    return compare_right({name: each.argmax(axis=1) == y for name, each in probas.items()}, seed)


def compare_right(is_right: Mapping[str, NDArray[np.bool_]], seed: int = 0) -> list[Comparison]:
    """Compare by which images each classifies correctly; see `compare`.

    Parameters
    ----------
    is_right : mapping of str to bool (n_images,)
        Of each head, or of each run of it.
    """
    if len(is_right) < 2:
        return []
    right = np.stack(list(is_right.values()), axis=1).astype(np.float32)
    of_all = right.mean(axis=0, dtype=np.float64)
    draws, left_out = resampled_means(right, seed), left_out_means(right)
    pairs = list(combinations(range(len(is_right)), 2))
    counts = [_discordant(right[:, a], right[:, b]) for a, b in pairs]
    ps = [mcnemar(*each) for each in counts]
    names = list(is_right)
    return [
        Comparison(
            names[a],
            names[b],
            interval(
                float(of_all[a] - of_all[b]),
                draws[:, a] - draws[:, b],
                left_out[:, a] - left_out[:, b],
            ),
            *count,
            p,
            p_holm,
        )
        for (a, b), count, p, p_holm in zip(pairs, counts, ps, holm(ps), strict=True)
    ]


def mcnemar(only_first: int, only_second: int) -> float:
    """McNemar's exact two-sided p, from the images that only one head classifies correctly."""
    n = only_first + only_second
    # Both tails of a binomial distribution of 1/2, which mirror each other.
    return min(1.0, 2 * float(bdtr(min(only_first, only_second), n, 0.5)))


def holm_corrected(found: Mapping[str, Comparison]) -> dict[str, Comparison]:
    """The same comparisons with p corrected for all of them."""
    corrected = holm([each.p for each in found.values()])
    pairs = zip(found.items(), corrected, strict=True)
    return {name: replace(each, p_holm=p) for (name, each), p in pairs}


def holm(ps: Sequence[float]) -> list[float]:
    """Holm's step-down correction of several p values, in their order."""
    order = np.argsort(ps, kind="stable")
    factors = len(ps) - np.arange(len(ps))
    stepped = np.maximum.accumulate(np.minimum(factors * np.asarray(ps)[order], 1))
    corrected = np.empty(len(ps))
    corrected[order] = stepped
    return [float(p) for p in corrected]


def _discordant(first: NDArray[np.floating], second: NDArray[np.floating]) -> tuple[int, int]:
    return int((first > second).sum()), int((second > first).sum())
