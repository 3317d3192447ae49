"""Accuracies like those of a guess, one class for nearly all images, and another class order."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from headbench.classify.intervals import Estimate, compare_right, wilson

# Share of the way from chance to all correct. An accuracy that may have come further is not called
# chance: with few images every accuracy may be chance.
USEFUL = 0.25


def may_be_chance(accuracy: Estimate, level: float) -> bool:
    """Whether it may be no better than chance, `level`."""
    return accuracy.low <= level


def is_chance(accuracy: Estimate, level: float) -> bool:
    """Whether it may be no better than chance, and is clearly not much better."""
    return may_be_chance(accuracy, level) and accuracy.high < level + USEFUL * (1 - level)


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
    """The effect of another order of the classes on accuracy.

    Attributes
    ----------
    names : intp (n_classes,)
        For each label, the class that stands for it in the answers.
    top1
        Accuracy under that order, found on the other half of the images each time.
    gain, p
        Of that over the accuracy in today's order, paired; by McNemar's test.
    """

    names: NDArray[np.intp]
    top1: Estimate
    gain: Estimate
    p: float


def rename(y: NDArray[np.integer], predicted: NDArray[np.integer], n_classes: int) -> Renamed:
    """Find the names on one half of the images and measure them on the other, both ways round.

    Parameters
    ----------
    y, predicted : int (n_images,)
        Labels, and the classes that the answers name.
    """
    is_right = np.empty(len(y), dtype=bool)
    # Every other image of each class: halves in file order would hold other classes.
    half = np.empty(len(y), dtype=bool)
    half[np.argsort(y, kind="stable")] = np.arange(len(y)) % 2 == 0
    for fitted, measured in ((half, ~half), (~half, half)):
        names = _names(y[fitted], predicted[fitted], n_classes)
        is_right[measured] = names[y[measured]] == predicted[measured]
    [both] = compare_right({"renamed": is_right, "as it is": np.asarray(predicted == y)})
    return Renamed(
        _names(y, predicted, n_classes),
        wilson(int(is_right.sum()), len(y)),
        both.difference,
        both.p,
    )


def _names(
    y: NDArray[np.integer], predicted: NDArray[np.integer], n_classes: int
) -> NDArray[np.intp]:
    """For each label a class, each class once, so that accuracy is best."""
    counts = np.zeros((n_classes, n_classes))
    np.add.at(counts, (y, predicted), 1)
    # Of equally good orders, the one that moves fewest classes.
    gain = counts + np.eye(n_classes) / (2 * n_classes)
    return np.asarray(linear_sum_assignment(gain, maximize=True)[1])
