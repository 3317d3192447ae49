"""Which classes are taken for which, and an order that puts those side by side."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.hierarchy import leaves_list, linkage, optimal_leaf_ordering
from scipy.spatial.distance import squareform

# The best order of the leaves takes time with the cube of the number of classes.
MOST_ORDERED = 300


class Confusion(NamedTuple):
    """Images of one class that were given another.

    Attributes
    ----------
    true, given : int
        Labels.
    n : int
        Images.
    n_true : int
        All images of the true class.
    """

    true: int
    given: int
    n: int
    n_true: int


def most_confused(confusion: NDArray[np.integer], n_most: int) -> list[Confusion]:
    """The pairs of a true and a given class with the most images, the largest first.

    Parameters
    ----------
    confusion : int (n_classes, n_classes)
        Images by true class (rows) and class given (columns).
    n_most : int
    """
    mistakes = confusion.copy()
    np.fill_diagonal(mistakes, 0)
    largest = np.argsort(-mistakes, axis=None, kind="stable")[:n_most]
    of_class = confusion.sum(axis=1)
    return [
        Confusion(int(true), int(given), int(mistakes[true, given]), int(of_class[true]))
        for true, given in zip(*np.unravel_index(largest, mistakes.shape), strict=True)
        if mistakes[true, given]
    ]


def similarity_order(y: NDArray[np.integer], proba: NDArray[np.floating]) -> NDArray[np.intp]:
    """Labels in an order that puts classes side by side which are taken for each other.

    Average linkage of the mean probabilities that each class gives to the others, which say more
    than counts where images are few; leaves ordered after Bar-Joseph et al. (2001), Bioinformatics
    17, S22-S29.

    Parameters
    ----------
    y : int (n_images,)
    proba : float (n_images, n_classes)

    Returns
    -------
    intp (n_classes,)
    """
    n_classes = proba.shape[1]
    if n_classes < 3:
        return np.arange(n_classes)
    taken = np.zeros((n_classes, n_classes))
    np.add.at(taken, y, proba)
    taken /= np.maximum(np.bincount(y, minlength=n_classes), 1)[:, None]
    distance = 1 - (taken + taken.T) / 2
    np.fill_diagonal(distance, 0)
    condensed = squareform(distance, checks=False)
    tree = linkage(condensed, "average")
    if n_classes <= MOST_ORDERED:
        tree = optimal_leaf_ordering(tree, condensed)
    return np.asarray(leaves_list(tree), dtype=np.intp)


def busiest_classes(confusion: NDArray[np.integer], n_most: int) -> NDArray[np.intp]:
    """Labels of the classes that take part in the most mistakes, ascending."""
    right = np.diagonal(confusion)
    mistakes = confusion.sum(axis=0) + confusion.sum(axis=1) - 2 * right
    return np.sort(np.argsort(-mistakes, kind="stable")[:n_most])
