"""Fits side by side: how many at a time, and how many cores each may use."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import copy_context
from typing import Generic, NamedTuple, TypeVar

from threadpoolctl import threadpool_limits

from headbench.classify.arrays import free_memory

# All fits at a time may take this share of the free memory.
MEMORY_SHARE = 0.6
# How many fits share the cores; of the whole process, because those fits are threads of it.
_N_FITS: list[int] = [1]

Result = TypeVar("Result")


class Task(NamedTuple, Generic[Result]):
    """Something to do beside other tasks.

    Attributes
    ----------
    is_alone : bool
        It is not done beside others that are alone too: Keras draws random numbers from one
        generator for the whole process.
    """

    work: Callable[[], Result]
    is_alone: bool


def n_cores() -> int:
    """Cores that one fit may use, at least 1."""
    # Here: whoever only predicts with a head needs no joblib.
    import joblib

    cores: int = joblib.cpu_count()
    return max(1, cores // _N_FITS[-1])


@contextmanager
def shared_by(n_fits: int) -> Iterator[None]:
    """Share the cores among so many fits: the threads of all of them would wait for each other.

    BLAS obeys it here. LightGBM, whose threads are its own, is told by its head.
    """
    _N_FITS.append(n_fits)
    try:
        with threadpool_limits(n_cores(), "blas"):
            yield
    finally:
        _N_FITS.pop()


def fits_in_memory(n_fits: int, bytes_of_fit: int) -> int:
    """How many of `n_fits` fits that need so many bytes each may run at a time; at least 1."""
    return max(1, min(n_fits, int(MEMORY_SHARE * free_memory() / max(1, bytes_of_fit))))


def side_by_side(tasks: Sequence[Task[Result]], n_fits: int) -> Iterator[Result]:
    """Do tasks, at most `n_fits` at a time; yields their results in order.

    Tasks that are alone have one thread; the others have the other threads, and share the
    embeddings. If there is one thread, it is this one. After an error, tasks that have not begun
    are not done.
    """
    n_alone = sum(task.is_alone for task in tasks)
    n_threads = min(n_fits, len(tasks) - n_alone + min(n_alone, 1))
    if n_threads < 2:
        yield from (task.work() for task in tasks)
        return
    n_others = max(1, n_threads - min(n_alone, 1))
    with (
        shared_by(n_threads),
        ThreadPoolExecutor(1) as alone,
        ThreadPoolExecutor(n_others) as others,
    ):
        futures = [
            (alone if task.is_alone else others).submit(copy_context().run, task.work)
            for task in tasks
        ]
        try:
            yield from (future.result() for future in futures)
        finally:
            for future in futures:
                future.cancel()
