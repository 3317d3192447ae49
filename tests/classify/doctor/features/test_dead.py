import numpy as np

from classify.doctor.features.columns import Columns
from classify.doctor.features.dead import examine_columns
from classify.doctor.finding import Severity

N = 200


def columns_of(n_active: list[int], is_constant: list[bool] | None = None) -> Columns:
    counts = np.array(n_active)
    highest = np.ones(len(counts), dtype=np.float32)
    lowest = np.where(is_constant or False, highest, np.zeros_like(highest))
    return Columns(N, counts, lowest, highest, np.ones(N))


def test_columns_that_all_say_something_are_no_finding() -> None:
    assert list(examine_columns(columns_of([N] * 100))) == []


def test_half_dead_columns_are_a_warning_with_their_number() -> None:
    [finding] = examine_columns(columns_of([0] * 50 + [N] * 50))
    assert (finding.code, finding.severity) == ("dead-columns", Severity.WARNING)
    assert finding.what == "50 columns of 100 are 0 in every image of train."


def test_dead_columns_that_few_images_explain_are_a_note() -> None:
    # 20 * 19 / 2 = 190: more than the 10 that are dead.
    [finding] = examine_columns(columns_of([0] * 10 + [1] * 20 + [5] * 70))
    assert (finding.code, finding.severity) == ("dead-columns", Severity.NOTE)


def test_constant_columns_are_told_from_dead_ones() -> None:
    [finding] = examine_columns(columns_of([N] * 100, [True] * 2 + [False] * 98))
    assert (finding.code, finding.severity) == ("constant-columns", Severity.WARNING)
    assert finding.what == "2 columns of 100 hold the same number in every image."


def test_one_embedding_for_all_images_is_severe() -> None:
    [finding] = examine_columns(columns_of([0] * 60 + [N] * 40, [False] * 60 + [True] * 40))
    assert (finding.code, finding.severity) == ("constant-columns", Severity.SEVERE)
