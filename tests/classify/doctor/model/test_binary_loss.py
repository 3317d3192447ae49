from typing import Any

import numpy as np
import pytest

from classify.doctor.finding import Severity
from classify.doctor.model.binary_loss import LARGEST, LEAST_OF_0, LEAST_OF_1
from classify.doctor.model.loss import Loss
from extract.keras_runtime import load_keras
from tests.classify.doctor.model.endings import dense, found_in

PROBA = Loss("binary_crossentropy", False)
LOGITS = Loss("binary_crossentropy", True)


def named(layers: list[Any], loss: Loss) -> list[tuple[str, Severity]]:
    return [(each.code, each.severity) for each in found_in(layers, loss)]


def test_what_belongs_together_gets_no_finding() -> None:
    assert named([dense(1, "sigmoid")], PROBA) == []
    assert named([dense(1), load_keras().layers.Activation("sigmoid")], PROBA) == []
    # As mixed precision has it.
    in_float32 = load_keras().layers.Activation("linear", dtype="float32")
    assert named([dense(1, "sigmoid"), in_float32], PROBA) == []
    assert named([dense(5, "sigmoid")], PROBA) == []
    assert named([dense(2, "softmax")], PROBA) == []
    assert named([dense(1)], LOGITS) == []


def test_a_linear_output_without_from_logits_is_cut_off() -> None:
    assert named([dense(1)], PROBA) == [("sigmoid-missing", Severity.SEVERE)]


def test_a_linear_output_is_named_though_noise_gives_it_0_to_1() -> None:
    half = load_keras().layers.Dense(1, kernel_initializer="zeros", bias_initializer="ones")
    assert named([half], PROBA) == [("sigmoid-missing", Severity.SEVERE)]


def test_a_sigmoid_that_keras_takes_back_is_a_warning() -> None:
    [finding] = found_in([dense(1, "sigmoid")], LOGITS)
    assert (finding.code, finding.severity) == ("sigmoid-twice", Severity.WARNING)
    assert "TensorFlow" in finding.evidence[0]


def test_a_sigmoid_that_is_applied_twice_has_the_bounds_that_are_said() -> None:
    behind = load_keras().layers.Dropout(0.1)
    assert named([dense(1, "sigmoid"), behind], LOGITS) == [("sigmoid-twice", Severity.SEVERE)]
    [finding] = found_in([dense(3, "softmax")], LOGITS)
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
