"""Work done side by side in threads and handed out in order."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def map_ahead(
    function: Callable[[Item], Result], items: Iterable[Item], n_threads: int, n_ahead: int
) -> Iterator[Result]:
    """Like `map`, in threads, working ahead of whoever takes the results.

    Parameters
    ----------
    function : callable
        Should let go of the interpreter lock for most of its time.
    items : iterable
        Read in the caller's thread.
    n_threads : int
    n_ahead : int
        Items that are at work or done and not yet taken: bounds memory, however many items come.

    Yields
    ------
    result
        In the order of the items; an exception of `function` comes in its place.
    """
    with ThreadPoolExecutor(n_threads) as pool:
        waiting: deque[Future[Result]] = deque()
        try:
            for item in items:
                waiting.append(pool.submit(function, item))
                if len(waiting) >= n_ahead:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)
