import numpy as np

from classify.doctor.model.measured import Condition, Measured
from classify.doctor.model.outputs import (
    check_answers,
    check_outputs,
)
from classify.doctor.model.sample import Sample

RAW = Condition("raw", by_batch=False)


def codes(found: object) -> list[str]:
    return [each.code for each in found]  # type: ignore[attr-defined]


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


def test_one_class_for_two_balanced_classes_is_named() -> None:
    labels = np.arange(120) % 2
    found = list(check_answers(measured(labels, np.ones(120, dtype=int), 2), RAW))
    assert codes(found) == ["one-class-predicted", "at-chance"]


def test_most_answers_of_a_class_that_most_images_are_of_are_no_collapse() -> None:
    labels = (np.arange(100) < 93).astype(int)
    assert "one-class-predicted" not in codes(
        check_answers(measured(labels, np.ones(100, dtype=int), 2), RAW)
    )


def test_a_few_images_show_no_collapse() -> None:
    labels = np.arange(4) % 2
    assert "one-class-predicted" not in codes(
        check_answers(measured(labels, np.ones(4, dtype=int), 2), RAW)
    )
