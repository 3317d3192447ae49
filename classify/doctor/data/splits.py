"""Who is train and who is val: as the folder says, or as the user's script makes it."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cache.format import SPLITS
from classify.doctor.data.folders import KERAS_ENDINGS, keras_order
from classify.doctor.script import DATASET, FIT, GENERATOR, ScriptSettings
from extract.sources.source import LabelledImage

TRAIN, VAL, TEST = range(len(SPLITS))
UNKNOWN = -1


class Partition(NamedTuple):
    """The split of each image.

    Attributes
    ----------
    splits : int8 (n_images,)
        Index into `cache.format.SPLITS`; -1 where nobody says.
    rule : str
        Who says so, in words; empty if nobody does.
    """

    splits: NDArray[np.int8]
    rule: str


def partition(images: tuple[LabelledImage, ...], script: ScriptSettings) -> Partition:
    """The splits that the folder names; val by the script, where only that makes it."""
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
    """How the script takes its share for validation, in words."""
    share = f"{100 * (script.validation_split or 0):g} %"
    if script.loader == GENERATOR:
        return f"ImageDataGenerator takes the first {share} of each class, by file name"
    how = "" if script.loader == FIT else ", which does not shuffle,"
    return f"{script.loader}{how} takes the last {share} of the files, class after class"


def carved(images: tuple[LabelledImage, ...], script: ScriptSettings) -> dict[int, bool]:
    """Which files the script takes for validation, of those that it trains on.

    As Keras 3 does it: `Model.fit` in ``train_validation_split`` (array_slicing.py),
    `ImageDataGenerator` in ``_list_valid_filenames_in_directory`` (legacy/preprocessing/image.py)
    and `image_dataset_from_directory` in ``get_training_or_validation_split`` (dataset_utils.py).

    Returns
    -------
    dict of int to bool
        By row, in the order of Keras; empty if the script takes no share, or draws it at random.
    """
    share = script.validation_split
    if not share or is_random(script):
        return {}
    endings = KERAS_ENDINGS[script.loader]
    rows = [
        row
        for row, image in enumerate(images)
        if image.given_split in (None, "train") and image.path.lower().endswith(endings)
    ]
    rows.sort(key=lambda row: keras_order(images[row]))
    if script.loader != GENERATOR:
        n_train = _n_train(script.loader, len(rows), share)
        return {row: place >= n_train for place, row in enumerate(rows)}
    of_class: dict[str, list[int]] = {}
    for row in rows:
        of_class.setdefault(images[row].class_name, []).append(row)
    return {
        row: place < int(share * len(same))
        for same in of_class.values()
        for place, row in enumerate(same)
    }


def is_random(script: ScriptSettings) -> bool:
    """Whether the script draws its share at random."""
    return script.loader == DATASET and script.shuffle


def _n_train(loader: str, n_files: int, share: float) -> int:
    # The two round differently: of 101 files and 0.2, fit keeps 80, the other 81.
    return int(n_files * (1.0 - share)) if loader == FIT else n_files - int(share * n_files)
