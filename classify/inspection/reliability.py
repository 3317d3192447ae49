"""Whether a probability means what it says."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from classify.metrics import N_BINS


class Reliability(NamedTuple):
    """Images by the probability of the class that they were given: the bins of the ECE.

    Attributes
    ----------
    confidence, accuracy : float64 (n_filled,)
        Mean probability, and share that is right, of each bin that holds an image.
    n_images : int64 (n_filled,)
    """

    confidence: NDArray[np.float64]
    accuracy: NDArray[np.float64]
    n_images: NDArray[np.int64]


def reliability(y: NDArray[np.integer], proba: NDArray[np.floating]) -> Reliability:
    """The bins of a reliability diagram (Guo et al. 2017, ICML).

    Parameters
    ----------
    y : int (n_images,)
    proba : float (n_images, n_classes)
    """
    confidence = proba.max(axis=1).astype(np.float64)
    bins = np.minimum((confidence * N_BINS).astype(np.intp), N_BINS - 1)
    n_images = np.bincount(bins, minlength=N_BINS)
    filled = n_images > 0
    of_confidence, of_right = (
        np.bincount(bins, weights=values, minlength=N_BINS)[filled] / n_images[filled]
        for values in (confidence, proba.argmax(axis=1) == y)
    )
    return Reliability(of_confidence, of_right, n_images[filled])


def before_temperature(proba: NDArray[np.floating], temperature: float) -> NDArray[np.floating]:
    """Probabilities, float (n_images, n_classes), as they were before a temperature divided them.

    The logarithms were divided by it, so raising to its power undoes it.
    """
    powers = proba.astype(np.float64) ** temperature
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))
