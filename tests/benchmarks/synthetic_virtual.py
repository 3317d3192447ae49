"""A feature file over parts, of as many rows as wanted, in bounded memory."""

from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from cache.blocks import fixed_text, write_array, write_dataset
from cache.fingerprint import Identity
from cache.format import SPLITS, VIRTUAL_VERSION, Config, Table
from cache.hdf5 import create_hdf5
from cache.parts import Parts
from cache.runs import Runs
from cache.virtual import write_linked
from cache.writer import write_about

IDENTITY = Identity("synthetic", "none", "none", 224, "none", "avg", "float32")
# Train, val and test.
SHARES = (0.7, 0.15, 0.15)
# Of the class means; single embeddings deviate from them by 1 in each column.
SPREAD = 0.5
# Rows whose noise is drawn once; each part takes it shifted, in every row another one.
NOISE_ROWS = 1 << 16


def write_synthetic_virtual(
    folder: Path,
    n_rows: int,
    dim: int,
    n_classes: int,
    part_rows: int,
    seed: int,
    store: str = "float16",
) -> Path:
    """Write `features.h5` and its parts, each class a Gaussian around a mean of its own.

    Labels and splits are drawn for each row alone, so every part holds all of them. Embeddings are
    means plus noise that two parts have in common in part: good for time, memory and a boundary
    between classes, not for looking for copies.

    Parameters
    ----------
    folder : Path
        Made if it is not there.
    n_rows, dim, n_classes : int
    part_rows : int
        Rows of each part.
    seed : int
    store : str

    Returns
    -------
    Path
        The feature file.
    """
    path = folder / "features.h5"
    classes = tuple(f"class{label:04}" for label in range(n_classes))
    rng = np.random.default_rng(seed)
    table = Table(
        paths=(),
        labels=rng.integers(n_classes, size=n_rows, dtype=np.int32),
        splits=rng.choice(len(SPLITS), n_rows, p=SHARES).astype(np.uint8),
        content_sha256=np.empty((0, 32), dtype=np.uint8),
        classes=classes,
        rejected=(),
        config=Config(IDENTITY, "none", {"folder": "synthetic", "seed": seed}, store),
    )
    parts = Parts(path, IDENTITY.fingerprint, store)
    runs = _write_parts(parts, folder, table, dim, part_rows, rng)
    with create_hdf5(path) as file:
        write_about(file, table, VIRTUAL_VERSION)
        _write_columns(file, table)
        write_linked(file, folder, runs, _contents, dim, store)
    return path


def _write_parts(
    parts: Parts,
    folder: Path,
    table: Table,
    dim: int,
    part_rows: int,
    rng: np.random.Generator,
) -> Runs:
    n_rows, n_classes = len(table.labels), len(table.classes)
    means = SPREAD * rng.standard_normal((n_classes, dim), dtype=np.float32)
    noise = rng.standard_normal((min(NOISE_ROWS, 4 * part_rows) + part_rows, dim), dtype=np.float32)
    names = []
    for start in range(0, n_rows, part_rows):
        rows = slice(start, min(start + part_rows, n_rows))
        shift = int(rng.integers(len(noise) - part_rows))
        X = means[table.labels[rows]] + noise[shift : shift + rows.stop - start]
        contents = _contents(rows)
        there = parts.add([content.tobytes() for content in contents], X)
        names.append(next(iter(there.values())).path.relative_to(folder).as_posix())
    stops = np.minimum(np.arange(part_rows, n_rows + part_rows, part_rows), n_rows)
    return Runs(tuple(names), np.zeros(len(names), dtype=np.int64), stops)


def _contents(rows: slice) -> NDArray[np.uint8]:
    """What stands for the SHA-256 of some rows: their numbers, mixed; uint8 (n_rows, 32)."""
    numbers = np.arange(rows.start, rows.stop, dtype=np.uint64)[:, None] * 4 + np.arange(4)
    mixed = (numbers.astype(np.uint64) + 1) * np.uint64(0x9E3779B97F4A7C15)
    return (mixed ^ (mixed >> np.uint64(29))).view(np.uint8).reshape(-1, 32)


def _write_columns(file: h5py.File, table: Table) -> None:
    n_rows = len(table.labels)
    write_array(file, "labels", table.labels)
    write_array(file, "splits", table.splits)
    file["splits"].attrs["names"] = fixed_text(SPLITS)
    write_dataset(file, "content_sha256", (n_rows, 32), np.uint8, _contents)
    names = np.char.encode(np.array(table.classes), "utf-8")
    width = names.dtype.itemsize + len("/00000000.jpg")

    def paths(rows: slice) -> NDArray[np.bytes_]:
        numbers = np.char.zfill(np.arange(rows.start, rows.stop).astype("S8"), 8)
        folders = np.char.add(names[table.labels[rows]], b"/")
        return np.char.add(np.char.add(folders, numbers), b".jpg")

    write_dataset(file, "paths", (n_rows,), h5py.string_dtype("utf-8", width), paths)
