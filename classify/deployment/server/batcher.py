"""Images of several requests through the network together, as soon as it is free."""

import math
import threading
from collections import Counter, deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


class Batcher(Generic[Item, Result]):
    """Gathers what waits into batches; nothing waits while a stream is free.

    A lone item is taken at once. While all streams are at work others gather, and the next free
    stream takes its share of them: that is all the waiting there is.

    Parameters
    ----------
    work : callable
        Takes a batch and gives a result for each of its items; called in several threads.
    n_streams : int
        Batches at work at the same time.
    max_batch : int

    Attributes
    ----------
    sizes : Counter of int
        How many batches of each size there were.
    """

    def __init__(
        self, work: Callable[[Sequence[Item]], Sequence[Result]], n_streams: int, max_batch: int
    ) -> None:
        self.sizes: Counter[int] = Counter()
        self._work, self._max_batch = work, max_batch
        self._waiting: deque[tuple[Item, Future[Result]]] = deque()
        self._changed = threading.Condition()
        self._n_free, self._is_closed = 0, False
        self._threads = [
            threading.Thread(target=self._run, name=f"batches {number}", daemon=True)
            for number in range(n_streams)
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, item: Item) -> Future[Result]:
        """Have an item done; one whose future is cancelled in time is left out."""
        future: Future[Result] = Future()
        with self._changed:
            if self._is_closed:
                future.cancel()
                return future
            self._waiting.append((item, future))
            self._changed.notify()
        return future

    def close(self) -> None:
        """Finish the batches that are at work, cancel what waits, and end the threads."""
        with self._changed:
            self._is_closed = True
            for _, future in self._waiting:
                future.cancel()
            self._waiting.clear()
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    def _run(self) -> None:
        while batch := self._next():
            # From here on they cannot be cancelled any more.
            taken = [each for each in batch if each[1].set_running_or_notify_cancel()]
            if taken:
                self._finish(taken)

    def _next(self) -> list[tuple[Item, Future[Result]]]:
        """What this stream is to do next; nothing at the end."""
        with self._changed:
            self._n_free += 1
            self._changed.wait_for(lambda: self._waiting or self._is_closed)
            share = math.ceil(len(self._waiting) / self._n_free)
            self._n_free -= 1
            n = min(share, self._max_batch)
            return [self._waiting.popleft() for _ in range(n)]

    def _finish(self, batch: list[tuple[Item, Future[Result]]]) -> None:
        items, futures = zip(*batch, strict=True)
        try:
            results = self._work(items)
        except Exception as error:
            # The thread must go on; whoever waits is told.
            for future in futures:
                future.set_exception(error)
            return
        with self._changed:
            self.sizes[len(items)] += 1
        for future, result in zip(futures, results, strict=True):
            future.set_result(result)
