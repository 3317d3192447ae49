"""A folder of images behind a URL: an object store, an archive, or whatever fsspec can list."""

from array import array
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headbench.cache.format import leads_inside
from headbench.extract.errors import DataError
from headbench.extract.images.stream import MAX_FILE_BYTES, ImageFile, map_ahead
from headbench.extract.sources.folder import (
    has_image_name,
    is_system_file,
    label_paths,
    list_paths,
)
from headbench.extract.sources.source import N_STAMPS, Listing
from headbench.extract.sources.urls import (
    UNKNOWN,
    Answers,
    Stamp,
    is_archive,
    open_url,
    patiently,
    read_remote,
    stamp,
    words,
)

# Folders listed at a time.
N_LISTERS = 16
A_FILE = "expected a folder of images, found a file."
Entry = tuple[str, Stamp]
# Paths relative to the folder, sorted, and their stamps, int64 (n_files, 4).
Listed = tuple[list[str], NDArray[np.int64]]
NO_STAMPS = np.empty((0, N_STAMPS), dtype=np.int64)


@dataclass
class RemoteFolder:
    """A folder behind a URL, with the layout of a local one."""

    name: str
    has_labels: bool = True
    is_near = False
    is_there = True
    # From the listing: a file takes 194 bytes with its label, and 1054 in s3fs' own listing.
    _paths: Sequence[str] = field(default=(), init=False, repr=False, compare=False)
    _stamps: NDArray[np.int64] = field(
        default_factory=NO_STAMPS.copy, init=False, repr=False, compare=False
    )
    _answers: Answers = field(default_factory=Answers, init=False, repr=False, compare=False)

    def __reduce__(self) -> tuple[type["RemoteFolder"], tuple[str]]:
        # Neither connections nor the listing go to other processes.
        return RemoteFolder, (self.name,)

    def find(self) -> Listing:
        """Find and label its files; `DataError` if it cannot be listed."""
        self._paths, self._stamps = self._list()
        if not self._paths:
            raise DataError(f"{self.name}: expected a folder of images, found nothing.")
        if not self.has_labels:
            return list_paths(self._paths)
        return label_paths(self._paths, self.name, self._read)

    def file(self, path: str, content: bytes | None = None) -> ImageFile:
        """An image of the folder, for reading; `DataError` for a path that leads out of it."""
        if not leads_inside(path):
            raise DataError(f"{path!r}: a path that leaves {self.name} is not opened.")
        return ImageFile(path, content, self._read_image)

    def stamps(self, paths: Sequence[str]) -> NDArray[np.int64]:
        """Size, time and ETag from the listing, int64 (n_paths, 4); -1 for other files."""
        row_of = {path: row for row, path in enumerate(self._paths)}
        rows = np.array([row_of.get(path, -1) for path in paths], dtype=np.intp)
        return np.vstack([self._stamps, UNKNOWN])[rows]

    @cached_property
    def _place(self) -> tuple[Any, str]:
        return open_url(self.name)

    def _list(self) -> Listed:
        filesystem, root = self._place
        if "http" in filesystem.protocol:
            raise DataError(
                f"{self.name}: a web server cannot list the files of a folder. Write a list of "
                "their URLs instead: a CSV file with the columns path and label."
            )
        if filesystem.async_impl and not root:
            raise DataError(f"{self.name}: expected a bucket and a folder in it, found neither.")
        try:
            return list_files(filesystem, root)
        except FileNotFoundError:
            return [], NO_STAMPS
        except DataError as error:
            raise DataError(f"{self.name}: {error}") from error
        except Exception as error:  # each store has errors of its own
            raise DataError(f"{self.name}: cannot be listed ({words(error)}).") from error

    def _read(self, path: str, max_bytes: int = MAX_FILE_BYTES) -> bytes:
        filesystem, root = self._place
        return read_remote(filesystem, join(root, path), max_bytes)

    def _read_image(self, path: str, max_bytes: int) -> bytes:
        return self._answers.read(partial(self._read, max_bytes=max_bytes), path, self.name)


