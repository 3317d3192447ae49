"""Write a feature file: finished parts beside it, then one merged file, renamed atomically."""

import hashlib
import json
import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

import h5py
import numpy as np
from numpy.typing import NDArray

from headbench.cache.blocks import (
    CheckedDataset,
    create_hdf5,
    fixed_text,
    open_hdf5,
    rows_per_block,
    write_array,
    write_dataset,
    write_strings,
)
from headbench.cache.disk import require_free
from headbench.cache.errors import FeatureFileError, HeadbenchError, UnreadableError
from headbench.cache.format import (
    ATTRIBUTES,
    FORMAT,
    FORMAT_VERSION,
    STORES,
    UNLABELLED_VERSION,
    Table,
    attributes_checksum,
    hash_rows,
    row_hashes,
    split_names,
)
from headbench.cache.progress import Progress

LOG = logging.getLogger(__name__)

NOT_INSTALLED = "not installed"


class Location(NamedTuple):
    """Where an embedding is stored: the file, and the row of its /embeddings."""

    path: Path
    row: int


class Parts:
    """Finished embeddings, in files beside the feature file.

    A part is written under another name and renamed, so it is complete or absent. Parts lie in a
    folder named after the fingerprint: those of another network are never used, nor those of lower
    precision than `store`.
    """

    def __init__(self, feature_path: Path, fingerprint: str, store: str = STORES[0]) -> None:
        self._all = feature_path.with_name(f"{feature_path.name}.parts")
        self.directory = self._all / fingerprint[:16]
        self.store = store

    def add(self, contents: list[bytes], embeddings: NDArray[np.float32]) -> dict[bytes, Location]:
        """Write a part: embeddings, float32 (n_rows, dim), and the SHA-256 of their images.

        Its name depends on its content: written twice, the first one stays. Returns the location of
        each embedding. Raises `StorageError`; and `HeadbenchError` if an embedding does not fit
        into float16.
        """
        kept = as_stored(embeddings, self.store, lambda row: f"image {contents[row].hex()}")
        name = hashlib.sha256(self.store.encode() + b"".join(contents)).hexdigest()[:32]
        target = self.directory / f"{name}.h5"
        with suppress(FeatureFileError):  # not there, or damaged
            if self._read(target) == contents:
                return _locations(target, contents)
        # Two workers may write the same part, where a cluster took the first for dead.
        with create_hdf5(target, f".{uuid4().hex}") as file:
            write_array(file, "embeddings", kept)
            write_array(file, "content_sha256", hash_rows(contents))
        return _locations(target, contents)

    def find(self) -> dict[bytes, Location]:
        """Location of each finished embedding, by the SHA-256 of its image.

        A damaged part is skipped, and a line is logged: its images are extracted again. Raises
        `UnreadableError` if a part cannot be read at the moment, because it may hold hours of work.
        """
        found: dict[bytes, Location] = {}
        for path in sorted(self.directory.glob("*.h5")):
            try:
                found |= _locations(path, self._read(path))
            except UnreadableError:
                raise
            except FeatureFileError:
                LOG.info(f"{path}: this part is damaged. Its images are extracted again.")
        return found

    def others(self) -> list[Path]:
        """Folders with parts of other fingerprints, from which another run may continue."""
        return sorted(path for path in self._all.glob("*") if path != self.directory)

    def remove(self) -> None:
        """Delete the parts of this fingerprint."""
        for path in self.directory.glob("*"):
            path.unlink(missing_ok=True)
        for folder in (self.directory, self._all):
            with suppress(OSError):  # it is not empty, or does not exist
                folder.rmdir()

    def _read(self, path: Path) -> list[bytes]:
        """The SHA-256 of the images of a part, after all of it was checked."""
        with open_hdf5(path) as file:
            embeddings = CheckedDataset(file, "embeddings")
            if embeddings.dtype.name not in STORES or len(embeddings.shape) != 2:
                raise FeatureFileError(f"{path}: damaged: /embeddings holds no embeddings.")
            if STORES.index(self.store) < STORES.index(embeddings.dtype.name):
                return []
            n_embeddings = len(embeddings.read())
            contents = CheckedDataset(file, "content_sha256").read()
        if n_embeddings != len(contents):
            raise FeatureFileError(f"{path}: damaged: its datasets differ in length.")
        return row_hashes(contents)


