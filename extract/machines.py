"""Work in other processes and on other machines, handed out by joblib and by Dask.

One abstraction for all of it: processes on this machine (joblib's loky), or the workers of a Dask
cluster that somebody already runs. There is no engine of ours.
"""

import asyncio
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import CancelledError
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any, Protocol

from joblib import Parallel, delayed, parallel_config

from extract.errors import ClusterError

LOCAL, DASK = "local", "dask"
BACKENDS = (LOCAL, DASK)
CONNECT_SECONDS = 20
WAY_ON = "What was finished is kept: run the same command again."


@dataclass(frozen=True)
class Machines:
    """Where work is done.

    Attributes
    ----------
    n_jobs : int
        Processes on this machine; a cluster has its own number of workers.
    backend : {"local", "dask"}
    scheduler : str or None
        Address of the cluster's scheduler, such as ``tcp://10.0.0.1:8786``.
    """

    n_jobs: int = 1
    backend: str = LOCAL
    scheduler: str | None = None

    def __post_init__(self) -> None:
        if (self.backend == DASK) != (self.scheduler is not None):
            raise ClusterError(
                "--backend dask and --scheduler tcp://HOST:PORT go together: name the scheduler of "
                "a running cluster, or leave both out."
            )
        if self.backend == DASK and self.n_jobs != 1:
            raise ClusterError("--jobs: a cluster has its own number of workers. Leave it out.")

    @property
    def are_this_process(self) -> bool:
        """Whether all is done in this very process."""
        return self.backend == LOCAL and self.n_jobs == 1

    def __str__(self) -> str:
        if self.backend == DASK:
            return f"the Dask cluster at {self.scheduler}"
        return "this process" if self.n_jobs == 1 else f"{self.n_jobs} processes"


class Workers(Protocol):
    """What does tasks somewhere."""

    def __call__(
        self, function: Callable[..., Any], tasks: Iterable[tuple[Any, ...]], in_order: bool = False
    ) -> Iterator[Any]:
        """Results of ``function(*task)`` for each task.

        Parameters
        ----------
        function : callable
            Of a module, so that other processes find it by its name.
        tasks : iterable of tuple
            Read as workers become free, not all at once.
        in_order : bool
            Whether results come in the order of the tasks, or as they are done.

        Raises
        ------
        ClusterError
            If workers or the scheduler are lost. An error of `function` comes as it is.
        """


@contextmanager
def at_work(machines: Machines) -> Iterator[Workers]:
    """Reach the workers; processes stay for the next work and end with this one, a cluster goes on.

    Raises
    ------
    ClusterError
        If the scheduler cannot be reached, has no workers, or Dask is not installed.
    """
    if machines.are_this_process:
        yield here
    elif machines.backend == DASK:
        with _dask_client(machines) as client:
            yield partial(_by_dask, client)
    else:
        with parallel_config("loky", n_jobs=machines.n_jobs):
            yield _by_joblib


def here(
    function: Callable[..., Any],
    tasks: Iterable[tuple[Any, ...]],
    in_order: bool = False,  # noqa: ARG001, it always is
) -> Iterator[Any]:
    """Do the tasks in this very process, one after the other: see `Workers`."""
    return (function(*task) for task in tasks)


def _by_joblib(
    function: Callable[..., Any], tasks: Iterable[tuple[Any, ...]], in_order: bool = False
) -> Iterator[Any]:
    mode = "generator" if in_order else "generator_unordered"
    # One task at a time: each is long, and what is lost with a worker stays small.
    parallel = Parallel(return_as=mode, batch_size=1, pre_dispatch="2*n_jobs")
    with _nothing_lost():
        yield from parallel(delayed(function)(*task) for task in tasks)


def _by_dask(
    client: Any,
    function: Callable[..., Any],
    tasks: Iterable[tuple[Any, ...]],
    in_order: bool = False,
) -> Iterator[Any]:
    """By Dask itself: joblib's backend for it waits for ever for a task whose worker has died."""
    from distributed import wait

    tasks = iter(tasks)
    waiting: list[Any] = []
    with _nothing_lost():
        n_ahead = 2 * sum(client.ncores().values())
        while True:
            for task in islice(tasks, max(1, n_ahead) - len(waiting)):
                waiting.append(client.submit(function, *task, pure=False))
            if not waiting:
                return
            if not in_order:
                wait(waiting, return_when="FIRST_COMPLETED")
                waiting.sort(key=lambda future: not future.done())
            yield waiting.pop(0).result()


@contextmanager
def _nothing_lost() -> Iterator[None]:
    try:
        yield
    except _lost_errors() as error:
        raise ClusterError(f"a worker, or the scheduler, was lost ({error!r}). {WAY_ON}") from error


def _lost_errors() -> tuple[type[BaseException], ...]:
    errors: list[type[BaseException]] = [
        BrokenProcessPool,  # loky's TerminatedWorkerError is one
        CancelledError,
        asyncio.CancelledError,
        ConnectionError,
        TimeoutError,
    ]
    try:
        from distributed import KilledWorker
        from distributed.client import FutureCancelledError
        from distributed.comm import CommClosedError
    except ImportError:
        return tuple(errors)
    return (*errors, CommClosedError, KilledWorker, FutureCancelledError)


@contextmanager
def _dask_client(machines: Machines) -> Iterator[Any]:
    try:
        from distributed import Client
    except ImportError as error:
        raise ClusterError(
            "--backend dask needs Dask: make install EXTRAS=cluster (pip install distributed)."
        ) from error
    try:
        client = Client(machines.scheduler, timeout=CONNECT_SECONDS)
    except (OSError, ValueError) as error:
        raise ClusterError(
            f"{machines.scheduler}: no Dask scheduler answers there within {CONNECT_SECONDS} s "
            f"({error}). Start one ('dask scheduler'), or mend the address."
        ) from error
    with client:
        try:
            client.wait_for_workers(1, timeout=CONNECT_SECONDS)
        except TimeoutError as error:
            raise ClusterError(
                f"{machines.scheduler}: has no worker, and none came within {CONNECT_SECONDS} s. "
                f"Start some ('dask worker {machines.scheduler}')."
            ) from error
        yield client
