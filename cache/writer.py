"""Write a feature file: finished parts beside it, then one atomic rename into place."""

import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np
from numpy.typing import NDArray

from cache.format import CHUNK_BYTES, FORMAT, FORMAT_VERSION, SPLITS, Table
from cache.reader import read_rows
from cache.versions import installed_version

BLOCK_ROWS = 4096
UTF8 = h5py.string_dtype("utf-8")


class Location(NamedTuple):
    """Where an embedding lies: the file, and the row of its /embeddings."""

    path: Path
    row: int


class Parts:
    """Embeddings finished so far, in files beside the feature file.

    A part is written under another name and renamed, so it is there whole or not at all. Parts lie
    in a folder named after the fingerprint: those of another network are never taken up.

    Parameters
    ----------
    feature_path : Path
        The feature file to be.
    fingerprint : str
        Of the embeddings in it.
    """

    def __init__(self, feature_path: Path, fingerprint: str) -> None:
        self._all = feature_path.with_name(feature_path.name + ".parts")
        self.directory = self._all / fingerprint[:16]

    def add(self, contents: list[bytes], embeddings: NDArray[np.float32]) -> None:
        """Make a part of embeddings, float32 (n_rows, dim), and the SHA-256 of their images."""
        self.directory.mkdir(parents=True, exist_ok=True)
        target = self.directory / f"{contents[0].hex()[:16]}.h5"
        with _replacing(target) as temporary, h5py.File(temporary, "w", locking=False) as file:
            # HDF5 checks these sums whenever it reads the part.
            file.create_dataset("embeddings", data=embeddings, chunks=True, fletcher32=True)
            sha256 = np.frombuffer(b"".join(contents), dtype=np.uint8).reshape(-1, 32)
            file.create_dataset("content_sha256", data=sha256, chunks=True, fletcher32=True)

    def find(self, on_damage: Callable[[str], None]) -> dict[bytes, Location]:
        """Where each finished embedding lies, by the SHA-256 of its image.

        A damaged part is deleted and reported to `on_damage`: its images are extracted again.
        """
        found: dict[bytes, Location] = {}
        for path in sorted(self.directory.glob("*.h5")):
            try:
                with h5py.File(path, "r", locking=False) as file:
                    file["embeddings"][:]
                    contents = [row.tobytes() for row in file["content_sha256"][:]]
            except (OSError, KeyError) as error:
                on_damage(f"{path}: damaged part ({error}); its images are extracted again")
                path.unlink()
                continue
            found.update((content, Location(path, row)) for row, content in enumerate(contents))
        return found

    def remove(self) -> None:
        """Delete all parts: they are in the feature file now."""
        shutil.rmtree(self._all, ignore_errors=True)


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
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with _replacing(path) as temporary, h5py.File(temporary, "w", locking=False) as file:
        _write_table(file, table)
        n_images = len(table.paths)
        embeddings = file.create_dataset(
            "embeddings",
            shape=(n_images, dim),
            dtype=np.float32,
            chunks=(min(n_images, max(1, CHUNK_BYTES // (4 * dim))), dim),
        )
        _copy_embeddings(embeddings, [source[content] for content in table.contents()])


def _write_table(file: h5py.File, table: Table) -> None:
    identity = table.config.identity
    file.attrs["format"] = FORMAT
    file.attrs["format_version"] = FORMAT_VERSION
    file.attrs["fingerprint"] = identity.fingerprint
    file.attrs["config"] = json.dumps(asdict(table.config), ensure_ascii=False)
    file.attrs["created_by"] = f"headbench {installed_version('headbench')}"
    file["labels"] = table.labels
    file["splits"] = table.splits
    file["splits"].attrs["names"] = list(SPLITS)
    file["content_sha256"] = table.content_sha256
    file.create_dataset("paths", data=table.paths, dtype=UTF8)
    file.create_dataset("classes", data=table.classes, dtype=UTF8)
    for field in ("path", "reason"):
        values = [getattr(rejected, field) for rejected in table.rejected]
        file.create_dataset(f"rejected/{field}", shape=(len(values),), data=values, dtype=UTF8)


def _copy_embeddings(target: h5py.Dataset, locations: list[Location]) -> None:
    """Copy block by block, so that memory stays the same however many images there are."""
    with ExitStack() as stack:
        files = {
            path: stack.enter_context(h5py.File(path, "r", locking=False))
            for path in {location.path for location in locations}
        }
        for start in range(0, len(locations), BLOCK_ROWS):
            block = locations[start : start + BLOCK_ROWS]
            out = np.empty((len(block), target.shape[1]), dtype=np.float32)
            for path in {location.path for location in block}:
                positions = np.array([i for i, place in enumerate(block) if place.path == path])
                rows = np.array([block[i].row for i in positions], dtype=np.intp)
                out[positions] = read_rows(files[path]["embeddings"], rows)
            target[start : start + len(block)] = out


@contextmanager
def _replacing(target: Path) -> Iterator[Path]:
    """Give a temporary name beside `target`; on success flush it to disk and rename it."""
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        _flush(temporary)
        temporary.replace(target)
        _flush(target.parent)
    finally:
        temporary.unlink(missing_ok=True)


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
