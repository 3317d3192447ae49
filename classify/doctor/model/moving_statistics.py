"""The pixels that a network was trained on, from its first BatchNormalization, without labels."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headbench.classify.doctor.model.anatomy import Leaf, inputs_of_layer, norms_among
from headbench.classify.doctor.scalings import SCALINGS, Scaling

N_IMAGES, BATCH = 32, 16
# Nats. On food10, ImageNet's MobileNet, ResNet50 and DenseNet169 lie 0.006 to 0.04 from their own
# scaling (BGR for RGB no further), and at least 0.2 from any other scale.
NEAR, FAR = 0.1, 0.2


@dataclass(frozen=True)
class Fit:
    """Distance between the inputs of the first BatchNormalization and its moving statistics.

    Attributes
    ----------
    layer
        Name of the layer.
    is_trained
        Whether training updates its statistics. Then they fit the pixels in training; those of a
        frozen layer fit the pixels that the network expects.
    distance
        By scaling of pixels before the model, in nats; see `_distance`.
    """

    layer: str
    is_trained: bool
    distance: Mapping[str, float]

    @property
    def found(self) -> tuple[str, ...]:
        """The scalings that fit, the best first; several if only the order of channels differs."""
        near = [name for name, distance in self.distance.items() if distance < NEAR]
        return tuple(sorted(near, key=self.distance.__getitem__))

    def is_far(self, name: str) -> bool:
        """Whether a scaling does not fit, and another one does."""
        return bool(self.found) and self.distance.get(name, 0) > FAR


def fit_of(
    model: Any, found: list[Leaf], by_batch: list[Any], images: NDArray[np.uint8]
) -> Fit | None:
    """Compare the first BatchNormalization with its inputs for some images; None without one.

    `by_batch` are the layers whose statistics training updates; images are (n, height, width, 3).
    """
    norm = next(filter(_is_set, norms_among(found)), None)
    if norm is None or norm.axis not in (-1, 3):
        return None
    # Evenly: images may be sorted by class.
    some = images[:: max(1, len(images) // N_IMAGES)]
    distance = {}
    for name, scaling in SCALINGS.items():
        arriving = _mean_and_variance(model, norm, some, scaling)
        if arriving is None:
            return None
        distance[name] = _distance(*arriving, norm)
    return Fit(norm.name, any(norm is each for each in by_batch), distance)


def _is_set(norm: Any) -> bool:
    """Whether it normalises feature maps, and its statistics are not those that it began with."""
    is_new = not np.any(norm.moving_mean) and np.all(np.asarray(norm.moving_variance) == 1)
    return norm.input_spec.ndim == 4 and not is_new


def _mean_and_variance(
    model: Any, norm: Any, images: NDArray[np.uint8], scaling: Scaling
) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """Of each channel (n_channels,) that arrives; None if the layer is not called."""
    sums: list[NDArray[np.float64]] = []
    for start in range(0, len(images), BATCH):
        seen = inputs_of_layer(model, norm, scaling(images[start : start + BATCH]))
        if seen is None:
            return None
        flat = seen.reshape(-1, seen.shape[-1]).astype(np.float64)
        sums.append(np.stack([np.full(flat.shape[1], len(flat)), flat.sum(0), (flat**2).sum(0)]))
    n, total, squares = np.sum(sums, axis=0)
    return total / n, np.maximum(squares / n - (total / n) ** 2, 0)


def _distance(mean: NDArray[np.float64], variance: NDArray[np.float64], norm: Any) -> float:
    """The Kullback-Leibler divergence of two normal distributions, median over channels, nats."""
    of_layer = np.asarray(norm.moving_variance, np.float64) + norm.epsilon
    ratio = (variance + norm.epsilon) / of_layer
    shift = (mean - np.asarray(norm.moving_mean, np.float64)) ** 2 / of_layer
    return float(np.median(ratio + shift - 1 - np.log(ratio)) / 2)
