"""Finished embeddings beside the feature file: what a run goes on from, until they are merged."""

import hashlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray

from cache.blocks import CheckedDataset, write_array
from cache.errors import FeatureFileError, HeadbenchError, UnreadableError
from cache.format import STORES, hash_rows, row_hashes
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
        The feature file, there or to be.
    fingerprint : str
        Of the embeddings in it.
    store : str
        ``float32`` or ``float16``: how parts keep them. Parts that keep less are not taken up.
    """

    def __init__(self, feature_path: Path, fingerprint: str, store: str = STORES[0]) -> None:
        self._all = feature_path.with_name(f"{feature_path.name}.parts")
        self.directory = self._all / fingerprint[:16]
        self.store = store

    def add(self, contents: list[bytes], embeddings: NDArray[np.float32]) -> dict[bytes, Location]:
        """Make a part, named after all that is in it: done twice, the first one stays.

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
        HeadbenchError
            If an embedding does not fit into float16.
        """
        kept = as_stored(embeddings, self.store, lambda row: f"image {contents[row].hex()}")
        name = hashlib.sha256(self.store.encode() + b"".join(contents)).hexdigest()[:32]
        target = self.directory / f"{name}.h5"
        with suppress(FeatureFileError):  # not there, or damaged
            if self._read(target) == contents:
                return _locations(target, contents)
        # Two workers may be at the same one: of a cluster that took the first for dead.
        with create_hdf5(target, f".{uuid4().hex}") as file:
            write_array(file, "embeddings", kept)
            write_array(file, "content_sha256", hash_rows(contents))
        return _locations(target, contents)

    def find(self, on_damage: Callable[[str], None]) -> dict[bytes, Location]:
        """Where each finished embedding lies, by the SHA-256 of its image.

        A damaged part is left out and reported to `on_damage`: its images are extracted again.

        Raises
        ------
        UnreadableError
            If a part cannot be read for now: it may hold hours of work.
        """
        found: dict[bytes, Location] = {}
        for path in sorted(self.directory.glob("*.h5")):
            try:
                found |= _locations(path, self._read(path))
            except UnreadableError:
                raise
            except FeatureFileError:
                on_damage(f"{path}: damaged part; its images are extracted again")
        return found

    def others(self) -> list[Path]:
        """Folders with parts of other fingerprints, which another run may go on from."""
        return sorted(path for path in self._all.glob("*") if path != self.directory)

    def remove(self) -> None:
        """Delete the parts of this fingerprint."""
        for path in self.directory.glob("*"):
            path.unlink(missing_ok=True)
        for folder in (self.directory, self._all):
            with suppress(OSError):  # there is something in it, or it is not there
                folder.rmdir()

    def _read(self, path: Path) -> list[bytes]:
        """The SHA-256 of the images of a part, once all of it is known to be whole."""
        with open_hdf5(path) as file:
            embeddings = CheckedDataset(file, "embeddings")
            if STORES.index(self.store) < STORES.index(embeddings.dtype.name):
                return []
            n_embeddings = len(embeddings.read())
            contents = CheckedDataset(file, "content_sha256").read()
        if n_embeddings != len(contents):
            raise FeatureFileError(f"{path}: damaged: its datasets differ in length.")
        return row_hashes(contents)


def as_stored(
    embeddings: NDArray[np.float32], store: str, name: Callable[[int], str]
) -> NDArray[np.floating[Any]]:
    """Embeddings, float32 (n_rows, dim), in the dtype `store`.

    Raises
    ------
    HeadbenchError
        If one does not fit into it: what `name` calls its row is named.
    """
    if store == embeddings.dtype:
        return embeddings
    too_large = np.abs(embeddings).max(axis=1, initial=0) > np.finfo(store).max
    if too_large.any():
        raise HeadbenchError(
            f"{name(int(too_large.argmax()))}: its embedding holds numbers over "
            f"{np.finfo(store).max:.0f}, which {store} cannot hold. Leave out --store {store}."
        )
    return embeddings.astype(store)


def _locations(path: Path, contents: list[bytes]) -> dict[bytes, Location]:
    return {content: Location(path, row) for row, content in enumerate(contents)}
