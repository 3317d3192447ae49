"""The workers of a running Dask cluster, through joblib's own backend."""

import asyncio
import logging
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Future
from contextlib import contextmanager
from typing import Any

from distributed import Client
from distributed.comm.core import CommClosedError
from joblib._dask import DaskDistributedBackend

from headbench.extract.errors import WAY_ON, ClusterError

CONNECT_SECONDS = 20
# Results of a task when the scheduler is gone.
SCHEDULER_LOST = (CancelledError, asyncio.CancelledError, CommClosedError)


class PromptBackend(DaskDistributedBackend):  # type: ignore[misc]
    """joblib's backend for Dask, which alone waits forever for a task that Dask gives up."""

    def submit(self, func: Any, callback: Callable[[Any], object]) -> "Future[Any]":
        """Send a task; `callback` is called with whatever becomes of it."""

        def tell_if_given_up(done: "Future[Any]") -> None:
            # An error of the task itself comes as a result: this one is Dask's.
            if (error := done.exception()) is not None:
                callback(ClusterError(f"the Dask cluster gave up: {_words(error)}. {WAY_ON}"))

        future: Future[Any] = super().submit(func, callback)
        future.add_done_callback(tell_if_given_up)
        return future

    def retrieve_result_callback(self, out: Any) -> Any:
        """What a task returned; raises what it raised."""
        if isinstance(out, SCHEDULER_LOST):
            raise ClusterError(f"the connection to the Dask scheduler was lost. {WAY_ON}")
        return super().retrieve_result_callback(out)


@contextmanager
def dask_backend(scheduler: str) -> Iterator[PromptBackend]:
    """Connect to a cluster, and disconnect at the end.

    Raises `ClusterError` if no scheduler answers, or it has no workers.
    """
    _silence_client()
    try:
        # The default one too: LightGBM trains on that.
        client = Client(scheduler, timeout=CONNECT_SECONDS)
    except (OSError, ValueError) as error:
        raise ClusterError(
            f"{scheduler}: no Dask scheduler answers there within {CONNECT_SECONDS} s "
            f"({_words(error)}). Start one ('dask scheduler'), or fix the address."
        ) from error
    with client:
        try:
            client.wait_for_workers(1, timeout=CONNECT_SECONDS)
        except TimeoutError as error:
            raise ClusterError(
                f"{scheduler}: this scheduler has no workers. Start some "
                f"('dask worker {scheduler} --nthreads 1')."
            ) from error
        yield PromptBackend(client=client)


def _silence_client() -> None:
    """Silence Dask's loggers: our own errors say what matters, once, without a traceback."""
    for name in [*logging.root.manager.loggerDict]:
        if name.startswith(("distributed", "tornado", "asyncio")):
            logging.getLogger(name).setLevel(logging.CRITICAL)


def _words(error: BaseException) -> str:
    return str(error).split("\n", maxsplit=1)[0] or type(error).__name__
