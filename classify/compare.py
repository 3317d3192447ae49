"""Are two heads really different? Paired, on the same images."""

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import bdtr

from classify.bootstrap import Estimate, interval, left_out_means, resampled_means

SIGNIFICANT = 0.05


class Comparison(NamedTuple):
    """The difference between two heads.

    Attributes
    ----------
    first, second : str
    difference : Estimate
        Accuracy of the first minus that of the second, with its paired bootstrap interval.
    only_first, only_second : int
        Images that just one of them has right.
    p : float
        Of McNemar's exact test that neither is better (McNemar 1947, Psychometrika 12, 153-157).
    p_holm : float
        The same, corrected for the number of pairs compared (Holm 1979, Scand. J. Stat. 6, 65-70).
    """

    first: str
    second: str
    difference: Estimate
    only_first: int
    only_second: int
    p: float
    p_holm: float

    @property
    def is_seen(self) -> bool:
        """Whether the data show a difference at all: the corrected p is below 0.05."""
        return self.p_holm < SIGNIFICANT


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
    """Compare by which images each has right; see `compare`.

    Parameters
    ----------
    is_right : mapping of str to bool (n_images,)
        Of each head, or of each run of it.
    seed : int
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
    """McNemar's exact two-sided p, from the images that one head alone has right."""
    n = only_first + only_second
    # Both tails of a binomial distribution of 1/2, which mirror each other.
    return min(1.0, 2 * float(bdtr(min(only_first, only_second), n, 0.5)))


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
