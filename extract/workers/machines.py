"""Work in other processes and on other machines, distributed by joblib.

Processes on this machine use joblib's own loky; the workers of a running Dask cluster use joblib's
Dask backend. headbench has no scheduler of its own.
"""

from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures.process import BrokenProcessPool
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from headbench.extract.errors import WAY_ON, ClusterError

LOCAL, DASK = "local", "dask"
BACKENDS = (LOCAL, DASK)


@dataclass(frozen=True)
class Machines:
    """Where work is done: in `n_jobs` processes on this machine, or by the workers of a cluster.

    `scheduler` is the address of the cluster's scheduler, such as ``tcp://10.0.0.1:8786``.
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
            raise ClusterError(
                "--jobs: a cluster has its own number of workers. Leave the option out."
            )

    @property
    def are_this_process(self) -> bool:
        """Whether all work is done in this process."""
        return self.backend == LOCAL and self.n_jobs == 1

    def __str__(self) -> str:
        if self.backend == DASK:
            return f"the Dask cluster at {self.scheduler}"
        return "this process" if self.n_jobs == 1 else f"{self.n_jobs} processes"


class Workers(Protocol):
    """Runs tasks somewhere."""

    def __call__(
        self, function: Callable[..., Any], tasks: Iterable[tuple[Any, ...]], in_order: bool = False
    ) -> Generator[Any, None, None]:
        """Results of ``function(*task)`` for each task, when they are done, or `in_order`.

        The function must be one of a module, so that other processes find it by its name. Tasks are
        read when workers become free, not all at once. Raises `ClusterError` if workers or the
        scheduler are lost. An error of `function` is raised as it is.
        """


@contextmanager
def at_work(machines: Machines) -> Iterator[Workers]:
    """Connect to the workers; processes started here end with the context, a cluster keeps running.

    Raises `ClusterError` if the scheduler cannot be reached, or Dask is not installed.
    """
    if machines.are_this_process:
        yield here
        return
    from joblib import parallel_config
    from joblib.externals.loky import get_reusable_executor

    if machines.scheduler is not None:
        with _cluster(machines.scheduler) as backend, parallel_config(backend):
            yield _by_joblib
    else:
        try:
            with parallel_config("loky", n_jobs=machines.n_jobs):
                yield _by_joblib
        finally:
            # joblib would keep them, with their memory and with their old environment: credentials
            # that are set later would never reach them.
            get_reusable_executor(reuse=True).shutdown(wait=True)


def here(
    function: Callable[..., Any],
    tasks: Iterable[tuple[Any, ...]],
    in_order: bool = False,  # noqa: ARG001, it always is
) -> Generator[Any, None, None]:
    """Do the tasks in this process, one after the other: see `Workers`."""
    return (function(*task) for task in tasks)


def _by_joblib(
    function: Callable[..., Any], tasks: Iterable[tuple[Any, ...]], in_order: bool = False
) -> Generator[Any, None, None]:
    from joblib import Parallel, delayed

    mode = "generator" if in_order else "generator_unordered"
    # One task at a time: each is long, and what is lost with a worker stays small.
    parallel = Parallel(return_as=mode, batch_size=1, pre_dispatch="2*n_jobs")
    try:
        yield from parallel(delayed(function)(*task) for task in tasks)
    except BrokenProcessPool as error:  # loky's TerminatedWorkerError is one
        raise ClusterError(
            "one of the processes was killed, perhaps for lack of memory: try fewer --jobs. "
            f"{WAY_ON}"
        ) from error


def _cluster(scheduler: str) -> AbstractContextManager[Any]:
    try:
        # Takes a second to import.
        from headbench.extract.workers.dask_cluster import dask_backend
    except ImportError as error:
        raise ClusterError(
            '--backend dask needs Dask: pip install "headbench[cluster]".'
        ) from error
    return dask_backend(scheduler)
