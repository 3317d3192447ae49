from typing import Any

import numpy as np
import pytest

from headbench.extract.networks.engines import relative_difference
from headbench.extract.networks.folding import base_of, fold_base, fold_batch_norms
from headbench.extract.networks.keras_runtime import load_keras

RNG = np.random.default_rng(0)
IMAGES = RNG.normal(size=(3, 12, 12, 4)).astype(np.float32)


def disturb(network: Any) -> Any:
    """Give every BatchNormalization statistics and factors that a mistake would show in."""
    for layer in network.layers:
        if isinstance(layer, load_keras().layers.BatchNormalization):
            layer.set_weights([RNG.uniform(0.5, 2, each.shape) for each in layer.get_weights()])
    return network


def build(*layers: Any) -> Any:
    keras = load_keras()
    inputs = outputs = keras.Input((12, 12, 4))
    for layer in layers:
        outputs = layer(outputs)
    return disturb(keras.Model(inputs, keras.layers.GlobalAveragePooling2D()(outputs)))


def n_norms(network: Any) -> int:
    norm = load_keras().layers.BatchNormalization
    return sum(isinstance(layer, norm) for layer in network.layers)


def check(network: Any, n_left: int) -> None:
    before = [weight.copy() for weight in network.get_weights()]
    folded = fold_batch_norms(network)
    assert n_norms(folded) == n_left
    expected = network.predict(IMAGES, verbose=0)
    assert relative_difference(folded.predict(IMAGES, verbose=0), expected) < 1e-6
    for weight, kept in zip(network.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, kept)


@pytest.mark.parametrize("use_bias", [True, False])
@pytest.mark.parametrize("options", [{}, {"scale": False}, {"center": False}, {"epsilon": 0.1}])
def test_a_norm_after_a_convolution_is_folded(use_bias: bool, options: dict[str, Any]) -> None:
    layers = load_keras().layers
    norm = layers.BatchNormalization(**options)
    check(build(layers.Conv2D(6, 3, use_bias=use_bias), norm, layers.ReLU()), 0)


@pytest.mark.parametrize("multiplier", [1, 2])
def test_a_norm_after_a_depthwise_convolution_is_folded(multiplier: int) -> None:
    layers = load_keras().layers
    conv = layers.DepthwiseConv2D(3, depth_multiplier=multiplier, use_bias=False)
    check(build(conv, layers.BatchNormalization()), 0)


def test_a_norm_that_follows_something_else_stays() -> None:
    layers = load_keras().layers
    check(build(layers.BatchNormalization(), layers.ReLU(), layers.Conv2D(5, 3)), 1)
    check(build(layers.Conv2D(5, 3, activation="relu"), layers.BatchNormalization()), 1)


def test_a_convolution_that_something_else_reads_too_stays_as_it_is() -> None:
    keras = load_keras()
    inputs = keras.Input((12, 12, 4))
    conv = keras.layers.Conv2D(4, 3, padding="same")(inputs)
    both = keras.layers.Add()([keras.layers.BatchNormalization()(conv), conv])
    check(disturb(keras.Model(inputs, keras.layers.GlobalAveragePooling2D()(both))), 1)


def test_what_comes_out_is_frozen() -> None:
    layers = load_keras().layers
    folded = fold_batch_norms(build(layers.Conv2D(6, 3), layers.BatchNormalization()))
    assert folded.trainable_variables == []


def test_the_network_inside_another_is_folded_and_nothing_else_is_copied() -> None:
    keras = load_keras()
    norm = keras.layers.BatchNormalization()
    base = build(keras.layers.Conv2D(6, 3), norm)
    inputs = keras.Input((12, 12, 4))
    head = keras.layers.Dense(5, activation="softmax")
    whole = keras.Model(inputs, head(base(inputs * 2.0 - 0.5, training=False)))
    folded = fold_base(whole)
    assert (n_norms(base_of(whole)), n_norms(base_of(folded))) == (1, 0)
    assert folded.layers[-1] is head
    expected = whole.predict(IMAGES, verbose=0)
    assert relative_difference(folded.predict(IMAGES, verbose=0), expected) < 1e-6
