"""Layers that always give 0, ImageNet's top as features, and a network that is trained whole."""

from typing import Any

import numpy as np
import pytest

from headbench.classify.doctor.finding import Severity
from headbench.classify.doctor.model.anatomy import leaves
from headbench.classify.doctor.model.network_use import (
    check_dead,
    check_nothing_frozen,
    check_top,
    look_at_layers,
)
from headbench.extract.networks.keras_runtime import load_keras

IMAGES = np.random.default_rng(0).uniform(0, 1, (8, 8, 8, 3)).astype(np.float32)


def with_bias(bias: float, *, has_way_round: bool = False) -> Any:
    """A ReLU whose inputs are far below or above 0, and a head; a way round the ReLU, or none."""
    keras = load_keras()
    layers = keras.layers
    inputs = keras.Input((8, 8, 3))
    pooled = layers.GlobalAveragePooling2D()(inputs)
    start = keras.initializers.Constant(bias)
    hidden = layers.Dense(4, activation="relu", bias_initializer=start, name="hidden")(pooled)
    if has_way_round:
        hidden = layers.Concatenate()([hidden, pooled])
    return keras.Model(inputs, layers.Dense(2, activation="softmax")(hidden))


@pytest.mark.parametrize(
    ("has_way_round", "severity"), [(False, Severity.SEVERE), (True, Severity.WARNING)]
)
def test_a_layer_that_is_always_0_is_named(has_way_round: bool, severity: Severity) -> None:
    model = with_bias(-50.0, has_way_round=has_way_round)
    [finding] = check_dead(look_at_layers(model, leaves(model), IMAGES))
    assert (finding.code, finding.severity) == ("dead-layer", severity)
    assert "output of layer hidden is 0 for every image" in finding.what
    # The model runs as before.
    assert model(IMAGES).shape == (8, 2)


def test_a_layer_that_gives_something_is_not_dead() -> None:
    model = with_bias(0.5)
    assert list(check_dead(look_at_layers(model, leaves(model), IMAGES))) == []


def tops() -> list[Any]:
    names = ["MobileNet", "MobileNetV2", "MobileNetV3Small", "ResNet50", "VGG16", "ConvNeXtTiny"]
    quick = "MobileNet"
    return [pytest.param(each, marks=[pytest.mark.long] * (each != quick)) for each in names]


@pytest.mark.parametrize("name", tops())
def test_imagenet_s_own_top_as_features_is_named_and_as_the_end_is_not(name: str) -> None:
    keras = load_keras()
    base = getattr(keras.applications, name)(weights=None)
    head = keras.layers.Dense(3, activation="softmax")
    model = keras.Sequential([keras.Input((224, 224, 3)), base, head])
    [finding] = check_top(leaves(model))
    assert finding.code == "imagenet-top-as-features"
    assert "include_top=False" in finding.remedy
    assert list(check_top(leaves(base))) == []


def hidden(activation: str) -> Any:
    keras = load_keras()
    layers = keras.layers
    wide = layers.Dense(1000, activation=activation)
    return leaves(
        keras.Sequential([keras.Input((8, 8, 3)), layers.Flatten(), wide, layers.Dense(3)])
    )


def test_a_wide_layer_of_the_user_s_own_is_no_top() -> None:
    assert list(check_top(hidden("relu"))) == []
    assert len(list(check_top(hidden("softmax")))) == 1


def mobilenet(is_frozen: bool) -> Any:
    keras = load_keras()
    base = keras.applications.MobileNet(
        alpha=0.25, weights=None, include_top=False, input_shape=(32, 32, 3), pooling="avg"
    )
    base.trainable = not is_frozen
    return leaves(keras.Sequential([keras.Input((32, 32, 3)), base, keras.layers.Dense(3)]))


def test_a_pretrained_network_of_which_nothing_is_frozen_is_named() -> None:
    [finding] = check_nothing_frozen(mobilenet(False), has_learnt=False)
    assert (finding.code, finding.severity) == ("nothing-frozen", Severity.WARNING)
    assert "MobileNet is inside" in finding.what
    [finding] = check_nothing_frozen(mobilenet(False), has_learnt=True)
    assert finding.severity is Severity.NOTE
    assert list(check_nothing_frozen(mobilenet(True), has_learnt=False)) == []


def test_a_small_network_of_the_user_s_own_need_not_be_frozen() -> None:
    assert list(check_nothing_frozen(hidden("relu"), has_learnt=False)) == []
