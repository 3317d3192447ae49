"""Work in other processes: those of this machine, and those of a Dask cluster on loopback."""

import os
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from headbench.extract.errors import ClusterError
from headbench.extract.workers.machines import BACKENDS, DASK, Machines, at_work, here
from tests.extract.workers.cluster import cluster_of


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machines]:
    """Two worker processes on loopback."""
    with cluster_of(2, tmp_path_factory.mktemp("cluster")) as cluster:
        yield Machines(backend=DASK, scheduler=cluster.address)


def machines_of(kind: str, request: pytest.FixtureRequest) -> Machines:
    return request.getfixturevalue(kind) if kind == "cluster" else Machines(n_jobs=int(kind))


def slow_when_even(number: int) -> tuple[int, int]:
    time.sleep(0.5 * (number % 2 == 0))
    return number, os.getpid()


def fails_at_three(number: int) -> int:
    if number == 3:
        raise ValueError("three is bad")
    return number


def dies_at_three(number: int, folder: Path) -> int:
    if number == 3:
        os._exit(1)
    (folder / str(number)).touch()
    return number


@pytest.mark.parametrize("kind", ["1", "2", "cluster"])
def test_results_in_order_are_those_of_the_tasks_wherever_they_are_done(
    kind: str, request: pytest.FixtureRequest
) -> None:
    with at_work(machines_of(kind, request)) as workers:
        done = list(workers(slow_when_even, ((n,) for n in range(6)), in_order=True))
    assert [number for number, _ in done] == list(range(6))
    processes = {process for _, process in done}
    assert (processes == {os.getpid()}) == (kind == "1")
    assert len(processes) == (1 if kind == "1" else 2)


@pytest.mark.parametrize("kind", ["2", "cluster"])
def test_results_come_as_they_are_done_unless_order_is_asked_for(
    kind: str, request: pytest.FixtureRequest
) -> None:
    with at_work(machines_of(kind, request)) as workers:
        list(workers(slow_when_even, [(1,), (3,)]))  # both have started
        done = [number for number, _ in workers(slow_when_even, [(0,), (1,)])]
    assert done == [1, 0]


@pytest.mark.parametrize("kind", ["1", "2", "cluster"])
def test_an_error_of_the_work_comes_as_it_is(kind: str, request: pytest.FixtureRequest) -> None:
    with (
        at_work(machines_of(kind, request)) as workers,
        pytest.raises(ValueError, match="three is bad"),
    ):
        list(workers(fails_at_three, ((n,) for n in range(5)), in_order=True))


def test_a_lost_process_is_one_clear_error_and_the_next_work_is_done(tmp_path: Path) -> None:
    with at_work(Machines(n_jobs=2)) as workers:
        with pytest.raises(ClusterError, match=r"was killed.*run the same"):
            list(workers(dies_at_three, ((n, tmp_path) for n in range(5)), in_order=True))
        assert len(list(workers(slow_when_even, [(1,), (3,)]))) == 2


def variable_of(name: str) -> tuple[str | None, int]:
    return os.environ.get(name), os.getpid()


def test_processes_have_the_environment_of_now_and_end_with_the_work(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for value in ("first", "second"):
        monkeypatch.setenv("KEY_TO_A_STORE", value)
        with at_work(Machines(n_jobs=2)) as workers:
            [(found, process)] = workers(variable_of, [("KEY_TO_A_STORE",)])
        assert found == value
        assert not psutil.pid_exists(process)


@pytest.mark.parametrize(
    ("wrong", "phrase"),
    [
        ({"backend": DASK}, "go together"),
        ({"scheduler": "tcp://127.0.0.1:1"}, "go together"),
        ({"backend": DASK, "scheduler": "tcp://127.0.0.1:1", "n_jobs": 2}, "its own number"),
    ],
)
def test_options_that_contradict_each_other_are_refused(
    wrong: dict[str, object], phrase: str
) -> None:
    with pytest.raises(ClusterError, match=phrase):
        Machines(**wrong)


def test_machines_say_what_they_are() -> None:
    assert str(Machines()) == "this process"
    assert str(Machines(n_jobs=3)) == "3 processes"
    assert "tcp://h:1" in str(Machines(backend=DASK, scheduler="tcp://h:1"))
    assert BACKENDS == ("local", DASK)
    assert list(here(pow, [(2, 3)])) == [8]
