"""A feature file over parts that stay where they are: for more rows than are worth copying."""

import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from cache.blocks import REMEDY, CheckedDataset, rows_per_block
from cache.errors import FeatureFileError, HeadbenchError
from cache.format import VIRTUAL_VERSION, Table, row_hashes
from cache.hdf5 import create_hdf5, open_hdf5
from cache.parts import Location, Parts, as_stored
from cache.runs import PartRows, Runs, checked_embeddings, is_virtual, part_rows, write_runs
from cache.writer import gather, write_about, write_columns

# In float32, of a part to which embeddings are copied that lie in none.
COPIED_BYTES = 32 << 20
# HDF5 takes 26 kB of memory for each while it writes them, and we 0.05 ms while we read.
MOST_RUNS = 50_000


def in_order_of_parts(table: Table, source: Mapping[bytes, Location]) -> Table:
    """The same images in such an order that rows beside each other in a file stay so.

    Files come in the order in which the table first asks for them; copies stand side by side. The
    table of a file that was linked in this order, with that file as its source, is left as it is.
    """
    places = _Places.of(table, source)
    return table.take(np.lexsort((places.rows, places.files)))


def link_features(
    path: Path,
    table: Table,
    source: Mapping[bytes, Location],
    dim: int,
    distrusted: frozenset[Path] = frozenset(),
) -> None:
    """Write a feature file that stands on parts; until the very end the old one stays in place.

    Embeddings stay in those parts of :class:`cache.parts.Parts` that keep them as ``config.store``
    says; where an old virtual file is the source, in the parts behind it. All others, such as those
    of an old file that holds them itself, are copied to new parts. So is everything if it lies in
    more than `MOST_RUNS` runs of rows, as many small parts do.

    Parameters
    ----------
    path : Path
        Replaced atomically.
    table : Table
        All but the embeddings, best `in_order_of_parts`.
    source : mapping of bytes to Location
        Where the embedding of each content lies. May point into the old file at `path`.
    dim : int
        Length of one embedding.
    distrusted : frozenset of Path
        Parts behind a virtual file to leave behind: what that file holds of them is copied.

    Raises
    ------
    StorageError
        If it cannot be written.
    FeatureFileError
        If an embedding, or a part beside it, is damaged.
    HeadbenchError
        If an embedding does not fit into float16, or copies of images make more than `MOST_RUNS`
        runs of rows.
    """
    parts = Parts(path, table.config.identity.fingerprint, table.config.store)
    places = _Places.of(table, source)
    places.follow(distrusted)
    places.copy(places.leaving(parts), parts, table, dim)
    runs = places.runs(path.parent)
    if len(runs.names) > MOST_RUNS:
        places.copy(np.arange(runs.n_rows), parts, table, dim)
        runs = places.runs(path.parent)
    _refuse_scattered(path, runs)
    with create_hdf5(path) as file:
        write_about(file, table, VIRTUAL_VERSION)
        write_columns(file, table)
        contents = table.content_sha256.__getitem__
        write_linked(file, path.parent, runs, contents, dim, table.config.store)


def write_linked(
    file: h5py.File,
    folder: Path,
    runs: Runs,
    contents_of: Callable[[slice], NDArray[np.uint8]],
    dim: int,
    store: str,
) -> None:
    """Write where embeddings lie, and their checksums.

    On the way each part is checked: its own checksums, and that its rows are of the right images.

    Parameters
    ----------
    file : h5py.File
    folder : Path
        Where the file is going to be.
    runs : Runs
    contents_of : callable
        Gives the SHA-256 of the images of some rows, uint8 (n_rows, 32).
    dim : int
    store : str

    Raises
    ------
    FeatureFileError
        If a part is missing, damaged, or of other images.
    """
    dtype = np.dtype(store)
    block_rows = rows_per_block(runs.n_rows, dim * dtype.itemsize)
    rows = PartRows(folder, runs, dim, dtype, block_rows)
    write_runs(file, rows)
    sums = _sums_by_block(_checked_rows(folder, runs, contents_of), block_rows)
    file.create_dataset("checksums/embeddings", data=np.fromiter(sums, dtype=np.uint32))


