"""What lies below a folder of fsspec's: listed folder by folder, kept in few bytes a file.

s3fs' own listing of all at once takes 1054 bytes an object, what is kept here 194 with the labels.
"""

from array import array
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import partial
from html import unescape
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from extract.errors import DataError
from extract.sources.layouts import has_image_name, is_system_file
from extract.sources.pages import has_pages, name_of
from extract.sources.patience import patiently
from extract.sources.source import N_STAMPS
from extract.sources.stamps import UNKNOWN, Stamp, stamp
from extract.threads import map_ahead

# Folders listed at a time.
N_LISTERS = 16
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
        If it holds names with an empty part, ``a//b``, links that are no names, or, in an archive,
        two files of one name.
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


def _archived(filesystem: Any, root: str) -> Iterator[Entry]:
    prefix, repeated = join(root, "/") if root else "", _repeated(filesystem)
    for name, details in patiently(lambda: filesystem.find(root, detail=True)).items():
        if name == root:
            raise NotADirectoryError(f"{name}: a file, not a folder")
        path = name.removeprefix(prefix)
        if not any(map(is_system_file, path.split("/"))):
            if name in repeated:
                raise DataError(
                    f"{name}: two files of the archive have this name, and one of them alone can "
                    "be read. Pack it again, with each name once."
                )
            yield path, stamp(details)


def _repeated(filesystem: Any) -> set[str]:
    """Names that several files of an archive have: fsspec lists the last one only."""
    if hasattr(filesystem, "zip"):
        names = [entry.filename for entry in filesystem.zip.infolist() if not entry.is_dir()]
    else:
        names = [entry.name for entry in getattr(filesystem, "tar", ()) if not entry.isdir()]
    return {name for name, n_files in Counter(names).items() if n_files > 1}


def _walked(filesystem: Any, root: str) -> Iterator[Entry]:
    folders = {"": ""}
    while folders:
        deeper: dict[str, str] = {}
        list_one = partial(_list, filesystem, root)
        for files, subfolders in map_ahead(list_one, folders.items(), N_LISTERS, N_LISTERS):
            yield from files.items()
            deeper |= subfolders
        folders = deeper


def _list(
    filesystem: Any, root: str, folder: tuple[str, str]
) -> tuple[dict[str, Stamp], dict[str, str]]:
    """Files of one folder, and the folders in it: by name, what the file system calls each."""
    folder_name, address = folder
    place = join(root, address)
    found = patiently(lambda: filesystem.ls(place, detail=True))
    filesystem.invalidate_cache(place)  # or all of it would stay in memory
    is_page = has_pages(filesystem)
    files: dict[str, Stamp] = {}
    folders: dict[str, str] = {}
    for details in found:
        is_folder = details["type"] == "directory"
        leaf = _leaf(details["name"], is_folder, place, is_page)
        name = name_of(leaf) if leaf and is_page else leaf
        if not name or is_system_file(name):
            continue
        path = join(folder_name, name)
        if is_folder:
            folders[path] = join(address, leaf)
        else:
            files[path] = stamp(details)
    if folder_name:
        files |= {f"{path}/": UNKNOWN for path in folders if has_image_name(path)}
    return files, folders


def _leaf(found: str, is_folder: bool, place: str, is_page: bool) -> str:
    """What follows the address of a folder in that of an entry; empty for what is passed over."""
    if place and found.rstrip("/") == place.rstrip("/"):
        if not is_page:  # they link to themselves
            _require_mark(found, is_folder, place)
        return ""
    leaf = found.removeprefix(f"{place.rstrip('/')}/").strip("/")
    if not is_page:
        return leaf
    # Links up, to the folder itself, and to the folder itself in another order.
    return "" if leaf.startswith(".") or "?" in leaf else unescape(leaf)


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
