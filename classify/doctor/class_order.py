"""Labels that another order of the classes explains."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from classify.intervals import Estimate, compare_right, wilson


class Renamed(NamedTuple):
    """What putting the classes into another order does to some answers.

    Attributes
    ----------
    names : intp (n_classes,)
        What each class that the labels name is called in the answers.
    top1 : Estimate
        Accuracy under that order, which was found on the other half of the images each time.
    gain : Estimate
        Of that over the accuracy as it stands, paired.
    p : float
        Of McNemar's test.
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
    n_classes : int
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
    """For each label the class that it is to be called for most to be right, each class once."""
    counts = np.zeros((n_classes, n_classes))
    np.add.at(counts, (y, predicted), 1)
    # Of orders that are equally good, the one that leaves most as it is.
    gain = counts + np.eye(n_classes) / (2 * n_classes)
    return np.asarray(linear_sum_assignment(gain, maximize=True)[1])
