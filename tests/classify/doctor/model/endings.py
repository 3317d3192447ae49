"""Small models that end as people end theirs, on pixels as they are."""

from collections.abc import Sequence
from typing import Any

from headbench.classify.doctor.finding import Finding
from headbench.classify.doctor.model.anatomy import leaves
from headbench.classify.doctor.model.load import Loss
from headbench.classify.doctor.model.loss import check_loss, look_at_ending, noise
from headbench.extract.networks.keras_runtime import load_keras

SHAPE = (8, 8, 3)


def ending_in(*layers: Any) -> Any:
    """A model of a few numbers of each image, and these layers behind them."""
    keras = load_keras()
    keras.utils.set_random_seed(0)
    pooled = keras.layers.GlobalAveragePooling2D()
    start = [keras.Input(SHAPE), keras.layers.Rescaling(1 / 255), pooled]
    return keras.Sequential([*start, *layers])


def dense(n: int, activation: str | None = None) -> Any:
    """Numbers that are far from 0 on both sides, then the activation."""
    wide = load_keras().initializers.RandomNormal(stddev=5.0, seed=1)
    return load_keras().layers.Dense(n, activation=activation, kernel_initializer=wide)


def found_in(layers: Sequence[Any], loss: Loss | None) -> list[Finding]:
    """What is found of a model that ends in those layers, but for notes."""
    model = ending_in(*layers)
    return list(check_loss(look_at_ending(model, leaves(model), noise(SHAPE)), loss))
