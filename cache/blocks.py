"""HDF5 files whose datasets are stored in blocks of rows; every read checks each block's checksum.

A block is a chunk of the HDF5 dataset, and ``/checksums/NAME`` holds the CRC-32 of its bytes. That
is faster than HDF5's own filter (fletcher32): one thread checks a block while the next ones are
read. ``make bench-cache`` measures both.
"""

import errno
import io
import os
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import DTypeLike, NDArray

from headbench.cache.disk import replacing
from headbench.cache.errors import WAY_OUT, FeatureFileError, UnreadableError
from headbench.cache.open_mark import is_marked, open_marked
from headbench.cache.untrusted import (
    HDF5_ERRORS,
    block_rows_of,
    bytes_of_row,
    leads_elsewhere,
    misfit_of,
)

# From this version on HDF5's own structures carry checksums; HDF5 1.10 and later read it.
HDF5_VERSION = ("v110", "v110")
# Errors of a missing file, or of an impossible position in it, to which damaged content led HDF5.
# Any other error says nothing about the content.
OF_CONTENT = {errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EINVAL, errno.EOVERFLOW, errno.EFBIG}
TOO_MANY_FILES = {errno.EMFILE, errno.ENFILE}
BLOCK_BYTES = 1 << 20
# Most rows in a block: a damaged one costs so many images at most.
MOST_ROWS = 4096
# Bytes read or written at once.
SPAN_BYTES = 8 << 20
# Spans that may wait to be checked; this bounds memory.
N_WAITING = 4
EXPECTED = "Expected a file made by 'headbench features'. Move this one away and run that again."
REMEDY = "'headbench verify' lists all damage; with --repair it drops the damaged images."


class PatientFile(io.FileIO):
    """A file that keeps its first error instead of raising it: HDF5 crashes when it cannot write.

    After an error nothing more is written.
    """

    error: OSError | None = None

    def write(self, data: Any) -> int:
        """Write all of `data`, or keep the error."""
        rest = memoryview(data).cast("B")
        n_bytes = len(rest)
        try:
            while self.error is None and len(rest):
                rest = rest[super().write(rest) :]
        except OSError as error:
            self.error = error
        return n_bytes

    def truncate(self, size: int | None = None) -> int:
        """Change the length, or keep the error."""
        try:
            if self.error is None:
                super().truncate(size)
        except OSError as error:
            self.error = error
        return size or 0


@contextmanager
def create_hdf5(path: Path, writer: str = "") -> Iterator[h5py.File]:
    """Create a file that gets its name only when it is complete and on the disk.

    Raises `StorageError` if it cannot be written.
    """
    with replacing(path, writer) as temporary, PatientFile(temporary, "w+") as disk:
        try:
            with h5py.File(disk, "w", libver=HDF5_VERSION) as file:
                yield file
        finally:
            if disk.error is not None:
                raise disk.error


def open_hdf5(path: Path, expected: str = EXPECTED) -> h5py.File:
    """Open a file for reading; one that refers to other files is refused.

    No lock is taken: a file is only ever replaced whole, so nobody reads a half-written one. A file
    that another program has open for writing is read as it is on the disk, and a line is logged.
    Raises `FeatureFileError`, which ends in `expected`, if it is not a complete HDF5 file;
    `UnreadableError` if that is unknown because it cannot be read at the moment.
    """
    try:
        file = open_marked(path) if is_marked(path) else h5py.File(path, "r", locking=False)
        if found := leads_elsewhere(file):
            file.close()
            raise ValueError(found)
        return file
    except HDF5_ERRORS as error:
        require_about_content(path, error)
        reason = (getattr(error, "strerror", None) or str(error)).split("\n", maxsplit=1)[0]
        raise FeatureFileError(
            f"{path}: not a readable HDF5 file ({reason}). {expected}"
        ) from error


def require_about_content(path: str | Path, error: Exception) -> None:
    """Raise `UnreadableError` if an error says nothing about the content of a file."""
    code = error.errno if isinstance(error, OSError) else None
    if code is None or code in OF_CONTENT:
        return
    remedy = "Fix that, or move the file away"
    if code in TOO_MANY_FILES:
        remedy = "Close other files, or allow more open files (ulimit -n)"
    raise UnreadableError(
        f"{path}: cannot be read at the moment ({os.strerror(code)}). It may be undamaged, so "
        f"headbench does not touch it. {remedy}, and run the same command again."
    ) from error


