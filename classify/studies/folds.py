"""Cross-validation on the cached embeddings, for small data sets."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from sklearn.base import clone
from sklearn.model_selection import StratifiedGroupKFold

from headbench.cache.format import Table
from headbench.cache.reader import FeatureFile
from headbench.classify.checked import check_fields
from headbench.classify.errors import RunError, loading
from headbench.classify.heads.head import Head
from headbench.classify.intervals import Estimate, wilson
from headbench.classify.studies.held_out import (
    HeldOut,
    is_whole,
    load_folds,
    remove_unnamed,
    save_held_out,
)
from headbench.classify.studies.study import (
    Fit,
    fit_digest,
    full_key,
    read_points,
    read_study,
    run_study,
    study_stamp,
)
from headbench.classify.train_heads import class_proba
from headbench.classify.wording import beyond

FOLDS_FILE = "folds.json"
FEWEST_FOLDS = 3
FOLDS_FOLDER = "folds"


@dataclass(frozen=True)
class FoldPoint:
    """A head on one fold of cross-validation.

    Attributes
    ----------
    fold : int
        Counted from 0.
    seed : int
        Seed of the folds.
    n_right : int
        Number of correctly classified images of the fold.
    n_images : int
        Number of images of the fold.
    is_at_limit : bool
        Whether a limit ended the choice of its settings: a better value may lie beyond it.
    proba_file : str
        Name of a file in folds/ of the run: see `held_out_proba`.
    """

    head: str
    settings: Mapping[str, Any]
    fold: int
    n_folds: int
    seed: int
    n_right: int
    n_images: int
    is_at_limit: bool
    proba_file: str


class FoldedImages(NamedTuple):
    """What is cross-validated: rows of a feature file, what it holds of them, and their folds."""

    rows: NDArray[np.intp]
    X: NDArray[np.float32]
    y: NDArray[np.int32]
    weight: NDArray[np.float32]
    fold_of: NDArray[np.intp]
    n_folds: int
    n_classes: int

    @classmethod
    def of(
        cls,
        table: Table,
        rows: NDArray[np.intp],
        X: NDArray[np.float32],
        fold_of: NDArray[np.intp],
        n_folds: int,
    ) -> "FoldedImages":
        """Rows of a table with their embeddings and the folds of `draw_folds`."""
        weight = np.ones(len(rows), np.float32) if table.weights is None else table.weights[rows]
        return cls(rows, X, table.labels[rows], weight, fold_of, n_folds, len(table.classes))


def cross_validate(
    folder: Path,
    features: FeatureFile,
    heads: Mapping[str, Head],
    n_folds: int,
    seed: int,
    n_jobs: int,
) -> list[FoldPoint]:
    """Cross-validate heads: measure each on every image of train and val, by a fit without it.

    Test is not used. Copies of one image, and images of one group, are in one fold. In each round,
    a head is measured on one fold, chosen on the next one and trained on the others.

    Parameters
    ----------
    folder : Path
        Folder for ``folds.json`` and ``folds/``.
    heads : mapping of str to Head
        Not fitted yet.
    n_folds : int
        At least 3.
    n_jobs : int
        Number of fits at a time.

    Raises
    ------
    RunError
        If there are too few folds, or a class has too few different images or groups for them.
    """
    rows = _train_and_val(features)
    fold_of = draw_folds(features.table, rows, n_folds, seed, features.path)
    images = FoldedImages.of(features.table, rows, features.read(rows), fold_of, n_folds)
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
    # Train and val of a fold are copies, and a head makes another one.
    points = run_study(folder / FOLDS_FILE, features, fits, n_jobs, 2 * images.X.nbytes)
    study = read_study(folder / FOLDS_FILE, features)
    named = {str(each.result.get("proba_file")) for each in chain(*study)}
    remove_unnamed(folder / FOLDS_FOLDER, named)
    return _kept_folds(folder, points)


def read_folds(folder: Path, features: FeatureFile) -> list[FoldPoint]:
    """Points of the last cross-validation on these features; empty if there is none."""
    return _kept_folds(folder, read_points(folder / FOLDS_FILE, features))


def _kept_folds(folder: Path, points: list[dict[str, Any]]) -> list[FoldPoint]:
    with loading(folder / FOLDS_FILE, "Delete it and run 'headbench heads --folds 5' again."):
        for point in points:
            check_fields(FoldPoint, point)
            if not 0 <= point["n_right"] <= point["n_images"] or point["n_images"] == 0:
                raise ValueError(f"{point['n_right']} of {point['n_images']} images right")
            if Path(point["proba_file"]).name != point["proba_file"]:
                raise ValueError(f"proba_file: expected a name, found {point['proba_file']!r}")
        return [FoldPoint(**point) for point in points]


def held_out_proba(folder: Path, features: FeatureFile, head: str) -> HeldOut | None:
    """Probabilities of every image of train and val, each from a fit of the head without it.

    Returns
    -------
    HeldOut or None
        Rows ascending. None if the last cross-validation was without this head or on other
        features.

    Raises
    ------
    RunError
        If a file that the study names is missing or damaged.
    """
    shown = [point for point in read_folds(folder, features) if point.head == head]
    if not shown:
        return None
    paths = [folder / FOLDS_FOLDER / point.proba_file for point in shown]
    way_out = f"Run 'headbench heads --heads {head} --folds {len(paths)}' to fit what is missing."
    return load_folds(paths, _train_and_val(features), len(features.classes), way_out)


def draw_folds(
    table: Table, rows: NDArray[np.intp], n_folds: int, seed: int, where: Path | str
) -> NDArray[np.intp]:
    """Fold of each of some rows of a table, from 0, intp (n_rows,); see `cross_validate`.

    Errors name `where` the images come from.

    Raises
    ------
    RunError
        If there are too few folds, or a class has too few different images or groups for them.
    """
    if n_folds < FEWEST_FOLDS:
        raise RunError(
            f"--folds {n_folds}: expected at least {FEWEST_FOLDS}: one to measure on, one to "
            "choose settings on, the others to train on."
        )
    y, groups = table.labels[rows], None if table.groups is None else table.groups[rows]
    unit = inseparable_units(table.content_sha256[rows], groups)
    _check_classes(table, y, unit, n_folds, where)
    fold_of = unit_folds(y, unit, n_folds, seed)
    _check_folds(table, y, fold_of, n_folds, where)
    return fold_of


def unit_folds(
    y: NDArray[np.integer], unit: NDArray[np.intp], n_folds: int, seed: int
) -> NDArray[np.intp]:
    """Fold of each image, from 0: classes spread evenly, no unit of `inseparable_units` split."""
    splitter = StratifiedGroupKFold(n_folds, shuffle=True, random_state=seed)
    fold_of = np.empty(len(y), dtype=np.intp)
    for fold, (_, rows) in enumerate(splitter.split(y, y, unit)):
        fold_of[rows] = fold
    return fold_of


def overall(points: Sequence[FoldPoint]) -> Estimate:
    """Accuracy of one head over all folds, with Wilson's interval."""
    return wilson(sum(point.n_right for point in points), sum(point.n_images for point in points))


