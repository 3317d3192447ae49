"""How a model ends: its last layer, and what comes out of that."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from classify.doctor.model.anatomy import Leaf
from classify.doctor.model.watch import inputs_of_layer

N_RANDOM = 8
SUM_TOLERANCE = 1e-3


@dataclass(frozen=True)
class Ending:
    """The last layer of a model, given images of noise.

    Attributes
    ----------
    outputs : float32 (n, n_outputs)
        Of the model.
    activation : str
        Of the last layer that changes anything, such as ``softmax``; empty if it has none, or more
        is done behind it.
    name : str
        Of that layer.
    given : float32 (n, n_values) or None
        What that layer is given; None if it is not asked.
    has_weights : bool
        Whether weights of that layer stand between what it is given and its activation.
    is_taken_back : bool
        Whether Keras' own losses look behind that activation, as they do on TensorFlow.
    """

    outputs: NDArray[np.float32]
    activation: str = ""
    name: str = ""
    given: NDArray[np.float32] | None = None
    has_weights: bool = False
    is_taken_back: bool = False

    @property
    def n_outputs(self) -> int:
        """How many there are."""
        return int(self.outputs.shape[1])

    @property
    def is_within_one(self) -> bool:
        """Whether every output is from 0 to 1, and not by chance."""
        is_inside = bool((self.outputs >= 0).all() and (self.outputs <= 1).all())
        return is_inside and self.activation != "linear"

    @property
    def is_finite(self) -> bool:
        """Whether no output is NaN or infinite."""
        return bool(np.isfinite(self.outputs).all())


def look_at_ending(model: Any, found: list[Leaf], images: NDArray[np.float32]) -> Ending:
    """Run a model in inference, and note what its last layer does.

    Parameters
    ----------
    model : keras.Model
    found : list of Leaf
        Of it.
    images : float32 (n, height, width, 3)
    """
    answered = model(images, training=False)
    outputs = np.asarray(answered, dtype=np.float32)
    passing: list[Any] = []
    for leaf in reversed(found):
        given = inputs_of_layer(model, leaf.layer, images)
        if given is None or not _gives(leaf.layer, given, outputs):
            break
        if given.shape != outputs.shape or not np.array_equal(given, outputs, equal_nan=True):
            is_taken_back = _is_taken_back(answered, passing)
            return _ended_by(leaf.layer, given, outputs, is_taken_back)
        # As Dropout in inference, or an activation that only turns float16 into float32.
        passing.append(leaf.layer)
    return Ending(outputs)


def _ended_by(
    last: Any, given: NDArray[np.float32], outputs: NDArray[np.float32], is_taken_back: bool
) -> Ending:
    activation, has_weights = _activation(last), bool(last.weights)
    return Ending(outputs, activation, last.name, given, has_weights, is_taken_back)


def _is_taken_back(answered: Any, passing: list[Any]) -> bool:
    """Keras keeps there what an activation was given, and has no public way to ask for it."""
    drops = any("Dropout" in type(layer).__name__ for layer in passing)
    return hasattr(answered, "_keras_logits") and not drops


def are_probabilities(values: NDArray[np.float32] | None) -> bool:
    """Whether each row, of at least two values, adds up to 1 and has nothing below 0."""
    if values is None or values.ndim != 2 or values.shape[1] < 2:
        return False
    return bool((values >= 0).all() and np.abs(values.sum(axis=1) - 1).max() < SUM_TOLERANCE)


def noise(shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Images of noise, float32 of `shape`, from 0 to 255, the same each time."""
    pixels = np.random.default_rng(0).uniform(0, 255, size=(N_RANDOM, *shape))
    return pixels.astype(np.float32)


def _gives(layer: Any, given: NDArray[np.float32], outputs: NDArray[np.float32]) -> bool:
    """Whether a layer's outputs are those of the model, so that nothing is done behind it."""
    found = np.asarray(layer(given), dtype=np.float32)
    return found.shape == outputs.shape and np.allclose(found, outputs, 1e-4, 1e-5, equal_nan=True)


def _activation(layer: Any) -> str:
    if type(layer).__name__ == "Softmax":
        return "softmax"
    return getattr(getattr(layer, "activation", None), "__name__", "")
