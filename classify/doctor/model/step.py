"""One step of training, in which nothing may change that is frozen."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from classify.doctor.finding import Finding, Severity, not_checked
from classify.doctor.model.anatomy import Leaf
from classify.wording import count, some
from extract.keras_runtime import load_keras

N_IMAGES = 16
LEARNING_RATE = 1e-3


def check_step(
    model: Any, found: list[Leaf], images: NDArray[np.float32], labels: NDArray[np.int64]
) -> Iterator[Finding]:
    """Train for one step, by Keras' own `train_on_batch`, and compare every weight.

    The model is not the same afterwards.

    Parameters
    ----------
    model : keras.Model
    found : list of Leaf
    images : float32 (n, size_px, size_px, 3)
        As the model is given them.
    labels : int64 (n,)
    """
    if not model.trainable_variables:
        yield not_checked("a step of training", "every layer of the model is frozen.")
        return
    frozen = [leaf.layer for leaf in found if leaf.is_frozen and leaf.layer.weights]
    before = [[weight.numpy() for weight in layer.weights] for layer in frozen]
    _step(model, images, labels)
    changed = {
        layer.name: max(
            float(np.abs(weight.numpy() - old).max())
            for weight, old in zip(layer.weights, weights, strict=True)
        )
        for layer, weights in zip(frozen, before, strict=True)
    }
    names = [name for name, largest in changed.items() if largest > 0 or np.isnan(largest)]
    if names:
        largest = max(changed, key=lambda name: changed[name])
        yield Finding(
            "frozen-layers-change",
            Severity.SEVERE,
            f"{count(len(names), 'frozen layer')} changed in one step of training.",
            (
                f"{len(names)} of {len(frozen)} layers that are frozen, or in a frozen model: "
                f"{some(names)}. The largest change is {changed[largest]:.3g}, in {largest}.",
            ),
            "Set trainable on the network first and on its layers last, look at "
            "[layer.trainable for layer in base.layers], and compile after that.",
        )


def _step(model: Any, images: NDArray[np.float32], labels: NDArray[np.int64]) -> None:
    losses = load_keras().losses
    n_outputs = model.output_shape[-1]
    # Any loss will do: what is frozen must not change under one.
    loss = losses.SparseCategoricalCrossentropy() if n_outputs > 1 else losses.MeanSquaredError()
    # One step does not pay for a graph.
    model.compile(load_keras().optimizers.SGD(LEARNING_RATE), loss, run_eagerly=True)
    model.train_on_batch(images[:N_IMAGES], labels[:N_IMAGES] % n_outputs)
