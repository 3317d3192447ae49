import numpy as np

from classify.together import together


def same(numbers: np.ndarray) -> list[list[int]]:
    """Rows that belong together, by the first of them."""
    return [np.flatnonzero(numbers == number).tolist() for number in dict.fromkeys(numbers)]


def hashes(*contents: int) -> np.ndarray:
    return np.repeat(np.array(contents, dtype=np.uint8)[:, None], 32, axis=1)


def test_copies_belong_together() -> None:
    assert same(together(hashes(7, 8, 7, 9), None)) == [[0, 2], [1], [3]]


def test_groups_belong_together_and_copies_join_them() -> None:
    groups = np.array([5, 5, -1, -1, 3, 2], dtype=np.int64)
    assert same(together(hashes(1, 2, 3, 4, 5, 6), groups)) == [[0, 1], [2, 3], [4], [5]]
    assert same(together(hashes(1, 2, 2, 4, 5, 4), groups)) == [[0, 1, 2, 3, 5], [4]]