@dataclass
class _Places:
    """Where each row of a table lies: which file, and which row of it.

    Attributes
    ----------
    paths : dict of Path to int
        Each file and its number, 0, 1, 2, ...
    files : intp (n_images,)
    rows : int64 (n_images,)
    """

    paths: dict[Path, int]
    files: NDArray[np.intp]
    rows: NDArray[np.int64]

    @classmethod
    def of(cls, table: Table, source: Mapping[bytes, Location]) -> "_Places":
        paths: dict[Path, int] = {}
        locations = [source[content] for content in table.contents()]
        files = (paths.setdefault(path, len(paths)) for path, _ in locations)
        rows = (row for _, row in locations)
        return cls(paths, np.fromiter(files, dtype=np.intp), np.fromiter(rows, dtype=np.int64))

    def follow(self, distrusted: frozenset[Path]) -> None:
        """Replace rows of virtual files by those of the parts behind them."""
        for path, number in list(self.paths.items()):
            with open_hdf5(path) as file:
                if is_virtual(file):
                    self._follow(path.parent, number, part_rows(file).runs, distrusted)

    def _follow(self, folder: Path, number: int, runs: Runs, distrusted: frozenset[Path]) -> None:
        numbers = [number] * len(runs.names)
        for run, name in enumerate(runs.names):
            if folder / name not in distrusted:
                numbers[run] = self.paths.setdefault(folder / name, len(self.paths))
        found = np.flatnonzero(self.files == number)
        in_run, rows = runs.locate(self.rows[found])
        files = np.array(numbers, dtype=np.intp)[in_run]
        self.rows[found] = np.where(files == number, self.rows[found], rows)
        self.files[found] = files

    def leaving(self, parts: Parts) -> NDArray[np.intp]:
        """Rows that cannot stay where they are."""
        paths = list(self.paths)
        leaves = [n for n in np.unique(self.files).tolist() if not _stays(paths[n], parts)]
        return np.flatnonzero(np.isin(self.files, leaves))

    def copy(self, moved: NDArray[np.intp], parts: Parts, table: Table, dim: int) -> None:
        """Copy some rows to new parts."""
        paths = list(self.paths)
        n_rows = max(1, COPIED_BYTES // (np.dtype(np.float32).itemsize * dim))
        for start in range(0, len(moved), n_rows):
            self._copy(moved[start : start + n_rows], paths, parts, table, dim)

    def _copy(
        self, moved: NDArray[np.intp], paths: list[Path], parts: Parts, table: Table, dim: int
    ) -> None:
        contents = row_hashes(table.content_sha256[moved])
        images = dict(zip(contents, moved.tolist(), strict=True))  # copies once
        rows = list(images.values())
        locations = [Location(paths[self.files[row]], int(self.rows[row])) for row in rows]
        names = [table.paths[row] for row in rows]
        embeddings = as_stored(gather(locations, dim), parts.store, names.__getitem__)
        there = parts.add(list(images), embeddings)
        for row, content in zip(moved, contents, strict=True):
            path, self.rows[row] = there[content]
            self.files[row] = self.paths.setdefault(path, len(self.paths))

    def runs(self, folder: Path) -> Runs:
        """The same as runs, in parts named relative to a folder."""
        paths = list(self.paths)
        used, files = np.unique(self.files, return_inverse=True)
        names = tuple(paths[number].relative_to(folder).as_posix() for number in used)
        return Runs.of_rows(names, files, self.rows)


def _stays(path: Path, parts: Parts) -> bool:
    """Whether a feature file may stand on a file: a part that keeps embeddings as it does."""
    if path.parent != parts.directory:
        return False
    with open_hdf5(path) as file:
        return checked_embeddings(file).dtype == parts.store


def _checked_rows(
    folder: Path, runs: Runs, contents_of: Callable[[slice], NDArray[np.uint8]]
) -> Iterator[NDArray[Any]]:
    """All embeddings in order, some at a time."""
    for name, pieces in groupby(runs.pieces(slice(0, runs.n_rows)), lambda piece: piece.name):
        with open_hdf5(folder / name) as file:
            embeddings, contents = (
                CheckedDataset(file, name) for name in ("embeddings", "content_sha256")
            )
            for piece in pieces:
                if (contents.read_run(piece.source) != contents_of(piece.target)).any():
                    raise FeatureFileError(
                        f"{folder / name}: expected the images that were in this part, "
                        f"found embeddings of other images. {REMEDY}"
                    )
                yield from embeddings.spans(piece.source)


def _sums_by_block(arrays: Iterator[NDArray[Any]], block_rows: int) -> Iterator[int]:
    """CRC-32 of each block of rows, which come in pieces of any length."""
    crc, n_rows = 0, 0
    for array in arrays:
        rest = array
        while len(rest):
            head, rest = rest[: block_rows - n_rows], rest[block_rows - n_rows :]
            crc, n_rows = zlib.crc32(head.data, crc), n_rows + len(head)
            if n_rows == block_rows:
                yield crc
                crc, n_rows = 0, 0
    if n_rows:
        yield crc


def _refuse_scattered(path: Path, runs: Runs) -> None:
    if len(runs.names) > MOST_RUNS:
        raise HeadbenchError(
            f"{path}: expected rows that lie side by side in finished parts, in at most "
            f"{MOST_RUNS} runs, found {len(runs.names)}: every image that is a copy of another "
            f"begins one. Run again with MERGE_ROWS={runs.n_rows} (--merge-rows): finished parts "
            "are copied into the file, and nothing is extracted again."
        )
