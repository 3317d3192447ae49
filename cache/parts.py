"""Finished embeddings beside the feature file to be: what an interrupted run goes on from."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cache.blocks import CheckedDataset, write_array
from cache.errors import FeatureFileError
from cache.format import hash_rows, row_hashes
from cache.hdf5 import create_hdf5, open_hdf5


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
        self._all = feature_path.with_name(f"{feature_path.name}.parts")
        self.directory = self._all / fingerprint[:16]

    def add(self, contents: list[bytes], embeddings: NDArray[np.float32]) -> dict[bytes, Location]:
        """Make a part.

        Parameters
        ----------
        contents : list of bytes, length n_rows
            SHA-256 of each image.
        embeddings : float32 (n_rows, dim)

        Returns
        -------
        dict of bytes to Location
            Where each embedding lies now.

        Raises
        ------
        StorageError
        """
        target = self.directory / f"{contents[0].hex()[:16]}.h5"
        with create_hdf5(target) as file:
            write_array(file, "embeddings", embeddings)
            write_array(file, "content_sha256", hash_rows(contents))
        return _locations(target, contents)

    def find(self, on_damage: Callable[[str], None]) -> dict[bytes, Location]:
        """Where each finished embedding lies, by the SHA-256 of its image.

        A damaged part is left out and reported to `on_damage`: its images are extracted again.
        """
        found: dict[bytes, Location] = {}
        for path in sorted(self.directory.glob("*.h5")):
            try:
                found |= _locations(path, _read(path))
            except FeatureFileError:
                on_damage(f"{path}: damaged part; its images are extracted again")
        return found

    def others(self) -> list[Path]:
        """Folders with parts of other fingerprints, which another run may go on from."""
        return sorted(path for path in self._all.glob("*") if path != self.directory)

    def remove(self) -> None:
        """Delete the parts of this fingerprint: they are in the feature file now."""
        shutil.rmtree(self.directory, ignore_errors=True)
        if not self.others():
            shutil.rmtree(self._all, ignore_errors=True)


def _read(path: Path) -> list[bytes]:
    """The SHA-256 of the images of a part, once all of it is known to be whole."""
    with open_hdf5(path) as file:
        n_embeddings = len(CheckedDataset(file, "embeddings").read())
        contents = CheckedDataset(file, "content_sha256").read()
    if n_embeddings != len(contents):
        raise FeatureFileError(f"{path}: damaged: its datasets differ in length.")
    return row_hashes(contents)


def _locations(path: Path, contents: list[bytes]) -> dict[bytes, Location]:
    return {content: Location(path, row) for row, content in enumerate(contents)}
