"""BatchNormalization in both modes, and what frozen layers do in training."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from headbench.classify.doctor.finding import Finding, Severity
from headbench.classify.doctor.model.anatomy import leaves
from headbench.classify.doctor.model.frozen_layers import (
    check_batch_norms,
    check_repeated,
    check_step,
)
from headbench.classify.doctor.model.measured import Condition, Measured, Sample
from headbench.extract.networks.keras_runtime import load_keras
from headbench.extract.networks.user_model import UserModel

LABELS = np.arange(100) % 5
RIGHT, WRONG = np.eye(5, dtype=np.float32)[LABELS], np.eye(5, dtype=np.float32)[(LABELS + 1) % 5]
SAMPLE = Sample(np.zeros((100, 1, 1, 3), np.uint8), LABELS, tuple("abcde"), [])
# Right by the batch under both; wrong in inference under the first alone.
MEASURED = Measured(
    SAMPLE,
    {
        Condition("/255", by_batch=True): RIGHT,
        Condition("/255", by_batch=False): WRONG,
        Condition("tf", by_batch=True): RIGHT,
        Condition("tf", by_batch=False): RIGHT,
    },
)


def found_under(*scalings: str) -> list[Finding]:
    keras = load_keras()
    model = keras.Sequential([keras.Input((4,)), keras.layers.BatchNormalization()])
    user = UserModel(Path("model.keras"), model, "3.15.1", None)
    return list(check_batch_norms(user, leaves(model), MEASURED, scalings))


def test_modes_that_differ_under_the_pixels_of_training_are_severe() -> None:
    [finding] = found_under("/255")
    assert finding.severity is Severity.SEVERE
    assert "is unknown" not in finding.evidence[0]


@pytest.mark.parametrize("scalings", [("/255", "tf"), ("tf", "/255")])
def test_modes_that_differ_under_some_pixels_alone_are_no_fact(scalings: tuple[str, str]) -> None:
    [finding] = found_under(*scalings)
    assert finding.severity is Severity.NOTE
    assert "is unknown" in finding.evidence[0]
    assert finding.evidence[0].endswith("The modes differ with /255.")


def test_modes_that_agree_get_no_finding() -> None:
    assert found_under("tf") == []


@pytest.mark.parametrize(("scaling", "severity"), [("/255", "SEVERE"), ("tf", "WARNING")])
def test_batch_norm_that_trains_in_a_frozen_block_is_named(scaling: str, severity: str) -> None:
    keras = load_keras()
    layers = keras.layers
    frozen = layers.Conv2D(2, 1, trainable=False)
    norm = layers.BatchNormalization(name="norm")
    model = keras.Sequential([keras.Input((4, 4, 3)), frozen, norm, layers.Flatten()])
    user = UserModel(Path("model.keras"), model, "3.15.1", None)
    finding, *_ = check_batch_norms(user, leaves(model), MEASURED, (scaling,))
    assert finding.code == "batch-norm-trains-in-frozen-block"
    assert finding.severity is Severity[severity]
    assert "1 of 1 BatchNormalization layers: norm." in finding.evidence[0]


SHAPE = (4, 4, 3)


def frozen_network(*layers: Any) -> Any:
    keras = load_keras()
    base = keras.Sequential([keras.Input(SHAPE), *layers, keras.layers.GlobalAveragePooling2D()])
    base.trainable = False
    return base


def stepped(base: Any) -> list[Finding]:
    keras = load_keras()
    model = keras.Sequential(
        [keras.Input(SHAPE), base, keras.layers.Dense(2, activation="softmax")]
    )
    images = np.random.default_rng(0).uniform(0, 255, (8, *SHAPE)).astype(np.float32)
    return list(check_step(model, leaves(model), images, np.arange(8) % 2))


def test_what_is_frozen_does_not_change() -> None:
    layers = load_keras().layers
    assert stepped(frozen_network(layers.Conv2D(2, 1), layers.BatchNormalization())) == []


def test_a_trainable_layer_in_a_frozen_network_is_a_question_and_no_verdict() -> None:
    layers = load_keras().layers
    thawed = layers.Conv2D(2, 1, name="thawed")
    base = frozen_network(layers.Conv2D(3, 1, name="frozen"), thawed)
    thawed.trainable = True
    [finding] = stepped(base)
    assert (finding.code, finding.severity) == ("frozen-layers-change", Severity.WARNING)
    assert finding.what.startswith("One step of training changed 1 layer inside a frozen network")
    assert finding.evidence[0].startswith("1 of 2 layers that are frozen, or in a frozen network: ")
    assert finding.evidence[0].endswith("in thawed.")
    assert "layer.trainable is True" in finding.evidence[1]
    assert "base.trainable = True first" in finding.remedy


def test_a_layer_that_changes_against_its_own_flag_is_severe() -> None:
    layers = load_keras().layers
    inner = layers.Conv2D(2, 1, name="inner")
    [finding] = stepped(frozen_network(layers.SpectralNormalization(inner)))
    assert (finding.code, finding.severity) == ("frozen-layers-change", Severity.SEVERE)
    assert "in inner." in finding.evidence[0]


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
