"""HDF5 files as headbench opens and creates them."""

import errno
import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py

from cache.disk import replacing
from cache.errors import FeatureFileError, UnreadableError

# From this version on HDF5's own structures carry checksums; HDF5 1.10 and later read it.
VERSION = ("v110", "v110")
# What the system says of a file that is not there, or of an address in it that cannot be, as where
# HDF5 followed damaged content. Whatever else it says is no word about the content.
OF_CONTENT = {errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EINVAL, errno.EOVERFLOW, errno.EFBIG}
TOO_MANY_FILES = {errno.EMFILE, errno.ENFILE}


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
    UnreadableError
        If that cannot be told, as it cannot be read for now.
    """
    try:
        return h5py.File(path, "r", locking=False)
    except (OSError, RuntimeError) as error:
        require_about_content(path, error)
        reason = str(error).split("\n", maxsplit=1)[0]
        raise FeatureFileError(
            f"{path}: not a readable HDF5 file ({reason}). Expected a file made by 'make "
            "features'; move this one away and run it again."
        ) from error


def require_about_content(path: str | Path, error: Exception) -> None:
    """Tell a file that cannot be read for now from one whose content is bad.

    Raises
    ------
    UnreadableError
        If `error` says nothing about the content of the file.
    """
    code = error.errno if isinstance(error, OSError) else None
    if code is None or code in OF_CONTENT:
        return
    remedy = "Mend that, or move it away"
    if code in TOO_MANY_FILES:
        remedy = "Close other files, or allow more (ulimit -n)"
    raise UnreadableError(
        f"{path}: cannot be read for now ({os.strerror(code)}); it may be whole and is left as it "
        f"is. {remedy}, and run the same command again."
    ) from error
