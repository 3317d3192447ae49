"""Numbers that say how good a classifier is, each with its 95 % interval and n."""

from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from headbench.classify.intervals import Estimate, estimates, wilson

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
        bootstrap over images, 2 000 draws; a class that a draw lacks keeps its score.
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
    rank = _rank_of_truth(y, proba)
    macro_f1, balanced = class_scores(y, proba, seed)
    log_loss, ece = estimates(_image_scores, _image_values(y, proba), np.arange(len(y)), seed)
    return Metrics(
        top1=accuracy(y, proba),
        top5=_top5(rank, proba.shape[1]),
        macro_f1=macro_f1,
        balanced_accuracy=balanced,
        log_loss=log_loss,
        ece=ece,
    )


def class_scores(
    y: NDArray[np.integer], proba: NDArray[np.floating], seed: int = 0
) -> list[Estimate]:
    """Macro F1 and balanced accuracy, as `Metrics` has them; see `evaluate`."""
    predicted, n_classes = proba.argmax(axis=1), proba.shape[1]
    values = _class_values(y, predicted, n_classes)
    whole = values.sum(axis=0, dtype=np.float64) / len(y)
    cells = _cells(y, predicted, n_classes)
    return estimates(partial(_class_scores, whole), values, cells, seed)


def accuracy(y: NDArray[np.integer], proba: NDArray[np.floating]) -> Estimate:
    """Share of images whose class is the most probable, with Wilson's interval."""
    return wilson(int((proba.argmax(axis=1) == y).sum()), len(y))


def balanced_accuracy(y: NDArray[np.integer], proba: NDArray[np.floating]) -> float:
    """Mean over the classes that are there of their recall, as `Metrics` has it; 0 to 1."""
    predicted, n_classes = proba.argmax(axis=1), proba.shape[1]
    right = np.bincount(y[predicted == y], minlength=n_classes)
    there = np.bincount(y, minlength=n_classes)
    return float((right[there > 0] / there[there > 0]).mean())


def top5_accuracy(y: NDArray[np.integer], proba: NDArray[np.floating]) -> Estimate | None:
    """Share of images whose class is among the five most probable, as `Metrics` has it."""
    return _top5(_rank_of_truth(y, proba), proba.shape[1])


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


def top_shares(
    y: NDArray[np.integer], proba: NDArray[np.floating], weight: NDArray[np.floating]
) -> dict[str, float]:
    """Weighted ``top1`` and ``top5`` as in `Metrics`, without intervals; no top5 where it is None.

    Parameters
    ----------
    y : int (n_images,)
    proba : float (n_images, n_classes)
    weight : float (n_images,)
    """
    rank = _rank_of_truth(y, proba)
    kept = (1, TOP_K) if proba.shape[1] > TOP_K else (1,)
    return {f"top{k}": float(np.average(rank < k, weights=weight)) for k in kept}


def calibration_error(y: NDArray[np.integer], proba: NDArray[np.floating]) -> float:
    """Expected calibration error, without an interval; 0 to 1."""
    bins, gaps = _gaps(y, proba)
    return float(np.abs(np.bincount(bins, weights=gaps)).sum() / len(y))


def confusion_matrix(
    y: NDArray[np.integer], predicted: NDArray[np.integer], n_classes: int
) -> NDArray[np.int64]:
    """Images by true class (rows) and predicted class (columns), int64 (n_classes, n_classes)."""
    cells = _cells(y, predicted, n_classes)
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


def _cells(
    y: NDArray[np.integer], predicted: NDArray[np.integer], n_classes: int
) -> NDArray[np.int64]:
    """The cell of the flattened confusion matrix that each image falls into, int64 (n_images,)."""
    return y.astype(np.int64) * n_classes + predicted


def _class_values(
    y: NDArray[np.integer], predicted: NDArray[np.integer], n_classes: int
) -> csr_array:
    """For each class: is it the true one and given, is it the true one, is it given.

    Sparse float32 (n_images, 3 n_classes); sums of 0 and 1 are exact.
    """
    columns = np.stack([y, n_classes + y, 2 * n_classes + predicted], axis=1)
    values = np.stack([predicted == y, np.ones_like(y), np.ones_like(y)], axis=1)
    return _rows(values.astype(np.float32), columns, 3 * n_classes)


def _image_values(y: NDArray[np.integer], proba: NDArray[np.floating]) -> csr_array:
    """The log loss, and confidence minus rightness in the column of its bin.

    Sparse float64 (n_images, 1 + 15).
    """
    bins, gaps = _gaps(y, proba)
    columns = np.stack([np.zeros_like(bins), 1 + bins], axis=1)
    return _rows(np.stack([log_losses(y, proba), gaps], axis=1), columns, 1 + N_BINS)


def _rows(values: NDArray[np.floating], columns: NDArray[np.integer], n_columns: int) -> csr_array:
    """Rows of equally many values, each in its column, both (n_images, n_per_row); the rest 0."""
    n, n_per_row = values.shape
    starts = np.arange(n + 1) * n_per_row
    return csr_array((values.ravel(), columns.ravel(), starts), shape=(n, n_columns))


def _class_scores(
    whole: NDArray[np.float64], means: NDArray[np.float64]
) -> tuple[NDArray[np.float64], ...]:
    """Macro F1 and balanced accuracy from means of `_class_values`, those of all images and others.

    Classes that are not there count neither for F1, unless they were given, nor for the balanced
    accuracy.
    """
    right, true, given = np.split(means, 3, axis=-1)
    all_right, all_true, all_given = np.split(whole, 3)
    return (
        _mean_ratio(2 * right, true + given, 2 * all_right, all_true + all_given),
        _mean_ratio(right, true, all_right, all_true),
    )


def _image_scores(means: NDArray[np.float64]) -> tuple[NDArray[np.float64], ...]:
    """Log loss and calibration error from means of `_image_values`."""
    return means[..., 0], np.abs(means[..., 1:]).sum(axis=-1)


def _mean_ratio(
    above: NDArray[np.float64],
    below: NDArray[np.float64],
    all_above: NDArray[np.float64],
    all_below: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Mean over classes of a ratio, without the classes whose denominator is 0 in all images.

    Where it is 0 in some of them alone, the ratio is that of all: without such a class the mean of
    the others would stand for it, and a head that never predicts it could have an F1 of 1.
    """
    there = all_below > 0
    ratio = np.empty((*below.shape[:-1], int(there.sum())))
    ratio[:] = all_above[there] / all_below[there]
    below = below[..., there]
    np.divide(above[..., there], below, out=ratio, where=below > 0)
    mean: NDArray[np.float64] = ratio.mean(axis=-1)
    return mean


def _gaps(
    y: NDArray[np.integer], proba: NDArray[np.floating]
) -> tuple[NDArray[np.intp], NDArray[np.floating]]:
    """Of each image the bin of its confidence, 0 to 14, and confidence minus rightness."""
    confidence = proba.max(axis=1)
    bins = np.minimum((confidence * N_BINS).astype(np.intp), N_BINS - 1)
    return bins, confidence - (proba.argmax(axis=1) == y)


def _top5(rank: NDArray[np.intp], n_classes: int) -> Estimate | None:
    return wilson(int((rank < TOP_K).sum()), len(rank)) if n_classes > TOP_K else None
