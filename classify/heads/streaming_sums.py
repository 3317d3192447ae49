"""Sums over all embeddings, block by block, here or on other machines."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import joblib
import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from headbench.classify.heads.streaming import Address, Embeddings, StoredRows, row_blocks
from headbench.extract.images.stream import map_ahead
from headbench.extract.workers.machines import DASK

# Of embeddings that several workers sum: so many whatever the workers, so that a sum does not
# depend on their number; few, since each comes back as large as the sum itself.
N_PARTS = 32
# Of one process: each holds a stretch of embeddings and a sum.
MOST_THREADS = 8

Columns = Sequence[NDArray[Any]]
Arguments = tuple[Any, ...]
Terms = Callable[..., tuple[NDArray[Any], ...]]
Sums = list[NDArray[np.float64]]


def sum_over(terms: Terms, X: Embeddings, columns: Columns, *arguments: Any) -> Sums:
    """Sum what a function makes of each block of embeddings.

    Where the embeddings are in a file and its machines are not this process, each worker reads and
    sums parts of it; the parts are added in their order, whichever came first.

    Parameters
    ----------
    terms : callable
        Of a module. Given a block of `X`, the same rows of each column, and `arguments`; gives
        arrays, or numbers, that do not grow with the rows.
    X : float32 (n_images, dim), in memory or in a file
        Of at least one image.
    columns : sequence of array (n_images,)
    *arguments
        The same for every block.

    Returns
    -------
    list of float64 array
        A sum of each.
    """
    if not isinstance(X, StoredRows):
        return _added(_terms(terms, X, columns, arguments))
    machines = X.machines
    if machines.are_this_process:
        return _sum_stored(terms, X, columns, arguments, _threads(1))
    n_threads = 1 if machines.backend == DASK else _threads(machines.n_jobs)
    parts = row_blocks(len(X), -(-len(X) // N_PARTS))
    tasks = (
        (terms, X.part(rows).address(), [each[rows] for each in columns], arguments, n_threads)
        for rows in parts
    )
    return _added(X.workers(_sum_there, tasks, in_order=True))


def _sum_there(
    terms: Terms, address: Address, columns: Columns, arguments: Arguments, n_threads: int
) -> Sums:
    return _sum_stored(terms, address.open(), columns, arguments, n_threads)


def _sum_stored(
    terms: Terms, X: StoredRows, columns: Columns, arguments: Arguments, n_threads: int
) -> Sums:
    """In threads, each of which reads and sums a stretch of rows.

    Threads of BLAS would share each small product instead, and wait for each other and for those
    that read: a Gram matrix of 800 000 x 128 took 18 s with two of them on two busy cores, and 2 s
    with one.
    """

    def of_span(rows: slice) -> Sums:
        return _added(_terms(terms, X[rows], [each[rows] for each in columns], arguments))

    with threadpool_limits(1, "blas"):
        return _added(map_ahead(of_span, X.spans(), n_threads, n_threads + 1))


def _terms(
    terms: Terms, X: NDArray[np.float32], columns: Columns, arguments: Arguments
) -> Iterator[tuple[NDArray[Any], ...]]:
    for rows in row_blocks(len(X)):
        yield terms(X[rows], *(column[rows] for column in columns), *arguments)


def _added(parts: Iterable[Sequence[NDArray[Any]]]) -> Sums:
    sums: Sums = []
    for part in parts:
        if not sums:
            sums = [np.array(term, dtype=np.float64) for term in part]
            continue
        for total, term in zip(sums, part, strict=True):
            total += term
    return sums


def _threads(n_jobs: int) -> int:
    n_cores: int = joblib.cpu_count()
    return max(1, min(MOST_THREADS, n_cores // n_jobs))
