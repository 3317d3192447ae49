"""What lies below a folder of fsspec's: listed folder by folder, kept in few bytes a file.

s3fs' own listing of all at once takes 1054 bytes an object, what is kept here 194 with the labels.
"""

import hashlib
from array import array
from collections.abc import Iterable, Iterator
from datetime import datetime
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from extract.errors import DataError
from extract.sources.layouts import has_image_name, is_system_file
from extract.sources.patience import patiently
from extract.sources.source import N_STAMPS
from extract.threads import map_ahead

# Folders listed at a time.
N_LISTERS = 16
TIMES = ("LastModified", "mtime", "last_modified", "modified", "updated", "created")
TAGS = ("ETag", "etag", "md5Hash", "CRC")
Stamp = tuple[int, int, int, int]
UNKNOWN: Stamp = (-1, -1, -1, -1)
Entry = tuple[str, Stamp]


class Files(NamedTuple):
    """The files below a folder but hidden and system files, sorted by path.

    Attributes
    ----------
    paths : list of str, length n_files
        Relative to the folder. Folders inside a class that are called like images come too, ending
        in a slash.
    stamps : int64 (n_files, 4)
    """

    paths: list[str]
    stamps: NDArray[np.int64]

    def stamps_of(self, paths: Iterable[str]) -> NDArray[np.int64]:
        """The stamps of some of them, int64 (n_paths, 4); -1 where a path is none of them."""
        row_of = {path: row for row, path in enumerate(self.paths)}
        rows = np.array([row_of.get(path, -1) for path in paths], dtype=np.intp)
        return np.vstack([self.stamps, UNKNOWN])[rows]


NOTHING = Files([], np.empty((0, N_STAMPS), dtype=np.int64))


def files_below(filesystem: Any, root: str) -> Files:
    """List a folder, and all below it.

    Parameters
    ----------
    filesystem : fsspec.AbstractFileSystem
        What it remembers of earlier listings is not used.
    root : str
        The folder, as `filesystem` names it.

    Raises
    ------
    NotADirectoryError
        If it is a file.
    DataError
        If it holds names with an empty part, ``a//b``.
    Exception
        What the file system raises, after several tries.
    """
    filesystem.invalidate_cache()
    entries = _archived if is_archive(filesystem) else _walked
    paths, numbers = [], array("q")
    for path, stamped in entries(filesystem, root):
        paths.append(path)
        numbers.extend(stamped)
    stamps = np.frombuffer(numbers, dtype=np.int64).reshape(-1, N_STAMPS)
    order = sorted(range(len(paths)), key=paths.__getitem__)
    return Files([paths[row] for row in order], stamps[order])


def is_archive(filesystem: Any) -> bool:
    """Whether files lie in one other file: listed at once, and read one at a time."""
    from fsspec.archive import AbstractArchiveFileSystem

    return isinstance(filesystem, AbstractArchiveFileSystem)


def stamp(details: dict[str, Any]) -> Stamp:
    """What is known of a version of a file, by what its store says of it.

    Where there is a tag, two versions differ in it however quickly they follow each other, and the
    times of the stamp are 0. -1 throughout where nothing tells versions apart.
    """
    size = int(details.get("size") or 0)
    modified = _first(details, TIMES)
    if (tag := _first(details, TAGS)) is not None:
        return (size, 0, 0, _number(f"{tag} {modified}"))
    if (nanoseconds := _nanoseconds(modified)) is not None:
        return (size, nanoseconds, 0, 0)
    return UNKNOWN


def _archived(filesystem: Any, root: str) -> Iterator[Entry]:
    prefix = join(root, "/") if root else ""
    for name, details in patiently(lambda: filesystem.find(root, detail=True)).items():
        if name == root:
            raise NotADirectoryError(f"{name}: a file, not a folder")
        path = name.removeprefix(prefix)
        if not any(map(is_system_file, path.split("/"))):
            yield path, stamp(details)


def _walked(filesystem: Any, root: str) -> Iterator[Entry]:
    folders = [""]
    while folders:
        deeper: list[str] = []
        list_one = partial(_list, filesystem, root)
        for files, subfolders in map_ahead(list_one, folders, N_LISTERS, N_LISTERS):
            yield from files
            deeper += subfolders
        folders = deeper


def _list(filesystem: Any, root: str, folder: str) -> tuple[list[Entry], list[str]]:
    """Files of one folder, and the folders in it."""
    place = join(root, folder)
    found = patiently(lambda: filesystem.ls(place, detail=True))
    filesystem.invalidate_cache(place)  # or all of it would stay in memory
    is_page = "http" in filesystem.protocol  # it links to itself too, sorted in other ways
    files: list[Entry] = []
    folders: list[str] = []
    for details in found:
        name, is_folder = details["name"], details["type"] == "directory"
        if place and name.rstrip("/") == place.rstrip("/"):
            if not is_page:
                _require_mark(name, is_folder, place)
            continue
        leaf = name.removeprefix(f"{place.rstrip('/')}/").strip("/")
        if is_system_file(leaf) or (is_page and "?" in leaf):
            continue
        path = join(folder, leaf)
        if is_folder:
            folders.append(path)
        else:
            files.append((path, stamp(details)))
    if folder:
        files += [(f"{path}/", UNKNOWN) for path in folders if has_image_name(path)]
    return files, folders


def _require_mark(name: str, is_folder: bool, place: str) -> None:
    """Refuse what is called like its folder, but for the empty object that marks a folder."""
    if is_folder:
        raise DataError(
            f"{place}//: names with an empty part cannot be read. Rename those objects."
        )
    if name == place:
        raise NotADirectoryError(f"{name}: a file, not a folder")


def join(root: str, path: str) -> str:
    """A path below a folder, as a file system of fsspec's names it."""
    return f"{root.rstrip('/')}/{path.lstrip('/')}" if root and path else root or path


def _first(details: dict[str, Any], keys: Iterable[str]) -> Any:
    return next((details[key] for key in keys if details.get(key)), None)


def _nanoseconds(modified: Any) -> int | None:
    if isinstance(modified, str):
        try:
            modified = datetime.fromisoformat(modified)
        except ValueError:
            return None
    if isinstance(modified, datetime):
        modified = modified.timestamp()
    return int(modified * 1e9) if isinstance(modified, int | float) else None


def _number(tag: str) -> int:
    """A number that stands for a tag: the same for equal ones."""
    return int.from_bytes(hashlib.sha256(tag.encode()).digest()[:8]) >> 1
