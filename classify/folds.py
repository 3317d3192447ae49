"""Cross-validation on the cached embeddings, for when the images are few."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.model_selection import StratifiedGroupKFold

from cache.reader import FeatureFile
from classify.bootstrap import Estimate, wilson
from classify.errors import RunError
from classify.heads.head import Head
from classify.held_out import (
    FOLDS_FOLDER,
    HeldOut,
    is_whole,
    load_folds,
    remove_unnamed,
    save_held_out,
)
from classify.studies import (
    Fit,
    fit_digest,
    full_key,
    read_all,
    read_study,
    run_study,
    study_stamp,
)
from classify.together import together
from classify.train import class_proba

FOLDS_FILE = "folds.json"
FEWEST_FOLDS = 3


class _Images(NamedTuple):
    """What is cross-validated.

    Attributes
    ----------
    rows : intp (n_images,)
        Of the feature file.
    X : float32 (n_images, dim)
    y : int32 (n_images,)
    weight : float32 (n_images,)
    fold_of : intp (n_images,)
        From 0 to n_folds - 1.
    n_folds, n_classes : int
    """

    rows: NDArray[np.intp]
    X: NDArray[np.float32]
    y: NDArray[np.int32]
    weight: NDArray[np.float32]
    fold_of: NDArray[np.intp]
    n_folds: int
    n_classes: int


def cross_validate(
    folder: Path,
    features: FeatureFile,
    heads: Mapping[str, Head],
    n_folds: int,
    seed: int,
    n_jobs: int,
    say: Callable[[str], None],
) -> list[dict[str, Any]]:
    """Measure heads on every image of train and val, each by a head that has not seen it.

    Test stays untouched. Copies of one image, and images of one group, are in one fold. In each
    round one fold is measured, the next one chooses settings, and the others train.

    Parameters
    ----------
    folder : Path
        Where ``folds.json`` and ``folds/`` are kept.
    features : FeatureFile
    heads : mapping of str to Head
        Not fitted yet.
    n_folds : int
        At least 3.
    seed : int
        Of the folds.
    n_jobs : int
        Fits at a time.
    say : callable

    Returns
    -------
    list of dict
        For each head and fold: ``head``, ``fold``, ``n_folds``, ``n_right``, ``n_images``,
        ``proba_file``: the name of a file in ``folds/``, see `held_out_proba`.

    Raises
    ------
    RunError
        If there are too few folds, or a class has too few different images or groups for them.
    """
    if n_folds < FEWEST_FOLDS:
        raise RunError(
            f"--folds {n_folds}: expected at least {FEWEST_FOLDS}: one to measure on, one to "
            "choose on, the others to train on."
        )
    rows = _train_and_val(features)
    table = features.table
    y, groups = table.labels[rows], None if table.groups is None else table.groups[rows]
    weight = np.ones(len(rows), np.float32) if table.weights is None else table.weights[rows]
    unit = together(table.content_sha256[rows], groups)
    _check_classes(features, y, unit, n_folds)
    fold_of = unit_folds(y, unit, n_folds, seed)
    _check_folds(features, y, fold_of, n_folds)
    images = _Images(rows, features.read(rows), y, weight, fold_of, n_folds, len(features.classes))
    stamp = study_stamp(features)

    def fit(name: str, head: Head, fold: int) -> Fit:
        key = {"fold": fold, "n_folds": n_folds, "seed": seed}
        file_name = f"{fit_digest(stamp, full_key(name, head, key))}.npz"
        path = folder / FOLDS_FOLDER / file_name
        return Fit(
            name,
            clone(head),
            key,
            work=lambda head: _measure(head, images, fold, path),
            is_reusable=lambda result: (
                result.get("proba_file") == file_name
                and is_whole(path, rows[fold_of == fold], images.n_classes)
            ),
        )

    fits = [fit(name, head, fold) for name, head in heads.items() for fold in range(n_folds)]
    points = run_study(folder / FOLDS_FILE, features, fits, n_jobs, say)
    named = {each["result"]["proba_file"] for each in read_all(folder / FOLDS_FILE, features)}
    remove_unnamed(folder / FOLDS_FOLDER, named)
    return points


def held_out_proba(folder: Path, features: FeatureFile, head: str) -> HeldOut | None:
    """Probabilities of every image of train and val, each by a fit of the head without it.

    Parameters
    ----------
    folder : Path
        Where ``folds.json`` is kept.
    features : FeatureFile
    head : str
        Its name.

    Returns
    -------
    HeldOut or None
        Rows ascending. None if the last cross-validation was not of this head, or of other
        features.

    Raises
    ------
    RunError
        If a file that the study names is not there or damaged.
    """
    shown = [
        point for point in read_study(folder / FOLDS_FILE, features) if point["key"]["head"] == head
    ]
    if not shown:
        return None
    paths = [folder / FOLDS_FOLDER / point["result"]["proba_file"] for point in shown]
    way_out = f"Run 'make heads HEADS={head} FOLDS={len(paths)}' again: it fits what is missing."
    return load_folds(paths, _train_and_val(features), len(features.classes), way_out)


def unit_folds(
    y: NDArray[np.integer], unit: NDArray[np.intp], n_folds: int, seed: int
) -> NDArray[np.intp]:
    """The fold of each image: classes spread evenly, no unit separated.

    Parameters
    ----------
    y : int (n_images,)
    unit : intp (n_images,)
        As `together` gives it.
    n_folds : int
    seed : int

    Returns
    -------
    intp (n_images,)
        From 0 to n_folds - 1.
    """
    splitter = StratifiedGroupKFold(n_folds, shuffle=True, random_state=seed)
    fold_of = np.empty(len(y), dtype=np.intp)
    for fold, (_, rows) in enumerate(splitter.split(y, y, unit)):
        fold_of[rows] = fold
    return fold_of


def overall(points: list[dict[str, Any]]) -> Estimate:
    """Accuracy of one head over all folds, with Wilson's interval."""
    return wilson(
        sum(point["n_right"] for point in points), sum(point["n_images"] for point in points)
    )


