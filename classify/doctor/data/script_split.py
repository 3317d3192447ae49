"""Splits of the folder or of the user's script; findings about scripts that split by file order."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from headbench.cache.format import SPLITS
from headbench.classify.doctor.finding import Finding, Grid, Severity
from headbench.classify.doctor.script import DATASET, FIT, GENERATOR, ScriptSettings
from headbench.classify.wording import share, some
from headbench.extract.sources.source import Dataset, LabelledImage

# File name extensions that Keras 3 accepts; a script that calls fit may load any file.
KERAS_ENDINGS = {
    FIT: ("",),
    GENERATOR: (".png", ".jpg", ".jpeg", ".bmp", ".ppm", ".tif", ".tiff"),
    DATASET: (".bmp", ".gif", ".jpeg", ".jpg", ".png"),
}
TRAIN, VAL, TEST = range(len(SPLITS))
UNKNOWN = -1
# Fewer images expected in validation: the class may have none there by chance alone.
EXPECTED_IN_VAL = 3
MOST_ROWS = 12
REMEDY = (
    "Split each class at random, as 'headbench features' does. In Keras: call "
    "image_dataset_from_directory(validation_split=..., subset=..., seed=...) with the same seed "
    "for both subsets and shuffle left on; or shuffle images and labels together before fit; or "
    "make folders train/ and val/."
)


class Partition(NamedTuple):
    """The split of each image.

    Attributes
    ----------
    splits : int8 (n_images,)
        Index into `headbench.cache.format.SPLITS`; -1 if unknown.
    rule
        Description of where the splits come from; empty if they are unknown.
    """

    splits: NDArray[np.int8]
    rule: str


def partition(images: tuple[LabelledImage, ...], script: ScriptSettings) -> Partition:
    """The splits of the folder; if it has no val, the split of the script."""
    splits = np.array(
        [SPLITS.index(image.given_split) if image.given_split else UNKNOWN for image in images],
        dtype=np.int8,
    )
    rule = "as the folder names them" if (splits != UNKNOWN).any() else ""
    if (splits == VAL).any():
        return Partition(splits, rule)
    for row, is_val in carved(images, script).items():
        splits[row] = VAL if is_val else TRAIN
        rule = describe_rule(script)
    return Partition(splits, rule)


def describe_rule(script: ScriptSettings) -> str:
    """Describe how the script chooses its validation images."""
    part = f"{100 * (script.validation_split or 0):g} %"
    if script.loader == GENERATOR:
        return f"ImageDataGenerator takes the first {part} of each class, by file name"
    how = "" if script.loader == FIT else ", which does not shuffle,"
    return f"{script.loader}{how} takes the last {part} of the files, class after class"


def carved(images: tuple[LabelledImage, ...], script: ScriptSettings) -> dict[int, bool]:
    """Files that the script uses for validation.

    As in Keras 3: `Model.fit` in ``train_validation_split`` (array_slicing.py),
    `ImageDataGenerator` in ``_list_valid_filenames_in_directory`` (legacy/preprocessing/image.py)
    and `image_dataset_from_directory` in ``get_training_or_validation_split`` (dataset_utils.py).

    Returns
    -------
    dict of int to bool
        By row, in the order of Keras; empty if there is no validation share or it is random.
    """
    part = script.validation_split
    if not part or is_random(script):
        return {}
    endings = KERAS_ENDINGS[script.loader]
    rows = [
        row
        for row, image in enumerate(images)
        if image.given_split in (None, "train") and image.path.lower().endswith(endings)
    ]
    rows.sort(key=lambda row: keras_order(images[row]))
    if script.loader != GENERATOR:
        # They round differently: of 101 files and 0.2, fit trains on 80, the other on 81.
        n_train = len(rows) - int(part * len(rows))
        if script.loader == FIT:
            n_train = int(len(rows) * (1.0 - part))
        return {row: place >= n_train for place, row in enumerate(rows)}
    of_class: dict[str, list[int]] = {}
    for row in rows:
        of_class.setdefault(images[row].class_name, []).append(row)
    return {
        row: place < int(part * len(same))
        for same in of_class.values()
        for place, row in enumerate(same)
    }


def keras_order(image: LabelledImage) -> tuple[str, str, str]:
    """Sort key of an image file in Keras: class, then folder, then name."""
    folder, _, name = image.path.rpartition("/")
    return image.class_name, folder, name


def is_random(script: ScriptSettings) -> bool:
    """Whether the script draws its validation share at random."""
    return script.loader == DATASET and script.shuffle


def examine_order(dataset: Dataset, script: ScriptSettings) -> Iterator[Finding]:
    """Classes only in training or only in validation, for a script that splits by file order."""
    is_val = carved(dataset.images, script)
    if not is_val:
        return
    label_of = {name: label for label, name in enumerate(dataset.classes)}
    counts = np.zeros((len(dataset.classes), 2), dtype=int)
    for row, of_val in is_val.items():
        counts[label_of[dataset.images[row].class_name], int(of_val)] += 1
    unlearnt = (counts[:, 0] == 0) & (counts[:, 1] > 0)
    unseen = (counts[:, 1] == 0) & (
        counts[:, 0] * (script.validation_split or 0) >= EXPECTED_IN_VAL
    )
    if unlearnt.any() or unseen.any():
        yield _by_order(dataset.classes, counts, unlearnt, unseen, script)
    elif script.loader == GENERATOR:
        yield _by_name(dataset.classes, counts, script)


def _by_order(
    classes: tuple[str, ...],
    counts: NDArray[np.int_],
    unlearnt: NDArray[np.bool_],
    unseen: NDArray[np.bool_],
    script: ScriptSettings,
) -> Finding:
    n_train, n_val = counts.sum(axis=0).tolist()
    n_unlearnt = int(counts[unlearnt, 1].sum())
    evidence = [
        f"{describe_rule(script)}: {n_train} for training, {n_val} for validation.",
        f"Validation has images of {int((counts[:, 1] > 0).sum())} of {len(classes)} classes: "
        f"{some(_named(classes, counts[:, 1] > 0))}.",
    ]
    if n_unlearnt:
        evidence.append(
            f"Only in validation: {some(_named(classes, unlearnt))}, {n_unlearnt} of {n_val} "
            "images. No network predicts a class that it was not trained on, so validation "
            f"accuracy is at most {share(1 - n_unlearnt / n_val)}."
        )
    if unseen.any():
        evidence.append(
            f"Never in validation: {some(_named(classes, unseen))}. Validation accuracy does not "
            "include them."
        )
    return Finding(
        "split-by-file-order",
        Severity.SEVERE,
        "Validation has other classes than training, because the script splits the files in the "
        "order of their names, class after class.",
        tuple(evidence),
        REMEDY,
        _table(classes, counts),
    )


def _by_name(classes: tuple[str, ...], counts: NDArray[np.int_], script: ScriptSettings) -> Finding:
    n_train, n_val = counts.sum(axis=0).tolist()
    without = _named(classes, counts[:, 1] == 0)
    too_small = f"Classes too small to have an image in validation: {some(without)}."
    return Finding(
        "split-by-file-order",
        Severity.WARNING if without else Severity.NOTE,
        "Validation is the first part of each class by file name, not a random sample.",
        (
            f"{describe_rule(script)}: {n_train} for training, {n_val} for validation.",
            "If file names follow the time, place or subject of the photographs, validation "
            "differs from training.",
            *([too_small] if without else []),
        ),
        REMEDY,
    )


def _named(classes: tuple[str, ...], has: NDArray[np.bool_]) -> list[str]:
    return [classes[label] for label in np.flatnonzero(has)]


def _table(classes: tuple[str, ...], counts: NDArray[np.int_]) -> Grid:
    # The classes of validation come last by name: show them rather than the first ones.
    of_interest = sorted(range(len(classes)), key=lambda label: (-counts[label, 1], label))
    shown = sorted(of_interest[:MOST_ROWS])
    rows = [(classes[at], str(counts[at, 0]), str(counts[at, 1])) for at in shown]
    if len(classes) > MOST_ROWS:
        rest = of_interest[MOST_ROWS:]
        rows.append((f"{len(rest)} others", str(counts[rest, 0].sum()), str(counts[rest, 1].sum())))
    return Grid(("class", "for training", "for validation"), tuple(rows))
