"""A fitted head as a Keras model on top of a network, for export and fine-tuning."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from headbench.classify.errors import RunError
from headbench.classify.heads.head import Head
from headbench.classify.heads.registry import exportable
from headbench.classify.heads.temperature import SMALLEST
from headbench.classify.heads.vote import Vote
from headbench.extract.networks.keras_runtime import load_keras


def keras_head(head: Head, n_classes: int) -> Any:
    """The head as a Keras model of built-in layers, with its temperature.

    Parameters
    ----------
    head : Head
        Fitted on labels of a feature file: logistic regression, ridge, nearest mean, a network, or
        a vote of these. Training the result does not change it.
    n_classes : int
        Number of classes of that file.

    Returns
    -------
    keras.Model
        Takes float32 (n_images, dim); gives probabilities float32 (n_images, n_classes), equal to
        those of `train_heads.class_proba` except for rounding. They are 0 for classes that the head
        has not seen. Its BatchNormalization is not trainable.

    Raises
    ------
    RunError
        For a head that such layers cannot replace.
    """
    require_composable(head)
    keras = load_keras()
    embeddings = keras.Input((head.n_features_in_,), dtype="float32", name="embeddings")
    proba = _placed(_proba(head, embeddings), head.classes_, n_classes)
    return keras.Model(embeddings, proba, name="head")


def composable() -> str:
    """The heads that can be made of Keras layers, in words."""
    return f"{', '.join(exportable())}, and a vote of these"


def require_composable(head: Head) -> None:
    """Raise `RunError` for a head that Keras layers cannot replace; does not import TensorFlow."""
    members = head.fitted_.values() if isinstance(head, Vote) else [head]
    for each in members:
        if not each.is_exportable:
            part = "" if each is head else f" (of {type(head).__name__})"
            raise RunError(
                f"{type(each).__name__}{part} cannot be converted to Keras layers: expected one of "
                f"{composable()}."
            )


def _proba(head: Head, X: Any) -> Any:
    """Probabilities at the head's temperature, (n_images, n_seen)."""
    activations = load_keras().activations
    if isinstance(head, Vote):
        mixed = _mixed(head, X)
        return mixed if head.temperature_ == 1 else _sharpened(mixed, head.temperature_)
    logits = head.keras_logits(X)
    if head.temperature_ != 1:
        logits = _at_temperature(activations.log_softmax(logits), head.temperature_)
    return activations.softmax(logits)


def _mixed(vote: Vote, X: Any) -> Any:
    layers = load_keras().layers
    parts = [
        layers.Rescaling(vote.weights_[name], dtype="float32")(_proba(member, X))
        for name, member in vote.fitted_.items()
    ]
    return layers.Add(dtype="float32")(parts) if len(parts) > 1 else parts[0]


def _sharpened(proba: Any, temperature: float) -> Any:
    keras = load_keras()
    log_proba = keras.ops.log(keras.ops.maximum(proba, float(SMALLEST)))
    return keras.activations.softmax(_at_temperature(log_proba, temperature))


def _at_temperature(log_proba: Any, temperature: float) -> Any:
    """As `temperature.sharpen`: smaller probabilities are raised to the smallest one."""
    return load_keras().ops.maximum(log_proba, float(np.log(SMALLEST))) / temperature


def _placed(proba: Any, classes: NDArray[np.integer], n_classes: int) -> Any:
    """The columns of the classes that were seen, and zeros for the others."""
    if len(classes) == n_classes:
        return proba
    ops = load_keras().ops
    columns = np.full(n_classes, len(classes))
    columns[classes] = np.arange(len(classes))
    with_zeros = ops.pad(proba, [[0, 0], [0, 1]])
    return ops.take(with_zeros, columns.tolist(), axis=1)
