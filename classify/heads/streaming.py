"""Embeddings in blocks of rows, from memory or streamed from their file, and sums over them."""

import socket
from collections.abc import Callable, Iterable, Iterator, Sequence
from copy import copy
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from headbench.cache.reader import FeatureFile
from headbench.classify.errors import RunError
from headbench.extract.images.stream import map_ahead
from headbench.extract.workers.machines import DASK, Machines, Workers, here

# Bytes of float32 in one read: large enough that its fixed cost is small, and small enough that a
# few of them fit in memory.
READ_BYTES = 32 << 20
# Rows that are processed at once, so that no temporary array is as large as the embeddings.
BLOCK_ROWS = 4096
# Parts that workers sum: a fixed number, so that a sum does not depend on the number of workers; a
# small one, because each result is as large as the sum.
N_PARTS = 32
# Of one process: each holds a stretch of embeddings and a sum.
MOST_THREADS = 8

Number = TypeVar("Number", bound=np.generic)
Columns = Sequence[NDArray[Any]]
Arguments = tuple[Any, ...]
Terms = Callable[..., tuple[NDArray[Any], ...]]
OnRows = Callable[[int], None]
Sums = list[NDArray[np.float64]]


def row_blocks(n_rows: int, block_rows: int = BLOCK_ROWS) -> list[slice]:
    """Slices that cover `n_rows` in order, 4 096 each by default; the last may be shorter."""
    starts = range(0, n_rows, block_rows)
    return [slice(start, min(start + block_rows, n_rows)) for start in starts]


