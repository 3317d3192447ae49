"""A feature file of as many rows as wanted, written in bounded memory."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from headbench.cache.blocks import create_hdf5, fixed_text, write_array, write_dataset
from headbench.cache.format import SPLITS, Config, Identity, Table
from headbench.cache.writer import write_about

IDENTITY = Identity("synthetic", "none", "none", 224, "none", "avg", "float32")
# Train, val and test.
SHARES = (0.7, 0.15, 0.15)
# Of the class means; single embeddings deviate from them by 1 in each column.
SPREAD = 0.5
# Rows whose noise is drawn once; each span takes it shifted, in every row another one.
NOISE_ROWS = 1 << 16


def write_synthetic_features(
    folder: Path, n_rows: int, dim: int, n_classes: int, seed: int, store: str = "float16"
) -> Path:
    """Write `features.h5`, each class a Gaussian around a mean of its own.

    Labels and splits are drawn for each row alone. Embeddings are means plus noise that distant
    rows share: good for time, memory and a boundary between classes, not for near-duplicates.

    Parameters
    ----------
    folder : Path
    n_rows, dim, n_classes : int
    seed : int
    store : str

    Returns
    -------
    Path
        The feature file.
    """
    path = folder / "features.h5"
    rng = np.random.default_rng(seed)
    table = Table(
        paths=(),
        labels=rng.integers(n_classes, size=n_rows, dtype=np.int32),
        splits=rng.choice(len(SPLITS), n_rows, p=SHARES).astype(np.uint8),
        content_sha256=np.empty((0, 32), dtype=np.uint8),
        classes=tuple(f"class{label:04}" for label in range(n_classes)),
        rejected=(),
        config=Config(IDENTITY, "none", {"folder": "synthetic", "seed": seed}, store),
    )
    with create_hdf5(path) as file:
        write_about(file, table)
        _write_columns(file, table)
        write_dataset(file, "embeddings", (n_rows, dim), store, _embeddings(table, dim, rng))
    return path


def _embeddings(
    table: Table, dim: int, rng: np.random.Generator
) -> Callable[[slice], NDArray[np.float32]]:
    means = SPREAD * rng.standard_normal((len(table.classes), dim), dtype=np.float32)
    noise = rng.standard_normal((min(NOISE_ROWS, 4 * len(table.labels)), dim), dtype=np.float32)

    def rows_of(rows: slice) -> NDArray[np.float32]:
        positions = rng.integers(len(noise)) + np.arange(rows.stop - rows.start)
        return means[table.labels[rows]] + noise[positions % len(noise)]

    return rows_of


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

    def paths(rows: slice) -> NDArray[Any]:
        numbers = np.char.zfill(np.arange(rows.start, rows.stop).astype("S8"), 8)
        folders = np.char.add(names[table.labels[rows]], b"/")
        return np.char.add(np.char.add(folders, numbers), b".jpg")

    write_dataset(file, "paths", (n_rows,), h5py.string_dtype("utf-8", width), paths)
