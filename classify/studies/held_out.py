"""Held-out probabilities of cross-validation, one file per fold."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from headbench.cache.disk import replacing
from headbench.classify.arrays import save_arrays
from headbench.classify.checked import check_proba, load_numbers
from headbench.classify.errors import RunError, loading


class HeldOut(NamedTuple):
    """Images and their held-out probabilities.

    Attributes
    ----------
    rows : intp (n,)
        Rows of the feature file.
    proba : float32 (n, n_classes)
        Columns in the order of the feature file's classes. On disk they are float16: the relative
        error is up to 0.0005, and values below 6e-8 are 0.
    """

    rows: NDArray[np.intp]
    proba: NDArray[np.float32]


def save_held_out(path: Path, held_out: HeldOut) -> None:
    """Write one fold's probabilities as float16, in one atomic step."""
    rows, proba = held_out.rows.astype(np.int64), held_out.proba.astype(np.float16)
    with replacing(path) as temporary:
        save_arrays(temporary, {"rows": rows, "proba": proba})


def load_held_out(path: Path, n_classes: int, way_out: str) -> HeldOut:
    """Read one fold's probabilities of `n_classes`.

    Raises
    ------
    RunError
        If the file is missing, damaged, or holds something else; `way_out` says what to do.
    """
    with loading(path, way_out):
        arrays = load_numbers(path)
        rows, proba = arrays["rows"], arrays["proba"]
        expected = f"int64 {rows.shape}, float16 {(rows.size, n_classes)}"
        found = f"{rows.dtype} {rows.shape}, {proba.dtype} {proba.shape}"
        if rows.ndim != 1 or found != expected:
            raise ValueError(f"expected rows and proba {expected}, found {found}")
        check_proba(proba)
        return HeldOut(rows.astype(np.intp), proba.astype(np.float32))


def load_folds(
    paths: Sequence[Path], rows: NDArray[np.intp], n_classes: int, way_out: str
) -> HeldOut:
    """Read all folds of one head as one.

    Parameters
    ----------
    paths : sequence of Path
        One file per fold.
    rows : intp (n,)
        Rows that the files must hold together, ascending; the result has the same order.

    Raises
    ------
    RunError
        If a file is missing or damaged, or they do not hold each row once.
    """
    folds = [load_held_out(path, n_classes, way_out) for path in paths]
    found = np.concatenate([fold.rows for fold in folds])
    order = np.argsort(found)
    if not np.array_equal(found[order], rows):
        raise RunError(
            f"{paths[0].parent}: expected held-out probabilities of {len(rows)} images, found "
            f"{len(found)} of other images. {way_out}"
        )
    return HeldOut(rows, np.concatenate([fold.proba for fold in folds])[order])


def is_whole(path: Path, rows: NDArray[np.intp], n_classes: int) -> bool:
    """Whether a file can be read and holds these rows, in this order."""
    try:
        return np.array_equal(load_held_out(path, n_classes, way_out="").rows, rows)
    except RunError:
        return False


def remove_unnamed(folder: Path, names: Iterable[str]) -> None:
    """Remove files that no study names, and unfinished files of a killed run."""
    kept = set(names)
    for path in folder.glob("*.npz*"):
        if path.name not in kept:
            path.unlink(missing_ok=True)
