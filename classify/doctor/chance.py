"""Baselines: chance, one class for nearly all images, other class orders, shuffled labels."""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from sklearn.neighbors import NearestNeighbors

from headbench.classify.heads.column_statistics import mean_and_scale
from headbench.classify.intervals import Estimate, compare_right, wilson

# Share of the way from chance to 100 %. An accuracy whose interval goes further is not called
# chance: with few images, every accuracy may be at chance.
USEFUL = 0.25
N_NEIGHBORS, IMAGES_PER_NEIGHBOR, N_SHUFFLES = 10, 20, 200
# A model has learnt something if it beats chance by this share of chance, or of the rest: of 1 000
# heads with random weights, some are a little better than chance.
LEARNT = 0.2
# With few images, even correct labels may agree as rarely as shuffled ones: the upper 95 % bound of
# shuffled labels has to be this close to their mean.
FINEST = 0.05


def may_be_chance(accuracy: Estimate, level: float) -> bool:
    """Whether an accuracy may be no better than chance, `level`."""
    return accuracy.low <= level


def is_chance(accuracy: Estimate, level: float) -> bool:
    """Whether an accuracy may be no better than chance, and is certainly not much better."""
    return may_be_chance(accuracy, level) and accuracy.high < level + USEFUL * (1 - level)


def has_learnt(accuracy: Estimate, level: float) -> bool:
    """Whether an accuracy is clearly better than chance, `level`, and than random weights."""
    return accuracy.low > level + LEARNT * min(level, 1 - level)


def gives_one_class(
    given: NDArray[np.integer], true: NDArray[np.integer], nearly_all: float
) -> bool:
    """Whether one class is predicted for nearly all images, and clearly too often.

    Parameters
    ----------
    given, true : int (n_images,)
        Not below 0.
    nearly_all
        The share of predictions from which it counts as one class.
    """
    n = len(true)
    largest, fair = int(np.bincount(given).max()), int(np.bincount(true).max())
    return bool(largest >= nearly_all * n and wilson(largest, n).low > wilson(fair, n).high)


class Renamed(NamedTuple):
    """The effect of another class order on accuracy.

    Attributes
    ----------
    names : intp (n_classes,)
        For each label, the class that the predictions use for it.
    top1
        Accuracy in that order, which was found on the other half of the images each time.
    gain, p
        Gain over the accuracy in the present order, paired; p by McNemar's test.
    """

    names: NDArray[np.intp]
    top1: Estimate
    gain: Estimate
    p: float


def rename(y: NDArray[np.integer], predicted: NDArray[np.integer], n_classes: int) -> Renamed:
    """Find the class order on one half of the images and measure it on the other, both ways.

    Parameters
    ----------
    y, predicted : int (n_images,)
        Labels and predicted classes.
    """
    is_right = np.empty(len(y), dtype=bool)
    for fitted, measured in halves(y):
        names = _names(y[fitted], predicted[fitted], n_classes)
        is_right[measured] = names[y[measured]] == predicted[measured]
    [both] = compare_right({"renamed": is_right, "as it is": np.asarray(predicted == y)})
    return Renamed(
        _names(y, predicted, n_classes),
        wilson(int(is_right.sum()), len(y)),
        both.difference,
        both.p,
    )


def halves(y: NDArray[np.integer]) -> tuple[tuple[NDArray[np.bool_], NDArray[np.bool_]], ...]:
    """Two halves of images with labels (n,), both ways: one to choose on, one to measure on."""
    half = np.empty(len(y), dtype=bool)
    # Every other image of each class: halves in file order would hold other classes.
    half[np.argsort(y, kind="stable")] = np.arange(len(y)) % 2 == 0
    return (half, ~half), (~half, half)


def _names(
    y: NDArray[np.integer], predicted: NDArray[np.integer], n_classes: int
) -> NDArray[np.intp]:
    """For each label a class, each class once, so that accuracy is best."""
    counts = np.zeros((n_classes, n_classes))
    np.add.at(counts, (y, predicted), 1)
    # Of equally good orders, the one that moves fewest classes.
    gain = counts + np.eye(n_classes) / (2 * n_classes)
    return np.asarray(linear_sum_assignment(gain, maximize=True)[1])


def chance(y_train: NDArray[np.int32], y_val: NDArray[np.int32], n_classes: int) -> float:
    """Baseline accuracy on val: the most frequent class of train, or 1 / n_classes if higher."""
    most_common = np.bincount(y_train, minlength=n_classes).argmax()
    return max(float((y_val == most_common).mean()), 1 / n_classes)


class Agreement(NamedTuple):
    """How often images of train have the same label as their nearest neighbours, for `n` images.

    Attributes
    ----------
    share
        Mean share of the neighbours with the same label.
    shuffled : float64 (200,)
        The same after shuffling the labels.
    """

    n: int
    n_neighbors: int
    share: float
    shuffled: NDArray[np.float64]

    @property
    def is_chance(self) -> bool:
        """Whether shuffled labels agree as often; False if there are too few images to tell."""
        usual, most = float(self.shuffled.mean()), float(np.quantile(self.shuffled, 0.95))
        return self.share <= most and most - usual <= FINEST


def measure_agreement(X: NDArray[np.float32], y: NDArray[np.int32]) -> Agreement | None:
    """Compare the labels of images (n, dim) with those of the nearest by cosine; None for n = 1."""
    n = len(y)
    if n < 2:
        return None
    # The nearest 10 of few images are nearly all of them.
    n_neighbors = int(np.clip(n // IMAGES_PER_NEIGHBOR, 1, N_NEIGHBORS))
    mean, scale = mean_and_scale(X, np.ones(n))
    index = NearestNeighbors(n_neighbors=n_neighbors, metric="cosine")
    # Without rows of its own to look for, it leaves each image out of its neighbours.
    nearest = index.fit((X - mean) / scale).kneighbors(return_distance=False)

    def same(labels: NDArray[np.integer]) -> float:
        return float((labels[nearest] == labels[:, None]).mean())

    rng = np.random.default_rng(0)
    shuffled = np.array([same(rng.permutation(y)) for _ in range(N_SHUFFLES)])
    return Agreement(n, n_neighbors, same(y), shuffled)


def difference(first: Estimate, second: Estimate) -> Estimate:
    """Difference of two shares of different images, with its interval.

    From both Wilson intervals (Newcombe 1998, Stat. Med. 17, 873-890, method 10); n is the smaller.
    """
    value = first.value - second.value
    below = math.hypot(first.value - first.low, second.high - second.value)
    above = math.hypot(first.high - first.value, second.value - second.low)
    return Estimate(value, value - below, value + above, min(first.n, second.n))
