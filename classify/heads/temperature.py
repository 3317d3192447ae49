"""One temperature for all classes (Guo et al. 2017, On Calibration of Modern Neural Networks).

If a head classifies all of val correctly, the log loss falls without end as probabilities approach
1. So, as in Platt's scaling (1999), the target is not 1 but (n + 1) / (n + 2), with the rest spread
over all classes: no head becomes more certain than n images can justify.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax

SHARPEST, DULLEST = 0.01, 100.0
SMALLEST = np.finfo(np.float32).tiny


def fit_temperature(
    proba: NDArray[np.floating], y: NDArray[np.integer], weight: NDArray[np.floating]
) -> float:
    """The temperature with the smallest log loss on these targets.

    Parameters
    ----------
    proba : float (n_images, n_classes)
    y : int (n_images,)
        True classes.
    weight : float (n_images,)

    Returns
    -------
    float
        Between 0.01 and 100; 1 leaves the probabilities as they are.
    """
    logits = _log(proba)
    rows = np.arange(len(y))
    spread = 1 / (len(y) + 2)

    def loss(log_temperature: float) -> float:
        log_proba = log_softmax(logits / np.float32(np.exp(log_temperature)), axis=1)
        targets = (1 - spread) * log_proba[rows, y] + spread * log_proba.mean(axis=1)
        return -float(weight @ targets)

    bounds = (np.log(SHARPEST), np.log(DULLEST))
    found = minimize_scalar(loss, bounds=bounds, method="bounded", options={"xatol": 1e-3})
    # A search between bounds does not try 1 itself: probabilities that are right stay as they are.
    return float(np.exp(found.x)) if found.fun < loss(0.0) else 1.0


def sharpen(proba: NDArray[np.float32], temperature: float) -> NDArray[np.float32]:
    """Probabilities at a temperature: sharper below 1, flatter above; the top class stays."""
    if temperature == 1:
        return proba
    sharpened: NDArray[np.float32] = softmax(_log(proba) / np.float32(temperature), axis=1)
    return sharpened


def _log(proba: NDArray[np.floating]) -> NDArray[np.float32]:
    return np.log(np.maximum(proba.astype(np.float32, copy=False), SMALLEST))
