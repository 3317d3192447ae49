"""Small tables and files for the tests of the cache."""

import hashlib
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np

from headbench.cache.errors import HeadbenchError
from headbench.cache.format import Config, Identity, Rejected, Table, group_number, hash_rows
from headbench.cache.verify import inspect_file, repair_file
from headbench.cache.writer import Parts, write_features

IDENTITY = Identity("mean-color", "none", "none", 16, "crop", "avg", "float32")
CLASSES = ("crème brûlée", "寿司", "pie with spaces")


def content(number: int) -> bytes:
    """SHA-256 of some image."""
    return hashlib.sha256(b"%d" % number).digest()


def make_table(
    n_images: int = 7, rejected: tuple[Rejected, ...] = (), store: str = "float32"
) -> Table:
    """A table whose labels and splits go round."""
    numbers = np.arange(n_images)
    return Table(
        paths=tuple(f"{CLASSES[n % 3]}/{n}.jpg" for n in numbers),
        labels=(numbers % 3).astype(np.int32),
        splits=(numbers // 2 % 3).astype(np.uint8),
        content_sha256=hash_rows(content(int(number)) for number in numbers),
        classes=CLASSES,
        rejected=rejected,
        config=Config(IDENTITY, "none", {"folder": "photos", "seed": 0}, store),
    )


def make_full_table(
    n_images: int = 7, rejected: tuple[Rejected, ...] = (), store: str = "float32"
) -> Table:
    """The same with groups and weights."""
    numbers = np.arange(n_images)
    return replace(
        make_table(n_images, rejected, store),
        groups=np.array([group_number(f"g{n // 2}") for n in numbers], dtype=np.int64),
        weights=(0.5 + numbers).astype(np.float32),
    )


def make_unlabelled_table(n_images: int = 7, rejected: tuple[Rejected, ...] = ()) -> Table:
    """The same without labels."""
    return replace(
        make_table(n_images, rejected),
        labels=np.full(n_images, -1, dtype=np.int32),
        splits=np.full(n_images, 3, dtype=np.uint8),
        classes=(),
    )


def embeddings_of(numbers: list[int], dim: int = 3) -> np.ndarray:
    """Embeddings that tell which image they are of."""
    rng = [np.random.default_rng(number) for number in numbers]
    return np.array([each.standard_normal(dim) for each in rng], dtype=np.float32).reshape(-1, dim)


def add_part(parts: Parts, numbers: list[int], dim: int = 3) -> None:
    """A part of the images of these numbers."""
    parts.add([content(number) for number in numbers], embeddings_of(numbers, dim))


def write_file(path: Path, table: Table, dim: int = 3) -> Path:
    """A feature file of a table made by `make_table`."""
    parts = Parts(path, table.config.identity.fingerprint)
    numbers = list(range(len(table.paths)))
    source = parts.add([content(number) for number in numbers], embeddings_of(numbers, dim))
    write_features(path, table, source, dim)
    parts.remove()
    return path


def flip(path: Path, name: str, row: int) -> None:
    """Flip one bit of one row of a dataset, behind the back of HDF5."""
    with h5py.File(path) as file:
        dataset = file[name]
        step = dataset.chunks[0]
        chunk = dataset.id.get_chunk_info_by_coord((row - row % step,) + (0,) * (dataset.ndim - 1))
        row_bytes = chunk.size // step
    position = chunk.byte_offset + (row % step) * row_bytes
    with path.open("r+b") as file:
        file.seek(position)
        [byte] = file.read(1)
        file.seek(position)
        file.write(bytes([byte ^ 4]))


def check(path: Path, *, repair: bool = False) -> int:
    """How a check ends: 0 if all is whole or repaired, 1 if it is damaged, 2 if nothing is read."""
    try:
        found = repair_file(path) if repair else inspect_file(path)
    except (HeadbenchError, OSError):
        return 2
    return int(bool(found.damage) and not repair)
