"""Labelled images on disk: which files, which class, which split the folder itself names."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from cache.format import Rejected, leads_inside
from extract.errors import DataError

IMAGE_EXTENSIONS = (
    ".avif", ".bmp", ".gif", ".heic", ".heif", ".jfif", ".jpe", ".jpeg", ".jpg", ".png", ".tif",
    ".tiff", ".webp",
)  # fmt: skip
# What file managers leave behind: not images, and nobody expects to read about them.
SYSTEM_FILES = ("thumbs.db", "desktop.ini")
SPLIT_FOLDERS = {
    "train": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
}


class LabelledImage(NamedTuple):
    """One image file.

    Attributes
    ----------
    path : str
        POSIX, relative to the data folder.
    class_name : str
    given_split : str or None
        ``train``, ``val`` or ``test`` where the folder says so; None where it is ours to decide.
    """

    path: str
    class_name: str
    given_split: str | None


Found = LabelledImage | Rejected


@dataclass(frozen=True)
class Dataset:
    """The images of a folder, sorted by path.

    Attributes
    ----------
    root : Path
    layout : str
        ``class folders``, ``split folders`` or ``food101``.
    images : tuple of LabelledImage
    rejected : tuple of Rejected
        Files that are in the folder, or listed by it, and are not used.
    """

    root: Path
    layout: str
    images: tuple[LabelledImage, ...]
    rejected: tuple[Rejected, ...]

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names, sorted: this order is the order of labels."""
        return tuple(sorted({image.class_name for image in self.images}))


def find_images(root: Path) -> Dataset:
    """Find the labelled images of a folder.

    Parameters
    ----------
    root : Path
        One folder per class; or ``train/``, ``val/``, ``test/`` with class folders inside; or the
        layout of Food-101: ``images/CLASS/ID.jpg`` with ``meta/train.txt`` and ``meta/test.txt``.

    Returns
    -------
    Dataset

    Raises
    ------
    DataError
        If there is no such folder, it holds no images, or fewer than two classes.
    """
    if not root.is_dir():
        found = "a file" if root.exists() else "nothing"
        raise DataError(f"{root}: expected a folder of images, found {found}.")
    dataset = list_images(root)
    if not dataset.images:
        raise DataError(
            f"{root}: expected one folder per class with files that end in "
            f"{', '.join(IMAGE_EXTENSIONS)}; found {_describe(dataset.rejected)}."
        )
    if len(dataset.classes) == 1:
        raise DataError(
            f"{root}: found one class only, {dataset.classes[0]!r}; a classifier needs at least "
            "two. Expected one folder per class."
        )
    return dataset


def list_images(root: Path) -> Dataset:
    """What `find_images` finds in a folder, however few images and classes that are."""
    layout = layout_of(root)
    found_files = list(_FINDERS[layout](root))
    images = sorted(each for each in found_files if isinstance(each, LabelledImage))
    rejected = sorted(each for each in found_files if isinstance(each, Rejected))
    return Dataset(root, layout, tuple(images), tuple(rejected))


def image_files(folder: Path) -> Iterator[Path]:
    """The image files, by name, at any depth below a folder, sorted."""
    return (folder / path for path in _files_below(folder) if _has_image_name(path))


def image_path(root: Path, relative: str) -> Path:
    """Where an image of a feature file lies; `DataError` if that would be outside the folder."""
    if not leads_inside(relative):
        raise DataError(f"{relative!r}: a path that leaves the data folder {root} is not opened.")
    return root / relative


def layout_of(root: Path) -> str:
    """How a folder names classes and splits: ``class folders``, ``split folders``, ``food101``."""
    is_listed = all((root / "meta" / f"{split}.txt").is_file() for split in ("train", "test"))
    if is_listed and (root / "images").is_dir():
        return "food101"
    splits = {folder.name: SPLIT_FOLDERS.get(folder.name.lower()) for folder in _folders(root)}
    train = [name for name, split in splits.items() if split == "train"]
    if train and all(splits.values()) and _folders(root / train[0]):
        return "split folders"
    return "class folders"


