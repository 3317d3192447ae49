"""True classes of files, where the folders that they lie in say so."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath

from classify.deployment.inputs import STDIN
from classify.wording import count, some
from extract.sources.folder import Folder, image_files
from extract.sources.open import list_images
from extract.sources.source import Dataset, LabelledImage


def true_classes(
    named: Sequence[str], classes: Sequence[str], say: Callable[[str], None]
) -> dict[Path, str]:
    """The class of each file of the folders that were named, where names of folders give it.

    Those are the folders of a layout that we know; or else the folder that was named itself.

    Parameters
    ----------
    named : sequence of str
        What the user named: see `expand`. Labels are taken from folders only.
    classes : sequence of str
        Those of the model; where no folder is named after one of them, there are no labels.
    say : callable
        Told of each folder that labels are taken from, and why they are not from one that looks
        like it.

    Returns
    -------
    dict of Path to str
    """
    truth: dict[Path, str] = {}
    of_one_class: list[str] = []
    for folder in (Path(each) for each in named if each != STDIN and Path(each).is_dir()):
        dataset = list_images(Folder(folder))
        own_name = _own_name(folder)
        if set(classes).intersection(dataset.classes):
            truth |= _by_folders_inside(folder, own_name, dataset, set(classes), say)
        elif own_name in classes:
            truth |= dict.fromkeys(image_files(folder), own_name)
            of_one_class.append(str(folder))
        else:
            _say_none(folder, dataset.classes, classes, say)
    if of_one_class:
        say(f"{some(of_one_class)}: the true class is the name of the folder itself")
    return truth


def _own_name(folder: Path) -> str:
    # Absolute, as "." has no name; links are not followed, as it was named by its link.
    return os.path.basename(os.path.abspath(folder))


def _by_folders_inside(
    folder: Path, own_name: str, dataset: Dataset, classes: set[str], say: Callable[[str], None]
) -> dict[Path, str]:
    if ambiguous := _between(dataset, classes, own_name):
        say(
            f"{folder}: no labels are taken from it: {ambiguous.path} is in folders of two classes."
        )
        return {}
    say(f"{folder}: true classes are taken from the names of its folders ({dataset.layout})")
    _say_unknown(sorted(set(dataset.classes) - classes), say)
    return {folder / image.path: image.class_name for image in dataset.images}


def _say_none(
    folder: Path, found: Sequence[str], classes: Sequence[str], say: Callable[[str], None]
) -> None:
    if found:
        say(
            f"{folder}: accuracy is not known: no folder in it is named after a class (found "
            f"{some(found)}; expected {some(classes)})"
        )


def _say_unknown(unknown: Sequence[str], say: Callable[[str], None]) -> None:
    if unknown:
        n = count(len(unknown), "folder") + (" names" if len(unknown) == 1 else " name")
        say(f"{n} no class of the model: {some(unknown)}")


def _between(dataset: Dataset, classes: set[str], own_name: str) -> LabelledImage | None:
    """The first image that lies in folders of two classes, one inside the other."""
    for image in dataset.images:
        if own_name in classes - {image.class_name}:
            return image
        folders = PurePosixPath(image.path).parts[:-1]
        inner = folders[folders.index(image.class_name) + 1 :]
        if classes.intersection(inner):
            return image
    return None
