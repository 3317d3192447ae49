"""Safe reading of files from strangers: regular files, of limited size, nothing outside them."""

import errno
import json
import math
import os
import stat
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import DTypeLike

# Size of a file that is read whole, such as head.json.
MOST_BYTES = 64 << 20
# Size of the central directory of a zip archive, which takes ten times as much in memory.
MOST_DIRECTORY_BYTES = 1 << 24
# Levels of JSON, and of groups in an HDF5 file: Python and HDF5 make a nested call for each.
MOST_NESTED = 64
# Sizes in an HDF5 file: of a block, of text in a row, of an attribute.
MOST_BLOCK_BYTES, MOST_TEXT_BYTES, MOST_ATTRIBUTE_BYTES = 64 << 20, 1 << 16, 1 << 24
# What h5py raises for damaged content, and for content that Python cannot represent.
HDF5_ERRORS = (OSError, RuntimeError, KeyError, ValueError, TypeError, AttributeError)
NOT_FILES = {
    stat.S_IFDIR: "a folder, not a file",
    stat.S_IFSOCK: "a socket, not a file",
    stat.S_IFIFO: "a pipe, not a file",
    stat.S_IFCHR: "a device, not a file",
    stat.S_IFBLK: "a device, not a file",
}


class IrregularFileError(OSError):
    """A path leads to a pipe, a device, a socket or a folder; `strerror` says which."""


def open_regular(path: str | Path) -> BufferedReader:
    """Open a file for reading; `IrregularFileError` for a pipe, a device, a socket or a folder.

    None of these is opened: opening a pipe could block forever, and a device may have no end.
    """
    kind = stat.S_IFMT(os.stat(path).st_mode)
    if kind != stat.S_IFREG:
        reason = NOT_FILES.get(kind, "not a regular file")
        raise IrregularFileError(errno.EINVAL, reason, str(path))
    return open(path, "rb")


def read_regular(path: str | Path, most_bytes: int = MOST_BYTES) -> bytes:
    """All bytes of a regular file; `OSError` if there are more than `most_bytes`."""
    with open_regular(path) as file:
        data = file.read(most_bytes + 1)
    if len(data) > most_bytes:
        reason = f"larger than the limit of {most_bytes >> 20} MB"
        raise OSError(errno.EFBIG, reason, str(path))
    return data


@contextmanager
def open_archive(path: str | Path, most_growth: int = 1) -> Iterator[zipfile.ZipFile]:
    """Open a zip archive of which nothing has been read yet.

    Raises `ValueError` if its members claim more than `most_growth` times its length, which is 1
    where nothing is compressed, or if the directory is longer than `MOST_DIRECTORY_BYTES`.
    """
    with open_regular(path) as file:
        # Nothing public tells before the directory is read.
        end: Any = zipfile._EndRecData(file)  # type: ignore[attr-defined]
        n_directory = end[zipfile._ECD_SIZE] if end else 0  # type: ignore[attr-defined]
        if n_directory > MOST_DIRECTORY_BYTES:
            raise ValueError(f"its directory claims {n_directory} bytes")
        with zipfile.ZipFile(file) as archive:
            n_claimed = sum(member.file_size for member in archive.infolist())
            n_bytes = os.fstat(file.fileno()).st_size
            if n_claimed > most_growth * n_bytes:
                raise ValueError(f"its members claim {n_claimed} bytes, the archive has {n_bytes}")
            yield archive


def read_json(path: str | Path) -> Any:
    """The value in a JSON file; `OSError` or `ValueError`, see `read_regular` and `parse_json`."""
    return parse_json(read_regular(path))


def parse_json(text: str | bytes) -> Any:
    """The value of JSON text; `ValueError` if it is damaged or nested deeper than `MOST_NESTED`."""
    try:
        found = json.loads(text)
    except RecursionError as error:
        raise ValueError("JSON nested too deeply") from error
    level = [found]
    for _ in range(MOST_NESTED):
        level = [item for each in level for item in _items(each)]
    if level:
        raise ValueError(f"JSON nested more than {MOST_NESTED} levels deep")
    return found


def _items(found: Any) -> Iterable[Any]:
    if isinstance(found, dict):
        return found.values()
    return found if isinstance(found, list) else ()


def leads_elsewhere(file: h5py.File) -> str:
    """The part of an HDF5 file that refers to another file, in words; empty if there is none.

    HDF5 would open that other file without asking: any that the user may read, or a pipe.
    """
    names: list[bytes] = []

    def note(name: bytes, link: Any) -> str | None:
        if name.count(b"/") >= MOST_NESTED:
            return f"its groups are nested more than {MOST_NESTED} deep"
        if link.type != h5py.h5l.TYPE_HARD:
            return f"/{name.decode('utf-8', 'replace')} is a link, which headbench does not follow"
        names.append(name)
        return None

    # What is opened inside `note` and fails would end in a SystemError.
    if found := file.id.links.visit(note, info=True):
        return str(found)
    return next((reason for name in names if (reason := _stored_elsewhere(file, name))), "")


def _stored_elsewhere(file: h5py.File, name: bytes) -> str | None:
    found, shown = h5py.h5o.open(file.id, name), f"/{name.decode('utf-8', 'replace')}"
    if not isinstance(found, h5py.h5d.DatasetID):
        return None
    created = found.get_create_plist()
    if created.get_layout() == h5py.h5d.VIRTUAL:
        return f"{shown} is a virtual dataset, which headbench does not follow"
    if created.get_external_count():
        return f"{shown} lies in another file, which headbench does not open"
    return None


def misfit_of(dataset: h5py.Dataset) -> str:
    """What is wrong with a dataset according to its header; empty if nothing is.

    None of its rows are read. A dataset may claim no more bytes than the file has, so that it takes
    no more memory than the file takes on the disk. Compressed data could claim more.
    """
    shape, dtype, step = dataset.shape, dataset.dtype, block_rows_of(dataset)
    if not shape or dtype.kind not in "fiuS" or (dataset.chunks or shape)[1:] != shape[1:]:
        return f"holds {dtype} {shape} in chunks of {dataset.chunks}, expected rows of numbers"
    if dataset.id.get_create_plist().get_nfilters():
        return "is compressed, which headbench does not write"
    row_bytes = bytes_of_row(shape, dtype)
    if step * row_bytes > MOST_BLOCK_BYTES or (dtype.kind == "S" and row_bytes > MOST_TEXT_BYTES):
        return f"has blocks of {step} rows of {row_bytes} bytes, more than headbench writes"
    n_bytes, n_there = -(-shape[0] // step) * step * row_bytes, dataset.file.id.get_filesize()
    return f"claims {n_bytes} bytes in a file of {n_there}" if n_bytes > n_there else ""


def block_rows_of(dataset: h5py.Dataset) -> int:
    """Rows in a block of a dataset."""
    return int(dataset.chunks[0]) if dataset.chunks else 1


def bytes_of_row(shape: tuple[int, ...], dtype: DTypeLike) -> int:
    """Bytes of one row of an array."""
    return max(1, math.prod(shape[1:])) * np.dtype(dtype).itemsize


def require_small(attribute: Any) -> None:
    """Raise `ValueError` for text of variable length, for which HDF5 may search forever."""
    n_bytes = math.prod(attribute.shape or ()) * attribute.dtype.itemsize
    if attribute.dtype.kind not in "iufS" or n_bytes > MOST_ATTRIBUTE_BYTES:
        raise ValueError(
            f"found {attribute.dtype} {attribute.shape}, expected text of fixed length"
        )
