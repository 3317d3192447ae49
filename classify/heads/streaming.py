"""Embeddings in blocks of rows, from memory or streamed from their file, and sums over them."""

import socket
from collections.abc import Callable, Iterable, Iterator, Sequence
from copy import copy
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import joblib
import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from headbench.cache.reader import FeatureFile
from headbench.classify.errors import RunError
from headbench.extract.images.stream import map_ahead
from headbench.extract.workers.machines import DASK, Machines, Workers, here

# Read at once, as float32: what a read costs besides its bytes is then little, and the few of them
# that are in memory at a time are small.
READ_BYTES = 32 << 20
# Rows that are worked on at once, so that nothing as large as the embeddings is ever made.
BLOCK_ROWS = 4096
# Of embeddings that several workers sum: so many whatever the workers, so that a sum does not
# depend on their number; few, since each comes back as large as the sum itself.
N_PARTS = 32
# Of one process: each holds a stretch of embeddings and a sum.
MOST_THREADS = 8

Number = TypeVar("Number", bound=np.generic)
Columns = Sequence[NDArray[Any]]
Arguments = tuple[Any, ...]
Terms = Callable[..., tuple[NDArray[Any], ...]]
Sums = list[NDArray[np.float64]]


def row_blocks(n_rows: int, block_rows: int = BLOCK_ROWS) -> list[slice]:
    """Slices that cover `n_rows` in order, 4 096 each by default; the last may be shorter."""
    return [slice(start, start + block_rows) for start in range(0, n_rows, block_rows)]


class StoredRows:
    """Embeddings of some splits of a feature file: like an array, but each slice is read anew.

    Parameters
    ----------
    splits : sequence of {"train", "val", "test"}
        Their rows in the order of the file.
    machines : Machines
        Where sums over the embeddings are computed.
    workers : Workers
        Those machines, reached.

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
        """Number of numbers."""
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
        """What all images of the splits count for, float32 (n_images,); ones without weights."""
        return self._in_order(self._features.weights)

    def _in_order(self, of_split: Callable[[str], NDArray[Number]]) -> NDArray[Number]:
        """What a split has of each image, for all splits, in the order of the file."""
        rows = np.concatenate([self._features.rows(split) for split in self._splits])
        return np.concatenate([of_split(split) for split in self._splits])[np.argsort(rows)]

    def spans(self) -> list[slice]:
        """Rows that are worth reading at once, one stretch after the other."""
        return row_blocks(len(self), max(1, READ_BYTES // (self.shape[1] * self.dtype.itemsize)))

    def part(self, rows: slice) -> "StoredRows":
        """Some consecutive ones, not read yet."""
        some = copy(self)
        some._rows = self._rows[rows]
        some._start = self._start + rows.start
        return some

    def address(self) -> "Address":
        """What another process needs to read the same."""
        path = self._features.path.absolute()
        rows = slice(self._start, self._start + len(self))
        return Address(path, self._splits, rows, path.stat().st_size)


@dataclass(frozen=True)
class Address:
    """Where embeddings are; a few words, unlike the embeddings.

    Attributes
    ----------
    path : Path
        Of the feature file, under which every machine sees it.
    rows : slice
        Of those splits.
    n_bytes : int
        Of the file, where it was opened first.
    """

    path: Path
    splits: tuple[str, ...]
    rows: slice
    n_bytes: int

    def open(self) -> StoredRows:
        """The embeddings there; a process opens a file once.

        Raises
        ------
        RunError
            If there is no such file here, or another one.
        """
        where = f"{self.path}, on the worker {socket.gethostname()}"
        way_out = "Every worker needs the feature file under this path: put it on a shared disk."
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
    """Rows and embeddings some at a time, in order; what is in a file is read ahead.

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
            yield slice(first + rows.start, first + min(rows.stop, len(span))), span[rows]


def _read_ahead(X: StoredRows) -> Iterator[tuple[int, NDArray[np.float32]]]:
    spans = X.spans()
    # One is read while the caller works with the one before.
    read = map_ahead(X.__getitem__, spans, n_threads=1, n_ahead=2)
    return zip((span.start for span in spans), read, strict=True)


@lru_cache(maxsize=2)
def _opened(path: Path, splits: tuple[str, ...], inode: int, changed: int) -> StoredRows:  # noqa: ARG001, what makes a file another one
    return StoredRows(FeatureFile(path), splits)


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
