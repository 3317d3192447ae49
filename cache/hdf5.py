"""HDF5 files as headbench opens and creates them."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py

from cache.disk import replacing
from cache.errors import FeatureFileError

# From this version on HDF5's own structures carry checksums; HDF5 1.10 and later read it.
VERSION = ("v110", "v110")


@contextmanager
def create_hdf5(path: Path) -> Iterator[h5py.File]:
    """Create a file that takes its name once it is whole and on the disk.

    Raises
    ------
    StorageError
        If it cannot be written.
    """
    with replacing(path) as temporary:
        try:
            with h5py.File(temporary, "w", libver=VERSION, locking=False) as file:
                yield file
        except (OSError, RuntimeError) as error:
            raise _in_words(error) from error


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


def _in_words(error: OSError | RuntimeError) -> OSError:
    """An error of HDF5's as one of the operating system's: h5py leaves its number in the text."""
    found = re.search(r"error message = '([^']*)'", str(error))
    return OSError(found.group(1) if found else str(error).split("\n", maxsplit=1)[0])
