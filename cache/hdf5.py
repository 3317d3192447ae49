"""HDF5 files as headbench opens and creates them."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py

from cache.disk import replacing
from cache.errors import FeatureFileError

# From this version on HDF5's own structures carry checksums; HDF5 1.10 and later read it.
VERSION = ("v110", "v110")


class PatientFile(io.FileIO):
    """A file that keeps its first error to itself: HDF5 crashes when it cannot write.

    Attributes
    ----------
    error : OSError or None
        What went wrong; from then on nothing more is written.
    """

    error: OSError | None = None

    def write(self, data: Any) -> int:
        """Write all of `data`, or note why not."""
        rest = memoryview(data).cast("B")
        n_bytes = len(rest)
        try:
            while self.error is None and len(rest):
                rest = rest[super().write(rest) :]
        except OSError as error:
            self.error = error
        return n_bytes

    def truncate(self, size: int | None = None) -> int:
        """Change the length, or note why not."""
        try:
            if self.error is None:
                super().truncate(size)
        except OSError as error:
            self.error = error
        return size or 0


@contextmanager
def create_hdf5(path: Path, writer: str = "") -> Iterator[h5py.File]:
    """Create a file that takes its name once it is whole and on the disk.

    Raises
    ------
    StorageError
        If it cannot be written.
    """
    with replacing(path, writer) as temporary, PatientFile(temporary, "w+") as disk:
        try:
            with h5py.File(disk, "w", libver=VERSION) as file:
                yield file
        finally:
            if disk.error is not None:
                raise disk.error


def open_hdf5(path: Path) -> h5py.File:
    """Open a file for reading.

    No lock is taken: a file is only ever replaced whole, so nobody reads a half-written one.

    Raises
    ------
    FeatureFileError
        If it is not a whole HDF5 file.
    """
    try:
        return h5py.File(path, "r", locking=False)
    except (OSError, RuntimeError) as error:
        reason = str(error).split("\n", maxsplit=1)[0]
        raise FeatureFileError(
            f"{path}: not a readable HDF5 file ({reason}). Expected a file made by 'make "
            "features'; move this one away and run it again."
        ) from error
