"""What trees are grown on: embeddings or their scores, in memory or read as LightGBM asks."""

from collections.abc import Callable
from typing import Any, TypeAlias

import lightgbm
import numpy as np
from numpy.typing import NDArray

from classify.heads.stored import READ_BYTES, Embeddings, StoredRows, embedding_blocks

# Makes columns of a block of embeddings, given which rows it holds.
ColumnsOf: TypeAlias = Callable[[NDArray[np.float32], slice], NDArray[np.float32]]


class StoredColumns(lightgbm.Sequence):  # type: ignore[misc]
    """Of embeddings in a file.

    LightGBM reads them twice: to draw rows, from which it sets the limits of its bins, and to put
    all rows into bins, of a byte each, which it keeps in memory.

    Parameters
    ----------
    X : StoredRows
    columns_of : callable
    """

    def __init__(self, X: StoredRows, columns_of: ColumnsOf) -> None:
        self._X, self._columns_of = X, columns_of
        self.batch_size = max(1, READ_BYTES // (X.shape[1] * X.dtype.itemsize))
        self._drawn_from = -1
        self._drawn = np.empty((0, 0))

    def __len__(self) -> int:
        return len(self._X)

    def __getitem__(self, index: Any) -> NDArray[np.float64]:
        """Columns of a slice of rows, or of one row; LightGBM takes float64 alone."""
        if isinstance(index, slice):
            return self._columns_of(self._X[index], index).astype(np.float64)
        # Drawn rows are asked for one by one, ascending.
        first = index - index % self.batch_size
        if first != self._drawn_from:
            self._drawn, self._drawn_from = self[first : first + self.batch_size], first
        row: NDArray[np.float64] = self._drawn[index - first]
        return row


def as_they_are(X: NDArray[np.float32], _: slice) -> NDArray[np.float32]:
    """Embeddings themselves as columns."""
    return X


def tree_columns(X: Embeddings, columns_of: ColumnsOf) -> NDArray[np.float32] | StoredColumns:
    """The columns of all rows, as ``lightgbm.Dataset`` takes them.

    Parameters
    ----------
    X : float32 (n_images, dim), in memory or in a file
    columns_of : callable

    Returns
    -------
    float32 (n_images, n_columns) or StoredColumns
        Of embeddings in a file, those that are never there all at once.
    """
    if isinstance(X, StoredRows):
        return StoredColumns(X, columns_of)
    if columns_of is as_they_are:
        return X
    return np.concatenate([columns_of(block, rows) for rows, block in embedding_blocks(X)])
