"""True classes of files, where the folders that they lie in say so."""

from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath

from classify.deployment.inputs import STDIN
from classify.wording import count, some
from extract.dataset import list_images
from extract.sources.folder import Folder
from extract.sources.source import Dataset, LabelledImage


def true_classes(
    named: Sequence[str], classes: Sequence[str], say: Callable[[str], None]
) -> dict[Path, str]:
    """The class of each file of the folders that were named, where a layout that we know gives it.

    Parameters
    ----------
    named : sequence of str
        What the user named: see `expand`. Labels are taken from folders only.
    classes : sequence of str
        Those of the model; a folder none of whose class folders is one of them has no labels.
    say : callable
        Told of each folder that labels are taken from, and why they are not from one that looks
        like it.

    Returns
    -------
    dict of Path to str
    """
    truth: dict[Path, str] = {}
    for folder in (Path(each) for each in named if each != STDIN and Path(each).is_dir()):
        dataset = list_images(Folder(folder))
        known = set(dataset.classes) & set(classes)
        if not known:
            continue
        if ambiguous := _between(dataset, set(classes)):
            say(
                f"{folder}: no labels are taken from it: {ambiguous.path} is in folders of two "
                "classes."
            )
            continue
        truth |= {folder / image.path: image.class_name for image in dataset.images}
        say(f"{folder}: true classes are taken from the names of its folders ({dataset.layout})")
        _say_unknown(sorted(set(dataset.classes) - known), say)
    return truth


def _say_unknown(unknown: Sequence[str], say: Callable[[str], None]) -> None:
    if unknown:
        n = count(len(unknown), "folder") + (" names" if len(unknown) == 1 else " name")
        say(f"{n} no class of the model: {some(unknown)}")


def _between(dataset: Dataset, classes: set[str]) -> LabelledImage | None:
    """The first image that lies in the folder of another class, inside that of its own."""
    for image in dataset.images:
        folders = PurePosixPath(image.path).parts[:-1]
        inner = folders[folders.index(image.class_name) + 1 :]
        if classes.intersection(inner):
            return image
    return None
