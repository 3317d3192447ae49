"""A folder of images on a disk of this machine."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cache.format import leads_inside
from extract.errors import DataError
from extract.read import ImageFile
from extract.sources.layouts import has_image_name, is_system_file, label_paths
from extract.sources.source import N_STAMPS, Listing


@dataclass(frozen=True)
class Folder:
    """One folder per class; ``train/``, ``val/``, ``test/`` with such inside; or Food-101's layout.

    Attributes
    ----------
    root : Path
    """

    root: Path
    is_near = True

    @property
    def name(self) -> str:
        """The folder as the user named it."""
        return str(self.root)

    @property
    def is_there(self) -> bool:
        """Whether there is such a folder."""
        return self.root.is_dir()

    def find(self) -> Listing:
        """Find and label the files in it; `DataError` if there is no such folder."""
        if not self.is_there:
            found = "a file" if self.root.exists() else "nothing"
            raise DataError(f"{self.root}: expected a folder of images, found {found}.")
        return label_paths(list(files_below(self.root)), self.name, self._read)

    def file(self, path: str, content: bytes | None = None) -> ImageFile:
        """An image of it, to be read; `DataError` for a path that leads out of it."""
        return ImageFile(image_path(self.root, path), content)

    def stamps(self, paths: Sequence[str]) -> NDArray[np.int64]:
        """The `file_stamp` of each file, int64 (n_paths, 4)."""
        stamps = np.empty((len(paths), N_STAMPS), dtype=np.int64)
        for row, path in enumerate(paths):
            stamps[row] = file_stamp(f"{self.root}/{path}")
        return stamps

    def _read(self, path: str) -> bytes:
        return (self.root / path).read_bytes()


def file_stamp(path: str | Path) -> tuple[int, int, int, int]:
    """Size, times of modification and change, and inode of a file; -1 throughout if there is none.

    The last two are for what the first two miss: files swapped, an edit by a program that sets the
    old time again.
    """
    try:
        found = os.stat(path)
    except OSError:
        return (-1,) * N_STAMPS  # type: ignore[return-value]  # whoever reads it finds out why
    inode = found.st_ino & 0x7FFF_FFFF_FFFF_FFFF
    return (found.st_size, found.st_mtime_ns, found.st_ctime_ns, inode)


def image_path(root: Path, relative: str) -> Path:
    """Where an image of a feature file lies; `DataError` if that would be outside the folder."""
    if not leads_inside(relative) or "://" in relative:
        raise DataError(f"{relative!r}: a path that leaves the data folder {root} is not opened.")
    return root / relative


def image_files(folder: Path) -> Iterator[Path]:
    """The image files, by name, at any depth below a folder, sorted."""
    return (folder / path for path in files_below(folder) if has_image_name(path))


def files_below(root: Path) -> Iterator[str]:
    """Every file below a folder but hidden and system files, relative to it, POSIX.

    Folders inside a class that are called like images come too, ending in a slash. Links are
    followed, each loop once. Text and not `Path`, which takes a hundred times as long.
    """
    seen: set[str] = set()
    for folder, subfolders, names in os.walk(root, followlinks=True, onerror=_raise):
        seen.add(os.path.realpath(folder))
        below_root = os.path.relpath(folder, root)
        prefix = "" if below_root == "." else f"{below_root}/"
        shown = sorted(name for name in subfolders if not name.startswith("."))
        if prefix:
            yield from (f"{prefix}{name}/" for name in shown if has_image_name(name))
        subfolders[:] = (
            name for name in shown if os.path.realpath(os.path.join(folder, name)) not in seen
        )
        yield from (f"{prefix}{name}" for name in sorted(names) if not is_system_file(name))


def _raise(error: OSError) -> None:
    # os.walk skips what it may not list; a class must not vanish because of its permissions.
    raise DataError(f"{error.filename}: cannot be listed ({error.strerror}).")
