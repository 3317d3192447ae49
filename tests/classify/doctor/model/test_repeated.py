from typing import Any

from classify.doctor.finding import Severity
from classify.doctor.model.anatomy import leaves
from classify.doctor.model.repeated import check_repeated
from extract.keras_runtime import load_keras


def layers_of(*before: Any, is_frozen: bool = True) -> Any:
    keras = load_keras()
    base = keras.Sequential(
        [keras.Input((8, 8, 3)), keras.layers.Conv2D(2, 3), keras.layers.Conv2D(2, 3)]
    )
    base.trainable = not is_frozen
    head = [keras.layers.Flatten(), keras.layers.Dense(2)]
    return leaves(keras.Sequential([keras.Input((8, 8, 3)), *before, base, *head]))


def test_a_frozen_network_is_said_to_run_in_every_epoch() -> None:
    [finding] = check_repeated(layers_of())
    assert (finding.code, finding.severity) == ("frozen-in-every-epoch", Severity.NOTE)
    assert finding.what == "2 of 3 layers are frozen and run in every epoch."


def test_a_layer_that_is_trained_in_a_frozen_network_is_not_counted() -> None:
    found = layers_of()
    next(leaf.layer for leaf in found if "conv" in leaf.layer.name).trainable = True
    assert list(check_repeated(found)) == []


def test_a_network_that_trains_and_one_that_augments_have_to_run_again() -> None:
    assert list(check_repeated(layers_of(is_frozen=False))) == []
    assert list(check_repeated(layers_of(load_keras().layers.RandomFlip()))) == []
