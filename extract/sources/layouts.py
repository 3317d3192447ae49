"""Which files below a folder are images, of which class and split: told by their paths alone."""

import os
import sys
from collections.abc import Callable, Iterator, Sequence

from cache.format import Rejected
from extract.errors import DataError
from extract.sources.source import Found, LabelledImage, Listing

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
CLASS_FOLDERS, SPLIT_LAYOUT, FOOD101 = "class folders", "split folders", "food101"
LAYOUTS = (CLASS_FOLDERS, SPLIT_LAYOUT, FOOD101)
LISTS = {split: f"meta/{split}.txt" for split in ("train", "test")}


def label_paths(paths: Sequence[str], name: str, read: Callable[[str], bytes]) -> Listing:
    """Label the files below a folder.

    Parameters
    ----------
    paths : sequence of str
        POSIX, relative to the folder, but for hidden and system files. Folders inside a class that
        are called like images may come too, ending in a slash.
    name : str
        Of the folder, for errors.
    read : callable
        Gives the bytes of one of the files: of Food-101's lists.

    Raises
    ------
    DataError
        If the lists of Food-101's layout contradict each other or are not text.
    """
    layout = _layout(paths)
    if layout == FOOD101:
        return Listing(layout, list(_label_food101(paths, _read_lists(name, read))))
    label = _label_split_folders if layout == SPLIT_LAYOUT else _label_class_folders
    return Listing(layout, list(label(paths)))


def has_image_name(path: str) -> bool:
    """Whether a path ends like that of an image."""
    return os.path.splitext(path)[1].lower() in IMAGE_EXTENSIONS


def is_system_file(name: str) -> bool:
    """Whether a file is hidden, or left behind by a file manager."""
    return name.startswith(".") or name.lower() in SYSTEM_FILES


def printable(name: str) -> str:
    """The name itself, or with escapes where the file system's bytes are not UTF-8."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _layout(paths: Sequence[str]) -> str:
    tops = {path.partition("/")[0] for path in paths if "/" in path}
    if "images" in tops and set(LISTS.values()) <= set(paths):
        return FOOD101
    train = {top for top in tops if SPLIT_FOLDERS.get(top.lower()) == "train"}
    has_classes = any(path.partition("/")[0] in train and path.count("/") > 1 for path in paths)
    if has_classes and all(top.lower() in SPLIT_FOLDERS for top in tops):
        return SPLIT_LAYOUT
    return CLASS_FOLDERS


def _label_class_folders(paths: Sequence[str]) -> Iterator[Found]:
    for path in paths:
        yield _in_class(path, path) or _labelled(path, path.partition("/")[0], None)


def _label_split_folders(paths: Sequence[str]) -> Iterator[Found]:
    for path in paths:
        folder, _, below = path.partition("/")
        if _is_class_folder(below):
            continue
        class_name = below.partition("/")[0]
        split = SPLIT_FOLDERS.get(folder.lower())
        yield _in_class(path, below) or _labelled(path, class_name, split)


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
    """The reason against a file that lies in no class folder; `below` is where those are."""
    return None if "/" in below else Rejected(printable(path), "not inside a class folder")


def _is_class_folder(below: str) -> bool:
    """Whether this is no file but a class folder that is called like an image."""
    return below.endswith("/") and below.count("/") == 1


def _read_lists(name: str, read: Callable[[str], bytes]) -> dict[str, str]:
    """The split of each ``CLASS/ID`` that the lists of Food-101's layout name."""
    listed: dict[str, str] = {}
    for split, path in LISTS.items():
        try:
            lines = read(path).decode("utf-8-sig").splitlines()
        except UnicodeDecodeError as error:
            raise DataError(f"{name}/{path}: expected UTF-8 text, found something else.") from error
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