class StoredRows:
    """Embeddings of some splits of a feature file: like an array whose slices are read from disk.

    Parameters
    ----------
    splits : sequence of {"train", "val", "test"}
        Their rows are in the order of the file.
    machines : Machines
        Machines that compute sums over the embeddings.
    workers : Workers
        Connection to those machines.

    Attributes
    ----------
    shape : (int, int)
        n_images, dim.
    """

    dtype = np.dtype(np.float32)

    def __init__(
        self,
        features: FeatureFile,
        splits: Sequence[str],
        machines: Machines = Machines(),  # noqa: B008, it is frozen
        workers: Workers = here,
    ) -> None:
        self.machines, self.workers = machines, workers
        self._features, self._splits = features, tuple(splits)
        self._rows = np.sort(np.concatenate([features.rows(split) for split in splits]))
        self._start = 0

    @property
    def shape(self) -> tuple[int, int]:
        """Number of images, and of columns."""
        return len(self._rows), self._features.dim

    @property
    def size(self) -> int:
        """Number of elements."""
        return len(self._rows) * self._features.dim

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, positions: slice | NDArray[np.intp]) -> NDArray[np.float32]:
        """Embeddings, float32 (n_rows, dim), checked as they are read."""
        return self._features.read(self._rows[positions])

    def labels(self) -> NDArray[np.int32]:
        """Labels of all images of the splits, int32 (n_images,), index into the file's classes."""
        return self._in_order(self._features.labels)

    def weights(self) -> NDArray[np.float32]:
        """Weights of all images of the splits, float32 (n_images,); 1 if the file has none."""
        return self._in_order(self._features.weights)

    def _in_order(self, of_split: Callable[[str], NDArray[Number]]) -> NDArray[Number]:
        """Values of all images of the splits, in the order of the file."""
        rows = np.concatenate([self._features.rows(split) for split in self._splits])
        return np.concatenate([of_split(split) for split in self._splits])[np.argsort(rows)]

    def spans(self) -> list[slice]:
        """Slices of consecutive rows, each as large as one read should be."""
        return row_blocks(len(self), max(1, READ_BYTES // (self.shape[1] * self.dtype.itemsize)))

    def part(self, rows: slice) -> "StoredRows":
        """Some consecutive rows, not read yet."""
        some = copy(self)
        some._rows = self._rows[rows]
        some._start = self._start + rows.start
        return some

    def address(self) -> "Address":
        """What another process needs to read the same rows."""
        path = self._features.path.absolute()
        rows = slice(self._start, self._start + len(self))
        return Address(path, self._splits, rows, path.stat().st_size)


@dataclass(frozen=True)
class Address:
    """Where embeddings are stored; small enough to send, unlike the embeddings.

    Attributes
    ----------
    path : Path
        Path of the feature file, the same on every machine.
    rows : slice
        Rows of those splits.
    n_bytes : int
        Size of the file, where it was opened first.
    """

    path: Path
    splits: tuple[str, ...]
    rows: slice
    n_bytes: int

    def open(self) -> StoredRows:
        """The embeddings; a process opens a file only once.

        Raises
        ------
        RunError
            If this machine has no file of that path and size.
        """
        where = f"{self.path}, on the worker {socket.gethostname()}"
        way_out = "Every worker needs the feature file at this path: put it on a shared disk."
        try:
            file = self.path.stat()
        except OSError as error:
            raise RunError(f"{where}: cannot be read ({error.strerror}). {way_out}") from error
        if file.st_size != self.n_bytes:
            raise RunError(
                f"{where}: expected {self.n_bytes} bytes as here, found {file.st_size}. {way_out}"
            )
        return _opened(self.path, self.splits, file.st_ino, file.st_mtime_ns).part(self.rows)


Embeddings: TypeAlias = NDArray[np.float32] | StoredRows


def embedding_blocks(X: Embeddings) -> Iterator[tuple[slice, NDArray[np.float32]]]:
    """Blocks of rows and embeddings, in order; embeddings in a file are read ahead.

    Parameters
    ----------
    X : float32 (n_images, dim), in memory or in a file

    Yields
    ------
    rows : slice
        Of `X`, at most 4 096.
    block : float32 (n_rows, dim)
    """
    spans = _read_ahead(X) if isinstance(X, StoredRows) else iter([(0, X)])
    for first, span in spans:
        for rows in row_blocks(len(span)):
            yield slice(first + rows.start, first + rows.stop), span[rows]


def _read_ahead(X: StoredRows) -> Iterator[tuple[int, NDArray[np.float32]]]:
    spans = X.spans()
    # The next one is read while the caller works with this one.
    read = map_ahead(X.__getitem__, spans, n_threads=1, n_ahead=2)
    return zip((span.start for span in spans), read, strict=True)


@lru_cache(maxsize=2)
def _opened(path: Path, splits: tuple[str, ...], inode: int, changed: int) -> StoredRows:  # noqa: ARG001, what makes a file another one
    return StoredRows(FeatureFile(path), splits)


def sum_over(
    terms: Terms,
    X: Embeddings,
    columns: Columns,
    *arguments: Any,
    on_rows: OnRows = lambda _: None,
) -> Sums:
    """Sum the results of a function over all blocks of embeddings.

    If the embeddings are in a file and there are workers, each worker reads and sums parts of it.
    The parts are added in order, whichever came first.

    Parameters
    ----------
    terms : callable
        A function of a module. It gets a block of `X`, the same rows of each column, and
        `arguments`. It returns arrays or numbers whose size does not depend on the rows.
    X : float32 (n_images, dim), in memory or in a file
        At least one image.
    columns : sequence of array (n_images,)
    *arguments
        The same for every block.
    on_rows : callable
        Called with a number of rows once they are summed, for progress.

    Returns
    -------
    list of float64 array
        The sum of each result.
    """
    if not isinstance(X, StoredRows):
        terms_of_blocks = _terms(terms, X, columns, arguments)
        return _added(_told(terms_of_blocks, row_blocks(len(X)), on_rows))
    machines = X.machines
    if machines.are_this_process:
        return _sum_stored(terms, X, columns, arguments, _threads(1), on_rows)
    n_threads = 1 if machines.backend == DASK else _threads(machines.n_jobs)
    parts = row_blocks(len(X), -(-len(X) // N_PARTS))
    tasks = (
        (terms, X.part(rows).address(), [each[rows] for each in columns], arguments, n_threads)
        for rows in parts
    )
    return _added(_told(X.workers(_sum_there, tasks, in_order=True), parts, on_rows))


def _sum_there(
    terms: Terms, address: Address, columns: Columns, arguments: Arguments, n_threads: int
) -> Sums:
    return _sum_stored(terms, address.open(), columns, arguments, n_threads)


def _sum_stored(
    terms: Terms,
    X: StoredRows,
    columns: Columns,
    arguments: Arguments,
    n_threads: int,
    on_rows: OnRows = lambda _: None,
) -> Sums:
    """Sum in threads, each of which reads and sums consecutive rows.

    Threads of BLAS would share each small product, and wait for each other and for the reading
    threads. A Gram matrix of 800 000 x 128 took 18 s with two BLAS threads on two busy cores, and
    2 s with one.
    """

    def of_span(rows: slice) -> Sums:
        return _added(_terms(terms, X[rows], [each[rows] for each in columns], arguments))

    with threadpool_limits(1, "blas"):
        sums = map_ahead(of_span, X.spans(), n_threads, n_threads + 1)
        return _added(_told(sums, X.spans(), on_rows))


def _terms(
    terms: Terms, X: NDArray[np.float32], columns: Columns, arguments: Arguments
) -> Iterator[tuple[NDArray[Any], ...]]:
    for rows in row_blocks(len(X)):
        yield terms(X[rows], *(column[rows] for column in columns), *arguments)


def _told(
    parts: Iterable[Sequence[NDArray[Any]]], rows: Iterable[slice], on_rows: OnRows
) -> Iterator[Sequence[NDArray[Any]]]:
    for part, of_part in zip(parts, rows, strict=True):
        yield part
        on_rows(of_part.stop - of_part.start)


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
    import joblib

    n_cores: int = joblib.cpu_count()
    return max(1, min(MOST_THREADS, n_cores // n_jobs))
