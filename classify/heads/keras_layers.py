"""Keras layers that replace parts of heads."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from headbench.extract.networks.keras_runtime import load_keras


def linear(X: Any, kernel: NDArray[np.floating], bias: NDArray[np.floating]) -> Any:
    """``X @ kernel + bias`` as a dense layer."""
    dense = load_keras().layers.Dense(len(bias), dtype="float32")
    logits = dense(X)
    dense.set_weights([kernel, bias])
    return logits


def standardised(X: Any, mean: NDArray[np.floating], scale: NDArray[np.floating]) -> Any:
    """``(X - mean) / scale`` as a layer; a single scale applies to all columns."""
    variance = np.square(scale, dtype=np.float64)
    normalization = load_keras().layers.Normalization
    return normalization(mean=mean, variance=np.broadcast_to(variance, mean.shape))(X)
