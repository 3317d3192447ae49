"""Write a feature file: whole, then one atomic rename into place."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from cache.blocks import (
    CheckedDataset,
    fixed_text,
    rows_per_block,
    write_array,
    write_dataset,
    write_strings,
)
from cache.disk import require_free
from cache.format import (
    ATTRIBUTES,
    FORMAT,
    FORMAT_VERSION,
    SPLITS,
    Table,
    attributes_checksum,
    hash_rows,
)
from cache.hdf5 import create_hdf5, open_hdf5
from cache.parts import Location, as_stored
from cache.versions import installed_version


def write_features(path: Path, table: Table, source: Mapping[bytes, Location], dim: int) -> None:
    """Write a feature file; until the very end the old one stays in place, whole.

    Parameters
    ----------
    path : Path
        Replaced atomically.
    table : Table
        All but the embeddings.
    source : mapping of bytes to Location
        Where to copy the embedding of each content from. May point into the old file at `path`.
    dim : int
        Length of one embedding.

    Raises
    ------
    StorageError
        If the disk has no room for it, before anything is written; or if it cannot be written.
    FeatureFileError
        If an embedding to be copied is damaged.
    HeadbenchError
        If an embedding does not fit into float16.
    """
    locations = [source[content] for content in table.contents()]
    require_free(path.parent, n_bytes(table, dim), "the merged file")

    def copy(rows: slice) -> NDArray[Any]:
        paths = table.paths[rows]
        return as_stored(gather(locations[rows], dim), table.config.store, paths.__getitem__)

    with create_hdf5(path) as file:
        write_about(file, table)
        _write_columns(file, table)
        write_dataset(file, "embeddings", (len(locations), dim), table.config.store, copy)


def n_bytes(table: Table, dim: int) -> int:
    """Size of a feature file, roughly and rather too high."""
    n_images = len(table.paths)
    longest_path = max((len(path.encode()) for path in table.paths), default=1)
    embedding = np.dtype(table.config.store).itemsize * dim
    optional = [int(array.itemsize) for array in table.optional.values()]
    rows = (embedding, 4, 1, 32, longest_path, *optional)
    steps = [rows_per_block(n_images, row) for row in rows]
    blocks = [-(-n_images // step) * step * row for step, row in zip(steps, rows, strict=True)]
    return sum(blocks) + (1 << 16)


def created_by() -> str:
    """Name and version of this program, as it stands in the files that it writes."""
    return f"headbench {installed_version('headbench')}"


def write_about(file: h5py.File, table: Table) -> None:
    """Write what is not of single images: attributes, classes, rejected files."""
    values = (
        FORMAT,
        FORMAT_VERSION,
        table.config.identity.fingerprint,
        json.dumps(asdict(table.config), ensure_ascii=False),
        created_by(),
    )
    for name, value in zip(ATTRIBUTES, values, strict=True):
        file.attrs[name] = fixed_text(value) if isinstance(value, str) else value
    file.create_group("checksums").attrs["attributes"] = attributes_checksum(values)
    write_strings(file, "classes", table.classes)
    write_strings(file, "rejected/path", [each.path for each in table.rejected])
    write_strings(file, "rejected/reason", [each.reason for each in table.rejected])
    contents = hash_rows(each.content for each in table.rejected)
    write_array(file, "rejected/content_sha256", contents)


def _write_columns(file: h5py.File, table: Table) -> None:
    """Write what each image has, but for its embedding."""
    write_array(file, "labels", table.labels)
    write_array(file, "splits", table.splits)
    file["splits"].attrs["names"] = fixed_text(SPLITS)
    write_array(file, "content_sha256", table.content_sha256)
    for name, array in table.optional.items():
        write_array(file, name, array)
    write_strings(file, "paths", table.paths)


def gather(locations: list[Location], dim: int) -> NDArray[np.float32]:
    """Embeddings from wherever they lie, checked, float32 (n_locations, dim).

    Files are opened for one span at a time: a million images make more parts than a process may
    hold open.
    """
    out = np.empty((len(locations), dim), dtype=np.float32)
    positions: dict[Path, list[int]] = {}
    for position, location in enumerate(locations):
        positions.setdefault(location.path, []).append(position)
    for path, found in positions.items():
        rows = np.array([locations[position].row for position in found], dtype=np.intp)
        with open_hdf5(path) as file:
            out[found] = CheckedDataset(file, "embeddings").read(rows)
    return out
