"""Stage two: fit heads on train, choose on val, save."""

import time
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from cache.format import SPLITS, count_splits, describe_counts
from cache.reader import FeatureFile
from classify.errors import RunError
from classify.heads.head import Head
from classify.heads.registry import check_names, create_head
from classify.metrics import Estimate, accuracy
from classify.run import Record, Run, saving
from classify.wording import describe_choice, percent
from extract.keras_runtime import load_keras

Data = dict[str, tuple[NDArray[np.float32], NDArray[np.int32]]]


def train_heads(run: Run, names: Sequence[str], seed: int, say: Callable[[str], None]) -> None:
    """Fit heads on a feature file and save each.

    Parameters
    ----------
    run : Run
    names : sequence of str
        Of the registry.
    seed : int
    say : callable
        Told what happens, a line at a time.

    Raises
    ------
    RunError, FeatureFileError
        For an unknown name, or features that cannot be trained on.
    """
    check_names(names)
    with FeatureFile(run.features_path) as features:
        data: Data = {split: features.load(split) for split in SPLITS}
        check_classes(features, data)
        counts = describe_counts(count_splits(features.table.splits))
        n_classes, dim = len(features.classes), features.dim
        say(f"{run.features_path}: {counts}; {n_classes} classes, {dim} columns")
        for name in names:
            record, top1 = _train_one(run, name, seed, features, data)
            say(
                f"{name:10} val top-1 {percent(top1)} (n={top1.n})   {record.fit_seconds:5.1f} s   "
                f"{describe_choice(record.chosen)}"
            )


def class_proba(head: Head, X: NDArray[np.float32], n_classes: int) -> NDArray[np.float32]:
    """Probabilities in the order of the feature file's classes.

    Parameters
    ----------
    head : Head
        Fitted on labels of the feature file.
    X : float32 (n_images, dim)
    n_classes : int

    Returns
    -------
    float32 (n_images, n_classes)
        Zero for a class that the head has not seen.
    """
    proba = np.zeros((len(X), n_classes), dtype=np.float32)
    proba[:, head.classes_] = head.predict_proba(X)
    return proba


def check_classes(features: FeatureFile, data: Data) -> None:
    """Refuse a file whose splits cannot be trained on or measured.

    Raises
    ------
    RunError
        If a split is empty, or a class has val or test images and none in train.
    """
    for split, (_, y) in data.items():
        if not len(y):
            raise RunError(
                f"{features.path}: the {split} split is empty. Run 'make features' again."
            )
        unseen = np.setdiff1d(y, data["train"][1])
        if len(unseen):
            raise RunError(
                f"{features.path}: class {features.classes[unseen[0]]!r} has {split} images and "
                "none in train. Add some and run 'make features' again."
            )


def _train_one(
    run: Run, name: str, seed: int, features: FeatureFile, data: Data
) -> tuple[Record, Estimate]:
    head = create_head(name, seed)
    if head.needs_tensorflow:
        load_keras()  # so that its import is not counted as fitting
    started = time.perf_counter()
    head.fit(*data["train"], *data["val"])
    record = Record(
        name=name,
        chosen=head.chosen_,
        settings=head.get_params(),
        history=head.history_,
        fit_seconds=time.perf_counter() - started,
        seed=seed,
        classes=features.classes,
        dim=features.dim,
        features_digest=features.table.digest(),
    )
    val, test = (class_proba(head, data[split][0], len(features.classes)) for split in SPLITS[1:])
    with saving(run.trained_folder(name), record, val, test) as folder:
        head.save(folder)
    return record, accuracy(data["val"][1], val)
