"""The origin's own model: a frozen network that trains by the batch, and its head."""

import hashlib
from typing import Any

from headbench.classify.doctor.model.batch_statistics import batch_norms
from headbench.classify.heads.curves import train_metrics
from headbench.classify.origin.origin_settings import LEARNING_RATE
from headbench.extract.networks.keras_runtime import load_keras

DROPOUTS, WIDTH = (0.2, 0.5), 512


def freeze_as_keras_2_2(base: Any) -> None:
    """Freeze a network as Keras 2.2 did when told ``trainable = False``.

    No weight trained and no moving statistic moved, but in training BatchNormalization used batch
    statistics all the same. In Keras 3 only a trainable layer does that. So the layer is trainable,
    its weights are not, and with a momentum of 1 its moving statistics stay.
    """
    base.trainable = False
    for layer in batch_norms(base):
        layer.trainable = True
        layer.momentum = 1.0
        for variable in layer.trainable_variables:
            variable.trainable = False


def origin_model(base: Any, n_classes: int, seed: int) -> Any:
    """The whole model, compiled: pixels as the origin scaled them to probabilities.

    `base`, frozen by `freeze_as_keras_2_2`, is shared; `seed` is of new weights and of Dropout.
    """
    return _compiled(base.input_shape[1:], [base], n_classes, seed)


def head_alone(dim: int, n_classes: int, seed: int) -> Any:
    """The same head, compiled alike, on embeddings (n, dim)."""
    return _compiled((dim,), [], n_classes, seed)


def digest(base: Any) -> str:
    """SHA-256 over all weights and moving statistics of a network."""
    found = hashlib.sha256()
    for variable in base.weights:
        found.update(variable.numpy().tobytes())
    return found.hexdigest()


def _compiled(shape: tuple[int, ...], first: list[Any], n_classes: int, seed: int) -> Any:
    keras = load_keras()
    layers = keras.layers
    keras.utils.set_random_seed(seed)
    head = [
        layers.BatchNormalization(),
        layers.Dropout(DROPOUTS[0]),
        layers.Dense(WIDTH, activation="relu"),
        layers.Dropout(DROPOUTS[1]),
        layers.Dense(n_classes, activation="softmax"),
    ]
    model = keras.Sequential([keras.Input(shape), *first, *head])
    model.compile(
        keras.optimizers.Adam(LEARNING_RATE),
        "sparse_categorical_crossentropy",
        weighted_metrics=train_metrics(keras, n_classes),
        jit_compile=False,
    )
    return model
