"""How long a head takes for an image."""

import time
from statistics import median

import numpy as np
from numpy.typing import NDArray

from classify.heads.head import Head

N_CALLS = 3


def predict_seconds(head: Head, X: NDArray[np.float32]) -> float:
    """Seconds per image of `predict_proba`: the median of 3 calls after one to warm up.

    Parameters
    ----------
    head : Head
        Fitted. A vote asks each of its members.
    X : float32 (n_images, dim)
        Embeddings of at least one image, in memory.
    """
    head.predict_proba(X)
    return median(_seconds(head, X) for _ in range(N_CALLS)) / len(X)


def _seconds(head: Head, X: NDArray[np.float32]) -> float:
    started = time.perf_counter()
    head.predict_proba(X)
    return time.perf_counter() - started
