"""Fits side by side."""

import threading

import joblib
import pytest

from headbench.classify.heads import cores
from headbench.classify.heads.cores import Task, fits_in_memory, n_cores, side_by_side


@pytest.fixture(autouse=True)
def _two_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(joblib, "cpu_count", lambda: 2)


def test_a_network_is_fitted_beside_another_head_and_each_has_its_share_of_the_cores() -> None:
    both = threading.Barrier(2, timeout=60)

    def work() -> int:
        both.wait()
        return n_cores()

    assert n_cores() == 2
    assert list(side_by_side([Task(work, True), Task(work, False)], 2)) == [1, 1]
    assert n_cores() == 2


def test_two_networks_are_never_fitted_at_a_time() -> None:
    at_work: list[int] = []
    most: list[int] = []

    def network() -> None:
        at_work.append(1)
        most.append(len(at_work))
        threading.Event().wait(0.02)
        at_work.pop()

    quick = Task(lambda: None, False)
    list(side_by_side([Task(network, True)] * 4 + [quick], 4))
    assert most == [1, 1, 1, 1]


def test_results_are_in_order_whichever_came_first() -> None:
    is_done = threading.Event()

    def first() -> int:
        assert is_done.wait(60)
        return 1

    def second() -> int:
        is_done.set()
        return 2

    assert list(side_by_side([Task(first, False), Task(second, False)], 2)) == [1, 2]


@pytest.mark.parametrize("n_fits", [1, 2])
def test_an_error_reaches_the_caller_and_what_had_not_begun_is_not_done(n_fits: int) -> None:
    done = []

    def fail() -> None:
        raise ValueError("no")

    def slow() -> None:
        threading.Event().wait(0.1)
        done.append(1)

    tasks = [Task(fail, True)] + [Task(slow, True)] * 5
    quick = Task(lambda: None, False)
    with pytest.raises(ValueError, match="no"):
        list(side_by_side([*tasks, quick], n_fits))
    assert len(done) < 5
    assert n_cores() == 2


def test_so_many_fits_as_the_free_memory_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cores, "free_memory", lambda: 1000)
    assert [fits_in_memory(4, n_bytes) for n_bytes in (100, 200, 299, 301, 5000)] == [4, 3, 2, 1, 1]
