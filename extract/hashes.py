"""SHA-256 of each image; a file is read again only if it may have changed.

The known hashes lie beside the feature file. They only save reading: if they are deleted or
damaged, all files are read again.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from headbench.cache.blocks import (
    create_hdf5,
    open_hdf5,
    read_columns,
    write_array,
    write_strings,
)
from headbench.cache.errors import FeatureFileError
from headbench.cache.format import hash_rows
from headbench.cache.progress import Progress
from headbench.extract.errors import UnusableImageError
from headbench.extract.images.stream import MAX_FILE_BYTES, hash_files
from headbench.extract.sources.source import N_STAMPS, Source

# A file that was hashed within the tick of the file system's clock in which it was changed could be
# changed once more and keep its times. Two seconds is the longest tick in use (FAT).
TICK_NS = 2_000_000_000

Hashed = bytes | UnusableImageError


@dataclass(frozen=True)
class KnownHashes:
    """Hashes of files, uint8 (n_files, 32), each valid while the stamps of its file stay the same.

    Paths are relative to the data folder. Stamps, int64 (n_files, 4), come from the source: see
    `headbench.extract.sources.source.N_STAMPS`.
    """

    paths: Sequence[str]
    stamps: NDArray[np.int64]
    sha256: NDArray[np.uint8]

    def look_up(self, paths: Sequence[str], stamps: NDArray[np.int64]) -> list[bytes | None]:
        """The hash of each file whose stamps are unchanged; None for the others."""
        row_of = {path: row for row, path in enumerate(self.paths)}
        rows = np.array([row_of.get(path, -1) for path in paths], dtype=np.intp)
        is_known = rows >= 0
        is_known[is_known] = (self.stamps[rows[is_known]] == stamps[is_known]).all(axis=1)
        is_known &= stamps[:, 0] >= 0
        return [
            self.sha256[row].tobytes() if known else None
            for row, known in zip(rows.tolist(), is_known.tolist(), strict=True)
        ]

    def write(self, path: Path) -> None:
        """Write them to a file."""
        with create_hdf5(path) as file:
            write_strings(file, "paths", self.paths)
            write_array(file, "stamps", self.stamps)
            write_array(file, "content_sha256", self.sha256)


def read_hashes(path: Path) -> KnownHashes:
    """The known hashes; none if the file is missing or damaged."""
    try:
        with open_hdf5(path) as file:
            paths, stamps, sha256 = read_columns(
                file, paths=("S", ()), stamps=("i", (N_STAMPS,)), content_sha256=("u", (32,))
            )
            return KnownHashes(paths.strings(), stamps.read(), sha256.read())
    except FeatureFileError:
        return KnownHashes([], np.empty((0, N_STAMPS), dtype=np.int64), hash_rows([]))


class Hashes:
    """The content of each image of a source, as far as this run or the file `known` tells.

    Attributes
    ----------
    found : list of bytes, UnusableImageError or None, length n_images
        SHA-256 of each file, why it cannot be read, or None if it has not been read.
    """

    def __init__(self, source: Source, paths: Sequence[str], known: Path) -> None:
        self.source, self.paths, self._known = source, paths, known
        self._started_ns = time.time_ns()
        self._stamps = source.stamps(paths)
        self.found: list[Hashed | None] = list(read_hashes(known).look_up(paths, self._stamps))
        self._n_known = len(paths) - len(self.unread)

    @property
    def unread(self) -> list[int]:
        """Rows of the images that must be read."""
        return [row for row, content in enumerate(self.found) if content is None]

    def read(self, max_bytes: int = MAX_FILE_BYTES) -> None:
        """Read and hash the unread files, of at most `max_bytes` each."""
        unread = self.unread
        with Progress("read", len(unread)) as progress:
            files = (self.source.file(self.paths[row]) for row in unread)
            digests = hash_files(file._replace(max_bytes=max_bytes) for file in files)
            for row, digest in zip(unread, digests, strict=True):
                self.found[row] = digest
                progress.update()

    def complete(self) -> list[Hashed]:
        """All hashes, once every file has been read."""
        found = [content for content in self.found if content is not None]
        if len(found) != len(self.paths):
            raise ValueError(f"{len(self.paths) - len(found)} images have not been read yet")
        return found

    def keep(self) -> None:
        """Store new hashes for the next run."""
        if len(self.paths) - len(self.unread) > self._n_known:
            known = _trusted(self.paths, self._stamps, self.found, self._started_ns - TICK_NS)
            known.write(self._known)


def _trusted(
    paths: Sequence[str],
    stamps: NDArray[np.int64],
    hashes: Sequence[Hashed | None],
    settled_ns: int,
) -> KnownHashes:
    is_settled = (stamps[:, 1:3].max(axis=1) < settled_ns) & (stamps[:, 0] >= 0)
    rows = [row for row in np.flatnonzero(is_settled).tolist() if isinstance(hashes[row], bytes)]
    contents = [content for row in rows if isinstance(content := hashes[row], bytes)]
    return KnownHashes([paths[row] for row in rows], stamps[rows], hash_rows(contents))
