"""Open a feature file: what every later step starts from."""

import json
from itertools import pairwise
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import h5py
import numpy as np
from numpy.typing import NDArray

from cache.errors import FeatureFileError
from cache.fingerprint import Identity
from cache.format import DATASETS, FORMAT, FORMAT_VERSION, SPLITS, Config, Rejected, Table


class FeatureFile:
    """A feature file, opened for reading; embeddings stay on disk until asked for.

    Parameters
    ----------
    path : path-like
        A file written by ``python -m extract``.

    Raises
    ------
    FeatureFileError
        If there is no such file, or it is not a whole feature file of this version.

    Examples
    --------
    >>> with FeatureFile("runs/food/features.h5") as features:       # doctest: +SKIP
    ...     X, y = features.load("train")
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._file = _open(self.path)
        try:
            _check_layout(self.path, self._file)
            self.table = _read_table(self.path, self._file)
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; the table stays in memory, embeddings are out of reach."""
        self._file.close()

    @property
    def n_images(self) -> int:
        """Number of images with an embedding."""
        return len(self.table.paths)

    @property
    def dim(self) -> int:
        """Length of one embedding."""
        return int(self._file["embeddings"].shape[1])

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names; label k is ``classes[k]``."""
        return self.table.classes

    @property
    def config(self) -> Config:
        """Where the embeddings came from."""
        return self.table.config

    @property
    def identity(self) -> Identity:
        """What was computed."""
        return self.table.config.identity

    def rows(self, split: str) -> NDArray[np.intp]:
        """Rows of a split, ascending.

        Parameters
        ----------
        split : {"train", "val", "test"}

        Returns
        -------
        intp (n_split,)
        """
        return np.flatnonzero(self.table.splits == SPLITS.index(split))

    def labels(self, split: str) -> NDArray[np.int32]:
        """Labels of a split, int32 (n_split,), index into `classes`."""
        return self.table.labels[self.rows(split)]

    def load(self, split: str) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
        """Embeddings and labels of a split, in memory.

        Returns
        -------
        X : float32 (n_split, dim)
        y : int32 (n_split,)
            Index into `classes`.

        Raises
        ------
        FeatureFileError
            If an embedding is not finite: its row and path are named.
        """
        rows = self.rows(split)
        X = read_rows(self._file["embeddings"], rows)
        is_finite = np.isfinite(X).all(axis=1)
        if not is_finite.all():
            row = rows[np.flatnonzero(~is_finite)[0]]
            raise FeatureFileError(
                f"{self.path}: row {row} of /embeddings ({self.table.paths[row]}) is not finite. "
                "Delete the file and run 'make features' again."
            )
        return X, self.table.labels[rows]


def read_rows(dataset: h5py.Dataset, rows: NDArray[np.intp]) -> NDArray[np.float32]:
    """Read some rows, run by run: HDF5 is slow at lists of single rows, fast at slices.

    Parameters
    ----------
    dataset : h5py.Dataset (n_images, dim)
    rows : intp (n_rows,)

    Returns
    -------
    float32 (n_rows, dim)
        In the order of `rows`.
    """
    out = np.empty((len(rows), dataset.shape[1]), dtype=np.float32)
    starts = np.flatnonzero(np.diff(rows, prepend=-2) != 1)
    for start, stop in pairwise([*starts, len(rows)]):
        out[start:stop] = dataset[rows[start] : rows[stop - 1] + 1]
    return out


def _open(path: Path) -> h5py.File:
    if not path.exists():
        raise FeatureFileError(f"{path}: no such file. 'make features DATA=folder' makes it.")
    if not path.is_file():
        raise FeatureFileError(f"{path}: expected a feature file, found a folder.")
    try:
        # No lock: a file is only ever replaced whole, so a reader never sees a half-written one.
        return h5py.File(path, "r", locking=False)
    except OSError as error:
        raise FeatureFileError(
            f"{path}: not a readable HDF5 file ({_first_line(error)}). Expected a file made by "
            "'make features'; move this one away and run it again."
        ) from error


def _check_layout(path: Path, file: h5py.File) -> None:
    found = file.attrs.get("format")
    if found != FORMAT:
        raise FeatureFileError(
            f"{path}: expected a feature file (attribute format = {FORMAT!r}), found "
            f"{found!r}: an HDF5 file of another program. Name the file made by 'make features'."
        )
    version = int(file.attrs.get("format_version", 0))
    if version != FORMAT_VERSION:
        remedy = (
            "Upgrade headbench." if version > FORMAT_VERSION else "Run 'make features' on it again."
        )
        raise FeatureFileError(
            f"{path}: has format version {version}, this headbench reads version "
            f"{FORMAT_VERSION}. {remedy}"
        )
    missing = [name for name in DATASETS if name not in file]
    if missing:
        raise FeatureFileError(_damaged(path, f"/{missing[0]} is missing"))


def _read_table(path: Path, file: h5py.File) -> Table:
    table = Table(
        paths=_read_strings(file["paths"]),
        labels=file["labels"][:],
        splits=file["splits"][:],
        content_sha256=file["content_sha256"][:],
        classes=_read_strings(file["classes"]),
        rejected=tuple(
            Rejected(*pair)
            for pair in zip(
                _read_strings(file["rejected/path"]),
                _read_strings(file["rejected/reason"]),
                strict=True,
            )
        ),
        config=_read_config(path, file),
    )
    lengths = {name: len(file[name]) for name in DATASETS[:5]}
    if len(set(lengths.values())) > 1:
        raise FeatureFileError(_damaged(path, f"datasets differ in length: {lengths}"))
    if table.labels.size and not 0 <= table.labels.min() <= table.labels.max() < len(table.classes):
        raise FeatureFileError(_damaged(path, "/labels points outside /classes"))
    if (
        tuple(file["splits"].attrs.get("names", ())) != SPLITS
        or (table.splits >= len(SPLITS)).any()
    ):
        raise FeatureFileError(_damaged(path, f"/splits does not name {', '.join(SPLITS)}"))
    return table


def _read_config(path: Path, file: h5py.File) -> Config:
    try:
        raw: dict[str, Any] = json.loads(file.attrs["config"])
        config = Config(Identity(**raw["identity"]), raw["weights"], raw["data"])
    except (KeyError, TypeError, ValueError) as error:
        raise FeatureFileError(_damaged(path, f"attribute config: {error!r}")) from error
    if config.identity.fingerprint != file.attrs.get("fingerprint"):
        raise FeatureFileError(_damaged(path, "attribute fingerprint is not that of config"))
    return config


def _read_strings(dataset: h5py.Dataset) -> tuple[str, ...]:
    return tuple(dataset.asstr()[:])


def _damaged(path: Path, what: str) -> str:
    return f"{path}: damaged: {what}. Move it away and run 'make features' again."


def _first_line(error: Exception) -> str:
    return str(error).split("\n", maxsplit=1)[0]
