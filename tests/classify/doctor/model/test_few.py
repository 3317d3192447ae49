import numpy as np
import pytest

from classify.doctor.finding import Severity
from classify.doctor.model.few import check_sample_size
from classify.doctor.model.measured import Condition, Measured
from classify.doctor.model.outputs import check_answers
from classify.doctor.model.sample import Sample

RAW = Condition("raw", by_batch=False)


def right_for(n_right: int, n: int, n_classes: int) -> Measured:
    labels = np.arange(n) % n_classes
    answers = np.where(np.arange(n) < n_right, labels, (labels + 1) % n_classes)
    sample = Sample(np.zeros((n, 1, 1, 3), np.uint8), labels, tuple("abcde"[:n_classes]), [])
    return Measured(sample, {RAW: np.eye(n_classes, dtype=np.float32)[answers]})


@pytest.mark.parametrize(
    ("n_right", "n", "n_classes", "codes"),
    [
        (14, 20, 2, ["too-few-to-judge"]),
        (6, 8, 2, ["too-few-to-judge"]),
        (20, 20, 2, []),
        (100, 200, 2, ["at-chance"]),
        (40, 200, 5, ["at-chance"]),
    ],
)
def test_chance_is_said_where_images_show_it_and_left_open_where_they_are_few(
    n_right: int, n: int, n_classes: int, codes: list[str]
) -> None:
    measured = right_for(n_right, n, n_classes)
    found = [*check_answers(measured, RAW), *check_sample_size(measured, RAW)]
    assert [each.code for each in found] == codes
    is_note = codes == ["too-few-to-judge"]
    assert all((each.severity is Severity.NOTE) is is_note for each in found)
