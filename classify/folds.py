"""Cross-validation on the cached embeddings, for when the images are few."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.model_selection import StratifiedGroupKFold

from cache.reader import FeatureFile
from classify.bootstrap import Estimate, wilson
from classify.errors import RunError
from classify.heads.head import Head
from classify.studies import Fit, run_study

FOLDS_FILE = "folds.json"
FEWEST_FOLDS = 3


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

    Test stays untouched. Copies of one image are in one fold. In each round one fold is measured,
    the next one chooses settings, and the others train.

    Parameters
    ----------
    folder : Path
        Where ``folds.json`` is kept.
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
        For each head and fold: ``head``, ``fold``, ``n_folds``, ``n_right``, ``n_images``.

    Raises
    ------
    RunError
        If there are too few folds, or a class has fewer different images than folds.
    """
    if n_folds < FEWEST_FOLDS:
        raise RunError(
            f"--folds {n_folds}: expected at least {FEWEST_FOLDS}: one to measure on, one to "
            "choose on, the others to train on."
        )
    rows = np.sort(np.concatenate([features.rows("train"), features.rows("val")]))
    X, y = features.read(rows), features.table.labels[rows]
    contents = features.table.content_sha256[rows]
    _check_classes(features, y, contents, n_folds)
    fold_of = content_folds(y, contents, n_folds, seed)

    def measure(fold: int) -> Callable[[Head], dict[str, Any]]:
        def work(head: Head) -> dict[str, Any]:
            is_test, is_val = fold_of == fold, fold_of == (fold + 1) % n_folds
            is_train = ~(is_test | is_val)
            head.fit(X[is_train], y[is_train], X[is_val], y[is_val])
            is_right = head.predict(X[is_test]) == y[is_test]
            return {"n_right": int(is_right.sum()), "n_images": len(is_right)}

        return work

    fits = [
        Fit(name, clone(head), {"fold": fold, "n_folds": n_folds, "seed": seed}, measure(fold))
        for name, head in heads.items()
        for fold in range(n_folds)
    ]
    return run_study(folder / FOLDS_FILE, features, fits, n_jobs, say)


def content_folds(
    y: NDArray[np.integer], content_sha256: NDArray[np.uint8], n_folds: int, seed: int
) -> NDArray[np.intp]:
    """The fold of each image: classes spread evenly, equal contents together.

    Parameters
    ----------
    y : int (n_images,)
    content_sha256 : uint8 (n_images, 32)
    n_folds : int
    seed : int

    Returns
    -------
    intp (n_images,)
        From 0 to n_folds - 1.
    """
    _, group = np.unique(content_sha256, axis=0, return_inverse=True)
    splitter = StratifiedGroupKFold(n_folds, shuffle=True, random_state=seed)
    fold_of = np.empty(len(y), dtype=np.intp)
    for fold, (_, rows) in enumerate(splitter.split(y, y, group.ravel())):
        fold_of[rows] = fold
    return fold_of


def overall(points: list[dict[str, Any]]) -> Estimate:
    """Accuracy of one head over all folds, with Wilson's interval."""
    return wilson(
        sum(point["n_right"] for point in points), sum(point["n_images"] for point in points)
    )


def _check_classes(
    features: FeatureFile, y: NDArray[np.integer], contents: NDArray[np.uint8], n_folds: int
) -> None:
    """Every class needs an image for each fold: else a round has nothing to learn it from."""
    for label in np.unique(y):
        n_different = len(np.unique(contents[y == label], axis=0))
        if n_different < n_folds:
            raise RunError(
                f"{features.path}: class {features.classes[label]!r} has {n_different} different "
                f"images in train and val for {n_folds} folds. Choose fewer folds, or add images."
            )
