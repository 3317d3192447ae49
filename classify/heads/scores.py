"""A few columns that hold what many do: class scores and principal axes."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigh, solve

from classify.heads.blocks import row_blocks
from classify.heads.head import Labelled
from classify.heads.moments import moments

N_FOLDS = 5
N_AXES = 64
# Per image; the variances of the columns that it is added to are 1.
ALPHA = 0.03


class Scores(NamedTuple):
    """A linear map from embeddings to scores.

    Attributes
    ----------
    kernel : float32 (dim, n_classes + 64)
        Ridge regression of each class's indicator, then the first principal axes.
    bias : float32 (n_classes + 64,)
    """

    kernel: NDArray[np.float32]
    bias: NDArray[np.float32]

    def __call__(self, X: NDArray[np.float32]) -> NDArray[np.float32]:
        """Scores of embeddings, float32 (n_images, n_classes + 64)."""
        scores: NDArray[np.float32] = X @ self.kernel + self.bias
        return scores


def cross_fitted_scores(
    train: Labelled, n_classes: int, seed: int
) -> tuple[Scores, NDArray[np.float32]]:
    """Fit scores, and give those of train as if each image had not been there.

    Scores of images that the regression was fitted on look better than any others will: trees
    would trust them too much. So each fold's come from a regression on the other folds, whose
    Gram matrix is the whole one minus the fold's own.

    Parameters
    ----------
    train : Labelled
    n_classes : int
    seed : int
        Of the folds.

    Returns
    -------
    scores : Scores
        Fitted on all of train, for images that are not in it.
    columns : float32 (n_images, n_classes + 64)
        Of train.
    """
    mean, scale = moments(train.X, train.weight)
    folds = _folds(train.y, seed)
    sums = [_sums(train, rows, mean, scale, n_classes) for rows in folds]
    gram, targets = np.zeros((len(mean), len(mean))), np.zeros((len(mean), n_classes))
    for fold_gram, fold_targets in sums:
        gram += fold_gram
        targets += fold_targets
    _, axes = eigh(gram, driver="evd", check_finite=False)
    axes = axes[:, ::-1][:, :N_AXES]

    def fitted(gram: NDArray[np.float64], targets: NDArray[np.float64], n: float) -> Scores:
        weights = solve(gram + ALPHA * n * np.eye(len(gram)), targets, assume_a="pos")
        kernel = (np.hstack([weights, axes]) / scale[:, None]).astype(np.float32)
        return Scores(kernel, (-mean @ kernel).astype(np.float32))

    columns = np.empty((len(train.y), n_classes + axes.shape[1]), dtype=np.float32)
    total = train.weight.sum()
    for rows, (fold_gram, fold_targets) in zip(folds, sums, strict=True):
        n = total - train.weight[rows].sum()
        scores = fitted(gram - fold_gram, targets - fold_targets, n)
        for block in row_blocks(len(rows)):
            columns[rows[block]] = scores(train.X[rows[block]])
    return fitted(gram, targets, total), columns


def _folds(y: NDArray[np.intp], seed: int) -> list[NDArray[np.intp]]:
    """Rows of each fold, every class spread over them as evenly as it goes."""
    rng = np.random.default_rng(seed)
    # Dealt out class by class; StratifiedKFold warns about classes smaller than the folds.
    order = rng.permutation(len(y))
    order = order[np.argsort(y[order], kind="stable")]
    return [np.sort(order[start::N_FOLDS]) for start in range(N_FOLDS)]


def _sums(
    train: Labelled,
    rows: NDArray[np.intp],
    mean: NDArray[np.float32],
    scale: NDArray[np.float32],
    n_classes: int,
) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Gram matrix of standardised embeddings, and their products with the class indicators."""
    dim = len(mean)
    gram, targets = np.zeros((dim, dim)), np.zeros((dim, n_classes))
    for block in row_blocks(len(rows)):
        part = rows[block]
        root = np.sqrt(train.weight[part]).astype(np.float32)[:, None]
        X = (train.X[part] - mean) / scale * root
        indicators = np.zeros((len(part), n_classes), dtype=np.float32)
        indicators[np.arange(len(part)), train.y[part]] = 1
        indicators = (indicators - np.float32(1 / n_classes)) * root
        gram += X.T @ X
        targets += X.T @ indicators
    # One is kept for each fold; the penalty is far above what float32 rounds off.
    return gram.astype(np.float32), targets
