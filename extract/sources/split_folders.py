"""Folders that are splits: which are train, val and test, by name and content."""

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

from headbench.extract.errors import LayoutError

SPLIT_FOLDERS = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "test": "test",
    "testing": "test",
}
SPLIT_WORD = re.compile(rf"({'|'.join(SPLIT_FOLDERS)})(?:data|set|dataset|images)?")
MOST_NAMED = 5
WAY_OUT = (
    "Keep only train/, val/ and test/ here, with a folder for each class in them, or only class "
    "folders. Move everything else away ('headbench predict' classifies images without labels). "
    "If the splits are one folder further down, name that folder. Or write a list of images with "
    "their labels (docs/sources.md)."
)


def split_of(folder: str) -> str | None:
    """The split in the name of a folder; None if there is none, or two.

    Examples
    --------
    >>> [split_of(name) for name in ("Training", "test_set", "seg_train", "test1", "dev", "tests")]
    ['train', 'test', 'train', 'test', 'val', None]
    """
    words = map(SPLIT_WORD.fullmatch, re.findall("[a-z]+", folder.lower()))
    named = {SPLIT_FOLDERS[word[1]] for word in words if word}
    return named.pop() if len(named) == 1 else None


def repeated(folder: str, inside: Collection[str]) -> str:
    """The only folder inside a folder if it names the same split, as in ``seg_train/seg_train``.

    Empty if there are other folders.
    """
    [inner] = inside if len(inside) == 1 else [""]
    return inner if split_of(inner) and split_of(inner) == split_of(folder) else ""


class Top(NamedTuple):
    """A top-level folder that holds images.

    Attributes
    ----------
    root : str
        Where its class folders would be: the folder itself, or the `repeated` one in it.
    split : str or None
        The split in its name.
    folders : set of str
        Names of the folders in `root` that hold images.
    n_loose : int
        Number of images in `root` outside those folders.
    """

    root: str
    split: str | None
    folders: frozenset[str]
    n_loose: int


def tops_of(paths: Sequence[str]) -> dict[str, Top]:
    """The top-level folders, by name; `paths` are those of images."""
    tops = {}
    for top, counts in _folders(paths).items():
        root, inner = top, repeated(top, counts)
        if inner:
            root = f"{top}/{inner}"
            below = (path[len(top) + 1 :] for path in paths if path.startswith(f"{root}/"))
            counts = _folders(below)[inner]
        tops[top] = Top(root, split_of(top), frozenset(filter(None, counts)), counts[""])
    return tops


def _folders(paths: Iterable[str]) -> dict[str, Counter[str]]:
    """For each top-level folder, number of images by the folder in it; '' for those in none."""
    found: dict[str, Counter[str]] = {}
    for path in paths:
        top, slash, below = path.partition("/")
        if slash:
            folder, slash, _ = below.partition("/")
            found.setdefault(top, Counter())[folder if slash else ""] += 1
    return found


def are_splits(tops: Collection[Top]) -> bool:
    """Whether all folders name a split, and one of them, train, has class folders."""
    is_train = (top.split == "train" and top.folders for top in tops)
    return all(top.split for top in tops) and any(is_train)


def unlabelled(name: str, top: Top) -> str:
    """A note about a split without class folders; empty for others."""
    if top.folders:
        return ""
    return (
        f"{name}/{top.root}: {top.n_loose} images are in no class folder, so they have no label "
        f"and are not used. To classify them after training: headbench predict --images "
        f"{name}/{top.root}"
    )


def refuse_splits(name: str, tops: Mapping[str, Top]) -> None:
    """`LayoutError` if folders look like splits that `are_splits` does not recognise."""
    suspects = _named_splits(tops) or _alike(tops)
    if not suspects:
        return
    evidence = [f"{top}/ has {_contents_of(tops[top])}." for top in suspects]
    others = sorted(tops.keys() - suspects)
    if others or not any(tops[top].split == "train" for top in suspects):
        evidence.append(f"Beside them: {_some(others) or 'no train/'}.")
    raise LayoutError(
        f"{name}: the folders {_some(suspects)} look like splits but would be read as classes.",
        tuple(evidence),
        WAY_OUT,
    )


def _named_splits(tops: Mapping[str, Top]) -> list[str]:
    """Folders named like different splits: if all are, or if each has folders inside.

    Otherwise one class may be named train.
    """
    named = [top for top, each in tops.items() if each.split]
    is_whole = len(named) == len(tops) or all(tops[top].folders for top in named)
    return named if is_whole and len({tops[top].split for top in named}) > 1 else []


def _alike(tops: Mapping[str, Top]) -> list[str]:
    """Folders that hold splits; or share the class folders of a split; or all, if all agree."""
    inside = {top: each.folders for top, each in tops.items() if each.folders}
    found = {top for top in inside if len({*map(split_of, inside[top])} - {None}) > 1}
    for top in filter(split_of, inside):
        alike = {each for each in inside if len(inside[top] & inside[each]) > 1}
        found |= alike if len(alike) > 1 else set()
    if found or len(inside) < 2 or any(each.n_loose for each in tops.values()):
        return sorted(found)
    one, *others = inside.values()
    return sorted(inside) if len(one) > 1 and all(each == one for each in others) else []


def _contents_of(top: Top) -> str:
    if top.folders:
        return f"folders inside: {_some(sorted(top.folders))}"
    return f"{top.n_loose} images and no folders inside"


def _some(names: Sequence[str]) -> str:
    n_more = len(names) - MOST_NAMED
    return ", ".join(names[:MOST_NAMED]) + (f" and {n_more} more" if n_more > 0 else "")
