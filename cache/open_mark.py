"""The mark that HDF5 sets in a file while a program has it open for writing.

If that program is killed, the mark stays, and HDF5 refuses to open the file, even if it is
undamaged. The mark is a byte of the superblock, the first bytes of the file, followed by a
checksum: https://support.hdfgroup.org/documentation/hdf5/latest/_f_m_t3.html (version 3).
"""

import io
import logging
import os
import struct
import weakref
from functools import cache
from pathlib import Path
from typing import Any

import h5py

from headbench.cache.errors import FeatureFileError
from headbench.cache.untrusted import open_regular

LOG = logging.getLogger(__name__)

SIGNATURE = b"\x89HDF\r\n\x1a\n"
# Positions in the superblock.
VERSION, MARK, CHECKSUM, END = 8, 11, 44, 48
MARKING_VERSION = 3
WORDS = struct.Struct("<11I")
MASK = 0xFFFF_FFFF


def is_marked(path: Path) -> bool:
    """Whether a file is marked as open for writing."""
    head = _superblock(path)
    return head.startswith(SIGNATURE) and head[VERSION] == MARKING_VERSION and head[MARK] != 0


def open_marked(path: Path) -> h5py.File:
    """Open a marked file for reading, as it is on the disk, and log that it is marked."""
    _say_marked(path)
    return h5py.File(UnmarkedFile(path), "r")


@cache
def _say_marked(path: Path) -> None:
    LOG.info(
        f"{path}: this file is marked as open for writing. A program, such as a notebook, has it "
        "open, or was killed while it had. headbench reads it and checks each block against its "
        "checksum. Close the file there; 'headbench verify --repair' removes the mark."
    )


def remove_mark(path: Path) -> None:
    """Remove the mark from a file that no program has open, in one write."""
    with path.open("r+b", buffering=0) as file:
        file.write(_unmarked(_superblock(path)))
        os.fsync(file.fileno())


def require_closed(path: Path) -> None:
    """Raise `FeatureFileError` if a program has a marked file open for writing.

    Such a program holds HDF5's lock.
    """
    try:
        # Opened at all, it is open in this very process.
        h5py.File(path, "r", locking="best-effort").close()
    except BlockingIOError:
        pass
    except OSError:  # the mark, and nobody's lock
        return
    raise FeatureFileError(
        f"{path}: another program, such as a notebook, has this file open for writing. Close it "
        "there (file.close()) and run the same command again."
    )


class UnmarkedFile(io.FileIO):
    """A marked file without its mark, for `h5py.File`; the file on disk is not changed."""

    def __init__(self, path: Path) -> None:
        self._path, self._head = path, _unmarked(_superblock(path))
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
        super().__init__(descriptor, closefd=False)
        # h5py drops what it reads from, and closes nothing.
        weakref.finalize(self, os.close, descriptor)

    def __repr__(self) -> str:
        # What h5py calls the file.
        return str(self._path)

    def readinto(self, buffer: Any) -> int:
        """Read; the superblock is the one without the mark."""
        start = self.tell()
        n_bytes = super().readinto(buffer)
        head = self._head[start : start + n_bytes]
        memoryview(buffer).cast("B")[: len(head)] = head
        return n_bytes


def _superblock(path: Path) -> bytes:
    with open_regular(path) as file:
        return file.read(END).ljust(END, b"\0")


def _unmarked(head: bytes) -> bytes:
    body = head[:MARK] + b"\0" + head[MARK + 1 : CHECKSUM]
    return body + lookup3(body).to_bytes(4, "little")


def lookup3(body: bytes) -> int:
    """Checksum of a superblock, 44 bytes: Bob Jenkins' lookup3, as HDF5 begins it, from 0."""
    words: tuple[int, ...] = WORDS.unpack(body)
    a = b = c = 0xDEADBEEF + len(body)
    for first in range(0, 9, 3):
        a, b, c = a + words[first], b + words[first + 1], c + words[first + 2]
        for turn in (4, 6, 8, 16, 19, 4):
            a, b, c = b, c + b, (a - c) & MASK ^ _rotated(c, turn)
    a, b = a + words[9], b + words[10]
    for turn in (14, 11, 25, 16, 4, 14, 24):
        a, b, c = b, (c ^ b) - _rotated(b, turn), a
    return b & MASK


def _rotated(word: int, turn: int) -> int:
    """A word of 32 bits, turned to the left."""
    word &= MASK
    return (word << turn | word >> 32 - turn) & MASK
