from typing import Any

import numpy as np
import pytest

from headbench.classify.doctor.model.batch_statistics import batch_norms, batch_statistics
from headbench.extract.networks.keras_runtime import load_keras


@pytest.fixture
def model() -> Any:
    """Two BatchNormalization layers, one of them in a frozen model inside."""
    keras = load_keras()
    layers = keras.layers
    inside = keras.Sequential([keras.Input((3,)), layers.BatchNormalization(name="inner")])
    inside.trainable = False
    return keras.Sequential([keras.Input((3,)), inside, layers.BatchNormalization(name="outer")])


X = np.arange(12, dtype=np.float32).reshape(4, 3)


def test_layers_of_models_inside_are_found(model: Any) -> None:
    assert [layer.name for layer in batch_norms(model)] == ["inner", "outer"]


def test_inside_the_batch_decides_and_outside_it_does_not(model: Any) -> None:
    with batch_statistics(batch_norms(model)):
        by_batch = model(X, training=False).numpy()
    # By hand: each column is 0, 3, 6, 9 plus a number; mean 4.5, variance 11.25.
    expected = (np.array([0, 3, 6, 9]) - 4.5) / np.sqrt(11.25)
    np.testing.assert_allclose(by_batch, np.tile(expected[:, None], 3), atol=1e-3)
    np.testing.assert_allclose(model(X, training=False), X, rtol=2e-3)


def test_nothing_of_the_model_is_changed(model: Any) -> None:
    def state() -> list[Any]:
        layers = batch_norms(model)
        flags = [[v.trainable for v in layer.variables] for layer in layers]
        return [[each.trainable for each in layers], flags]

    before, weights = state(), [w.numpy() for w in model.weights]
    with batch_statistics(batch_norms(model)):
        model(X, training=False)
        model(X + 5, training=False)
    assert state() == before
    for weight, old in zip(model.weights, weights, strict=True):
        np.testing.assert_array_equal(weight, old)


def test_a_failure_inside_leaves_nothing_behind(model: Any) -> None:
    with pytest.raises(KeyError), batch_statistics(batch_norms(model)):
        raise KeyError
    np.testing.assert_allclose(model(X, training=False), X, rtol=2e-3)