def list_files(filesystem: Any, root: str) -> Listed:
    """List all files below a folder of fsspec, except hidden and system files.

    Folders inside a class that are named like images are included, with a slash at the end. Earlier
    listings that `filesystem` remembers are not used. Raises `DataError` if it is a file, or
    contains names with an empty part, ``a//b``, or, in an archive, two files of one name; after
    several tries, what the file system raises.
    """
    filesystem.invalidate_cache()
    entries = _archived if is_archive(filesystem) else _walked
    paths, numbers = [], array("q")
    for path, stamped in entries(filesystem, root):
        paths.append(path)
        numbers.extend(stamped)
    stamps = np.frombuffer(numbers, dtype=np.int64).reshape(-1, N_STAMPS)
    order = sorted(range(len(paths)), key=paths.__getitem__)
    return [paths[row] for row in order], stamps[order]


def join(root: str, path: str) -> str:
    """A path below a folder, as a file system of fsspec writes it."""
    return f"{root.rstrip('/')}/{path.lstrip('/')}" if root and path else root or path


def _archived(filesystem: Any, root: str) -> Iterator[Entry]:
    """All files at once: an archive reads through all of its names for each folder."""
    found = patiently(lambda: filesystem.find(root, detail=True))
    if root in found:
        raise DataError(A_FILE)
    if repeated := sorted(found.keys() & _repeated(filesystem)):
        raise DataError(
            f"two files are named {repeated[0]}, and only one of them can be read. Pack the "
            "archive again, with each name once"
        )
    for name, details in found.items():
        path = name.removeprefix(f"{root}/")
        if not any(map(is_system_file, path.split("/"))):
            yield path, stamp(details)


def _repeated(filesystem: Any) -> set[str]:
    """Names that several files of an archive have: fsspec lists only the last one."""
    if hasattr(filesystem, "zip"):
        names = [entry.filename for entry in filesystem.zip.infolist() if not entry.is_dir()]
    else:
        names = [entry.name for entry in getattr(filesystem, "tar", ()) if not entry.isdir()]
    return {name for name, n_files in Counter(names).items() if n_files > 1}


def _walked(filesystem: Any, root: str) -> Iterator[Entry]:
    folders = [""]
    while folders:
        deeper: list[str] = []
        list_one = partial(_list_folder, filesystem, root)
        for files, subfolders in map_ahead(list_one, folders, N_LISTERS, N_LISTERS):
            yield from files
            deeper += subfolders
        folders = deeper


def _list_folder(filesystem: Any, root: str, folder: str) -> tuple[list[Entry], list[str]]:
    """The files and the folders in one folder, by their paths below `root`."""
    place = join(root, folder)
    found = patiently(lambda: filesystem.ls(place, detail=True))
    filesystem.invalidate_cache(place)  # or all of it would stay in memory
    files: list[Entry] = []
    folders: list[str] = []
    for details in found:
        address, is_folder = details["name"], details["type"] == "directory"
        if address.rstrip("/") == place.rstrip("/"):
            _require_mark(address, is_folder, place)
            continue
        name = address.removeprefix(f"{place.rstrip('/')}/").strip("/")
        if is_system_file(name):
            continue
        path = join(folder, name)
        if not is_folder:
            files.append((path, stamp(details)))
            continue
        folders.append(path)
        if folder and has_image_name(path):
            files.append((f"{path}/", UNKNOWN))
    return files, folders


def _require_mark(address: str, is_folder: bool, place: str) -> None:
    """Refuse a name equal to the folder's, except the empty object that marks a folder."""
    if is_folder:
        raise DataError(
            f"{place}//: names with an empty part cannot be read. Rename those objects."
        )
    if address == place:
        raise DataError(A_FILE)