def _measure(head: Head, images: FoldedImages, fold: int, path: Path) -> dict[str, Any]:
    """Keep the probabilities of one fold."""
    held_out = fit_without(head, images, fold)
    save_held_out(path, held_out)
    n_right = int((held_out.proba.argmax(axis=1) == images.y[images.fold_of == fold]).sum())
    return {
        "n_right": n_right,
        "n_images": len(held_out.proba),
        "is_at_limit": bool(beyond(head.chosen_)),
        "proba_file": path.name,
    }


def fit_without(head: Head, images: FoldedImages, fold: int) -> HeldOut:
    """Fit without two folds, choose on one of them; the probabilities are those of the other."""
    is_test = images.fold_of == fold
    is_val = images.fold_of == (fold + 1) % images.n_folds
    is_train = ~(is_test | is_val)
    X, y, weight = images.X, images.y, images.weight
    head.fit(X[is_train], y[is_train], X[is_val], y[is_val], weight[is_train], weight[is_val])
    return HeldOut(images.rows[is_test], class_proba(head, X[is_test], images.n_classes))


def _train_and_val(features: FeatureFile) -> NDArray[np.intp]:
    """Rows of both, ascending."""
    return np.sort(np.concatenate([features.rows("train"), features.rows("val")]))


def _check_classes(
    table: Table, y: NDArray[np.integer], unit: NDArray[np.intp], n_folds: int, where: Path | str
) -> None:
    """Every class needs an image for each fold: else a round has nothing to learn it from."""
    what = "different images" if table.groups is None else "groups of images"
    n_units = {label: len(np.unique(unit[y == label])) for label in np.unique(y)}
    few = [
        f"class {table.classes[label]!r} has {n} {what} in train and val"
        for label, n in n_units.items()
        if n < n_folds
    ]
    if few:
        raise RunError(
            f"{where}: {'; '.join(few)} for {n_folds} folds. Choose fewer folds, or add images."
        )


def _check_folds(
    table: Table, y: NDArray[np.integer], fold_of: NDArray[np.intp], n_folds: int, where: Path | str
) -> None:
    """Groups of several classes can leave a round without one of them, though it has enough."""
    few = [
        repr(table.classes[label])
        for label in np.unique(y)
        if len(np.unique(fold_of[y == label])) < FEWEST_FOLDS
    ]
    if few:
        raise RunError(
            f"{where}: groups of images leave class {', '.join(few)} in fewer than "
            f"{FEWEST_FOLDS} of {n_folds} folds. Choose more folds, or add groups."
        )


def inseparable_units(
    content_sha256: NDArray[np.uint8], groups: NDArray[np.int64] | None
) -> NDArray[np.intp]:
    """Number the images so that those which must be in the same fold have the same number.

    If two groups have copies of one image, both groups are one unit.

    Parameters
    ----------
    content_sha256 : uint8 (n_images, 32)
    groups : int64 (n_images,) or None
        See `headbench.cache.format.Table`.

    Returns
    -------
    intp (n_images,)
        Counted from 0.
    """
    contents, content = np.unique(content_sha256, axis=0, return_inverse=True)
    content = content.reshape(-1)
    if groups is None:
        return content
    names, group = np.unique(groups, return_inverse=True)
    n_nodes = len(contents) + len(names)
    links = (np.ones(len(content)), (content, len(contents) + group))
    _, component = connected_components(coo_array(links, shape=(n_nodes, n_nodes)), directed=False)
    return component[content].astype(np.intp)  # type: ignore[no-any-return]
