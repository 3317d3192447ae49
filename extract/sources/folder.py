"""A folder of images on this machine, and the layouts from which class and split are read."""

import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from headbench.cache.format import UNLABELLED, Rejected, leads_inside
from headbench.extract.errors import DataError, UnusableImageError
from headbench.extract.images.stream import ImageFile, read_file
from headbench.extract.sources.source import N_STAMPS, Found, LabelledImage, Listing
from headbench.extract.sources.split_folders import (
    Top,
    are_splits,
    refuse_splits,
    tops_of,
    unlabelled,
)

IMAGE_EXTENSIONS = (
    ".avif", ".bmp", ".gif", ".heic", ".heif", ".jfif", ".jpe", ".jpeg", ".jpg", ".png", ".tif",
    ".tiff", ".webp",
)  # fmt: skip
# Files that file managers leave behind: no images, and not worth reporting.
SYSTEM_FILES = ("thumbs.db", "desktop.ini")
CLASS_FOLDERS, SPLIT_LAYOUT, FOOD101 = "class folders", "split folders", "food101"
LAYOUTS = (CLASS_FOLDERS, SPLIT_LAYOUT, FOOD101)
LISTS = {split: f"meta/{split}.txt" for split in ("train", "test")}


@dataclass(frozen=True)
class Folder:
    """A folder per class, perhaps inside ``train/``, ``val/``, ``test/``; or Food-101's layout.

    Without labels, a folder of any structure.
    """

    root: Path
    # A URL changes when it becomes a path, so its text is kept.
    called: str = ""
    has_labels: bool = True
    is_near = True

    @property
    def name(self) -> str:
        """The folder as the user wrote it."""
        return self.called or str(self.root)

    @property
    def is_there(self) -> bool:
        """Whether the folder exists."""
        return self.root.is_dir()

    def find(self) -> Listing:
        """Find and label its files; `DataError` if the folder does not exist."""
        if not self.is_there:
            found = "a file" if self.root.exists() else "nothing"
            raise DataError(f"{self.root}: expected a folder of images, found {found}.")
        paths = list(files_below(self.root))
        return label_paths(paths, self.name, self._read) if self.has_labels else list_paths(paths)

    def file(self, path: str, content: bytes | None = None) -> ImageFile:
        """An image of the folder, for reading; `DataError` for a path that leads out of it."""
        return ImageFile(image_path(self.root, path), content)

    def stamps(self, paths: Sequence[str]) -> NDArray[np.int64]:
        """The `file_stamp` of each file, int64 (n_paths, 4)."""
        stamps = np.empty((len(paths), N_STAMPS), dtype=np.int64)
        for row, path in enumerate(paths):
            stamps[row] = file_stamp(f"{self.root}/{path}")
        return stamps

    def _read(self, path: str) -> bytes:
        return read_file(self.root / path)


def file_stamp(path: str | Path) -> tuple[int, int, int, int]:
    """Size, times of modification and change, and inode of a file; all -1 if it is missing.

    The last two show what the first two miss: swapped files, and an edit by a program that restores
    the old time.
    """
    try:
        found = os.stat(path)
    except OSError:
        return (-1,) * N_STAMPS  # type: ignore[return-value]  # reading the file tells why
    inode = found.st_ino & 0x7FFF_FFFF_FFFF_FFFF
    return (found.st_size, found.st_mtime_ns, found.st_ctime_ns, inode)


def image_path(root: Path, relative: str) -> Path:
    """The path of an image of a feature file; `DataError` if it is outside the folder."""
    if not leads_inside(relative) or "://" in relative:
        raise DataError(f"{relative!r}: a path that leaves the data folder {root} is not opened.")
    return root / relative


def image_files(folder: Path) -> Iterator[Path]:
    """All files with names of images below a folder, sorted."""
    return (folder / path for path in files_below(folder) if has_image_name(path))


def files_below(root: Path) -> Iterator[str]:
    """All files below a folder except hidden and system files, POSIX, relative to it.

    Folders inside a class that are named like images are included, with a slash at the end. Links
    are followed, each loop once. Text and not `Path`, which takes a hundred times as long.
    """
    seen: set[str] = set()
    for folder, subfolders, names in os.walk(root, followlinks=True, onerror=_raise):
        seen.add(os.path.realpath(folder))
        below_root = os.path.relpath(folder, root).replace(os.sep, "/")
        prefix = "" if below_root == "." else f"{below_root}/"
        shown = sorted(name for name in subfolders if not name.startswith("."))
        if prefix:
            yield from (f"{prefix}{name}/" for name in shown if has_image_name(name))
        subfolders[:] = (
            name for name in shown if os.path.realpath(os.path.join(folder, name)) not in seen
        )
        yield from (f"{prefix}{name}" for name in sorted(names) if not is_system_file(name))


def _raise(error: OSError) -> None:
    # os.walk skips folders that it may not list; a class must not vanish because of permissions.
    raise DataError(f"{error.filename}: cannot be listed ({error.strerror}).")


