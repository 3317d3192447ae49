"""Numbers that say how good a classifier is, each with its 95 % interval and n."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Z_95 = 1.959963984540054
N_DRAWS = 2000
BLOCK_DRAWS = 100
TOP_K = 5
# log(0) is infinite: a probability below float32's resolution counts as this much.
SMALLEST_PROBA = 1e-7


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


class Metrics(NamedTuple):
    """How good some probabilities are.

    Attributes
    ----------
    top1, top5 : Estimate
        Share of images whose class is the most probable, or among the five most probable; top5 is
        None where there are no more than five classes. Intervals: Wilson.
    macro_f1, log_loss : Estimate
        Mean over classes of the F1 score; mean over images of -log of the true class's probability.
        Intervals: bootstrap over images, 2 000 draws.
    """

    top1: Estimate
    top5: Estimate | None
    macro_f1: Estimate
    log_loss: Estimate


def evaluate(y: NDArray[np.integer], proba: NDArray[np.floating], seed: int = 0) -> Metrics:
    """Measure probabilities against the truth.

    Parameters
    ----------
    y : int (n_images,)
        True labels, 0 to n_classes - 1.
    proba : float (n_images, n_classes)
    seed : int
        Of the bootstrap.
    """
    n_classes = proba.shape[1]
    rank = _rank_of_truth(y, proba)
    return Metrics(
        top1=accuracy(y, proba),
        top5=wilson(int((rank < TOP_K).sum()), len(y)) if n_classes > TOP_K else None,
        macro_f1=_bootstrap_macro_f1(y, proba.argmax(axis=1), n_classes, seed),
        log_loss=_bootstrap_mean(log_losses(y, proba), seed),
    )


def accuracy(y: NDArray[np.integer], proba: NDArray[np.floating]) -> Estimate:
    """Share of images whose class is the most probable, with Wilson's interval."""
    return wilson(int((proba.argmax(axis=1) == y).sum()), len(y))


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


def log_losses(y: NDArray[np.integer], proba: NDArray[np.floating]) -> NDArray[np.float64]:
    """-log of the probability of the true class, float64 (n_images,)."""
    of_truth = proba[np.arange(len(y)), y].astype(np.float64)
    losses: NDArray[np.float64] = -np.log(np.maximum(of_truth, SMALLEST_PROBA))
    return losses


def macro_f1(confusion: NDArray[np.integer]) -> NDArray[np.float64]:
    """Mean F1 score over the classes that are there or were predicted.

    Parameters
    ----------
    confusion : int (..., n_classes, n_classes)
        Images by true class (rows) and predicted class (columns).

    Returns
    -------
    float64 (...)
    """
    right = np.diagonal(confusion, axis1=-2, axis2=-1)
    involved = confusion.sum(axis=-1) + confusion.sum(axis=-2)
    f1 = np.divide(2.0 * right, involved, out=np.zeros(right.shape), where=involved > 0)
    mean: NDArray[np.float64] = f1.sum(axis=-1) / (involved > 0).sum(axis=-1)
    return mean


def _rank_of_truth(y: NDArray[np.integer], proba: NDArray[np.floating]) -> NDArray[np.intp]:
    """How many classes come before the true one, ties broken by class order as argmax does."""
    of_truth = proba[np.arange(len(y)), y][:, None]
    is_earlier = np.arange(proba.shape[1]) < y[:, None]
    return np.asarray(((proba > of_truth) | ((proba == of_truth) & is_earlier)).sum(axis=1))


def _bootstrap_macro_f1(
    y: NDArray[np.integer], predicted: NDArray[np.intp], n_classes: int, seed: int
) -> Estimate:
    """Draw confusion matrices instead of images: the same distribution, for much less work."""
    cells = y.astype(np.int64) * n_classes + predicted
    counts = np.bincount(cells, minlength=n_classes**2)
    rng = np.random.default_rng(seed)
    shape = (-1, n_classes, n_classes)
    draws = [
        macro_f1(rng.multinomial(len(y), counts / len(y), size=BLOCK_DRAWS).reshape(shape))
        for _ in range(N_DRAWS // BLOCK_DRAWS)
    ]
    value = float(macro_f1(counts.reshape(shape[1:])))
    return _percentiles(value, np.concatenate(draws), len(y))


def _bootstrap_mean(values: NDArray[np.float64], seed: int) -> Estimate:
    rng = np.random.default_rng(seed)
    n = len(values)
    draws = np.array([values[rng.integers(n, size=n)].mean() for _ in range(N_DRAWS)])
    return _percentiles(float(values.mean()), draws, n)


def _percentiles(value: float, draws: NDArray[np.float64], n: int) -> Estimate:
    low, high = np.percentile(draws, [2.5, 97.5])
    return Estimate(value, float(low), float(high), n)
