import numpy as np
import pytest

from classify.finetuning.batching import part_of
from classify.finetuning.workers import Workers

ORDER = np.array([6, 2, 0, 5, 1, 4, 3])
WEIGHTS = np.array([0.5, 1, 1.5, 2, 2.5, 3, 3.5])


def test_alone_a_worker_computes_whole_batches_the_last_one_filled_up() -> None:
    part = part_of(Workers(), ORDER, WEIGHTS, 3, 4)
    assert part.rows.tolist() == [[6, 2, 0, 6], [5, 1, 4, 5], [3, 3, 3, 3]]
    assert part.weights.tolist() == [[3.5, 1.5, 0.5, 0], [3, 1, 2.5, 0], [2, 0, 0, 0]]
    assert part.totals.tolist() == [5.5, 6.5, 2]
    assert part.n_images.tolist() == [3, 3, 1]


@pytest.mark.parametrize("n_workers", [2, 4])
def test_the_parts_of_all_workers_are_the_batches_of_one(n_workers: int) -> None:
    addresses = tuple("abcd")[:n_workers]
    parts = [part_of(Workers(addresses, index), ORDER, WEIGHTS, 3, 4) for index in range(n_workers)]
    whole = part_of(Workers(), ORDER, WEIGHTS, 3, 4)
    np.testing.assert_array_equal(np.hstack([part.rows for part in parts]), whole.rows)
    np.testing.assert_array_equal(np.hstack([part.weights for part in parts]), whole.weights)
    for part in parts:
        np.testing.assert_array_equal(part.totals, whole.totals)
        np.testing.assert_array_equal(part.n_images, whole.n_images)