def label_paths(paths: Sequence[str], name: str, read: Callable[[str], bytes]) -> Listing:
    """Label the files below a folder, called `name` in errors.

    The paths are POSIX, relative to the folder, without hidden and system files. Folders inside a
    class that are named like images may be included, with a slash at the end. `read` returns the
    bytes of Food-101's lists. Raises `DataError` if those contradict each other or are not text, or
    if folders look like splits but would be read as classes.
    """
    if _is_food101(paths):
        return Listing(FOOD101, list(_label_food101(paths, _read_lists(name, read))))
    tops = tops_of(list(filter(has_image_name, paths)))
    if are_splits(tops.values()):
        notes = [note for top in tops.values() if (note := unlabelled(name, top))]
        return Listing(SPLIT_LAYOUT, list(_label_split_folders(paths, tops)), notes=notes)
    refuse_splits(name, tops)
    return Listing(CLASS_FOLDERS, list(_label_class_folders(paths)))


def list_paths(paths: Sequence[str]) -> Listing:
    """Images without labels, from the paths that `label_paths` takes."""
    return Listing(UNLABELLED, [_labelled(path, "", None) for path in paths])


def has_image_name(path: str) -> bool:
    """Whether a path ends like that of an image."""
    return os.path.splitext(path)[1].lower() in IMAGE_EXTENSIONS


def is_system_file(name: str) -> bool:
    """Whether a file is hidden, or left behind by a file manager."""
    return name.startswith(".") or name.lower() in SYSTEM_FILES


def printable(name: str) -> str:
    """The name, with escapes for bytes that are not UTF-8."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _is_food101(paths: Sequence[str]) -> bool:
    lists = set(LISTS.values()).issubset(paths)
    return lists and any(path.startswith("images/") for path in paths)


def _label_class_folders(paths: Sequence[str]) -> Iterator[Found]:
    for path in paths:
        yield _in_class(path, path) or _labelled(path, path.partition("/")[0], None)


def _label_split_folders(paths: Sequence[str], tops: Mapping[str, Top]) -> Iterator[Found]:
    for path in paths:
        folder, _, below = path.partition("/")
        top = tops.get(folder)  # None: it holds no image
        if top and path.startswith(f"{top.root}/"):
            below = path[len(top.root) + 1 :]
        if _is_class_folder(below):
            continue
        class_name = below.partition("/")[0]
        yield _in_class(path, below) or _labelled(path, class_name, top.split if top else None)


def _label_food101(paths: Sequence[str], listed: dict[str, str]) -> Iterator[Found]:
    for path in paths:
        top, _, below = path.partition("/")
        if top == "images" and not _is_class_folder(below):
            yield _in_class(path, below) or _listed(path, below, listed)
    for stem, split in listed.items():
        yield Rejected(f"images/{stem}.jpg", f"listed in meta/{split}.txt, no such file")


def _listed(path: str, below: str, listed: dict[str, str]) -> Found:
    split = listed.pop(os.path.splitext(below.rstrip("/"))[0], None)
    if split is None and not path.endswith("/"):
        return Rejected(printable(path), "not listed in meta/train.txt or meta/test.txt")
    return _labelled(path, below.partition("/")[0], split)


def _in_class(path: str, below: str) -> Rejected | None:
    """The reason against a file outside all class folders; `below` is relative to their parent."""
    return None if "/" in below else Rejected(printable(path), "not inside a class folder")


def _is_class_folder(below: str) -> bool:
    """Whether this is a class folder that is named like an image, and no file."""
    return below.endswith("/") and below.count("/") == 1


def _read_lists(name: str, read: Callable[[str], bytes]) -> dict[str, str]:
    """The split of each ``CLASS/ID`` that the lists of Food-101's layout name."""
    listed: dict[str, str] = {}
    for split, path in LISTS.items():
        try:
            lines = read(path).decode("utf-8-sig").splitlines()
        except UnicodeDecodeError as error:
            raise DataError(f"{name}/{path}: expected UTF-8 text, found something else.") from error
        except UnusableImageError as error:
            raise DataError(f"{name}/{path}: {error}.") from error
        for line in filter(None, map(str.strip, lines)):
            if listed.setdefault(line, split) != split:
                raise DataError(f"{name}/{path}: {line} is listed in {LISTS[listed[line]]} too.")
    return listed


def _labelled(path: str, class_name: str, given_split: str | None) -> Found:
    if path.endswith("/"):
        return Rejected(printable(path.rstrip("/")), "a folder, not a file")
    if printable(path) != path:
        return Rejected(printable(path), "its name is not valid UTF-8: rename it")
    if not has_image_name(path):
        return Rejected(path, f"does not end in {', '.join(IMAGE_EXTENSIONS)}")
    # One text for all images of a class: with millions of them, a quarter of their memory.
    return LabelledImage(path, sys.intern(class_name), given_split)
