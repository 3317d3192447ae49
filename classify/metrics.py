"""Numbers that say how good a classifier is, each with its 95 % interval and n."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from classify.bootstrap import Estimate, interval, left_out_means, resampled_means, wilson

TOP_K = 5
N_BINS = 15
# log(0) is infinite: a probability below float32's resolution counts as this much.
SMALLEST_PROBA = 1e-7


class Metrics(NamedTuple):
    """How good some probabilities are.

    Attributes
    ----------
    top1, top5 : Estimate
        Share of images whose class is the most probable, or among the five most probable; top5 is
        None where there are no more than five classes. Intervals: Wilson.
    macro_f1, balanced_accuracy : Estimate
        Means over classes of the F1 score and of the recall. Intervals of these and all below:
        bootstrap over images, 2 000 draws.
    log_loss : Estimate
        Mean over images of -log of the true class's probability.
    ece : Estimate
        Expected calibration error: mean over images of how far the probability of the most probable
        class is from the share that is right, in 15 bins (Guo et al. 2017).
    """

    top1: Estimate
    top5: Estimate | None
    macro_f1: Estimate
    balanced_accuracy: Estimate
    log_loss: Estimate
    ece: Estimate


class ClassMetrics(NamedTuple):
    """How well one class is recognised; None where there is nothing to divide by.

    Attributes
    ----------
    precision : Estimate or None
        Of the images that were given this class, the share that is right. Interval: Wilson.
    recall : Estimate or None
        Of the images of this class, the share that was recognised. Interval: Wilson.
    """

    precision: Estimate | None
    recall: Estimate | None


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
    values = _values(y, proba)
    of_all = values.mean(axis=0, dtype=np.float64)
    three = (of_all, resampled_means(values, seed), left_out_means(values))
    macro_f1, balanced, log_loss, ece = (
        interval(float(value), draws, left_out)
        for value, draws, left_out in zip(*map(_scores, three), strict=True)
    )
    return Metrics(
        top1=accuracy(y, proba),
        top5=wilson(int((rank < TOP_K).sum()), len(y)) if n_classes > TOP_K else None,
        macro_f1=macro_f1,
        balanced_accuracy=balanced,
        log_loss=log_loss,
        ece=ece,
    )


def accuracy(y: NDArray[np.integer], proba: NDArray[np.floating]) -> Estimate:
    """Share of images whose class is the most probable, with Wilson's interval."""
    return wilson(int((proba.argmax(axis=1) == y).sum()), len(y))


def log_losses(y: NDArray[np.integer], proba: NDArray[np.floating]) -> NDArray[np.float64]:
    """-log of the probability of the true class, float64 (n_images,)."""
    of_truth = proba[np.arange(len(y)), y].astype(np.float64)
    losses: NDArray[np.float64] = -np.log(np.maximum(of_truth, SMALLEST_PROBA))
    return losses


def mean_log_loss(
    y: NDArray[np.integer], proba: NDArray[np.floating], weight: NDArray[np.floating]
) -> float:
    """Weighted mean of `log_losses`: what heads choose by on val."""
    return float(np.average(log_losses(y, proba), weights=weight))


def calibration_error(y: NDArray[np.integer], proba: NDArray[np.floating]) -> float:
    """Expected calibration error, without an interval; 0 to 1."""
    return float(np.abs(_gaps(y, proba).mean(axis=0)).sum())


def confusion_matrix(
    y: NDArray[np.integer], predicted: NDArray[np.integer], n_classes: int
) -> NDArray[np.int64]:
    """Images by true class (rows) and predicted class (columns), int64 (n_classes, n_classes)."""
    cells = y.astype(np.int64) * n_classes + predicted
    return np.bincount(cells, minlength=n_classes**2).reshape(n_classes, n_classes)


def per_class(
    y: NDArray[np.integer], predicted: NDArray[np.integer], n_classes: int
) -> list[ClassMetrics]:
    """Precision and recall of each class, in the order of the classes."""
    confusion = confusion_matrix(y, predicted, n_classes)

    def share(n_right: int, n: int) -> Estimate | None:
        return wilson(n_right, n) if n else None

    return [
        ClassMetrics(share(int(right), int(given)), share(int(right), int(there)))
        for right, given, there in zip(
            np.diagonal(confusion), confusion.sum(axis=0), confusion.sum(axis=1), strict=True
        )
    ]


def _rank_of_truth(y: NDArray[np.integer], proba: NDArray[np.floating]) -> NDArray[np.intp]:
    """How many classes come before the true one, ties broken by class order as argmax does."""
    of_truth = proba[np.arange(len(y)), y][:, None]
    is_earlier = np.arange(proba.shape[1]) < y[:, None]
    return np.asarray(((proba > of_truth) | ((proba == of_truth) & is_earlier)).sum(axis=1))


def _values(y: NDArray[np.integer], proba: NDArray[np.floating]) -> NDArray[np.float32]:
    """What the means over images that `_scores` needs are taken of, float32 (n_images, n_values).

    The log loss, the 15 gaps, and for each class: is it the true one and given, is it the true
    one, is it given.
    """
    classes = np.arange(proba.shape[1])
    is_true, is_given = (each[:, None] == classes for each in (y, proba.argmax(axis=1)))
    columns = (
        log_losses(y, proba)[:, None],
        _gaps(y, proba),
        is_true & is_given,
        is_true,
        is_given,
    )
    return np.concatenate(columns, axis=1, dtype=np.float32)


def _scores(means: NDArray[np.float64]) -> tuple[NDArray[np.float64], ...]:
    """Macro F1, balanced accuracy, log loss and calibration error of means, (..., n_values).

    Classes that are not there count neither for F1, unless they were given, nor for the balanced
    accuracy.
    """
    log_loss, gaps, rest = np.split(means, [1, 1 + N_BINS], axis=-1)
    right, true, given = np.split(rest, 3, axis=-1)
    return (
        _mean_ratio(2 * right, true + given),
        _mean_ratio(right, true),
        log_loss[..., 0],
        np.abs(gaps).sum(axis=-1),
    )


def _mean_ratio(above: NDArray[np.float64], below: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean over classes of a ratio, without the classes whose denominator is 0."""
    ratio = np.divide(above, below, out=np.zeros(above.shape), where=below > 0)
    mean: NDArray[np.float64] = ratio.sum(axis=-1) / (below > 0).sum(axis=-1)
    return mean


def _gaps(y: NDArray[np.integer], proba: NDArray[np.floating]) -> NDArray[np.float32]:
    """Confidence minus rightness of each image, in the column of its bin; (n_images, 15)."""
    confidence = proba.max(axis=1)
    bins = np.minimum((confidence * N_BINS).astype(np.intp), N_BINS - 1)
    gaps = np.zeros((len(y), N_BINS), dtype=np.float32)
    gaps[np.arange(len(y)), bins] = confidence - (proba.argmax(axis=1) == y)
    return gaps
