"""SHA-256 of each image file, read anew only where the file may have changed.

What is known lies beside the feature file. It only saves reading: deleted or damaged, all files are
read again.
"""

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cache.blocks import CheckedDataset, write_array, write_strings
from cache.errors import FeatureFileError
from cache.format import hash_rows
from cache.hdf5 import create_hdf5, open_hdf5
from extract.errors import UnusableImageError
from extract.progress import Progress
from extract.stream import hash_files

# A file that was hashed within the tick of the file system's clock in which it was changed could be
# changed once more and keep its times. Two seconds is the longest tick in use (FAT).
TICK_NS = 2_000_000_000
N_STAMPS = 4

Hashed = bytes | UnusableImageError


@dataclass(frozen=True)
class KnownHashes:
    """Hashes of files, each valid as long as the file's stamps are the same.

    Attributes
    ----------
    paths : list of str, length n_files
        Relative to the data folder.
    stamps : int64 (n_files, 4)
        Size in bytes, time of modification and of change (ctime) in ns, inode. The last two are for
        what the first two miss: files swapped, an edit by a program that sets the old time again.
    sha256 : uint8 (n_files, 32)
    """

    paths: Sequence[str]
    stamps: NDArray[np.int64]
    sha256: NDArray[np.uint8]

    def look_up(self, paths: Sequence[str], stamps: NDArray[np.int64]) -> list[bytes | None]:
        """The hash of each file whose stamps are as they were, None for the others."""
        row_of = {path: row for row, path in enumerate(self.paths)}
        rows = np.array([row_of.get(path, -1) for path in paths], dtype=np.intp)
        is_known = rows >= 0
        is_known[is_known] = (self.stamps[rows[is_known]] == stamps[is_known]).all(axis=1)
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
    """What is known; nothing at all if the file is missing or damaged."""
    try:
        with open_hdf5(path) as file:
            paths, stamps, sha256 = (
                CheckedDataset(file, name) for name in ("paths", "stamps", "content_sha256")
            )
            return KnownHashes(paths.strings(), stamps.read(), sha256.read())
    except FeatureFileError:
        return KnownHashes([], np.empty((0, N_STAMPS), dtype=np.int64), hash_rows([]))


def hash_images(root: Path, paths: Sequence[str], known: Path, keep: bool) -> list[Hashed]:
    """SHA-256 of each file, or why it cannot be read.

    Parameters
    ----------
    root : Path
        The data folder.
    paths : sequence of str, length n_images
        Relative to `root`.
    known : Path
        File of what is known.
    keep : bool
        Whether to keep what is found, for the next time.
    """
    started_ns = time.time_ns()
    stamps = _stamps(root, paths)
    found = read_hashes(known).look_up(paths, stamps)
    unknown = [row for row, content in enumerate(found) if content is None]
    hashes: list[Hashed] = [content or b"" for content in found]
    with Progress("read", len(unknown)) as progress:
        digests = hash_files(root / paths[row] for row in unknown)
        for row, digest in zip(unknown, digests, strict=True):
            hashes[row] = digest
            progress.update()
    if unknown and keep:
        _trusted(paths, stamps, hashes, started_ns).write(known)
    return hashes


def _trusted(
    paths: Sequence[str], stamps: NDArray[np.int64], hashes: Sequence[Hashed], started_ns: int
) -> KnownHashes:
    is_settled = stamps[:, 1:3].max(axis=1) < started_ns - TICK_NS
    rows = [row for row in np.flatnonzero(is_settled).tolist() if isinstance(hashes[row], bytes)]
    contents = [content for row in rows if isinstance(content := hashes[row], bytes)]
    return KnownHashes([paths[row] for row in rows], stamps[rows], hash_rows(contents))


def _stamps(root: Path, paths: Sequence[str]) -> NDArray[np.int64]:
    stamps = np.full((len(paths), N_STAMPS), -1, dtype=np.int64)
    for row, path in enumerate(paths):
        try:
            found = os.stat(f"{root}/{path}")
        except OSError:
            continue  # whoever reads it finds out why
        inode = found.st_ino & 0x7FFF_FFFF_FFFF_FFFF
        stamps[row] = (found.st_size, found.st_mtime_ns, found.st_ctime_ns, inode)
    return stamps