def write_features(path: Path, table: Table, source: Mapping[bytes, Location], dim: int) -> None:
    """Write a feature file; the old one stays in place until the new one is complete.

    Each embedding is copied from its location in `source`, which may be in the old file. Raises
    `StorageError` if the disk has no room, before anything is written, or if the file cannot be
    written; `FeatureFileError` if an embedding to be copied is damaged; `HeadbenchError` if one
    does not fit into float16.
    """
    locations = [source[content] for content in table.contents()]
    require_free(path.parent, n_bytes(table, dim), "the merged file")

    def copy(rows: slice) -> NDArray[Any]:
        paths = table.paths[rows]
        embeddings = gather(locations[rows], dim)
        progress.update(len(paths))
        return as_stored(embeddings, table.config.store, paths.__getitem__)

    with create_hdf5(path) as file, Progress("write", len(locations)) as progress:
        write_about(file, table)
        _write_columns(file, table)
        write_dataset(file, "embeddings", (len(locations), dim), table.config.store, copy)


def n_bytes(table: Table, dim: int) -> int:
    """Approximate size of a feature file in bytes, rather too high."""
    n_images = len(table.paths)
    longest_path = max((len(path.encode()) for path in table.paths), default=1)
    embedding = np.dtype(table.config.store).itemsize * dim
    optional = [int(array.itemsize) for array in table.optional.values()]
    rows = (embedding, 4, 1, 32, longest_path, *optional)
    steps = [rows_per_block(n_images, row) for row in rows]
    blocks = [-(-n_images // step) * step * row for step, row in zip(steps, rows, strict=True)]
    return sum(blocks) + (1 << 16)


def created_by() -> str:
    """Name and version of this program, as stored in the files that it writes."""
    return f"headbench {installed_version('headbench')}"


def write_about(file: h5py.File, table: Table) -> None:
    """Write what does not belong to single images: attributes, classes, rejected files."""
    config = table.config
    values = (
        FORMAT,
        FORMAT_VERSION if table.classes else UNLABELLED_VERSION,
        config.identity.fingerprint,
        json.dumps(asdict(config) | {"identity": config.identity.items}, ensure_ascii=False),
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
    """Write all columns except the embeddings."""
    write_array(file, "labels", table.labels)
    write_array(file, "splits", table.splits)
    file["splits"].attrs["names"] = fixed_text(split_names(table.classes))
    write_array(file, "content_sha256", table.content_sha256)
    for name, array in table.optional.items():
        write_array(file, name, array)
    write_strings(file, "paths", table.paths)


def gather(locations: list[Location], dim: int) -> NDArray[np.float32]:
    """Embeddings from their locations, checked, float32 (n_locations, dim).

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


def installed_version(distribution: str) -> str:
    """Version of a distribution such as ``tensorflow``; ``not installed`` if it is not."""
    try:
        return version(distribution)
    except PackageNotFoundError:
        return NOT_INSTALLED


def as_stored(
    embeddings: NDArray[np.float32], store: str, name: Callable[[int], str]
) -> NDArray[np.floating[Any]]:
    """Embeddings, float32 (n_rows, dim), converted to the dtype `store`.

    Raises `HeadbenchError` if a number is too large for that dtype, or if all numbers of an
    embedding would become 0. `name` gives the name of a row for the message.
    """
    if store == embeddings.dtype:
        return embeddings
    with np.errstate(over="ignore", under="ignore"):
        kept: NDArray[np.floating[Any]] = embeddings.astype(store)
    is_lost = ~np.isfinite(kept).all(axis=1) | (embeddings.any(axis=1) & ~kept.any(axis=1))
    if is_lost.any():
        row = int(is_lost.argmax())
        limits = np.finfo(store)
        raise HeadbenchError(
            f"{name(row)}: its embedding does not fit into {store}. Its largest number is "
            f"{np.abs(embeddings[row]).max():.2g}, expected {limits.smallest_subnormal:.0g} to "
            f"{limits.max:.0f}. Use --store {STORES[0]}."
        )
    return kept


def _locations(path: Path, contents: list[bytes]) -> dict[bytes, Location]:
    return {content: Location(path, row) for row, content in enumerate(contents)}
