import numpy as np
import pytest

from headbench.classify.doctor.finding import Severity
from headbench.classify.doctor.model.measured import Condition, Measured, Sample
from headbench.classify.doctor.model.outputs import (
    can_be_measured,
    check_answers,
    check_channels,
    check_outputs,
    describe_order,
    in_order,
    other_order,
)

RAW, OTHER, BGR = (Condition(name, by_batch=False) for name in ("raw", "/255", "bgr"))
LABELS = np.tile(np.arange(5), 20)


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


def test_one_class_for_everything_is_named() -> None:
    found = list(check_answers(measured(LABELS, np.full(100, 3), 5), RAW))
    assert codes(found) == ["one-class-predicted", "learnt-nothing"]
    assert "100 of 100 images" in found[0].evidence[0]
    assert found[0].what.endswith("nearly every image: d.")


def test_a_weak_model_in_the_right_order_gets_no_finding() -> None:
    rng = np.random.default_rng(0)
    answers = np.where(rng.random(100) < 0.5, LABELS, rng.integers(5, size=100))
    assert list(check_answers(measured(LABELS, answers, 5), RAW)) == []


def test_one_class_for_two_balanced_classes_is_named() -> None:
    found = check_answers(measured(np.arange(120) % 2, np.ones(120, dtype=int), 2), RAW)
    assert codes(found) == ["one-class-predicted", "learnt-nothing"]


@pytest.mark.parametrize(
    ("labels", "answers"),
    [
        ((np.arange(100) < 93).astype(int), np.ones(100, dtype=int)),
        (np.arange(4) % 2, np.ones(4, dtype=int)),
    ],
    ids=["most images are of that class", "a few images"],
)
def test_one_class_for_all_is_not_always_a_collapse(
    labels: np.ndarray, answers: np.ndarray
) -> None:
    found = check_answers(measured(labels, answers, 2), RAW)
    assert "one-class-predicted" not in codes(found)


def right_for(n_right: int, n: int, n_classes: int) -> Measured:
    labels = np.arange(n) % n_classes
    answers = np.where(np.arange(n) < n_right, labels, (labels + 1) % n_classes)
    return measured(labels, answers, n_classes)


@pytest.mark.parametrize(
    ("n_right", "n", "n_classes", "codes"),
    [
        (14, 20, 2, ["too-few-to-judge"]),
        (6, 8, 2, ["too-few-to-judge"]),
        (20, 20, 2, []),
        (100, 200, 2, ["learnt-nothing"]),
        (40, 200, 5, ["learnt-nothing"]),
    ],
)
def test_chance_is_said_where_images_show_it_and_left_open_where_they_are_few(
    n_right: int, n: int, n_classes: int, codes: list[str]
) -> None:
    made = right_for(n_right, n, n_classes)
    found = list(check_answers(made, RAW))
    assert [each.code for each in found] == codes
    is_note = codes == ["too-few-to-judge"]
    assert all((each.severity is Severity.NOTE) is is_note for each in found)


def test_at_chance_is_said_if_another_scaling_shows_that_the_model_has_learnt() -> None:
    good, bad = right_for(160, 200, 5), right_for(40, 200, 5)
    both = Measured(bad.sample, {RAW: bad.outputs[RAW], OTHER: good.outputs[RAW]})
    assert codes(check_answers(both, RAW)) == ["at-chance"]
    assert codes(check_answers(both, OTHER)) == []


@pytest.mark.parametrize(("n_right", "due"), [(190, ["channels-reversed"]), (100, [])])
def test_a_model_that_takes_bgr_is_named_where_it_is_clearly_better(
    n_right: int, due: list[str]
) -> None:
    rgb, bgr = right_for(95, 200, 5), right_for(n_right, 200, 5)
    both = Measured(rgb.sample, {OTHER: rgb.outputs[RAW], BGR: bgr.outputs[RAW]})
    assert codes(check_channels(both)) == due


def test_labels_from_1_are_told_from_another_order() -> None:
    # Five classes, six outputs: the first answers for none.
    found = measured(LABELS, LABELS + 1, 6)
    order = other_order(found, "raw")
    assert order
    finding = describe_order(order, found)
    assert finding.code == "labels-start-at-one"
    assert "100.0 %" in finding.evidence[0]
    assert in_order(found, order).accuracy(RAW).value == 1


@pytest.mark.parametrize(
    ("n_outputs", "code"), [(6, "labels-start-at-one"), (5, "classes-in-another-order")]
)
def test_labels_from_1_need_an_output_too_many_and_not_every_class_right(
    n_outputs: int, code: str
) -> None:
    # The last class is taken for the first output.
    found = measured(LABELS, (LABELS + 1) % 5, n_outputs)
    order = other_order(found, "raw")
    assert order
    assert describe_order(order, found).code == code


@pytest.mark.parametrize("n_right", [70, 130])
def test_a_guess_on_two_classes_is_not_called_another_order(n_right: int) -> None:
    assert other_order(right_for(n_right, 200, 2), "raw") is None


@pytest.mark.parametrize(
    ("n_outputs", "n_classes", "can"),
    [(5, 5, True), (1, 2, True), (6, 5, True), (4, 5, True), (1, 5, False), (1000, 5, False)],
)
def test_a_few_outputs_more_or_less_are_measured_all_the_same(
    n_outputs: int, n_classes: int, can: bool
) -> None:
    assert can_be_measured(n_outputs, n_classes) is can


def test_another_order_of_columns_is_found_and_put_right() -> None:
    found = measured(LABELS, (LABELS + 2) % 5, 5)
    order = other_order(found, "raw")
    assert order
    # Output 2 fires for class 0, and so on.
    assert order.names.tolist() == [2, 3, 4, 0, 1]
    assert found.accuracy(RAW).value == 0
    assert in_order(found, order).accuracy(RAW).value == 1
    assert in_order(found, order).sample.classes == ("d", "e", "a", "b", "c")
    finding = describe_order(order, found)
    assert (finding.code, finding.severity) == ("classes-in-another-order", Severity.SEVERE)
    assert finding.grid
    assert finding.grid.rows[0] == ("0", "a", "d")


@pytest.mark.parametrize("share_right", [0.0, 0.5, 1.0])
def test_no_other_order_is_read_into_answers_that_are_right_or_random(share_right: float) -> None:
    for seed in range(20):
        rng = np.random.default_rng(seed)
        answers = np.where(rng.random(100) < share_right, LABELS, rng.integers(5, size=100))
        assert other_order(measured(LABELS, answers, 5), None) is None
