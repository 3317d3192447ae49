"""Activations of images, by content: what a frozen part of a network need not compute again.

A row is as large as many embeddings and is read alone, in any order. So it is a block of its own,
and files are not put together in the end.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Lock

import h5py
import numpy as np
from numpy.typing import NDArray

from cache.blocks import CheckedDataset, write_array
from cache.disk import temporary_path
from cache.errors import FeatureFileError, UnreadableError
from cache.format import hash_rows, row_hashes
from cache.hdf5 import create_hdf5, open_hdf5
from cache.open_files import OpenFiles


class ActivationStore:
    """Activations in float16, in files of some rows each.

    A file is there whole or not at all, in a folder named after the fingerprint: those of another
    network are never taken up. Every row that is read is checked against its checksum.

    Parameters
    ----------
    folder : Path
    fingerprint : str
        Of whatever decides the activations, besides the image.
    """

    def __init__(self, folder: Path, fingerprint: str) -> None:
        self.folder = folder / fingerprint[:16]
        self._places: dict[bytes, tuple[Path, int]] = {}
        self._files = OpenFiles[CheckedDataset]()
        self._lock = Lock()

    def open(self, on_damage: Callable[[str], None]) -> None:
        """Look at what is there; a file that is damaged is reported to `on_damage` and deleted.

        Raises
        ------
        UnreadableError
            If a file cannot be read for now; nothing is known to be wrong with it, and it stays.
        """
        with self._lock:
            self._files.close()  # another process may have put others in their place
        for path in sorted(self.folder.glob("*.h5")):
            try:
                self._look_at(path)
            except UnreadableError:
                raise
            except FeatureFileError:
                on_damage(f"{path}: damaged; its activations are computed again")
                path.unlink()

    def missing(self, contents: Sequence[bytes]) -> list[int]:
        """Rows of the images, given by their SHA-256, that are not there; of copies the first."""
        rows: dict[bytes, int] = {}
        for row, content in enumerate(contents):
            if content not in self._places:
                rows.setdefault(content, row)
        return list(rows.values())

    def add(self, contents: Sequence[bytes], activations: NDArray[np.float16]) -> None:
        """Keep some rows.

        Parameters
        ----------
        contents : sequence of bytes, length n_rows
            SHA-256 of each image.
        activations : float16 (n_rows, ...)

        Raises
        ------
        StorageError
        """
        path = self.folder / f"{contents[0].hex()[:16]}.h5"
        temporary_path(path).unlink(missing_ok=True)
        with create_hdf5(path) as file:
            write_array(file, "activations", activations, block_rows=1)
            write_array(file, "content_sha256", hash_rows(list(contents)))
        self._look_at(path)

    def read(self, contents: Sequence[bytes]) -> NDArray[np.float16]:
        """Rows of some images, float16 (n_rows, ...), in that order.

        Raises
        ------
        FeatureFileError
            If a row is damaged: delete the file that it names, and run the same command again.
        """
        places = (self._places[content] for content in contents)
        with self._lock:
            rows = [self._files.get(path, _activations).read_block(row) for path, row in places]
        return np.concatenate(rows)

    def _look_at(self, path: Path) -> None:
        with open_hdf5(path) as file:
            n_rows = len(CheckedDataset(file, "activations"))
            contents = row_hashes(CheckedDataset(file, "content_sha256").read())
        if n_rows != len(contents):
            raise FeatureFileError(f"{path}: damaged: its datasets differ in length.")
        self._places |= {content: (path, row) for row, content in enumerate(contents)}


def _activations(path: Path) -> tuple[h5py.File, CheckedDataset]:
    file = open_hdf5(path)
    return file, CheckedDataset(file, "activations")
