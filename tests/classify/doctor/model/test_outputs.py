import numpy as np
import pytest

from classify.doctor.model.measured import Condition, Measured
from classify.doctor.model.outputs import (
    Loss,
    check_answers,
    check_loss,
    check_outputs,
    read_loss,
)
from classify.doctor.model.sample import Sample

PROBA = np.array([[0.2, 0.5, 0.3], [0.1, 0.1, 0.8]], dtype=np.float32)
LOGITS = np.array([[2.0, -1.0, 0.5], [0.0, 4.0, 1.0]], dtype=np.float32)
RAW = Condition("raw", by_batch=False)


def codes(found: object) -> list[str]:
    return [each.code for each in found]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("described", "expected"),
    [
        ("categorical_crossentropy", Loss("categorical_crossentropy", False)),
        (
            {"class_name": "SparseCategoricalCrossentropy", "config": {"from_logits": True}},
            Loss("sparse_categorical_crossentropy", True),
        ),
        ({"class_name": "function", "config": "mse"}, Loss("mse", False)),
        (None, None),
        ({"config": 3}, None),
    ],
)
def test_a_loss_is_read_as_files_describe_it(described: object, expected: Loss | None) -> None:
    assert read_loss(described, None, None) == expected


def test_the_user_s_word_wins_over_the_file() -> None:
    assert read_loss("mse", "binary_crossentropy", True) == Loss("binary_crossentropy", True)


@pytest.mark.parametrize(
    ("outputs", "before", "loss", "expected"),
    [
        (PROBA, LOGITS, Loss("categorical_crossentropy", False), []),
        (LOGITS, None, Loss("categorical_crossentropy", True), []),
        (PROBA, LOGITS, None, []),
        (PROBA, LOGITS, Loss("categorical_crossentropy", True), ["softmax-twice"]),
        (PROBA, PROBA, Loss("categorical_crossentropy", False), ["softmax-twice"]),
        (LOGITS, None, Loss("sparse_categorical_crossentropy", False), ["softmax-missing"]),
        (PROBA, LOGITS, Loss("binary_crossentropy", False), ["wrong-loss"]),
        (PROBA[:, :1], LOGITS, Loss("binary_crossentropy", False), []),
    ],
)
def test_what_the_last_layer_gives_has_to_be_what_the_loss_takes(
    outputs: np.ndarray, before: np.ndarray | None, loss: Loss | None, expected: list[str]
) -> None:
    assert codes(check_loss(outputs, before, loss)) == expected


def test_a_softmax_of_probabilities_never_exceeds_what_is_said() -> None:
    [finding] = check_loss(PROBA, PROBA, None)
    # Of three classes: e / (e + 2).
    assert "0.576" in finding.evidence[1]


def test_outputs_are_counted() -> None:
    assert codes(check_outputs(3, ("a", "b", "c"))) == []
    assert codes(check_outputs(1, ("a", "b"))) == []
    assert codes(check_outputs(4, ("a", "b", "c"))) == ["wrong-number-of-outputs"]


def measured(labels: np.ndarray, answers: np.ndarray, n_classes: int) -> Measured:
    classes = tuple("abcdefghij"[:n_classes])
    sample = Sample(np.zeros((len(labels), 1, 1, 3), np.uint8), labels, classes, [])
    return Measured(sample, {RAW: np.eye(n_classes, dtype=np.float32)[answers]})


LABELS = np.tile(np.arange(5), 20)


def test_one_class_for_everything_is_named() -> None:
    found = list(check_answers(measured(LABELS, np.full(100, 3), 5), RAW))
    assert codes(found) == ["one-class-predicted", "at-chance"]
    assert "100 of 100 images" in found[0].evidence[0]
    assert found[0].what.endswith("one class, d.")


def test_a_weak_model_in_the_right_order_gets_no_finding() -> None:
    rng = np.random.default_rng(0)
    answers = np.where(rng.random(100) < 0.5, LABELS, rng.integers(5, size=100))
    assert list(check_answers(measured(LABELS, answers, 5), RAW)) == []
