import numpy as np
import pytest

from classify.doctor.model.measured import Condition, Measured
from classify.doctor.model.order import describe_order, in_order, other_order
from classify.doctor.model.sample import Sample

RAW = Condition("raw", by_batch=False)
LABELS = np.tile(np.arange(5), 20)


def measured(answers: np.ndarray) -> Measured:
    sample = Sample(np.zeros((len(answers), 1, 1, 3), np.uint8), LABELS, tuple("abcde"), [])
    return Measured(sample, {RAW: np.eye(5, dtype=np.float32)[answers]})


def test_another_order_of_columns_is_found_and_put_right() -> None:
    found = measured((LABELS + 2) % 5)
    order = other_order(found, "raw")
    assert order
    # Output 2 fires for class 0, and so on.
    assert order.names.tolist() == [2, 3, 4, 0, 1]
    assert found.accuracy(RAW).value == 0
    assert in_order(found, order).accuracy(RAW).value == 1
    assert in_order(found, order).sample.classes == ("d", "e", "a", "b", "c")
    finding = describe_order(order, found)
    assert finding.grid
    assert finding.grid.rows[0] == ("0", "a", "d")


@pytest.mark.parametrize("share_right", [0.0, 0.5, 1.0])
def test_no_other_order_is_read_into_answers_that_are_right_or_random(share_right: float) -> None:
    for seed in range(20):
        rng = np.random.default_rng(seed)
        answers = np.where(rng.random(100) < share_right, LABELS, rng.integers(5, size=100))
        assert other_order(measured(answers), None) is None
