"""Columns for trees: class scores and principal axes, or the embeddings as they are."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import lightgbm
import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigh, solve
from scipy.special import softmax

from headbench.cache.progress import Progress
from headbench.classify.heads.column_statistics import mean_and_scale
from headbench.classify.heads.head import Labelled
from headbench.classify.heads.streaming import (
    READ_BYTES,
    Embeddings,
    StoredRows,
    embedding_blocks,
    row_blocks,
    sum_over,
)
from headbench.classify.heads.temperature import fit_temperature

N_FOLDS = 5
N_AXES = 64
# Up to so many columns of embeddings, trees get these too: a split on one of them says what a split
# on no axis does, and they cost little.
FEW_COLUMNS = 128
# Penalty for each column, on sums over images: with fewer images for a column, the images bear less
# on the scores. In `make bench-trees`, 1 is better by up to 3 % with 2 or 10 classes, and 3 by 4 %
# with 101; 10 is worse than 3 on most.
PENALTY_PER_COLUMN = 3.0
# Images on which the sharpness of scores is fitted, at most.
SHARPNESS_ROWS = 10_000
# Factor on scores before the temperature that sharpens them: temperatures have a range.
BASE_SHARPNESS = 10.0

# Makes columns from a block of embeddings and its rows.
ColumnsOf: TypeAlias = Callable[[NDArray[np.float32], slice], NDArray[np.float32]]


class Scores(NamedTuple):
    """A linear map from embeddings to scores.

    Attributes
    ----------
    kernel : float32 (dim, n_columns)
        Ridge regression of each class's indicator, then at most 64 principal axes, then the
        standardised columns of the embeddings, if they are at most 128.
    bias : float32 (n_columns,)
    sharpness : float64 ()
        Factor that makes logits of the class scores: trees correct these. 0: they start from
        nothing, as in heads that were saved by version 0.1.
    """

    kernel: NDArray[np.float32]
    bias: NDArray[np.float32]
    sharpness: NDArray[np.float64] = np.zeros(())

    def __call__(self, X: NDArray[np.float32]) -> NDArray[np.float32]:
        """Scores of embeddings, float32 (n_images, n_columns)."""
        scores: NDArray[np.float32] = X @ self.kernel + self.bias
        return scores

    def start(self, columns: NDArray[np.float32], n_classes: int) -> NDArray[np.float32]:
        """Logits that trees start from, float32 (n_images, n_classes), given all columns."""
        logits: NDArray[np.float32] = np.float32(self.sharpness) * columns[:, :n_classes]
        return logits


@dataclass(frozen=True)
class OutOfFold:
    """Scores of images of train, each by a regression without that image.

    Attributes
    ----------
    scores : tuple of Scores
        Those of each fold, fitted on the other folds.
    fold_of : int8 (n_images,)
        Fold of each image.
    """

    scores: tuple[Scores, ...]
    fold_of: NDArray[np.int8]

    def __call__(self, X: NDArray[np.float32], rows: slice) -> NDArray[np.float32]:
        """Scores of some rows of train, float32 (n_rows, n_scores), given their embeddings."""
        fold_of = self.fold_of[rows]
        columns = np.empty((len(X), len(self.scores[0].bias)), dtype=np.float32)
        for fold, scores in enumerate(self.scores):
            is_here = fold_of == fold
            columns[is_here] = scores(X[is_here])
        return columns


def cross_fitted_scores(train: Labelled, n_classes: int, seed: int) -> tuple[Scores, OutOfFold]:
    """Fit scores on all of train, and on all but each fold.

    A regression gives better scores to images that it was fitted on than to new ones, and trees
    would trust them too much. So the scores of each fold come from a regression on the other folds.
    Its Gram matrix is the whole one minus that of the fold.

    Parameters
    ----------
    seed : int
        Seed of the folds.

    Returns
    -------
    scores : Scores
        For images that are not in train.
    out_of_fold : OutOfFold
        For images of train.
    """
    mean, scale = mean_and_scale(train.X, train.weight)
    fold_of = _folds(train.y, seed)
    columns = (train.y, train.weight, fold_of)
    gram, targets = np.zeros((len(mean), len(mean))), np.zeros((len(mean), n_classes))
    sums = []
    with Progress("class scores", N_FOLDS, "folds") as progress:
        for fold in range(N_FOLDS):
            of_fold = sum_over(_products, train.X, columns, fold, mean, scale, n_classes)
            gram += of_fold[0]
            targets += of_fold[1]
            # Kept for each fold in float32, whose rounding is far below the penalty.
            sums.append((of_fold[0].astype(np.float32), of_fold[1]))
            progress.update()
    others_columns = _directions(gram)

    def fitted(gram: NDArray[np.float64], targets: NDArray[np.float64]) -> Scores:
        dim = len(gram)
        weights = solve(gram + PENALTY_PER_COLUMN * dim * np.eye(dim), targets, assume_a="pos")
        kernel = (np.hstack([weights, others_columns]) / scale[:, None]).astype(np.float32)
        return Scores(kernel, (-mean @ kernel).astype(np.float32))

    others = tuple(fitted(gram - of_fold[0], targets - of_fold[1]) for of_fold in sums)
    out_of_fold = OutOfFold(others, fold_of)
    sharpness = _sharpness(train, out_of_fold, n_classes)
    return fitted(gram, targets)._replace(sharpness=sharpness), out_of_fold


def _directions(gram: NDArray[np.float64]) -> NDArray[np.float64]:
    """The first principal axes, and all columns if they are few; float64 (dim, n_directions)."""
    dim = len(gram)
    last = (max(0, dim - N_AXES), dim - 1)
    _, axes = eigh(gram, subset_by_index=last, check_finite=False)
    axes = axes[:, ::-1]
    # A sign that rounding does not turn: limits of bins depend on it.
    axes *= np.sign(axes[np.abs(axes).argmax(axis=0), range(axes.shape[1])])
    return np.hstack([axes, np.eye(dim)]) if dim <= FEW_COLUMNS else axes


def _sharpness(train: Labelled, out_of_fold: OutOfFold, n_classes: int) -> NDArray[np.float64]:
    """The factor with which the class scores of images that are not trained on fit best."""
    # The first images of a file are of few classes: some from everywhere.
    step = -(-len(train.y) // SHARPNESS_ROWS)
    parts = []
    for rows, block in embedding_blocks(train.X):
        columns = out_of_fold(block, rows)[:, :n_classes]
        parts.append(columns[-rows.start % step :: step])
    y, weight = train.y[::step], train.weight[::step]
    proba = softmax(np.float32(BASE_SHARPNESS) * np.concatenate(parts), axis=1)
    return np.array(BASE_SHARPNESS / fit_temperature(proba, y, weight))


def _folds(y: NDArray[np.intp], seed: int) -> NDArray[np.int8]:
    """Fold of each row; each class is spread over the folds as evenly as possible."""
    rng = np.random.default_rng(seed)
    # Dealt class by class; StratifiedKFold would warn about classes smaller than the folds.
    order = rng.permutation(len(y))
    order = order[np.argsort(y[order], kind="stable")]
    fold_of = np.empty(len(y), dtype=np.int8)
    fold_of[order] = np.arange(len(y)) % N_FOLDS
    return fold_of


def _products(
    X: NDArray[np.float32],
    y: NDArray[np.integer],
    weight: NDArray[np.float64],
    fold_of: NDArray[np.int8],
    fold: int,
    mean: NDArray[np.float32],
    scale: NDArray[np.float32],
    n_classes: int,
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Gram matrix of a fold's standardised embeddings, and their products with the indicators."""
    rows = np.flatnonzero(fold_of == fold)
    root = np.sqrt(weight[rows]).astype(np.float32)[:, None]
    Z = (X[rows] - mean) / scale * root
    indicators = np.zeros((len(rows), n_classes), dtype=np.float32)
    indicators[np.arange(len(rows)), y[rows]] = 1
    indicators = (indicators - np.float32(1 / n_classes)) * root
    return Z.T @ Z, Z.T @ indicators


