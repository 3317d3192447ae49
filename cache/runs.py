"""Embeddings that stay in parts: which rows of which part a feature file stands on.

HDF5's own reader of virtual datasets is left aside. Where it cannot open a part, be it missing or
one file too many for the process, it gives the fill value and says nothing; it looks through all
mappings at every read; and it keeps them where one flipped byte makes it loop for ever (see
`cache.blocks.fixed_text`). So they stand in ``/runs`` once more, with checksums.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple

import h5py
import numpy as np
from numpy.typing import NDArray

from cache.blocks import REMEDY, CheckedDataset, write_array, write_strings
from cache.errors import WAY_OUT, FeatureFileError
from cache.format import VIRTUAL_VERSION, leads_inside
from cache.hdf5 import open_hdf5
from cache.open_files import OpenFiles


class Piece(NamedTuple):
    """Consecutive rows of one part.

    Attributes
    ----------
    name : str
        The part, POSIX, relative to the folder of the feature file.
    source : slice
        Rows of the part.
    target : slice
        Rows of the feature file.
    """

    name: str
    source: slice
    target: slice


@dataclass(frozen=True)
class Runs:
    """Where the rows of a feature file lie: runs of rows that are consecutive in a part too.

    Attributes
    ----------
    names : tuple of str, length n_runs
        The part of each run, POSIX, relative to the folder of the feature file.
    starts : int64 (n_runs,)
        First row in the part.
    stops : int64 (n_runs,)
        One after the last row in the feature file.
    """

    names: tuple[str, ...]
    starts: NDArray[np.int64]
    stops: NDArray[np.int64]

    @classmethod
    def of_rows(
        cls, names: tuple[str, ...], parts: NDArray[np.intp], rows: NDArray[np.int64]
    ) -> "Runs":
        """Put rows together that follow each other.

        Parameters
        ----------
        names : tuple of str, length n_parts
        parts : intp (n_rows,)
            Index into `names`.
        rows : int64 (n_rows,)
            Row in the part.
        """
        is_first = np.ones(len(rows), dtype=bool)
        is_first[1:] = (np.diff(parts) != 0) | (np.diff(rows) != 1)
        first = np.flatnonzero(is_first)
        stops = np.append(first[1:], len(rows))[: len(first)]
        return cls(tuple(names[part] for part in parts[first]), rows[first], stops)

    @property
    def n_rows(self) -> int:
        """Rows of the feature file."""
        return int(self.stops[-1]) if len(self.stops) else 0

    def pieces(self, rows: slice) -> Iterator[Piece]:
        """The parts of some consecutive rows of the feature file, in order."""
        position = rows.start
        run = int(np.searchsorted(self.stops, position, side="right"))
        while position < rows.stop:
            begin = int(self.stops[run - 1]) if run else 0
            stop = min(rows.stop, int(self.stops[run]))
            shift = int(self.starts[run]) - begin
            yield Piece(
                self.names[run], slice(position + shift, stop + shift), slice(position, stop)
            )
            position, run = stop, run + 1

    def locate(self, rows: NDArray[np.int64]) -> tuple[NDArray[np.intp], NDArray[np.int64]]:
        """The run, index into `names`, and the row in its part, of each of some rows."""
        runs = np.searchsorted(self.stops, rows, side="right")
        begins = np.concatenate([[0], self.stops[:-1]])
        return runs, self.starts[runs] + rows - begins[runs]


class PartRows:
    """The rows of parts one after the other, read as those of an h5py dataset are.

    Not checked against checksums, which `cache.blocks.CheckedDataset` does; but that each part is
    there and as long as it must be.

    Parameters
    ----------
    folder : Path
        That of the feature file.
    runs : Runs
    dim : int
    dtype : dtype
    block_rows : int
        Rows to a checksum.
    """

    def __init__(
        self, folder: Path, runs: Runs, dim: int, dtype: np.dtype[Any], block_rows: int
    ) -> None:
        self.runs = runs
        self.shape = (runs.n_rows, dim)
        self.dtype = dtype
        self.chunks = (block_rows, dim)
        self._folder = folder
        self._parts = OpenFiles[h5py.Dataset]()
        self._lock = Lock()

    def read_direct(self, out: NDArray[Any], source: slice, target: slice) -> None:
        """Read the rows `source` into the rows `target` of `out`.

        Raises
        ------
        FeatureFileError
            If a part is missing, damaged, or another one than it was.
        """
        shift = target.start - source.start
        with self._lock:
            for piece in self.runs.pieces(source):
                goal = slice(piece.target.start + shift, piece.target.stop + shift)
                self._read_piece(out, piece, goal)

    def close(self) -> None:
        """Close the parts."""
        with self._lock:
            self._parts.close()

    def _read_piece(self, out: NDArray[Any], piece: Piece, goal: slice) -> None:
        part = self._parts.get(self._folder / piece.name, self._opened)
        if len(part) < piece.source.stop:
            raise FeatureFileError(
                f"{self._folder / piece.name}: expected a part of at least {piece.source.stop} "
                f"rows, found {len(part)}. {REMEDY}"
            )
        try:
            part.read_direct(out, piece.source, goal)
        except (OSError, RuntimeError) as error:
            raise FeatureFileError(
                f"{self._folder / piece.name}: damaged: rows {piece.source.start} to "
                f"{piece.source.stop - 1} cannot be read. {REMEDY}"
            ) from error

    def _opened(self, path: Path) -> tuple[h5py.File, h5py.Dataset]:
        if not path.exists():
            raise FeatureFileError(
                f"{path}: expected a part of the embeddings here, found nothing. Parts move with "
                f"their feature file, as a folder; if it is lost: {REMEDY}"
            )
        file = open_hdf5(path)
        dataset = file.get("embeddings")
        found = dataset and (dataset.shape[1:], dataset.dtype)
        if found != (self.shape[1:], self.dtype):
            file.close()
            raise FeatureFileError(
                f"{path}: expected a part with /embeddings of {self.shape[1]} columns in "
                f"{self.dtype}, found another file. {REMEDY}"
            )
        return file, dataset


def is_virtual(file: h5py.File) -> bool:
    """Whether an open feature file stands on parts."""
    try:
        return str(file.attrs.get("format_version")) == str(VIRTUAL_VERSION)
    except (OSError, RuntimeError):
        return False


def part_rows(file: h5py.File) -> PartRows:
    """The rows of an open feature file that stands on parts.

    Raises
    ------
    FeatureFileError
        If what it says of them is damaged.
    """
    path = Path(file.filename)
    runs = _read_runs(file)
    try:
        dim, block_rows = (int(file["runs"].attrs[name]) for name in ("dim", "block_rows"))
        dtype = np.dtype(file["runs"].attrs["dtype"])
    except (KeyError, OSError, RuntimeError, TypeError, ValueError) as error:
        raise FeatureFileError(
            f"{path}: damaged: attributes of /runs: {error!r}. {WAY_OUT}"
        ) from error
    return PartRows(path.parent, runs, dim, dtype, max(1, block_rows))


def checked_embeddings(file: h5py.File) -> CheckedDataset:
    """The embeddings of an open feature file or part, wherever they lie."""
    return CheckedDataset(file, "embeddings", part_rows(file) if is_virtual(file) else None)


def parts_behind(path: Path) -> set[Path]:
    """The parts that a feature file stands on; none for one that holds its embeddings itself.

    Raises
    ------
    FeatureFileError
        If there is a file and it cannot be read.
    """
    if not path.exists():
        return set()
    with open_hdf5(path) as file:
        names = set(_read_runs(file).names) if is_virtual(file) else set()
    return {path.parent / name for name in names}


def write_runs(file: h5py.File, rows: PartRows) -> None:
    """Write where embeddings lie, for this program and for any other one that reads HDF5."""
    runs = rows.runs
    lengths = np.diff(runs.stops, prepend=0)
    write_strings(file, "runs/file", runs.names)
    write_array(file, "runs/rows", np.stack([runs.starts, lengths], axis=1).astype(np.int64))
    file["runs"].attrs.update(
        {
            "dim": rows.shape[1],
            "dtype": np.bytes_(rows.dtype.name),
            "block_rows": rows.chunks[0],
        }
    )
    layout = h5py.VirtualLayout(rows.shape, rows.dtype)
    for name, source, target in runs.pieces(slice(0, runs.n_rows)):
        shape = (source.stop, rows.shape[1])
        layout[target] = h5py.VirtualSource(name, "embeddings", shape, rows.dtype)[source]
    # Where a part is missing, other programs see NaN and not zeros.
    file.create_virtual_dataset("embeddings", layout, fillvalue=np.nan)


def _read_runs(file: h5py.File) -> Runs:
    names = tuple(CheckedDataset(file, "runs/file").strings())
    rows = CheckedDataset(file, "runs/rows").read()
    if rows.shape != (len(names), 2) or (rows < (0, 1)).any():
        raise FeatureFileError(f"{file.filename}: damaged: /runs contradicts itself. {WAY_OUT}")
    outside = next((name for name in names if not leads_inside(name)), None)
    if outside is not None:
        raise FeatureFileError(
            f"{file.filename}: expected parts beside it, found {outside!r}, which is not opened. "
            f"{WAY_OUT}"
        )
    return Runs(names, rows[:, 0], np.cumsum(rows[:, 1]))
