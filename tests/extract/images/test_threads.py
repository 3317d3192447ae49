import time

import pytest

from headbench.extract.images.stream import map_ahead


def test_results_come_in_order_whoever_is_done_first() -> None:
    def slow_first(number: int) -> int:
        time.sleep(0.05 if number == 0 else 0)
        return number

    assert list(map_ahead(slow_first, range(20), n_threads=4, n_ahead=8)) == list(range(20))


def test_no_more_items_are_taken_than_may_wait() -> None:
    taken = []

    def items():
        for number in range(100):
            taken.append(number)
            yield number

    results = map_ahead(lambda number: number, items(), n_threads=2, n_ahead=5)
    for _ in range(3):
        next(results)
    assert len(taken) <= 3 + 5
    results.close()


def test_an_error_comes_in_its_place() -> None:
    results = map_ahead(lambda number: 1 // (3 - number), range(9), n_threads=2, n_ahead=4)
    assert [next(results) for _ in range(3)] == [0, 0, 1]
    with pytest.raises(ZeroDivisionError):
        next(results)