class StoredColumns(lightgbm.Sequence):  # type: ignore[misc]
    """Columns of embeddings in a file.

    LightGBM reads them twice: a sample of rows, to set the limits of its bins, and then all rows,
    to put them into bins of a byte each, which stay in memory.
    """

    def __init__(self, X: StoredRows, columns_of: ColumnsOf) -> None:
        self._X, self._columns_of = X, columns_of
        self.batch_size = max(1, READ_BYTES // (X.shape[1] * X.dtype.itemsize))
        self._drawn_from = -1
        self._drawn = np.empty((0, 0))

    def __len__(self) -> int:
        return len(self._X)

    def __getitem__(self, index: Any) -> NDArray[np.float64]:
        """Columns of a slice of rows, or of one row; LightGBM needs float64."""
        if isinstance(index, slice):
            return self._columns_of(self._X[index], index).astype(np.float64)
        # Rows of the sample are requested one by one, ascending.
        first = index - index % self.batch_size
        if first != self._drawn_from:
            self._drawn, self._drawn_from = self[first : first + self.batch_size], first
        row: NDArray[np.float64] = self._drawn[index - first]
        return row


def as_they_are(X: NDArray[np.float32], _: slice) -> NDArray[np.float32]:
    """The embeddings as columns."""
    return X


def tree_columns(X: Embeddings, columns_of: ColumnsOf) -> NDArray[np.float32] | StoredColumns:
    """The columns of all rows, as ``lightgbm.Dataset`` takes them, float32 (n_images, n_columns).

    The columns of embeddings in a file are never all in memory.
    """
    if isinstance(X, StoredRows):
        return StoredColumns(X, columns_of)
    if columns_of is as_they_are:
        return X
    return np.concatenate([columns_of(block, rows) for rows, block in embedding_blocks(X)])


def starting_logits(
    columns: NDArray[np.float32] | StoredColumns, scores: Scores | None, n_classes: int
) -> NDArray[np.float64] | None:
    """Logits that trees start from, float64 (n_images, n_classes); None: the same for all images.

    LightGBM keeps them in memory, as it keeps the logits that it is at.
    """
    if scores is None:
        return None
    blocks = (columns[rows] for rows in row_blocks(len(columns)))
    logits = [scores.start(np.asarray(block, np.float32), n_classes) for block in blocks]
    return np.concatenate(logits, dtype=np.float64)