def rows_per_block(n_rows: int, row_bytes: int) -> int:
    """Rows in each block of a dataset; every block takes its full size on the disk."""
    return max(1, min(n_rows, MOST_ROWS, BLOCK_BYTES // row_bytes))


def write_dataset(
    file: h5py.File,
    name: str,
    shape: tuple[int, ...],
    dtype: DTypeLike,
    rows_of: Callable[[slice], NDArray[Any]],
    block_rows: int | None = None,
) -> None:
    """Write a dataset, first axis n_rows, and its checksums, a few blocks at a time.

    `rows_of` returns the rows of a slice; it is called for consecutive slices. Without
    `block_rows`, blocks have a size that suits reading many rows in order.
    """
    n_rows, row_bytes = shape[0], bytes_of_row(shape, dtype)
    step = block_rows or rows_per_block(n_rows, row_bytes)
    chunks = (step, *shape[1:]) if n_rows else None
    dataset = file.create_dataset(name, shape=shape, dtype=dtype, chunks=chunks)
    sums: list[int] = []
    for span in _slices(n_rows, _span_rows(step, row_bytes)):
        rows = np.ascontiguousarray(rows_of(span), dtype=dataset.dtype)
        dataset[span] = rows
        sums += _sums(rows, step)
    file.create_dataset(f"checksums/{name}", data=np.array(sums, dtype=np.uint32))


def write_array(
    file: h5py.File, name: str, array: NDArray[Any], block_rows: int | None = None
) -> None:
    """Write an array in memory, and its checksums."""
    write_dataset(file, name, array.shape, array.dtype, array.__getitem__, block_rows)


def write_strings(file: h5py.File, name: str, strings: Sequence[str]) -> None:
    """Write text, and its checksums."""
    write_array(file, name, fixed_text(strings))


def fixed_text(text: str | Sequence[str]) -> NDArray[np.bytes_]:
    """Text as HDF5 stores it safely: UTF-8 of fixed length.

    Text of variable length lies on HDF5's global heap, which has no checksum: one flipped byte
    there makes HDF5 1.14 search the heap forever.
    """
    encoded = text.encode() if isinstance(text, str) else [each.encode() for each in text]
    longest = len(encoded) if isinstance(encoded, bytes) else max(map(len, encoded), default=1)
    return np.array(encoded, dtype=h5py.string_dtype("utf-8", max(1, longest)))


class CheckedDataset:
    """A dataset that checks every block against its checksum when it reads it.

    Raises `FeatureFileError` if the dataset or its checksums are missing, or differ in number.
    """

    def __init__(self, file: h5py.File, name: str) -> None:
        self.path, self.name = file.filename, name
        try:
            self._dataset, sums = file[name], file[f"checksums/{name}"]
            misfit = misfit_of(self._dataset) or misfit_of(sums)
            self.shape: tuple[int, ...] = self._dataset.shape
            self.dtype: np.dtype[Any] = self._dataset.dtype
        except HDF5_ERRORS as error:
            require_about_content(self.path, error)
            raise self._damaged("or its checksums cannot be opened", WAY_OUT) from error
        if misfit:
            raise self._damaged(misfit, WAY_OUT)
        self._step = block_rows_of(self._dataset)
        self.n_blocks = -(-len(self) // self._step)
        if sums.shape != (self.n_blocks,) or sums.dtype != np.uint32:
            raise self._damaged(
                f"has {self.n_blocks} blocks and another number of checksums", WAY_OUT
            )
        self._sums = self._read_sums(sums)

    def __len__(self) -> int:
        return self.shape[0]

    def read(self, rows: NDArray[np.intp] | None = None) -> NDArray[Any]:
        """Read all rows, or the given ones in the given order; float16 is returned as float32.

        Raises `FeatureFileError` if a block that is read is damaged.
        """
        n_rows = len(self) if rows is None else len(rows)
        dtype = np.dtype(np.float32) if self.dtype == np.float16 else self.dtype
        out = np.empty((n_rows, *self.shape[1:]), dtype=dtype)
        if rows is None and dtype == self.dtype:
            self._check_all(self._read_into(out))
        elif rows is None:
            self._check_all(self._scatter(out, np.arange(n_rows), np.arange(n_rows)))
        else:
            order = np.argsort(rows, kind="stable")
            self._check_all(self._scatter(out, rows[order], order))
        return out

    def read_block(self, number: int) -> NDArray[Any]:
        """Read the rows of one block, in the dtype of the file."""
        return self._checked(self._block(number))

    def spans(self) -> Iterator[NDArray[Any]]:
        """Read all rows, a few blocks at a time, in the dtype of the file."""
        return map(self._checked, _slices(len(self), self._span_rows()))

    def strings(self) -> list[str]:
        """Read all rows of a text dataset."""
        try:
            return [row.decode() for row in self.read().tolist()]
        except UnicodeDecodeError as error:
            raise self._damaged("is not UTF-8 text") from error

    def whole_blocks(
        self, numbers: Iterable[int] | None = None
    ) -> Iterator[tuple[slice, NDArray[Any] | None]]:
        """Rows and content of all blocks, or of the given ones; None for a damaged content."""
        for number in range(self.n_blocks) if numbers is None else numbers:
            block = self._block(number)
            try:
                yield block, self._checked(block)
            except FeatureFileError:
                yield block, None

    def _read_sums(self, sums: h5py.Dataset) -> NDArray[np.uint32]:
        try:
            return sums[:]  # type: ignore[no-any-return]
        except HDF5_ERRORS as error:
            require_about_content(self.path, error)
            raise self._damaged("has checksums that cannot be read", WAY_OUT) from error

    def _checked(self, blocks: slice) -> NDArray[Any]:
        """Read the rows of whole blocks."""
        out = self._fetched(blocks)
        self._check(out, blocks.start)
        return out

    def _read_into(self, out: NDArray[Any]) -> Iterator[Callable[[], None]]:
        for span in _slices(len(self), self._span_rows()):
            self._fetch(out, span, span)
            yield partial(self._check, out[span], span.start)

    def _scatter(
        self, out: NDArray[Any], rows: NDArray[np.intp], positions: NDArray[np.intp]
    ) -> Iterator[Callable[[], None]]:
        """Read the blocks that hold some ascending rows; copy each row to its position."""

        def finish(buffer: NDArray[Any], first: int, found: slice) -> None:
            self._check(buffer, first)
            wanted = rows[found] - first
            if _is_run(wanted) and _is_run(positions[found]):
                # Whole blocks, in their order: one copy and not two.
                start = positions[found.start]
                out[start : start + len(wanted)] = buffer[wanted[0] : wanted[-1] + 1]
            else:
                out[positions[found]] = buffer[wanted]

        numbers = np.unique(rows // self._step)
        edges = np.append(np.searchsorted(rows, numbers * self._step), len(rows)).tolist()
        for number, start, stop in zip(numbers.tolist(), edges[:-1], edges[1:], strict=True):
            block = self._block(number)
            yield partial(finish, self._fetched(block), block.start, slice(start, stop))

    def _block(self, number: int) -> slice:
        start = number * self._step
        return slice(start, min(start + self._step, len(self)))

    def _fetched(self, rows: slice) -> NDArray[Any]:
        out = np.empty((rows.stop - rows.start, *self.shape[1:]), dtype=self.dtype)
        self._fetch(out, rows, slice(0, len(out)))
        return out

    def _fetch(self, out: NDArray[Any], source: slice, target: slice) -> None:
        try:
            self._dataset.read_direct(out, source, target)
        except (OSError, RuntimeError) as error:
            require_about_content(self.path, error)
            raise self._damaged(f"rows {_words(source)} cannot be read") from error

    def _check(self, rows: NDArray[Any], first: int) -> None:
        block = first // self._step
        expected = self._sums[block : block + -(-len(rows) // self._step)]
        for number, (found, noted) in enumerate(
            zip(_sums(rows, self._step), expected, strict=True), start=block
        ):
            if found != noted:
                damaged = _words(self._block(number))
                raise self._damaged(f"rows {damaged} do not match their checksum")

    def _check_all(self, checks: Iterator[Callable[[], None]]) -> None:
        """Check in another thread what has been read, while more is being read."""
        waiting: deque[Future[None]] = deque()
        with ThreadPoolExecutor(1) as pool:
            for check in checks:
                waiting.append(pool.submit(check))
                if len(waiting) > N_WAITING:
                    waiting.popleft().result()
            while waiting:
                waiting.popleft().result()

    def _span_rows(self) -> int:
        return _span_rows(self._step, bytes_of_row(self.shape, self.dtype))

    def _damaged(self, what: str, remedy: str = REMEDY) -> FeatureFileError:
        return FeatureFileError(f"{self.path}: damaged: /{self.name} {what}. {remedy}")


def read_columns(file: h5py.File, **rows: tuple[str, tuple[int, ...]]) -> list[CheckedDataset]:
    """Datasets of equal length, each with the kind of dtype and the row shape that are given.

    Raises `FeatureFileError` for any other dataset.
    """
    found = [CheckedDataset(file, name) for name in rows]
    for dataset, (kind, shape) in zip(found, rows.values(), strict=True):
        if dataset.dtype.kind != kind or dataset.shape != (len(found[0]), *shape):
            raise FeatureFileError(
                f"{file.filename}: damaged: /{dataset.name} is {dataset.dtype} {dataset.shape}, "
                f"expected {kind} {(len(found[0]), *shape)}. {WAY_OUT}"
            )
    return found


def _sums(rows: NDArray[Any], step: int) -> list[int]:
    return [zlib.crc32(rows[block].data) for block in _slices(len(rows), step)]


def _slices(n_rows: int, step: int) -> Iterator[slice]:
    return (slice(start, min(start + step, n_rows)) for start in range(0, n_rows, step))


def _is_run(numbers: NDArray[np.intp]) -> bool:
    """Whether each number is one more than the number before; there is at least one."""
    return bool((np.diff(numbers) == 1).all())


def _span_rows(step: int, row_bytes: int) -> int:
    return step * max(1, SPAN_BYTES // (step * row_bytes))


def _words(rows: slice) -> str:
    return f"{rows.start} to {rows.stop - 1}"