def _find_class_folders(root: Path, given_split: str | None = None) -> Iterator[Found]:
    for path in _files_below(root):
        class_name, is_inside, _ = path.partition("/")
        if is_inside:
            yield _labelled(path, class_name, given_split)
        else:
            yield Rejected(printable(path), "not inside a class folder")


def _find_split_folders(root: Path) -> Iterator[Found]:
    for path in root.iterdir():
        if path.is_file() and not _is_system_file(path.name):
            yield Rejected(printable(path.name), "not inside a class folder")
    for folder in _folders(root):
        for found in _find_class_folders(folder, SPLIT_FOLDERS[folder.name.lower()]):
            yield found._replace(path=f"{folder.name}/{found.path}")


def _find_food101(root: Path) -> Iterator[Found]:
    listed = _listed_splits(root)
    for below_images in _files_below(root / "images"):
        path = f"images/{below_images}"
        class_name, is_inside, _ = below_images.partition("/")
        stem = os.path.splitext(below_images)[0]
        if not is_inside:
            yield Rejected(printable(path), "not inside a class folder")
        elif path.endswith("/"):
            listed.pop(os.path.splitext(below_images[:-1])[0], None)
            yield _folder(path)
        elif stem in listed:
            yield _labelled(path, class_name, listed.pop(stem))
        else:
            yield Rejected(printable(path), "not listed in meta/train.txt or meta/test.txt")
    for stem, split in listed.items():
        yield Rejected(f"images/{stem}.jpg", f"listed in meta/{split}.txt, no such file")


_FINDERS = {
    "class folders": _find_class_folders,
    "split folders": _find_split_folders,
    "food101": _find_food101,
}


def _listed_splits(root: Path) -> dict[str, str]:
    """The split of each ``CLASS/ID`` that the lists of Food-101's layout name."""
    listed: dict[str, str] = {}
    for split in ("train", "test"):
        path = root / "meta" / f"{split}.txt"
        try:
            lines = path.read_text("utf-8-sig").splitlines()
        except UnicodeDecodeError as error:
            raise DataError(f"{path}: expected UTF-8 text, found something else.") from error
        for line in filter(None, map(str.strip, lines)):
            if listed.setdefault(line, split) != split:
                raise DataError(f"{path}: {line} is listed in meta/{listed[line]}.txt too.")
    return listed


def _labelled(path: str, class_name: str, given_split: str | None) -> Found:
    if path.endswith("/"):
        return _folder(path)
    if printable(path) != path:
        return Rejected(printable(path), "its name is not valid UTF-8: rename it")
    if not _has_image_name(path):
        return Rejected(path, f"does not end in {', '.join(IMAGE_EXTENSIONS)}")
    return LabelledImage(path, class_name, given_split)


def _folder(path: str) -> Rejected:
    return Rejected(printable(path.rstrip("/")), "a folder, not a file")


def _files_below(root: Path) -> Iterator[str]:
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
            yield from (f"{prefix}{name}/" for name in shown if _has_image_name(name))
        subfolders[:] = (
            name for name in shown if os.path.realpath(os.path.join(folder, name)) not in seen
        )
        yield from (f"{prefix}{name}" for name in sorted(names) if not _is_system_file(name))


def _raise(error: OSError) -> None:
    # os.walk skips what it may not list; a class must not vanish because of its permissions.
    raise DataError(f"{error.filename}: cannot be listed ({error.strerror}).")


def _folders(root: Path) -> list[Path]:
    return sorted(path for path in root.iterdir() if path.is_dir() and path.name[0] != ".")


def _is_system_file(name: str) -> bool:
    return name.startswith(".") or name.lower() in SYSTEM_FILES


def _has_image_name(path: str) -> bool:
    return os.path.splitext(path)[1].lower() in IMAGE_EXTENSIONS


def printable(name: str) -> str:
    """The name itself, or with escapes where the file system's bytes are not UTF-8."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _describe(rejected: Sequence[Rejected]) -> str:
    if not rejected:
        return "no files"
    return f"{len(rejected)} other files, the first {rejected[0].path} ({rejected[0].reason})"
