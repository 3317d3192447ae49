"""What is found of a loss and a last layer, on small models that end as people end theirs."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from headbench.classify.doctor.finding import Finding, Severity
from headbench.classify.doctor.model.anatomy import leaves
from headbench.classify.doctor.model.declared_loss import Loss
from headbench.classify.doctor.model.loss import (
    LARGEST,
    LEAST_OF_0,
    LEAST_OF_1,
    check_loss,
    look_at_ending,
    noise,
)
from headbench.extract.networks.keras_runtime import load_keras, load_tensorflow

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


CROSSENTROPY = Loss("categorical_crossentropy", False)
LOGITS = Loss("categorical_crossentropy", True)


def named(layers: list[Any], loss: Loss | None) -> list[tuple[str, Severity]]:
    return [(each.code, each.severity) for each in found_in(layers, loss)]


def test_what_belongs_together_gets_no_finding() -> None:
    assert named([dense(3, "softmax")], CROSSENTROPY) == []
    assert named([dense(3), load_keras().layers.Softmax()], CROSSENTROPY) == []
    assert named([dense(3)], LOGITS) == []


@pytest.mark.parametrize("loss", [None, Loss("mean_squared_error", False)])
def test_a_loss_that_is_not_known_is_said_not_to_be_checked(loss: Loss | None) -> None:
    [finding] = found_in([dense(3, "softmax")], loss)
    assert finding.code == "not-checked"
    assert "--script-settings loss=" in finding.remedy


@pytest.mark.parametrize("last", ["Softmax", "Activation"])
def test_a_softmax_of_a_softmax_never_exceeds_what_is_said(last: str) -> None:
    layers = load_keras().layers
    again = layers.Softmax() if last == "Softmax" else layers.Activation("softmax")
    ending = [dense(3, "softmax"), again]
    [finding] = found_in(ending, CROSSENTROPY)
    assert (finding.code, finding.severity) == ("softmax-twice", Severity.SEVERE)
    # Of three classes: e / (e + 2), which is reached where the first is sure.
    assert "never exceeds 0.576" in finding.evidence[1]
    model = ending_in(*ending)
    model.layers[-2].set_weights([np.zeros((3, 3)), np.array([50.0, 0.0, 0.0])])
    largest = float(np.max(model(np.zeros((1, 8, 8, 3), np.float32))))
    assert largest == pytest.approx(0.576, abs=1e-3)


def test_no_bound_is_claimed_where_weights_stand_between_two_softmax() -> None:
    ending = [dense(4, "softmax"), dense(3, "softmax")]
    [finding] = found_in(ending, CROSSENTROPY)
    assert (finding.code, finding.severity) == ("softmax-twice", Severity.WARNING)
    assert "exceed" not in "".join(finding.evidence)
    model = ending_in(*ending)
    model.layers[-1].set_weights([np.eye(4, 3) * 50, np.zeros(3)])
    model.layers[-2].set_weights([np.zeros((3, 4)), np.array([50.0, 0.0, 0.0, 0.0])])
    assert np.max(model(np.zeros((1, 8, 8, 3), np.float32))) > 0.999


def test_a_softmax_that_keras_takes_back_is_no_more_than_a_warning() -> None:
    ending = [dense(3, "softmax")]
    [finding] = found_in(ending, LOGITS)
    assert (finding.code, finding.severity) == ("softmax-twice", Severity.WARNING)
    assert "TensorFlow" in finding.evidence[0]
    # It is so: the loss of training is that of one softmax.
    model, images = ending_in(*ending), np.random.default_rng(0).uniform(0, 255, (16, 8, 8, 3))
    targets = np.eye(3)[np.arange(16) % 3]
    model.compile("sgd", load_keras().losses.CategoricalCrossentropy(from_logits=True))
    with pytest.warns(UserWarning, match="from_logits=True"):
        trained = model.evaluate(images, targets, verbose=0)
    proba = model.predict(images, verbose=0)
    once = load_keras().losses.categorical_crossentropy(targets, proba)
    assert trained == pytest.approx(float(np.mean(once)), rel=1e-4)


def test_a_softmax_with_something_behind_it_is_applied_twice_by_the_loss() -> None:
    behind = load_keras().layers.Dropout(0.1)
    assert named([dense(3, "softmax"), behind], LOGITS) == [("softmax-twice", Severity.SEVERE)]


def test_outputs_beyond_0_and_1_are_severe_without_a_softmax() -> None:
    [finding] = found_in([dense(3)], CROSSENTROPY)
    assert (finding.code, finding.severity) == ("softmax-missing", Severity.SEVERE)
    assert "clips outputs" in finding.evidence[0]


@pytest.mark.parametrize("name", ["categorical_crossentropy", "sparse_categorical_crossentropy"])
def test_a_sigmoid_before_a_softmax_s_loss_is_a_warning_for_it_trains(name: str) -> None:
    [finding] = found_in([dense(3, "sigmoid")], Loss(name, False))
    assert (finding.code, finding.severity) == ("softmax-missing", Severity.WARNING)
    assert "clips" not in "".join(finding.evidence)
    # As is said: no gradient is 0.
    tf = load_tensorflow()
    logits = tf.Variable(np.random.default_rng(0).normal(0, 2, (5, 3)).astype("float32"))
    labels = np.arange(5) % 3
    targets = np.eye(3)[labels].astype("float32") if name.startswith("cat") else labels
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(getattr(load_keras().losses, name)(targets, tf.sigmoid(logits)))
    assert np.all(tape.gradient(loss, logits).numpy() != 0)


@pytest.mark.filterwarnings("ignore:You are using a softmax over axis")
def test_a_softmax_over_one_output_is_always_1() -> None:
    ending = [dense(1, "softmax")]
    assert named(ending, Loss("binary_crossentropy", False)) == [
        ("softmax-of-one-output", Severity.SEVERE)
    ]
    assert np.all(np.asarray(ending_in(*ending)(np.ones((4, 8, 8, 3), np.float32))) == 1)


def test_a_loss_over_classes_of_one_output_is_always_0() -> None:
    ending = [dense(1, "sigmoid")]
    assert named(ending, CROSSENTROPY) == [("wrong-loss", Severity.SEVERE)]
    model = ending_in(*ending)
    model.compile("sgd", "categorical_crossentropy")
    images, targets = np.full((4, 8, 8, 3), 99.0), np.array([[0.0], [1.0], [0.0], [1.0]])
    with pytest.warns(SyntaxWarning, match="num_classes > 1"):
        loss = model.evaluate(images, targets, verbose=0)
    assert loss == pytest.approx(0, abs=1e-6)


PROBA = Loss("binary_crossentropy", False)
BINARY_LOGITS = Loss("binary_crossentropy", True)


def test_what_belongs_together_gets_no_finding_under_a_binary_loss() -> None:
    assert named([dense(1, "sigmoid")], PROBA) == []
    assert named([dense(1), load_keras().layers.Activation("sigmoid")], PROBA) == []
    # As mixed precision has it.
    in_float32 = load_keras().layers.Activation("linear", dtype="float32")
    assert named([dense(1, "sigmoid"), in_float32], PROBA) == []
    assert named([dense(5, "sigmoid")], PROBA) == []
    assert named([dense(2, "softmax")], PROBA) == []
    assert named([dense(1)], BINARY_LOGITS) == []


def test_a_linear_output_without_from_logits_is_cut_off_whatever_noise_gives() -> None:
    half = load_keras().layers.Dense(1, kernel_initializer="zeros", bias_initializer="ones")
    for last in (dense(1), half):
        assert named([last], PROBA) == [("sigmoid-missing", Severity.SEVERE)]


def test_a_sigmoid_that_keras_takes_back_is_a_warning() -> None:
    [finding] = found_in([dense(1, "sigmoid")], BINARY_LOGITS)
    assert (finding.code, finding.severity) == ("sigmoid-twice", Severity.WARNING)
    assert "TensorFlow" in finding.evidence[0]


def test_a_sigmoid_that_is_applied_twice_has_the_bounds_that_are_said() -> None:
    behind = load_keras().layers.Dropout(0.1)
    assert named([dense(1, "sigmoid"), behind], BINARY_LOGITS) == [
        ("sigmoid-twice", Severity.SEVERE)
    ]
    [finding] = found_in([dense(3, "softmax")], BINARY_LOGITS)
    assert (finding.code, finding.severity) == ("sigmoid-twice", Severity.SEVERE)
    outputs = np.linspace(0, 1, 101)[:, None].astype("float32")
    once_more = 1 / (1 + np.exp(-outputs))
    assert once_more.max() == pytest.approx(LARGEST, abs=1e-3)
    loss = load_keras().losses.binary_crossentropy
    for answer, least in ((0.0, LEAST_OF_0), (1.0, LEAST_OF_1)):
        each = loss(np.full_like(outputs, answer), outputs, from_logits=True)
        assert float(np.min(each)) == pytest.approx(least, abs=1e-2)
        assert float(np.min(each)) > least


def test_a_binary_loss_on_a_softmax_over_many_classes_is_named() -> None:
    assert named([dense(3, "softmax")], PROBA) == [("wrong-loss", Severity.WARNING)]
