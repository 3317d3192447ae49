"""One class for nearly every image."""

import numpy as np
from numpy.typing import NDArray

from classify.intervals import wilson


def gives_one_class(
    given: NDArray[np.integer], true: NDArray[np.integer], nearly_all: float
) -> bool:
    """Whether nearly all images are given one class, and surely more than are of any class.

    Parameters
    ----------
    given, true : int (n_images,)
        Not below 0.
    nearly_all : float
        The share that has to be given it.
    """
    n = len(true)
    largest, fair = int(np.bincount(given).max()), int(np.bincount(true).max())
    return bool(largest >= nearly_all * n and wilson(largest, n).low > wilson(fair, n).high)
