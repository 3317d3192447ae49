"""The scaling of pixels in training, by the first BatchNormalization; no labels, no head."""

from typing import Any

import numpy as np
import pytest

from headbench.classify.doctor.model.anatomy import leaves
from headbench.classify.doctor.model.moving_statistics import FAR, NEAR, Fit, fit_of
from headbench.classify.doctor.scalings import SCALINGS
from headbench.extract.networks.keras_runtime import load_keras

# A brightness and a colour of its own for each picture, and noise.
RNG = np.random.default_rng(0)
IMAGES = np.clip(
    RNG.integers(30, 220, (48, 1, 1, 3)) + RNG.normal(0, 30, (48, 12, 12, 3)), 0, 255
).astype(np.uint8)


def trained_on(scaling: str | None, *, is_frozen: bool = False) -> Any:
    """A convolution and a BatchNormalization that has seen pixels of a scaling, or none."""
    keras = load_keras()
    keras.utils.set_random_seed(0)
    norm = keras.layers.BatchNormalization(momentum=0.0, name="first_bn")
    layers = [keras.layers.Conv2D(8, 3, use_bias=False), norm, keras.layers.Flatten()]
    model = keras.Sequential([keras.Input((12, 12, 3)), *layers])
    if scaling:
        model(SCALINGS[scaling](IMAGES[24:]), training=True)
    model.trainable = not is_frozen
    return model


def found_in(model: Any, by_batch: list[Any]) -> Fit | None:
    return fit_of(model, leaves(model), by_batch, IMAGES[:24])


@pytest.mark.parametrize("scaling", ["/255", "raw", "tf", "torch", "caffe"])
def test_the_scaling_of_training_fits_and_others_of_another_range_do_not(scaling: str) -> None:
    model = trained_on(scaling)
    fit = found_in(model, [])
    assert fit
    assert fit.layer == "first_bn"
    assert scaling in fit.found
    assert fit.distance[scaling] < NEAR
    other = {"/255": "raw", "raw": "/255", "tf": "raw", "torch": "/255", "caffe": "tf"}[scaling]
    assert fit.is_far(other)
    assert fit.distance[other] > FAR


def test_statistics_that_training_moves_are_told_from_frozen_ones() -> None:
    model = trained_on("tf")
    norm = model.layers[1]
    assert found_in(model, [norm]).is_trained  # type: ignore[union-attr]
    assert not found_in(model, []).is_trained  # type: ignore[union-attr]


def test_statistics_that_were_never_set_say_nothing() -> None:
    assert found_in(trained_on(None), []) is None


def test_a_network_without_batch_normalization_says_nothing() -> None:
    keras = load_keras()
    layers = [keras.layers.Conv2D(2, 3), keras.layers.Flatten()]
    assert found_in(keras.Sequential([keras.Input((12, 12, 3)), *layers]), []) is None


def test_the_model_is_the_same_afterwards() -> None:
    model = trained_on("tf")
    before = [each.numpy() for each in model.weights]
    found_in(model, [])
    for weight, old in zip(model.weights, before, strict=True):
        np.testing.assert_array_equal(weight, old)