def _measure(head: Head, images: _Images, fold: int, path: Path) -> dict[str, Any]:
    """Fit without two folds, choose on one of them, and keep what is said of the other."""
    is_test = images.fold_of == fold
    is_val = images.fold_of == (fold + 1) % images.n_folds
    is_train = ~(is_test | is_val)
    X, y, weight = images.X, images.y, images.weight
    head.fit(X[is_train], y[is_train], X[is_val], y[is_val], weight[is_train], weight[is_val])
    proba = class_proba(head, X[is_test], images.n_classes)
    save_held_out(path, HeldOut(images.rows[is_test], proba))
    n_right = int((proba.argmax(axis=1) == y[is_test]).sum())
    return {"n_right": n_right, "n_images": len(proba), "proba_file": path.name}


def _train_and_val(features: FeatureFile) -> NDArray[np.intp]:
    """Rows of both, ascending."""
    return np.sort(np.concatenate([features.rows("train"), features.rows("val")]))


def _check_classes(
    features: FeatureFile, y: NDArray[np.integer], unit: NDArray[np.intp], n_folds: int
) -> None:
    """Every class needs an image for each fold: else a round has nothing to learn it from."""
    what = "different images" if features.table.groups is None else "groups of images"
    for label in np.unique(y):
        n_units = len(np.unique(unit[y == label]))
        if n_units < n_folds:
            raise RunError(
                f"{features.path}: class {features.classes[label]!r} has {n_units} {what} in train "
                f"and val for {n_folds} folds. Choose fewer folds, or add images."
            )


def _check_folds(
    features: FeatureFile, y: NDArray[np.integer], fold_of: NDArray[np.intp], n_folds: int
) -> None:
    """Groups of several classes can leave a round without one of them, though it has enough."""
    for label in np.unique(y):
        if len(np.unique(fold_of[y == label])) < FEWEST_FOLDS:
            raise RunError(
                f"{features.path}: groups of images leave class {features.classes[label]!r} in "
                f"fewer than {FEWEST_FOLDS} of {n_folds} folds. Choose more folds, or add groups."
            )
